//! The systems that are compared, and what is measured of each.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::load::{Outcome, Plan, Sipload};
use super::transport::Transport;
use super::usage::{self, RunTime};
use crate::process::asked_to_stop;

/// One that runs.
#[derive(Clone)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    /// Where it takes calls, and how both legs of them travel.
    pub(crate) address: String,
    pub(crate) transport: Transport,
    /// Its first process.
    pub(crate) pid: u32,
    /// The first process of its database; none for a relay.
    pub(crate) database: Option<u32>,
}

impl System {
    /// Whether it only copies datagrams.
    pub(crate) fn is_relay(&self) -> bool {
        self.database.is_none()
    }
}

/// What a call took at a steady rate.
#[derive(Debug)]
pub(crate) struct Steady {
    /// CPU per call, in microseconds.
    pub(crate) program_us: f64,
    pub(crate) database_us: f64,
    /// Share of the machine's cores that neither the system nor the load had.
    pub(crate) others_share: f64,
    pub(crate) outcome: Outcome,
}

/// Until the load is even.
const RAMP: Duration = Duration::from_millis(400);

/// Most of the calls that may be bad at a rate that a system sustains.
const BAD_SHARE: f64 = 0.001;

/// Longest median from INVITE to 180 at such a rate: the sockets' buffers hide an overload for seconds.
const SETUP_US: f64 = 100_000.0;

/// Rates to look for the highest one among: 400 to 37,000 a second, 7 % apart.
const LADDER: usize = 68;

/// Steps to each side of where it was found before.
const AROUND: usize = 5;

fn ladder(step: usize) -> u32 {
    (400.0 * 1.07_f64.powi(i32::try_from(step).unwrap_or(i32::MAX))).round() as u32
}

/// CPU per call of short calls at a steady rate.
pub(crate) fn steady(
    sipload: &Sipload,
    system: &System,
    calls_per_second: u32,
    seconds: f64,
) -> Result<Steady> {
    let plan = Plan::steady(calls_per_second, seconds + 2.0 * RAMP.as_secs_f64());
    watched(sipload, system, plan, RAMP, Duration::from_secs_f64(seconds))
}

/// CPU per call of a part of the load: from `after` on, for as long as `window`.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the machine's clock")]
pub(crate) fn watched(
    sipload: &Sipload,
    system: &System,
    plan: Plan,
    after: Duration,
    window: Duration,
) -> Result<Steady> {
    if asked_to_stop() {
        bail!("asked to stop");
    }
    let load = sipload.start(system, plan)?;
    sleep(after);
    let database: Vec<u32> = system.database.into_iter().collect();
    let look = || {
        let times = [RunTime::of(&[system.pid]), RunTime::of(&database), load.run_time()];
        (Instant::now(), times, usage::machine_busy())
    };
    let (started, before, busy_before) = look();
    sleep(window);
    let (ended, now, busy_now) = look();
    let window_us = (ended - started).as_secs_f64() * 1e6;
    let [program, database, generator] = std::array::from_fn(|index| now[index].since(&before[index]));
    let calls = f64::from(plan.calls_per_second) * window_us / 1e6;
    let cores = std::thread::available_parallelism()?.get().max(2) as f64;
    let others = (busy_now - busy_before - program - database - generator) / (window_us * cores);
    Ok(Steady {
        program_us: program / calls,
        database_us: database / calls,
        others_share: others.max(0.0),
        outcome: load.finish()?,
    })
}

/// Highest rate on the ladder that the system sustains for `seconds`, as its step; looked for around `near`.
#[expect(clippy::print_stderr, reason = "progress is for the one who waits")]
fn highest_step(sipload: &Sipload, system: &System, seconds: f64, near: Option<usize>) -> Result<usize> {
    let (mut low, mut high) =
        near.map_or((4, LADDER - 1), |near| (near.saturating_sub(AROUND), (near + AROUND).min(LADDER - 1)));
    while low < high {
        if asked_to_stop() {
            bail!("asked to stop");
        }
        let middle = (low + high).div_ceil(2);
        let rate = ladder(middle);
        let outcome = sipload.start(system, Plan::steady(rate, seconds))?.finish()?;
        let is_short = outcome.calls_per_second < 0.97 * f64::from(rate);
        let holds = outcome.bad_share() < BAD_SHARE
            && !is_short
            && outcome.setup_p50_us.is_some_and(|setup| setup < SETUP_US);
        let bad = outcome.bad_share() * 100.0;
        let word = if holds { "holds" } else { "fails" };
        let short = if is_short { ", the load was short" } else { "" };
        eprintln!("  {}: {rate} calls/s {word}, {bad:.2} % bad{short}", system.name);
        if holds {
            low = middle;
        } else {
            high = middle - 1;
            // What is left of the overload is over before the next one.
            sleep(Duration::from_secs(1));
        }
        sleep(Duration::from_millis(300));
    }
    Ok(low)
}

/// Highest calls per second that the system sustains; `near` remembers where it was found.
pub(crate) fn highest_rate(
    sipload: &Sipload,
    system: &System,
    seconds: f64,
    near: &mut Option<usize>,
) -> Result<f64> {
    let mut step = highest_step(sipload, system, seconds, *near)?;
    // At the edge of what was looked at, it may as well lie beyond.
    if near.is_some_and(|near| step.abs_diff(near) >= AROUND) {
        step = highest_step(sipload, system, seconds, None)?;
    }
    *near = Some(step);
    Ok(f64::from(ladder(step)))
}
