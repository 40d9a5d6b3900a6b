//! Any settings file, or any value of a variable: settings, or an error of some lines that says where; no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem::settings::Settings;

fuzz_target!(|text: &str| {
    let variable = |name: &str| (name.to_owned(), text.to_owned());
    for read in [
        Settings::read(Some(("tandem.toml", text)), []),
        Settings::read(None, [variable("TANDEM_LISTENER"), variable("TANDEM_PORTAL_ADDRESS")]),
    ] {
        if let Err(error) = read {
            assert!(!error.to_string().is_empty());
        }
    }
});
