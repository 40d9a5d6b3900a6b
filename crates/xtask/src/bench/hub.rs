//! The hub in the bench: a database of its own, a member that calls, one that answers, one node on one core.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::certificates::Certificates;
use super::postgres::Postgres;
use super::stage::{self, SYSTEM_CORE, pinned};
use super::system::System;
use super::transport::Transport;
use crate::http;
use crate::process::{Background, wait_for};
use crate::run::output;

/// Which of two programs it is, and where.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Its column in the table.
    pub(crate) name: &'static str,
    pub(crate) database: &'static str,
    pub(crate) ip: &'static str,
}

/// The hub that is measured.
pub(crate) const NOW: Place = Place { name: "hub", database: "tandem", ip: "127.77.0.70" };

/// An older one that it is compared with: by UDP alone, for it may know no other settings than those of then.
pub(crate) const BEFORE: Place = Place { name: "hub, before", database: "tandem_before", ip: "127.77.0.75" };

impl Place {
    /// Where it takes calls.
    pub(crate) fn address(self, transport: Transport) -> String {
        format!("{}:{}", self.ip, transport.port())
    }

    /// Where its portal is.
    pub(crate) fn portal(self) -> String {
        format!("{}:8080", self.ip)
    }
}

/// How long it may take to read the route table.
const START_WITHIN: Duration = Duration::from_secs(120);

/// A hub whose database is filled.
pub(crate) struct Hub {
    place: Place,
    program: PathBuf,
    config: PathBuf,
    declaration: PathBuf,
    folder: PathBuf,
    /// How it reaches the gateways.
    transport: Transport,
    process: Option<Background>,
}

impl Hub {
    /// Fills a new database of `postgres` with members and the announcements of `prefixes`; the gateways are called
    /// by UDP.
    pub(crate) fn set_up(
        place: Place,
        program: &Path,
        folder: &Path,
        postgres: &Postgres,
        certificates: &Certificates,
        prefixes: &[String],
    ) -> Result<Self> {
        let name = place.database;
        let url = postgres.create(name)?;
        let file = |kind: &str| folder.join(format!("{name}{kind}"));
        let mut listeners = String::new();
        let is_now = place.name == NOW.name;
        for transport in Transport::ALL.into_iter().filter(|transport| is_now || *transport == Transport::Udp)
        {
            _ = writeln!(
                listeners,
                "[[listener]]\nsite = \"bench\"\naddress = \"{}\"\ntransport = \"{}\"\n",
                place.address(transport),
                transport.as_str(),
            );
        }
        if is_now {
            let folder = certificates.systems.display();
            _ = writeln!(
                listeners,
                "[tls]\ncertificate = \"{folder}/certificate.pem\"\nkey = \"{folder}/key.pem\"\ntrust = \"{folder}/authority.pem\"\n",
            );
        }
        let settings = format!(
            r#"data_dir = "{data}"
node = "bench"

[database]
url = "{url}"

{listeners}
[portal]
address = "{portal}"

[metrics]
address = "{ip}:9464"

[fabric]
drain_s = 1
max_calls = 100000
"#,
            data = file("-data").display(),
            portal = place.portal(),
            ip = place.ip,
        );
        let hub = Self {
            place,
            program: program.to_owned(),
            config: file(".toml"),
            declaration: file("-exchange.toml"),
            folder: folder.to_owned(),
            transport: Transport::Udp,
            process: None,
        };
        fs::write(&hub.config, settings)?;
        hub.apply(prefixes)?;
        // As autovacuum would have done by the time that an exchange has grown to this.
        postgres.sql(name, "vacuum analyze")?;
        Ok(hub)
    }

    /// Declares the exchange as it is to be now.
    fn apply(&self, prefixes: &[String]) -> Result<()> {
        fs::write(&self.declaration, declare(prefixes, self.transport))?;
        // Tandem refuses a variable of its name that is no setting.
        let mut apply = Command::new(&self.program);
        apply.env_remove("TANDEM_BIN");
        apply.arg("apply").arg(&self.declaration).arg("--config").arg(&self.config);
        output(&mut apply)?;
        Ok(())
    }

    /// Starts it anew, with the gateways called by another transport.
    pub(crate) fn reach_gateways_by(&mut self, transport: Transport, prefixes: &[String]) -> Result<()> {
        self.stop();
        self.transport = transport;
        self.apply(prefixes)?;
        self.start()
    }

    /// A token that acts for the operator.
    pub(crate) fn token(&self) -> Result<String> {
        let mut create = Command::new(&self.program);
        create.env_remove("TANDEM_BIN").args(["token", "create", "--operator", "--config"]).arg(&self.config);
        Ok(output(&mut create)?.trim().to_owned())
    }

    /// What is measured of it while it runs.
    pub(crate) fn system(&self, database: u32) -> Result<System> {
        let (name, transport) = (self.place.name, self.transport);
        let pid = self.pid().with_context(|| format!("the {name} does not run"))?;
        Ok(System { name, address: self.place.address(transport), transport, pid, database: Some(database) })
    }

    /// Starts it; it takes calls when this returns.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.start_with(&[])
    }

    /// Starts it so that memory that it freed is the system's a second later, and its growth can be seen.
    pub(crate) fn start_without_reserve(&mut self) -> Result<()> {
        self.start_with(&[("MIMALLOC_PURGE_DELAY", "1000")])
    }

    fn start_with(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        let mut serve = pinned(SYSTEM_CORE, &self.program);
        serve.envs(variables.iter().copied());
        serve.arg("serve").arg("--config").arg(&self.config).env_remove("TANDEM_BIN");
        let log = self.folder.join(format!("{}-{}.log", self.place.database, self.transport.as_str()));
        let mut process = Background::start("tandem serve", &mut serve, &log)?;
        stage::prioritise(process.id());
        let portal = self.place.portal().parse()?;
        wait_for("the hub to be ready", START_WITHIN, || {
            process.still_runs()?;
            Ok(http::status(portal, "/readyz") == Some(200))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it, and the calls that are up.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Background::id)
    }

    /// An error where it has ended by itself.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Background::still_runs)
    }
}

/// The exchange: `acme` calls, `globex` announces every prefix on two endpoints of equal standing, and two hundred
/// others are there, so that the table of sources has something in it. Only the two are called by `transport`.
fn declare(prefixes: &[String], transport: Transport) -> String {
    let mut text = String::new();
    let endpoint = |text: &mut String, name: &str, address: &str, transport: Transport| {
        _ = write!(
            text,
            "[[member.endpoint]]\nname = \"{name}\"\nsource = [\"{host}\"]\n\
             target = \"sip:{address};transport={transport}\"\n",
            host = address.split(':').next().unwrap_or(address),
            transport = transport.as_str(),
        );
    };
    text.push_str("[[member]]\nname = \"acme\"\n");
    endpoint(&mut text, "acme-1", super::fabric::CALLER, Transport::Udp);
    for other in 1..=200 {
        _ = write!(text, "[[member]]\nname = \"other-{other}\"\n");
        endpoint(&mut text, "only", &format!("127.77.7.{other}:5060"), Transport::Udp);
    }
    text.push_str("[[member]]\nname = \"globex\"\n");
    for (gateway, number) in super::fabric::GATEWAYS.iter().zip(1..) {
        endpoint(&mut text, &format!("globex-{number}"), gateway, transport);
    }
    for zone in 1..=9 {
        _ = write!(text, "[[member.range]]\nprefix = \"+{zone}\"\nauthority = \"valid\"\n");
    }
    for prefix in prefixes {
        _ = write!(
            text,
            "[[member.announcement]]\nprefix = \"+{prefix}\"\nendpoints = [\"globex-1\", \"globex-2\"]\n"
        );
    }
    text.push_str("[[agreement]]\nmembers = [\"acme\", \"globex\"]\n");
    text
}
