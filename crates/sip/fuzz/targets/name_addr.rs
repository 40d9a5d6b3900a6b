//! Any From, To or Contact value: its address and parameters, put together again, say the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_sip::{NameAddr, Params};

fuzz_target!(|octets: &[u8]| {
    let Ok(read) = NameAddr::parse(octets) else { return };
    let _ = (read.parse_uri(), read.tag(), Params::new(read.params).count());
    let again = match read.params {
        [] => read.address.to_vec(),
        params => [read.address, b";", params].concat(),
    };
    assert_eq!(NameAddr::parse(&again), Ok(read), "{}", again.escape_ascii());
});
