//! `cargo xtask fuzz`: the fuzz targets, each for as long as is asked.
//!
//! libFuzzer, built by the stable compiler without a sanitizer: there is no `unsafe` in what it reaches, so a
//! panic, a broken assertion, a hang or memory beyond the limit is what can be found. `cargo fuzz run` works in the
//! same folder for who has it. What a run learns is kept in `target/fuzz/corpus` and begins the next one.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::run::{Steps, cargo, command, run as run_command};

/// Resident memory beyond which a target has failed.
const RSS_LIMIT_MB: u32 = 512;

/// Seconds after which one input is a hang.
const TIMEOUT_S: u32 = 5;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// One of those that `cargo xtask fuzz` lists; all of them by default
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Begins the same run again; printed by each run
    #[arg(long)]
    seed: Option<u32>,
}

struct Target {
    name: &'static str,
    what: &'static str,
    /// The folder of its crate.
    folder: &'static str,
    /// Folders with inputs to begin with.
    seeds: &'static [&'static str],
    /// Octets of the longest input.
    max_len: u32,
}

const TORTURE: &[&str] = &["crates/sip/tests/torture/rfc4475", "crates/sip/tests/torture/rfc5118"];

const TARGETS: &[Target] = &[
    sip("message", "a datagram: read, judged, answered", TORTURE, 8_192),
    sip("roundtrip", "a good message, written again", TORTURE, 8_192),
    sip("framing", "a stream, cut in different ways", TORTURE, 8_192),
    sip("uri", "a URI", &["crates/sip/fuzz/seeds/uri"], 512),
    sip("name_addr", "a From, To or Contact value", &["crates/sip/fuzz/seeds/name_addr"], 512),
    sip("via", "a Via value", &["crates/sip/fuzz/seeds/via"], 512),
    sip("sdp", "a session description of which codecs are taken out", &["crates/sip/fuzz/seeds/sdp"], 4_096),
    sip(
        "multipart",
        "a body of parts, of which the session descriptions are edited",
        &["crates/sip/fuzz/seeds/multipart"],
        4_096,
    ),
    Target {
        name: "journal",
        what: "a journal segment: read, replayed, its calls taken up",
        folder: "crates/fabric/fuzz",
        seeds: &["crates/fabric/fuzz/seeds/journal"],
        max_len: 8_192,
    },
    Target {
        name: "enum_query",
        what: "a question to the ENUM listener: read, answered",
        folder: "crates/fabric/fuzz",
        seeds: &["crates/fabric/fuzz/seeds/enum_query"],
        max_len: 1_232,
    },
    imported("settings", "a settings file", &["crates/tandem/fuzz/seeds/settings"]),
    imported("declaration", "a file for `tandem apply`", &["crates/tandem/fuzz/seeds/declaration"]),
    imported("csv", "an upload of announcements", &["crates/tandem/fuzz/seeds/csv"]),
    imported(
        "certificate",
        "a certificate with its list of numbers, and a text signed by its key",
        &["crates/tandem/fuzz/seeds/certificate"],
    ),
];

const fn sip(name: &'static str, what: &'static str, seeds: &'static [&'static str], max_len: u32) -> Target {
    Target { name, what, folder: "crates/sip/fuzz", seeds, max_len }
}

const fn imported(name: &'static str, what: &'static str, seeds: &'static [&'static str]) -> Target {
    Target { name, what, folder: "crates/tandem/fuzz", seeds, max_len: 16_384 }
}

/// Lists the targets, then builds and runs all of them or the one that is named.
#[expect(clippy::print_stderr, reason = "the list is for the person who asked")]
pub(crate) fn run(options: &Options) -> Result<()> {
    for target in TARGETS {
        eprintln!("{:11} {}", target.name, target.what);
    }
    let is_chosen = |target: &&Target| options.target.as_deref().is_none_or(|name| name == target.name);
    let chosen: Vec<&Target> = TARGETS.iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        bail!("there is no such target");
    }
    let mut steps = Steps::new();
    for target in chosen {
        steps.step(target.name, || {
            build(target)?;
            fuzz(target, options)
        });
    }
    steps.finish()
}

/// What libFuzzer needs the compiler to add: counters of what was reached, and what was compared with what.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// The machine that is built for: named, so that build scripts are not instrumented.
pub(crate) fn machine() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn built() -> PathBuf {
    crate::target().join("fuzz")
}

fn build(target: &Target) -> Result<()> {
    let manifest = format!("{}/Cargo.toml", target.folder);
    let args = ["build", "--release", "--locked", "--manifest-path", &manifest, "--bin", target.name];
    let mut build = cargo(&args);
    build.args(["--target", &machine(), "--target-dir"]).arg(built()).env("RUSTFLAGS", COVERAGE);
    run_command(&mut build)
}

/// An error where a crate of targets, which is none of the workspace, has a `Cargo.lock` that does not fit what the
/// workspace depends on: the targets would not be built.
pub(crate) fn versions_are_current() -> Result<()> {
    let folders: BTreeSet<&str> = TARGETS.iter().map(|target| target.folder).collect();
    for folder in folders {
        let manifest = format!("{folder}/Cargo.toml");
        let mut tree = cargo(&["tree", "--quiet", "--locked", "--depth", "0", "--manifest-path", &manifest]);
        run_command(&mut tree).with_context(|| {
            format!("run: cp Cargo.lock {folder}/ && cargo update --workspace --manifest-path {manifest}")
        })?;
    }
    Ok(())
}

/// libFuzzer prints the seed when it begins and the executions when it ends.
fn fuzz(target: &Target, options: &Options) -> Result<()> {
    let corpus = built().join("corpus").join(target.name);
    let found = built().join("found").join(target.name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&found)?;
    let mut fuzz = command(built().join(machine()).join("release").join(target.name), &[]);
    fuzz.arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-rss_limit_mb={RSS_LIMIT_MB}"))
        .arg(format!("-timeout={TIMEOUT_S}"))
        .arg(format!("-max_len={}", target.max_len))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_final_stats=1", "-verbosity=1", "-reload=0"]);
    if let Some(seed) = options.seed {
        fuzz.arg(format!("-seed={seed}"));
    }
    run_command(fuzz.arg(corpus).args(target.seeds))
}
