//! Kamailio in the bench: Debian's package with a configuration that does the hub's work.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::certificates::Certificates;
use super::postgres::Postgres;
use super::stage::{self, SYSTEM_CORE, pinned};
use super::system::System;
use super::transport::Transport;
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

    pub(crate) fn ip(self) -> &'static str {
        match self {
            Self::Lean => "127.77.0.71",
            Self::Cdr => "127.77.0.72",
            Self::CdrAsync => "127.77.0.73",
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
    pub(crate) fn set_up(
        folder: &Path,
        postgres: &Postgres,
        certificates: &Certificates,
        prefixes: &[String],
    ) -> Result<Self> {
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
        fs::write(folder.join("kamailio-tls.cfg"), tls(certificates))?;
        let shared_mb = if prefixes.len() > 200_000 { "4096" } else { "1024" };
        Ok(Self { folder: folder.to_owned(), url, shared_mb })
    }

    /// From the next start on the gateways are called by another transport.
    pub(crate) fn reach_gateways_by(&self, transport: Transport, postgres: &Postgres) -> Result<()> {
        let parameter = match transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        let destination = format!("split_part(destination, ';', 1) || '{parameter}'");
        postgres.sql("kamailio", &format!("update dispatcher set destination = {destination}"))?;
        Ok(())
    }

    /// Starts a variant with one listener; it takes calls when this returns.
    pub(crate) fn start(&self, variant: Variant, transport: Transport) -> Result<Running> {
        let name = format!("{}-{}", variant.ip(), transport.as_str());
        let control = format!("unix:{}", self.folder.join(format!("{name}.ctl")).display());
        let mut kamailio = pinned(SYSTEM_CORE, "kamailio");
        kamailio.args(["-DD", "-f"]).arg(self.folder.join("kamailio.cfg"));
        kamailio.args(["-A", &format!("DATABASE=\"{}\"", self.url)]);
        kamailio.args(["-A", &format!("CONTROL=\"{control}\"")]);
        for definition in variant.definitions() {
            kamailio.args(["-A", definition]);
        }
        let workers = match transport {
            Transport::Udp => "-n",
            Transport::Tcp | Transport::Tls => {
                kamailio.args(["-A", "STREAMS"]);
                "-N"
            }
        };
        if transport == Transport::Tls {
            let file = self.folder.join("kamailio-tls.cfg");
            kamailio.args(["-A", &format!("TLS_CONFIG=\"{}\"", file.display())]);
        }
        let listener = format!("{}:{}:{}", transport.as_str(), variant.ip(), transport.port());
        kamailio.args(["-l", &listener, workers, variant.workers()]);
        kamailio.args(["-m", self.shared_mb, "-M", "32", "-x", ALLOCATOR, "-X", ALLOCATOR]);
        kamailio.arg("-Y").arg(&self.folder).arg("-w").arg(&self.folder);
        let log = self.folder.join(format!("{name}.log"));
        let process = Background::start("kamailio", &mut kamailio, &log)?;
        let mut running = Running { variant, transport, process, control };
        wait_for("Kamailio to take calls", START_WITHIN, || {
            running.process.still_runs()?;
            Ok(running.ask("tm.stats").is_ok())
        })?;
        usage::group(running.pid()).into_iter().for_each(stage::prioritise);
        Ok(running)
    }
}

/// The settings of its TLS: what the hub has for its own.
fn tls(certificates: &Certificates) -> String {
    let folder = certificates.systems.display();
    let both = format!(
        "method = TLSv1.2+\nprivate_key = {folder}/key.pem\ncertificate = {folder}/certificate.pem\n\
         ca_list = {folder}/authority.pem\n"
    );
    let verify = |word: &str| format!("verify_certificate = {word}\nrequire_certificate = {word}\n");
    format!("[server:default]\n{both}{}\n[client:default]\n{both}{}", verify("no"), verify("yes"))
}

/// One that runs.
pub(crate) struct Running {
    variant: Variant,
    transport: Transport,
    process: Background,
    control: String,
}

impl Running {
    /// Its first process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What is measured of it.
    pub(crate) fn system(&self, database: u32) -> System {
        let transport = self.transport;
        let address = format!("{}:{}", self.variant.ip(), transport.port());
        System { name: self.variant.name(), address, transport, pid: self.pid(), database: Some(database) }
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
