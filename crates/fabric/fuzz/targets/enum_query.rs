//! Any octets as a question to the ENUM listener: each answer is one to that question, within its bounds; no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| tandem_fabric::fuzz::answer_enum(octets));
