//! The disk of the journal is full: no crash, no new calls, those that are up go on, and when there is room again
//! every CDR arrives.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use tandem_tests::{
    CALLED, Endpoint, Exchange, Hub, Plan, Settings, Socket, Switch, Traffic, may_mount, peer_address, until,
};

/// Calls a second.
const RATE: u32 = 40;

/// Room for the journal, in kilobytes: enough for what the scenario writes.
const DISK_KB: u32 = 16 << 10;

#[test]
fn new_calls_are_refused_while_the_journals_disk_is_full_and_no_cdr_is_lost() {
    if !may_mount() {
        #[expect(clippy::print_stderr, reason = "a scenario that is left out must be seen")]
        {
            eprintln!("left out: only root may give the hub a small disk");
        }
        return;
    }
    let (caller, called, asking) = (Switch::at(peer_address()), Switch::at(peer_address()), Socket::new());
    let gateways = [Endpoint::new("globex-1", called.address().ip(), &called.target())];
    let senders = [
        Endpoint::sender("acme-1", caller.address().ip()),
        Endpoint::sender("acme-2", asking.address().ip()),
    ];
    let exchange = Exchange::default()
        .member("acme", &senders, &[])
        .member("globex", &gateways, &["+44207946"])
        .agreement("acme", "globex");
    let settings = Settings { journal_disk_kb: Some(DISK_KB), ..Settings::default() };
    let mut hub = Hub::with(&settings, &exchange);
    let before = hub.at_rest();
    let refusals = |hub: &Hub| hub.metrics().sum("tandem_refusals_total", &["reason=\"journal_unwritable\""]);

    let plan = Plan { reinvites: true, ..Plan::new(RATE, u32::MAX, Duration::from_secs(2)) };
    let traffic = Traffic::start(&plan, hub.sip, caller, called);
    until("calls to be up", Duration::from_secs(10), || {
        (hub.metrics().sum("tandem_active_calls", &[]) >= 60.0).then_some(())
    });
    let filler = hub.journal_folder_inside().join("filler");
    let mut file = File::create(&filler).expect("root sees the hub's disk");
    let mut size = 1 << 20;
    while size > 0 {
        // Until not one octet more goes in.
        if file.write_all(&vec![0; size]).is_err() {
            size /= 2;
        }
    }
    let up = hub.metrics().sum("tandem_active_calls", &[]);
    until("new calls to be refused", Duration::from_secs(10), || (refusals(&hub) >= 20.0).then_some(()));
    let refused = asking.ask(hub.sip, &asking.invite(hub.sip, CALLED));
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.contains("journal_unwritable"), "{}", refused.text);
    // The calls that were up end by themselves, from either side, after their re-INVITEs.
    until("the calls that are up to end", Duration::from_secs(10), || {
        (hub.metrics().sum("tandem_active_calls", &[]) <= 5.0).then_some(())
    });
    let errors = hub.metrics().sum("tandem_journal_errors_total", &[]);
    assert!(errors > 0.0, "a failed write is counted");
    assert!(hub.is_running(), "the hub has not crashed");

    let placed = traffic.placed();
    drop(file);
    fs::remove_file(&filler).expect("root may");
    until("calls to be taken again", Duration::from_secs(5), || {
        (hub.metrics().sum("tandem_active_calls", &[]) >= 20.0).then_some(())
    });
    traffic.place_no_more();
    let tally = traffic.finish(Duration::from_secs(40));
    let answered = tally.answered();
    let cdrs = hub.wait_for_quiet_cdrs(answered, Duration::from_secs(30));
    let recorded = cdrs.iter().filter(|cdr| cdr["outcome"] == "answered").count();
    let refused = tally.calling.values().filter(|seen| seen.status == Some(503)).count();
    #[expect(clippy::print_stderr, reason = "the figures are part of the result")]
    {
        eprintln!(
            "disk full: {up} calls up when the disk was full, {placed} calls placed by the time it had room again, {} \
             in all; {answered} answered, {refused} refused, {recorded} CDRs of answered calls, {errors} failed writes",
            tally.calling.len()
        );
    }
    let faults: Vec<String> = tally
        .calling
        .iter()
        .filter(|(_, seen)| seen.status != Some(503))
        .flat_map(|(&number, _)| tally.faults_of(number))
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(recorded, answered, "one CDR an answered call");
    hub.wait_until_as(&before, Duration::from_secs(40));
}
