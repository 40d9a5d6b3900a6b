//! Any URI: what is read is made of the octets that were given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_sip::{Params, Scheme, Uri};

fuzz_target!(|octets: &[u8]| {
    let Ok(uri) = Uri::parse(octets) else { return };
    let _ =
        (uri.user_number(), uri.number_param("rn"), uri.param("transport"), Params::new(uri.params).count());
    assert!(octets.iter().all(|octet| octet.is_ascii_graphic()));
    match uri.scheme {
        Scheme::Sip | Scheme::Sips => {
            assert!(!uri.host.is_empty() && !uri.host.starts_with(b"."));
            assert_ne!(uri.port, Some(0));
        }
        Scheme::Tel => assert!(uri.user.is_some_and(|number| !number.is_empty())),
        Scheme::Other => assert!(octets.ends_with(uri.host)),
    }
});
