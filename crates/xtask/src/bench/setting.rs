//! What a run of calls begins with: a folder, a numbering plan with numbers to call, certificates and a Postgres.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::certificates::Certificates;
use super::hub::{self, Hub};
use super::kamailio::Variant;
use super::postgres::Postgres;
use super::{fabric, numbers};
use crate::demo::folder;

/// How many different numbers are called.
const NUMBERS: usize = 30_000;

/// What every run begins with.
pub(crate) struct Setting {
    pub(crate) folder: PathBuf,
    pub(crate) prefixes: Vec<String>,
    pub(crate) numbers: PathBuf,
    pub(crate) postgres: Postgres,
    pub(crate) certificates: Certificates,
}

impl Setting {
    /// With a table of so many prefixes.
    pub(crate) fn make(prefixes: usize) -> Result<Self> {
        // Two runs at once do not disturb each other's data.
        let folder = folder("bench")?.join(std::process::id().to_string());
        fs::create_dir_all(&folder)?;
        let prefixes = numbers::prefixes(prefixes);
        let numbers = folder.join("numbers.txt");
        fs::write(&numbers, numbers::numbers(&prefixes, NUMBERS).join("\n") + "\n")?;
        let mut systems = vec![hub::NOW.ip, hub::BEFORE.ip];
        systems.extend(Variant::ALL.map(Variant::ip));
        let gateways = fabric::GATEWAYS.map(|gateway| gateway.split(':').next().unwrap_or(gateway));
        let certificates = Certificates::make(&folder, &systems, &gateways)?;
        let postgres = Postgres::start(&folder)?;
        Ok(Self { folder, prefixes, numbers, postgres, certificates })
    }

    /// A hub that takes calls.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long the set-up takes is read from the machine's clock"
    )]
    pub(crate) fn hub(&self, place: hub::Place, program: &Path) -> Result<Hub> {
        let started = Instant::now();
        let Self { folder, prefixes, postgres, certificates, .. } = self;
        let mut hub = Hub::set_up(place, program, folder, postgres, certificates, prefixes)?;
        let applied = started.elapsed();
        hub.start()?;
        say(format!(
            "{}: {} prefixes applied in {:.1} s, read at its start in {:.1} s",
            place.name,
            prefixes.len(),
            applied.as_secs_f64(),
            (started.elapsed() - applied).as_secs_f64(),
        ));
        Ok(hub)
    }
}

/// Progress, for the one who waits.
#[expect(clippy::print_stderr, reason = "progress is for the one who waits")]
pub(crate) fn say(what: impl std::fmt::Display) {
    eprintln!("{what}");
}
