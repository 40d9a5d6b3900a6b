//! Any file for `tandem apply`: a declaration, or an error that names the file; no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = tandem::apply::read("exchange.toml", text) {
        assert!(error.to_string().starts_with("exchange.toml: "));
    }
});
