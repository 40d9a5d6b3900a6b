//! Kamailio in the bench: Debian's package with a configuration that does the hub's work.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::postgres::Postgres;
use super::stage::{self, SYSTEM_CORE, pinned};
use super::{fabric, usage};
use crate::process::{Background, wait_for};
use crate::run::{command, output};

const CONFIGURATION: &str = include_str!("../../bench/kamailio.cfg");
const SCHEMA: &str = include_str!("../../bench/kamailio.sql");

/// The allocator that stays quick: with the one that is used unless told otherwise (`qm`) a call costs twice as
/// much, and `fm` slows down once a peak has passed.
const ALLOCATOR: &str = "tlsf";

/// Members whose sources are known, and sets of gateways.
const MEMBERS: u32 = 200;

/// How long it may take to read its tables.
const START_WITHIN: Duration = Duration::from_secs(90);

/// A way to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Without CDRs.
    Lean,
    /// The worker that handles the BYE writes the CDR.
    Cdr,
    /// Another process writes the CDR.
    CdrAsync,
}

impl Variant {
    pub(crate) const ALL: [Self; 3] = [Self::Lean, Self::Cdr, Self::CdrAsync];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lean => "kamailio, no CDR",
            Self::Cdr => "kamailio, CDR",
            Self::CdrAsync => "kamailio, CDR async",
        }
    }

    pub(crate) fn address(self) -> &'static str {
        match self {
            Self::Lean => "127.77.0.71:5060",
            Self::Cdr => "127.77.0.72:5060",
            Self::CdrAsync => "127.77.0.73:5060",
        }
    }

    /// Workers that receive: the best numbers on one core.
    fn workers(self) -> &'static str {
        match self {
            Self::Lean | Self::CdrAsync => "1",
            // While one waits for the database, another one works.
            Self::Cdr => "4",
        }
    }

    fn definitions(self) -> &'static [&'static str] {
        match self {
            Self::Lean => &[],
            Self::Cdr => &["CDR"],
            Self::CdrAsync => &["CDR", "CDR_ASYNC"],
        }
    }
}

/// The database and configuration of every variant.
pub(crate) struct Kamailio {
    folder: PathBuf,
    url: String,
    shared_mb: &'static str,
}

impl Kamailio {
    /// Fills a new database of `postgres`.
    pub(crate) fn set_up(folder: &Path, postgres: &Postgres, prefixes: &[String]) -> Result<Self> {
        let url = postgres.create("kamailio")?;
        postgres.sql("kamailio", SCHEMA)?;
        let (caller, _) = fabric::CALLER.split_once(':').context("a port")?;
        let mut addresses = format!("1\t{caller}\n");
        let mut limits = "1\t100000\n".to_owned();
        let mut gateways = String::new();
        for member in 1..=MEMBERS {
            _ = writeln!(addresses, "{}\t127.77.7.{member}", 1_000 + member);
            _ = writeln!(limits, "{}\t100000", 1_000 + member);
            // Half of the sets begin with the one, half with the other.
            for (gateway, priority) in fabric::GATEWAYS.iter().zip([member % 2, (member + 1) % 2]) {
                _ = writeln!(gateways, "{member}\tsip:{gateway}\t{priority}");
            }
        }
        let mut table = String::new();
        for (prefix, set) in prefixes.iter().zip((1..=MEMBERS).cycle()) {
            _ = writeln!(table, "{prefix}\t{set}");
        }
        postgres.copy("kamailio", "address (grp, ip_addr)", &addresses)?;
        postgres.copy("kamailio", "call_limit (key_name, key_value)", &limits)?;
        postgres.copy("kamailio", "dispatcher (setid, destination, priority)", &gateways)?;
        postgres.copy("kamailio", "prefix (tprefix, tvalue)", &table)?;
        postgres.sql("kamailio", "vacuum analyze")?;
        fs::write(folder.join("kamailio.cfg"), CONFIGURATION)?;
        let shared_mb = if prefixes.len() > 200_000 { "4096" } else { "1024" };
        Ok(Self { folder: folder.to_owned(), url, shared_mb })
    }

    /// Starts a variant; it takes calls when this returns.
    pub(crate) fn start(&self, variant: Variant) -> Result<Running> {
        let name = variant.address().replace(':', "-");
        let control = format!("unix:{}", self.folder.join(format!("{name}.ctl")).display());
        let mut kamailio = pinned(SYSTEM_CORE, "kamailio");
        kamailio.args(["-DD", "-f"]).arg(self.folder.join("kamailio.cfg"));
        kamailio.args(["-A", &format!("DATABASE=\"{}\"", self.url)]);
        kamailio.args(["-A", &format!("CONTROL=\"{control}\"")]);
        for definition in variant.definitions() {
            kamailio.args(["-A", definition]);
        }
        kamailio.args(["-l", &format!("udp:{}", variant.address()), "-n", variant.workers()]);
        kamailio.args(["-m", self.shared_mb, "-M", "32", "-x", ALLOCATOR, "-X", ALLOCATOR]);
        kamailio.arg("-Y").arg(&self.folder).arg("-w").arg(&self.folder);
        let log = self.folder.join(format!("{name}.log"));
        let mut running = Running { process: Background::start("kamailio", &mut kamailio, &log)?, control };
        wait_for("Kamailio to take calls", START_WITHIN, || {
            running.process.still_runs()?;
            Ok(running.ask("tm.stats").is_ok())
        })?;
        usage::group(running.pid()).into_iter().for_each(stage::prioritise);
        Ok(running)
    }
}

/// One that runs.
pub(crate) struct Running {
    process: Background,
    control: String,
}

impl Running {
    /// Its first process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    fn ask(&self, what: &str) -> Result<String> {
        output(&mut command("kamcmd", &["-s", &self.control, what]))
    }

    /// Octets of shared memory that its allocator has given out.
    pub(crate) fn allocated(&self) -> Result<u64> {
        let said = self.ask("core.shmmem")?;
        let used = said.lines().find_map(|line| line.trim().strip_prefix("used: "));
        // It prints 32 bits with a sign.
        let used: i64 = used.with_context(|| format!("kamcmd said: {said}"))?.trim().parse()?;
        Ok((used & 0xFFFF_FFFF) as u64)
    }
}
