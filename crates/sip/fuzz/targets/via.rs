//! Any Via value: stamped with where it came from it says so, and says the rest as before.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_sip::Via;
use tandem_sip::via::{response_target, write_stamped_via};

fuzz_target!(|octets: &[u8]| {
    let Ok(via) = Via::parse(octets) else { return };
    let source = "198.51.100.7:4321".parse().expect("it is an address");
    let target = response_target(&via, source);
    assert_eq!(target.ip(), source.ip());
    assert_ne!(target.port(), 0);
    let mut out = Vec::new();
    write_stamped_via(&mut out, octets, source);
    assert!(!out.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)));
    // A quote or bracket that never ends, which `judge` refuses, takes in what is stamped; a fold in quotes is taken out.
    if octets.iter().all(|octet| (octet.is_ascii_graphic() || *octet == b' ') && !b"\"<".contains(octet)) {
        let stamped = Via::parse(&out).expect("it is a Via still");
        assert_eq!((stamped.transport, stamped.host, stamped.port), (via.transport, via.host, via.port));
        assert_eq!(stamped.branch, via.branch, "{}", out.escape_ascii());
        assert_eq!(stamped.rport().is_some(), via.rport().is_some());
        assert!(stamped.received().is_none_or(|ip| ip == source.ip()));
    }
});
