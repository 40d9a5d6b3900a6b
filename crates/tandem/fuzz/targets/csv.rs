//! Any octets as an upload of announcements: rows, or an error on a line that the upload has; no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    tandem_portal::fuzz::read_csv(octets);
    tandem_portal::fuzz::read_import(octets);
});
