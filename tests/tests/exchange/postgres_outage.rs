//! Postgres goes away under load: no call fails because of it, and no CDR is missing afterwards.

use std::thread::sleep;
use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Cluster, Endpoint, Exchange, Hub, Settings, Sipp, lasting, peer_address};

/// Calls a second.
const RATE: u32 = 50;

#[test]
fn calls_go_on_while_postgres_is_away_and_their_cdrs_come_afterwards() {
    let away = lasting(10, 60);
    let before_and_after = Duration::from_secs(5);
    let lasts = away + 2 * before_and_after;
    let calls = RATE * u32::try_from(lasts.as_secs()).expect("two minutes are short");
    let cluster = Cluster::start();
    let called = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    );
    let acme = peer_address();
    let gateways = [Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Udp))];
    let settings = Settings { database_url: Some(cluster.url()), ..Settings::default() };
    let hub = Hub::with(&settings, &Exchange::of_two(acme, &gateways));
    let before = hub.at_rest();

    let calling = Sipp::calls(
        acme,
        hub.sip,
        Transport::Udp,
        &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE],
        Load { rate: RATE, calls, hold: Duration::from_secs(2) },
        Numbers { calling: "+88201", called: CALLED },
    );
    // Not waiting for a condition: this is the load before, and how long Postgres is away.
    sleep(before_and_after);
    cluster.stop();
    sleep(away);
    let backlog = hub.metrics().sum("tandem_journal_backlog_records", &[]);
    assert!(backlog > 0.0, "the journal holds what Postgres cannot take");
    cluster.start_again();

    calling.finish(lasts + Duration::from_secs(60)).assert_all_went_well(calls);
    called.finish(Duration::from_secs(40)).assert_all_went_well(calls);
    let cdrs = hub.wait_for_cdrs(calls as usize, Duration::from_secs(60));
    assert_eq!(cdrs.len(), calls as usize, "one CDR a call");
    assert!(cdrs.iter().all(|cdr| cdr["outcome"] == "answered"));
    hub.wait_until_as(&before, Duration::from_secs(40));
}
