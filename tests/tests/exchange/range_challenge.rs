//! A member proves a range by two calls that the hub places through another carrier's gateway, and its announcement is live.

use std::time::Duration;

use serde_json::{Value, json};
use tandem_tests::{Api, Endpoint, Exchange, Hub, Settings, Socket, until};

/// How long a step may take: a node looks for challenges every second.
const SOON: Duration = Duration::from_secs(20);

struct Scene {
    hub: Hub,
    gateway: Socket,
    caller: Socket,
    initech: Api,
    ranges: String,
}

impl Scene {
    fn new() -> Self {
        let (caller, gateway, switch) = (Socket::new(), Socket::new(), Socket::new());
        let target = |socket: &Socket| format!("sip:{};transport=udp", socket.address());
        let exchange = Exchange::default()
            .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
            .member("telco", &[Endpoint::new("pstn", gateway.address().ip(), &target(&gateway))], &[])
            .member("initech", &[Endpoint::new("initech-1", switch.address().ip(), &target(&switch))], &[])
            .agreement("acme", "initech");
        let settings = Settings {
            portal: "challenge_endpoint = \"telco/pstn\"\nchallenge_caller = \"+33199\"\n".to_owned(),
            ..Settings::default()
        };
        let hub = Hub::with(&settings, &exchange);
        let initech = hub.api_of("initech");
        let ranges = format!("/members/{}/ranges", hub.api.member_id("initech"));
        Self { hub, gateway, caller, initech, ranges }
    }

    fn claim(&self, prefix: &str) -> String {
        let claim = self.initech.post(&self.ranges, &json!({ "prefix": prefix })).good();
        assert_eq!(claim["authority"], "pending");
        format!("{}/{}/challenge", self.ranges, claim["range_id"].as_str().expect("an id"))
    }

    /// Has the hub call, lets the call ring at the gateway and ends it as `status` says; gives the code that was seen.
    fn call(&self, challenge: &str, status: u16) -> String {
        let asked = self.initech.post(challenge, &json!({})).good();
        let called = asked["calls"][0]["called"].as_str().expect("a number").to_owned();
        let invite = self.gateway.receive(SOON).expect("the hub calls by the gateway");
        assert!(invite.starts_with(&format!("INVITE sip:{called}@")), "{called}: {invite}");
        let from = invite.lines().find(|line| line.starts_with("From: ")).expect("a From");
        let caller =
            from.split("sip:").nth(1).and_then(|rest| rest.split('@').next()).expect("a calling number");
        let code = caller.strip_prefix("+33199").expect("it is of the pool").to_owned();
        self.gateway.send(self.hub.sip, self.gateway.response(&invite, 180).as_bytes());
        let contact = format!("Contact: <sip:pstn@{}>\r\nContent-Length", self.gateway.address());
        let last = self.gateway.response(&invite, status).replace("Content-Length", &contact);
        self.gateway.send(self.hub.sip, last.as_bytes());
        // ACK, and BYE where it was answered.
        let next = self.gateway.receive(SOON).expect("an ACK");
        assert!(next.starts_with("ACK "), "{next}");
        if status == 200 {
            let bye = self.gateway.receive(SOON).expect("a BYE");
            assert!(bye.starts_with("BYE "), "{bye}");
            self.gateway.send(self.hub.sip, self.gateway.response(&bye, 200).as_bytes());
        }
        let outcome = if status == 200 { "answered" } else { "refused" };
        until("the outcome to be shown", SOON, || {
            let seen = self.initech.get(challenge).good();
            (seen["calls"][0]["outcome"] == outcome && seen["calls"][0]["status"] == status).then_some(())
        });
        code
    }

    fn answer(&self, challenge: &str, code: &str) -> Result<Value, String> {
        let answer = self.initech.post(&format!("{challenge}/answer"), &json!({ "code": code }));
        if answer.status == 200 { Ok(answer.good()) } else { Err(answer.code().to_owned()) }
    }
}

#[test]
fn two_calls_prove_a_range_and_its_announcement_is_live() {
    let scene = Scene::new();
    let challenge = scene.claim("+442079460");
    let member = scene.ranges.trim_end_matches("/ranges").to_owned();
    let announcement = json!({ "prefix": "+442079460", "endpoints": ["initech-1"] });
    scene.initech.post(&format!("{member}/announcements"), &announcement).good();
    scene.hub.wait_until_current();
    let refused = scene.caller.ask(scene.hub.sip, &scene.caller.invite(scene.hub.sip, "+442079460001"));
    assert!(refused.text.contains("range_unverified"), "{}", refused.text);

    let first = scene.call(&challenge, 200);
    let seen = scene.answer(&challenge, &first).expect("it is the code");
    assert_eq!(
        (&seen["solved"], &seen["needed"], &seen["range"]["authority"]),
        (&json!(1), &json!(2), &json!("pending"))
    );
    // It rang at the member, who did not take it.
    let second = scene.call(&challenge, 486);
    let seen = scene.answer(&challenge, &second).expect("it is the code");
    assert_eq!(
        (&seen["range"]["authority"], &seen["range"]["verified_by"]),
        (&json!("valid"), &json!("challenge"))
    );
    assert_ne!(seen["calls"][0]["called"], seen["calls"][1]["called"]);
    scene.hub.wait_until_current();
    assert!(scene.caller.would_be_routed(scene.hub.sip, "+442079460001"));
    // A challenge call is no call of the exchange: it has no CDR.
    assert!(scene.hub.calls().iter().all(|cdr| cdr["called"] != seen["calls"][0]["called"]));
}

#[test]
fn wrong_codes_and_another_members_gateway_prove_nothing() {
    let scene = Scene::new();
    let challenge = scene.claim("+442079461");
    let code = scene.call(&challenge, 486);
    let wrong = format!("{:06}", (code.parse::<u32>().expect("digits") + 1) % 1_000_000);
    for _ in 0..3 {
        assert_eq!(scene.answer(&challenge, &wrong), Err("proof_refused".to_owned()));
    }
    // After three wrong ones the right one comes too late.
    assert_eq!(scene.answer(&challenge, &code), Err("proof_refused".to_owned()));
    // By the claimant's own endpoint no call leaves.
    let telco = scene.hub.api_of("telco");
    let ranges = format!("/members/{}/ranges", scene.hub.api.member_id("telco"));
    let claim = telco.post(&ranges, &json!({ "prefix": "+442079462" })).good();
    let own = format!("{ranges}/{}/challenge", claim["range_id"].as_str().expect("an id"));
    assert_eq!(telco.post(&own, &json!({})).code(), "evidence_not_taken");
    assert_eq!(scene.gateway.receive(Duration::from_millis(1_500)), None);
}
