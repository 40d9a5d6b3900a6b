//! The hub in the bench: a database of its own, a member that calls, one that answers, one node on one core.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::postgres::Postgres;
use super::stage::{self, SYSTEM_CORE, pinned};
use crate::http;
use crate::process::{Background, wait_for};
use crate::run::output;

/// Where it takes calls.
pub(crate) const ADDRESS: &str = "127.77.0.70:5060";

const PORTAL: &str = "127.77.0.70:8080";

/// How long it may take to read the route table.
const START_WITHIN: Duration = Duration::from_secs(120);

/// A hub whose database is filled.
pub(crate) struct Hub {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Background>,
}

impl Hub {
    /// Fills a new database of `postgres` with members and the announcements of `prefixes`.
    pub(crate) fn set_up(
        program: &Path,
        folder: &Path,
        postgres: &Postgres,
        prefixes: &[String],
    ) -> Result<Self> {
        let url = postgres.create("tandem")?;
        let config = folder.join("tandem.toml");
        let settings = format!(
            r#"data_dir = "{data}"
node = "bench"

[database]
url = "{url}"

[[listener]]
site = "bench"
address = "{ADDRESS}"
transport = "udp"

[portal]
address = "{PORTAL}"

[metrics]
address = "127.77.0.70:9464"

[fabric]
drain_s = 1
max_calls = 100000
"#,
            data = folder.join("hub").display(),
        );
        fs::write(&config, settings)?;
        let declaration = folder.join("exchange.toml");
        fs::write(&declaration, declare(prefixes))?;
        // Tandem refuses a variable of its name that is no setting.
        let mut apply = Command::new(program);
        apply.env_remove("TANDEM_BIN");
        apply.arg("apply").arg(&declaration).arg("--config").arg(&config);
        output(&mut apply)?;
        // As autovacuum would have done by the time that an exchange has grown to this.
        postgres.sql("tandem", "vacuum analyze")?;
        Ok(Self { program: program.to_owned(), config, log: folder.join("hub.log"), process: None })
    }

    /// Starts it; it takes calls when this returns.
    pub(crate) fn start(&mut self) -> Result<()> {
        let mut serve = pinned(SYSTEM_CORE, &self.program);
        serve.arg("serve").arg("--config").arg(&self.config).env_remove("TANDEM_BIN");
        let mut process = Background::start("tandem serve", &mut serve, &self.log)?;
        stage::prioritise(process.id());
        let portal = PORTAL.parse()?;
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
/// others are there, so that the table of sources has something in it.
fn declare(prefixes: &[String]) -> String {
    let mut text = String::new();
    let endpoint = |text: &mut String, name: &str, address: &str| {
        _ = write!(
            text,
            "[[member.endpoint]]\nname = \"{name}\"\nsource = [\"{host}\"]\ntarget = \"sip:{address};transport=udp\"\n",
            host = address.split(':').next().unwrap_or(address),
        );
    };
    text.push_str("[[member]]\nname = \"acme\"\n");
    endpoint(&mut text, "acme-1", super::fabric::CALLER);
    for other in 1..=200 {
        _ = write!(text, "[[member]]\nname = \"other-{other}\"\n");
        endpoint(&mut text, "only", &format!("127.77.7.{other}:5060"));
    }
    text.push_str("[[member]]\nname = \"globex\"\n");
    for (gateway, number) in super::fabric::GATEWAYS.iter().zip(1..) {
        endpoint(&mut text, &format!("globex-{number}"), gateway);
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
