//! A journal segment with anything in it: it is read, replayed, and the calls in it are taken up; no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| tandem_fabric::fuzz::replay_journal(octets));
