//! Certificates of members, the lists of numbers in them, and what is signed by their keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| tandem_portal::fuzz::read_certificate(octets));
