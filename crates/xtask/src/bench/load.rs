//! Calls through a system: `sipload` on the core of the load.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::stage::{LOAD_CORE, SYSTEM_CORE, pinned, prioritise};
use super::system::System;
use super::transport::Transport;
use super::{fabric, usage};
use crate::process::Background;

/// The program, the numbers that it calls, and the folder of its certificate.
pub(crate) struct Sipload {
    pub(crate) program: PathBuf,
    pub(crate) numbers: PathBuf,
    pub(crate) certificate: PathBuf,
}

/// What to place.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) calls_per_second: u32,
    pub(crate) calls: u32,
    pub(crate) hold_ms: u32,
}

impl Plan {
    /// Short calls until [`Load::place_no_more`].
    pub(crate) fn endless(calls_per_second: u32) -> Self {
        Self { calls_per_second, calls: u32::MAX, hold_ms: 50 }
    }

    fn is_endless(&self) -> bool {
        self.calls == u32::MAX
    }

    /// Short calls for a while.
    pub(crate) fn steady(calls_per_second: u32, seconds: f64) -> Self {
        let calls = (f64::from(calls_per_second) * seconds) as u32;
        Self { calls_per_second, calls, hold_ms: 50 }
    }
}

impl Sipload {
    /// Begins to place calls.
    pub(crate) fn start(&self, system: &System, plan: Plan) -> Result<Load> {
        // Postgres puts each of its processes in a session, and so in a scheduling group, of its own.
        system.database.map(usage::group).into_iter().flatten().for_each(prioritise);
        // A relay knows one gateway.
        let gateways = if system.is_relay() { &fabric::GATEWAYS[..1] } else { &fabric::GATEWAYS };
        let mut sipload = pinned(LOAD_CORE, &self.program);
        sipload.args(["call", "--target", &system.address, "--caller", fabric::CALLER]);
        sipload.args(["--transport", system.transport.as_str()]);
        if system.transport == Transport::Tls {
            sipload.arg("--tls").arg(&self.certificate);
        }
        sipload.args(["--gateways", &gateways.join(",")]).arg("--numbers").arg(&self.numbers);
        sipload.args(["--rate", &plan.calls_per_second.to_string(), "--calls", &plan.calls.to_string()]);
        sipload.args(["--hold", &plan.hold_ms.to_string()]);
        if plan.is_endless() {
            sipload.arg("--until-input-ends").stdin(Stdio::piped());
        } else {
            sipload.stdin(Stdio::null());
        }
        let child = sipload.stdout(Stdio::piped()).spawn();
        let child = child.context("cannot start sipload")?;
        prioritise(child.id());
        Ok(Load { child: Some(child) })
    }

    /// The relay that does nothing but copy.
    pub(crate) fn relay(&self, listen: &str, log: &Path) -> Result<Background> {
        let mut relay = pinned(SYSTEM_CORE, &self.program);
        relay.args(["relay", listen, fabric::GATEWAYS[0]]);
        let relay = Background::start("the relay", &mut relay, log)?;
        prioritise(relay.id());
        Ok(relay)
    }
}

/// Calls that are being placed. Dropped, they are left where they are.
pub(crate) struct Load {
    child: Option<Child>,
}

impl Load {
    /// Run time of the generator so far.
    pub(crate) fn run_time(&self) -> usage::RunTime {
        self.child.as_ref().map(|child| usage::RunTime::of(&[child.id()])).unwrap_or_default()
    }

    /// Places no more calls from here on.
    pub(crate) fn place_no_more(&mut self) {
        drop(self.child.as_mut().and_then(|child| child.stdin.take()));
    }

    /// Waits for the last call's end.
    pub(crate) fn finish(mut self) -> Result<Outcome> {
        let child = self.child.take().expect("it is taken only here");
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("sipload: {}", output.status);
        }
        let said: Value = serde_json::from_slice(&output.stdout)?;
        let count = |name: &str| said[name].as_u64().unwrap_or(0);
        let setup = &said["invite_to_180_us"];
        Ok(Outcome {
            placed: count("placed"),
            completed: count("completed"),
            // A call can be retransmitted first and fail then.
            bad: (count("failed") + count("retransmitted") + count("unfinished")).min(count("placed")),
            calls_per_second: said["calls_per_second"].as_f64().unwrap_or(0.0),
            setup_p50_us: setup["p50"].as_f64(),
            setup_p99_us: setup["p99"].as_f64(),
            refusals: said["refusals"].to_string(),
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What became of the calls.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) placed: u64,
    pub(crate) completed: u64,
    /// Those that failed, had to be retransmitted, or did not end.
    pub(crate) bad: u64,
    pub(crate) calls_per_second: f64,
    /// What the system adds between INVITE and 180.
    pub(crate) setup_p50_us: Option<f64>,
    pub(crate) setup_p99_us: Option<f64>,
    /// Refusing responses, by status.
    pub(crate) refusals: String,
}

impl Outcome {
    /// Share of the calls that were not as they should be.
    pub(crate) fn bad_share(&self) -> f64 {
        self.bad as f64 / self.placed.max(1) as f64
    }
}
