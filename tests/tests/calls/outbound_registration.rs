//! A member's Kamailio that asks everybody for a password: the hub registers there, and its calls and what follows in
//! them get through.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tandem_tests::address::free_port;
use tandem_tests::child::{Child, Signal};
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Exchange, Hub, PREFIX, Sipp, peer_address, until};

const SOON: Duration = Duration::from_secs(60);

const NUMBERS: Numbers<'_> = Numbers { calling: "+88201", called: CALLED };

#[test]
fn a_switch_that_wants_a_password_is_registered_at_and_called() {
    let acme = peer_address();
    let answering = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    let called = Sipp::takes_calls(peer_address(), Transport::Udp, &answering);
    let switch = free_port(peer_address());

    let folder = tempfile::TempDir::with_prefix("tandem-kamailio-").expect("a temporary folder");
    let config = folder.path().join("kamailio.cfg");
    let text = include_str!("outbound_registration/kamailio.cfg");
    let text = text.replace("listen=udp:LISTEN", &format!("listen=udp:{switch}"));
    fs::write(&config, text.replace("sip:GATEWAY", &format!("sip:{}", called.address))).expect("it is ours");
    let mut command = Command::new("kamailio");
    command.args(["-DD", "-E", "-m", "32", "-M", "8"]).arg("-Y").arg(folder.path()).arg("-f").arg(&config);
    let mut kamailio = Child::start("kamailio", &mut command, &folder.path().join("log"));

    let exchange = |password: &str| {
        Exchange::default()
            .member("acme", &[tandem_tests::Endpoint::sender("acme-1", acme)], &[])
            .and(&format!(
                "[[member]]\nname = \"globex\"\n[[member.endpoint]]\nname = \"kamailio\"\nsource = [\"{ip}/32\"]\n\
                 target = \"sip:{switch};transport=udp\"\n[member.endpoint.outbound]\nusername = \"tandem\"\n\
                 realm = \"globex.example\"\npassword = \"{password}\"\nregisters = true",
                ip = switch.ip(),
            ))
            .range(PREFIX, "valid")
            .announcement(PREFIX, "\"kamailio\"")
            .agreement("acme", "globex")
    };
    let hub = Hub::start(&exchange("a-password-of-globex"));
    until("the hub to be registered", SOON, || {
        if let Some(status) = kamailio.ended() {
            panic!("Kamailio ended ({status}):\n{}", kamailio.last_lines(20));
        }
        kamailio.printed().contains("REGISTERED tandem at ").then_some(())
    });

    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let load = Load::one(Duration::from_millis(500));
    let call = || Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS).finish(SOON);
    call().assert_all_went_well(1);
    let cdrs = hub.wait_for_cdrs(1, SOON);
    assert_eq!((&cdrs[0]["outcome"], &cdrs[0]["ended_by"]), (&"answered".into(), &"originating".into()));
    // For REGISTER, INVITE and BYE.
    until("the BYE to get through", SOON, || {
        (hub.metrics().sum("tandem_digest_answers_total", &[]) >= 3.0).then_some(())
    });
    called.finish(SOON).assert_all_went_well(1);

    // With another password nothing gets through, and nothing goes round.
    hub.apply(&exchange("not-the-password"));
    let refused = [caller::INVITE, &caller::refused(502)];
    let calls = Sipp::calls(acme, hub.sip, Transport::Udp, &refused, Load::one(Duration::ZERO), NUMBERS);
    calls.finish(SOON).assert_all_went_well(1);
    assert!(!hub.logged().contains("a-password-of-globex") && !hub.logged().contains("not-the-password"));
    kamailio.signal(Signal::Terminate);
    kamailio.wait(Duration::from_secs(10));
}
