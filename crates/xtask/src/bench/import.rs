//! `cargo xtask bench import`: a member uploads a file of a million announcements while calls are placed.
//!
//! The hub and Postgres share one core, the load has another; Postgres gives way to calls, as the private one does. The
//! time counts from the first octet of the upload until the node routes by all of it. The calls' set-up times are those
//! of one load before the upload, and of one that lasts as long as the import does.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::load::{Load, Outcome, Plan, Sipload};
use super::report::{Goal, Line, Values, table};
use super::setting::{Setting, say};
use super::system::System;
use super::{hub, numbers, stage, usage};
use crate::http::Api;
use crate::machine::{Need, set_up};
use crate::process::{asked_to_stop, wait_for};
use crate::run::{cargo, run as run_command};

/// Prefixes that are announced before: those that are called.
const PREFIXES: usize = 1_000;

/// From the first octet to routed, in seconds.
const LIVE_WITHIN_S: f64 = 60.0;

/// How much the set-up of calls may move.
const SETUP_MOVES: f64 = 1.1;

/// A run ends after this long, whatever happens.
const BOUND: Duration = Duration::from_secs(15 * 60);

/// An import that takes longer than this has gone wrong.
const PATIENCE: Duration = Duration::from_secs(400);

/// Pause between two looks at the import.
const LOOK: Duration = Duration::from_millis(100);

/// What the bench may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows of the file
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Calls a second
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// How long calls are placed before, in seconds
    #[arg(long, default_value_t = 30)]
    before: u64,
    /// The hub's program; it is built where none is named
    #[arg(long, env = "TANDEM_BIN", value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Builds, then measures in a network namespace of its own.
pub(crate) fn run(options: &Options) -> Result<()> {
    if stage::is_inside() {
        stage::prepare()?;
        return measure(options);
    }
    stage::check()?;
    set_up(&[Need::Postgres])?;
    if options.program.is_none() {
        run_command(&mut cargo(&["build", "--release", "--package", "tandem"]))?;
    }
    run_command(&mut cargo(&["build", "--release", "--package", "xtask", "--bin", "sipload"]))?;
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    stage::enter(&args, Some(BOUND))
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn measure(options: &Options) -> Result<()> {
    let setting = Setting::make(PREFIXES)?;
    let program = options.program.clone().unwrap_or_else(|| crate::target().join("release/tandem"));
    let hub = setting.hub(hub::NOW, &program)?;
    let system = hub.system(setting.postgres.pid())?;
    let sipload = Sipload {
        program: crate::target().join("release/sipload"),
        numbers: setting.numbers.clone(),
        certificate: setting.certificates.load.clone(),
    };
    let api = Api { server: hub::NOW.portal().parse()?, token: hub.token()? };
    let file = file(options.rows);
    let calls = |seconds| start(&setting, &sipload, &system, options.rate, seconds);

    let mut load = calls(options.before)?;
    load.place_no_more();
    let before = load.finish()?;
    say(format!("before: {before:?}"));
    let mut load = calls(2)?;
    let cpu = || [usage::RunTime::of(&[system.pid]), usage::RunTime::of(&[setting.postgres.pid()])];
    let earlier = cpu();
    let stages = import(&api, &file)?;
    let now = cpu();
    let cpu_s: Vec<f64> = now.iter().zip(&earlier).map(|(now, earlier)| now.since(earlier) / 1e6).collect();
    load.place_no_more();
    let during = load.finish()?;
    say(format!("during: {during:?}"));

    println!("\n{}", report(&stages, &cpu_s, &before, &during));
    println!(
        "{} rows in {:.1} MB, {} calls/s; a write took {:.2} ms to be on the disk.",
        options.rows,
        file.len() as f64 / 1e6,
        options.rate,
        stage::sync_ms(&setting.folder)?,
    );
    let folder = setting.folder.clone();
    drop((hub, setting));
    Ok(fs::remove_dir_all(folder)?)
}

/// Calls that have been placed for so long already.
fn start(setting: &Setting, sipload: &Sipload, system: &System, rate: u32, seconds: u64) -> Result<Load> {
    let load = sipload.start(system, Plan::endless(rate))?;
    usage::group(setting.postgres.pid()).into_iter().for_each(stage::give_way);
    for _ in 0..seconds {
        if asked_to_stop() {
            bail!("asked to stop");
        }
        sleep(Duration::from_secs(1));
    }
    Ok(load)
}

/// The file: prefixes in the shape of a world-wide rate deck, each on both endpoints.
fn file(rows: usize) -> String {
    let mut text = "prefix,endpoints\n".to_owned();
    for prefix in numbers::prefixes(rows) {
        _ = writeln!(text, "+{prefix},globex-1;globex-2");
    }
    text
}

/// When a stage was over, in seconds from the first octet of the upload.
struct Stages {
    uploaded: f64,
    checked: f64,
    committed: f64,
    routed: f64,
}

/// Uploads the file and waits until it is routed by.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the machine's clock")]
fn import(api: &Api, file: &str) -> Result<Stages> {
    let members = api.ask("GET", "/members?limit=500", "application/json", b"")?;
    let mut members = members["items"].as_array().into_iter().flatten();
    let member = members.find(|member| member["name"] == "globex").context("there is no globex")?;
    let path = format!("/members/{}/imports", member["member_id"].as_str().context("an id")?);
    // A few of the prefixes are none that a country has given out.
    let new = json!({ "format": "csv", "bad_rows": "skip", "octets": file.len() }).to_string();
    let import = api.ask("POST", &path, "application/json", new.as_bytes())?;
    let path = format!("{path}/{}", import["import_id"].as_str().context("an id")?);

    let started = Instant::now();
    api.ask("PUT", &format!("{path}/content"), "text/csv", file.as_bytes())?;
    let uploaded = started.elapsed().as_secs_f64();
    let (mut checked, mut committed, mut routed) = (None, None, None);
    wait_for("the import to be routed by", PATIENCE, || {
        let import = api.ask("GET", &path, "application/json", b"")?;
        let at = started.elapsed().as_secs_f64();
        if import["state"] == "failed" {
            bail!("the import failed: {import}");
        }
        let (is_applied, live) = (import["state"] == "applied", &import["live_on"]);
        for (stage, is_over) in [
            (&mut checked, is_applied || import["state"] == "applying"),
            (&mut committed, is_applied),
            (&mut routed, live["nodes"] == 1 && live["of"] == 1),
        ] {
            *stage = stage.or(is_over.then_some(at));
        }
        sleep(LOOK);
        Ok(routed.is_some())
    })?;
    say(format!("the import: {}", api.ask("GET", &path, "application/json", b"")?));
    let passed = |stage: Option<f64>| stage.context("a stage is over before the next one");
    Ok(Stages { uploaded, checked: passed(checked)?, committed: passed(committed)?, routed: passed(routed)? })
}

fn report(stages: &Stages, cpu_s: &[f64], before: &Outcome, during: &Outcome) -> String {
    let mut lines = Vec::new();
    let mut line = |figure: &str, [first, second]: [Option<f64>; 2], goal| {
        let values = [first, second].map(|value| Values(value.into_iter().collect())).into();
        let verdict = second.map(|own| (own, first.unwrap_or(f64::NAN), goal));
        lines.push(Line { figure: figure.to_owned(), values, verdict });
    };
    let Stages { uploaded, checked, committed, routed } = stages;
    line("s until uploaded", [None, Some(*uploaded)], None);
    line("s until checked", [None, Some(*checked)], None);
    line("s until committed", [None, Some(*committed)], None);
    line("s until routed", [None, Some(*routed)], Some(Goal::AtMost(LIVE_WITHIN_S)));
    for (figure, cpu_s) in ["CPU s, program", "CPU s, Postgres"].into_iter().zip(cpu_s) {
        line(figure, [None, Some(*cpu_s)], None);
    }
    let moves = Some(Goal::RatioAtMost(SETUP_MOVES));
    line("INVITE to 180 p50 us", [before.setup_p50_us, during.setup_p50_us], None);
    line("INVITE to 180 p99 us", [before.setup_p99_us, during.setup_p99_us], moves);
    let bad = |outcome: &Outcome| Some(outcome.bad_share() * 100.0);
    line("bad calls %", [bad(before), bad(during)], None);
    table(&["before", "during"], "before", &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_is_missed_is_said_to_be() {
        let outcome = |p99| Outcome {
            placed: 10,
            completed: 10,
            bad: 0,
            calls_per_second: 1.0,
            setup_p50_us: Some(100.0),
            setup_p99_us: Some(p99),
            refusals: String::new(),
        };
        let stages = Stages { uploaded: 5.0, checked: 6.0, committed: 20.0, routed: 70.0 };
        let report = report(&stages, &[1.0, 2.0], &outcome(200.0), &outcome(210.0));
        assert!(report.contains("<= 60.0, NOT reached"), "{report}");
        assert!(report.contains("1.05x") && report.contains("<= 1.1x, reached"), "{report}");
    }
}
