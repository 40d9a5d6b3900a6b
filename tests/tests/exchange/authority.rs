//! A thousand announcements of numbers that are not the member's own: each is answered with its reason, none is routed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tandem_tests::{Endpoint, Exchange, Hub, Socket, until};

/// A prefix, and what is said of it: authority and reason of the announcement, or none where it is refused at once.
struct Attempt {
    prefix: String,
    authority: Option<&'static str>,
    reason: &'static str,
}

/// Mallory holds +44208 and +4930123, held +44161 until just now, and has claimed +331, and +34 which a regulator's file
/// gives to somebody else; globex holds +44207.
fn attempts() -> Vec<Attempt> {
    let of = |stem: &'static str, authority, reason, count: u32| {
        (0..count).map(move |n| Attempt {
            prefix: format!("{stem}{n:03}"),
            authority: Some(authority),
            reason,
        })
    };
    let one = |prefix: &str, authority, reason| Attempt { prefix: prefix.to_owned(), authority, reason };
    let mut attempts: Vec<Attempt> = of("+44207", "invalid", "range_of_other", 380).collect();
    attempts.push(one("+44207", Some("invalid"), "range_of_other"));
    // No number begins so, but one might one day.
    attempts.push(one("+44100", Some("unknown"), "range_missing"));
    attempts.extend(of("+44161", "expired", "range_expired", 250));
    attempts.extend(of("+4940", "unknown", "range_missing", 250));
    attempts.extend(of("+331", "unknown", "range_unverified", 100));
    attempts.extend(of("+3493", "unknown", "range_unverified", 50));
    for broad in ["+44", "+442", "+4420", "+49", "+493", "+4930", "+49301", "+493012"] {
        attempts.push(one(broad, Some("too_broad"), "announcement_too_broad"));
    }
    for (prefix, code) in [
        ("+999", "prefix_impossible"),
        ("+4", "prefix_impossible"),
        ("+442071234567890", "prefix_impossible"),
        ("+44999", "prefix_emergency"),
        ("+44 207", "invalid"),
        ("0044207", "invalid"),
        ("４４207", "invalid"),
        ("44207;npdi", "invalid"),
        ("+44207946", "range_of_other"),
        ("44207947", "range_of_other"),
    ] {
        let authority = (code == "range_of_other").then_some("invalid");
        attempts.push(one(prefix, authority, code));
    }
    attempts
}

/// A full number that begins so: its length is that of numbers of the country.
fn number(prefix: &str) -> String {
    let digits = prefix.trim_start_matches('+');
    let len = if digits.starts_with("33") || digits.starts_with("34") { 11 } else { 12 };
    format!("{digits:1<len$}")
}

#[test]
fn of_a_thousand_announcements_of_numbers_of_others_none_is_routed_and_each_has_its_reason() {
    let (switch, holder, thief) = (Socket::new(), Socket::new(), Socket::new());
    let endpoint = |name: &str, socket: &Socket| {
        Endpoint::new(name, socket.address().ip(), &format!("sip:{};transport=udp", socket.address()))
    };
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", switch.address().ip())], &[])
        .member("globex", &[endpoint("globex-1", &holder)], &[])
        .range("+44207", "valid")
        .member("mallory", &[endpoint("mallory-1", &thief)], &[])
        .range("+44208", "valid")
        .range("+4930123", "valid")
        .range("+331", "pending")
        .agreement("acme", "mallory");
    let hub = Hub::start(&exchange);
    let mallory = hub.api.member_id("mallory");
    #[expect(clippy::disallowed_methods, reason = "the hub is a program, whose time cannot be chosen")]
    let ends_at = chrono::Utc::now() + chrono::TimeDelta::seconds(5);
    let claim = json!({ "prefix": "+44161", "evidence": "leased", "valid_until": ends_at });
    let claim = hub.api.post(&format!("/members/{mallory}/ranges"), &claim).good();
    hub.api
        .post(&format!("/ranges/{}/verify", claim["range_id"].as_str().expect("an id")), &json!({}))
        .good();
    until("the range to end", Duration::from_secs(30), || {
        let ranges = hub.api.all(&format!("/members/{mallory}/ranges"));
        ranges.into_iter().find(|range| range["prefix"] == "+44161" && range["authority"] == "expired")
    });

    // Nor does a claim against a regulator's file, however often it is made, around or within what others were given.
    hub.api.put_csv("/allocations/CNMC", "prefix,holder\n3493,Umbrella\n34951,Umbrella\n").good();
    let claims = ["+3493", "+34"].map(str::to_owned).into_iter();
    for prefix in claims.chain((0..100).map(|n| format!("+34951{n:03}"))) {
        let claim = json!({ "prefix": prefix, "evidence": "mine" });
        let claim = hub.api.post(&format!("/members/{mallory}/ranges"), &claim).good();
        let said = (&claim["authority"], &claim["reason"], &claim["verified_by"]);
        assert_eq!(said, (&json!("disputed"), &json!("range_allocated_to_other"), &Value::Null), "{claim}");
        assert_eq!(claim["allocated_to_others"][0]["holder"], "Umbrella");
    }

    let attempts = attempts();
    assert!(attempts.len() >= 1_000, "{}", attempts.len());
    let path = format!("/members/{mallory}/announcements");
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for Attempt { prefix, authority, reason } in &attempts {
        let answer = hub.api.post(&path, &json!({ "prefix": prefix, "endpoints": ["mallory-1"] }));
        match authority {
            None => assert_eq!((answer.status, answer.code()), (422, *reason), "{prefix}"),
            Some(authority) => {
                let made = answer.good();
                assert_eq!((&made["routable"], &made["reason"]), (&json!(false), &json!(reason)), "{made}");
                assert_eq!(
                    (&made["authority"], &made["authority_reason"]),
                    (&json!(authority), &json!(reason))
                );
            }
        }
        *told.entry(reason).or_default() += 1;
    }
    hub.wait_until_current();

    for Attempt { prefix, .. } in attempts.iter().filter(|attempt| attempt.authority.is_some()) {
        let seen = hub.api.get(&format!("/lookup?from=acme&called={}", number(prefix))).good();
        assert_eq!(seen["candidates"], json!([]), "{prefix}: {seen}");
        let left_out = seen["left_out"].as_array().expect("a list");
        let named: Vec<&Value> = left_out.iter().filter(|it| it["authority"].is_string()).collect();
        assert!(named.len() == left_out.len() && !named.is_empty(), "{prefix}: {seen}");
    }
    // What a lookup says is what a node does.
    for (called, reason) in [
        ("+442079460001", "range_of_other"),
        ("+442081234567", "announcement_too_broad"),
        ("+441610001234", "range_expired"),
        ("+494000012345", "range_missing"),
        ("+33100012345", "range_unverified"),
    ] {
        let response = switch.ask(hub.sip, &switch.invite(hub.sip, called));
        assert_eq!(response.status, 404, "{called}: {}", response.text);
        assert!(response.text.contains(reason), "{called}: {}", response.text);
    }
    assert_eq!(
        thief.receive(Duration::from_millis(200)),
        None,
        "no call goes to who does not hold the number"
    );
    assert_eq!(told.len(), 8, "{told:?}");
}
