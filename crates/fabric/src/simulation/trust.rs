//! What a member says of itself reaches another member only as the hub lets it, however it is spelt.

use super::*;

/// A word that must not cross.
pub(super) const MARK: &str = "m4rk3r.example";

/// Header fields that do not cross, or cross without what names the member; a value for each with [`MARK`] in it.
pub(super) const KEPT_BACK: &[(&str, &str)] = &[
    ("P-Asserted-Identity", "<sip:+33199001234@MARK>"),
    ("P-Preferred-Identity", "<sip:+33199001234@MARK>"),
    ("Remote-Party-ID", "<sip:+33199001234@MARK>;party=calling"),
    ("Diversion", "<sip:+33199001234@MARK>;reason=unconditional"),
    ("History-Info", "<sip:+33199001234@MARK>;index=1"),
    ("P-Charging-Vector", "icid-value=1;icid-generated-at=MARK"),
    ("P-Charging-Function-Addresses", "ccf=MARK"),
    ("P-Access-Network-Info", "3GPP-E-UTRAN;utran-cell-id-3gpp=MARK"),
    ("P-Visited-Network-ID", "MARK"),
    ("P-Called-Party-ID", "<sip:+33199001234@MARK>"),
    ("P-Associated-URI", "<sip:+33199001234@MARK>"),
    ("Authorization", "Digest username=\"MARK\""),
    ("Proxy-Authorization", "Digest username=\"MARK\""),
    ("Record-Route", "<sip:MARK;lr>"),
    ("Path", "<sip:MARK;lr>"),
    ("User-Agent", "MARK"),
    ("Server", "MARK"),
    ("Organization", "MARK"),
    ("Warning", "399 MARK \"text\""),
    ("Tandem-Call", "MARK"),
];

/// Ways to write a field that a careless reader takes for another one.
pub(super) fn spellings(name: &str, value: &str) -> Vec<String> {
    let mixed: String = name
        .chars()
        .enumerate()
        .map(|(n, c)| if n % 2 == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() })
        .collect();
    vec![
        format!("{name}: {value}"),
        format!("{}: {value}", name.to_lowercase()),
        format!("{}: {value}", name.to_uppercase()),
        format!("{mixed}: {value}"),
        format!("{name}:{value}"),
        format!("{name} : {value}"),
        format!("{name}\t:\t{value}"),
        format!("{name}:\r\n {value}"),
        format!("{name} :\r\n\t{value}"),
        format!("{name}: {value}\r\n{name}: {value}"),
        format!("{name}: <sip:first@first.example>\r\n{name}: {value}"),
        format!("{name}: <sip:first@first.example>, {value}"),
    ]
}

#[test]
fn no_spelling_carries_across_what_is_kept_back() {
    let mut carried = 0;
    for (name, value) in KEPT_BACK {
        for line in spellings(name, &value.replace("MARK", MARK)) {
            let mut sim = Simulation::new();
            sim.calls += 1;
            let invite = invite(sim.calls, "+442079460000")
                .replace("X-Note: kept\r\n", &format!("X-Note: kept\r\n{line}\r\n"));
            sim.receive(ACME, &invite);
            let sent = sim.sent_to(GLOBEX);
            carried += sent.len();
            for message in sent {
                assert!(message.contains("X-Note: kept\r\n"));
                assert!(!message.contains(MARK), "{line:?} in {message}");
            }
        }
    }
    // Some spellings are no SIP and refused; most are, and their calls go on.
    assert!(carried > KEPT_BACK.len() * 8, "{carried}");
}
