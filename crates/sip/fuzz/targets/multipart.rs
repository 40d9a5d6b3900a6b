//! A Content-Type, then a body: what is edited in it are session descriptions alone, and once is enough.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_sip::{edit_sessions, restrict_codecs};

fuzz_target!(|octets: &[u8]| {
    let Some(end) = octets.iter().position(|&octet| octet == b'\n') else { return };
    let (kind, body) = (&octets[..end], &octets[end + 1..]);
    for ordered in [false, true] {
        let restrict = |sdp: &[u8]| restrict_codecs(sdp, &["PCMA", "opus"], ordered);
        let Some(edited) = edit_sessions(kind, body, restrict) else { continue };
        assert_ne!(edited, body);
        assert_eq!(edit_sessions(kind, &edited, restrict), None);
    }
});
