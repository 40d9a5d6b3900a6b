//! `cargo xtask bench fabric`: the hub beside Kamailio under the same load, in turn.
//!
//! Both have the same members, prefixes and gateways, the same core and the same Postgres; another core plays the
//! caller and the gateways. In each repeat every system has its turn, so that a minute in which the machine was
//! slow is slow for all of them; a relay that only copies datagrams shows how good the minute was. An older hub can
//! have its turns too: what a change costs is seen where both are measured in the same minutes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::figures::{Figure, Figures};
use super::hub::{self, Hub};
use super::kamailio::{self, Kamailio, Variant};
use super::load::{Plan, Sipload};
use super::report::Values;
use super::setting::{Setting, say};
use super::system::{System, highest_rate, steady, watched};
use super::transport::Transport;
use super::{stage, usage};
use crate::machine::{Need, set_up};
use crate::process::{Background, asked_to_stop, wait_for};
use crate::run::{cargo, run as run_command};

/// Where calls come from.
pub(crate) const CALLER: &str = "127.77.0.11:5070";

/// Where calls go to.
pub(crate) const GATEWAYS: [&str; 2] = ["127.77.0.21:5060", "127.77.0.22:5060"];

const RELAY: &str = "127.77.0.74:5060";

/// The rate at which the goals are set.
pub(crate) const GOAL_RATE: u32 = 1_000;

/// Calls that are up at once, and the rates at which they come: in a rush, as fast as others end, slowly.
pub(crate) const MANY: u32 = 10_000;
const MANY_RATE: u32 = 2_500;
pub(crate) const FURTHER_RATE: u32 = 1_250;
const SLOW_RATE: u32 = 250;

/// Until a hub has done what it does once after a start.
const AFTER_START: Duration = Duration::from_secs(2);

/// A run ends after this long, whatever happens, with a table of what it has measured.
const BOUND: Duration = Duration::from_secs(25 * 60);

/// What the bench may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many prefixes the route tables have
    #[arg(long, default_value_t = 100_000)]
    prefixes: usize,
    /// What to measure; everything where nothing is named, though not streams with --quick
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// How often to measure what varies
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Once, and not all of it, in three minutes
    #[arg(long)]
    quick: bool,
    /// Only start the hub and its Postgres, say how to load them by hand, and stay until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// The hub's program; it is built where none is named
    #[arg(long, env = "TANDEM_BIN", value_name = "FILE")]
    program: Option<PathBuf>,
    /// An older program, to compare the hub with in the same run
    #[arg(long, value_name = "FILE", conflicts_with = "serve")]
    before: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// CPU per call and added latency at steady rates
    Steady,
    /// Most calls per second
    Highest,
    /// Memory per call
    Memory,
    /// CPU per call while many calls of one member are up
    Crowd,
    /// CPU per call and added latency over TCP and TLS
    Streams,
}

impl Options {
    fn program(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(|| crate::target().join("release/tandem"))
    }

    fn wants(&self, part: Part) -> bool {
        let is_left_out = self.quick && part == Part::Streams;
        self.only.contains(&part) || self.only.is_empty() && !is_left_out
    }

    fn repeats(&self) -> usize {
        if self.quick { 1 } else { self.repeats.max(1) }
    }
}

/// Builds, then measures in a network namespace of its own.
pub(crate) fn run(options: &Options) -> Result<()> {
    if stage::is_inside() {
        stage::prepare()?;
        return if options.serve { serve(options) } else { measure(options) };
    }
    stage::check()?;
    set_up(if options.serve { &[Need::Postgres] } else { &[Need::Postgres, Need::Kamailio] })?;
    if options.program.is_none() {
        run_command(&mut cargo(&["build", "--release", "--package", "tandem"]))?;
    }
    if !options.serve {
        run_command(&mut cargo(&["build", "--release", "--package", "xtask", "--bin", "sipload"]))?;
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    stage::enter(&args, (!options.serve).then_some(BOUND))
}

/// The hub and its Postgres, until Ctrl-C.
#[expect(clippy::print_stdout, reason = "what it prints is what it is for")]
fn serve(options: &Options) -> Result<()> {
    let setting = Setting::make(options.prefixes)?;
    let mut hub = setting.hub(hub::NOW, &options.program())?;
    let pid = hub.pid().expect("it has just been started");
    println!(
        "ready: nsenter --net=/proc/{pid}/ns/net -- COMMAND --label fabric --proxy {} --pids {pid} --db-pids {} \
         --uac {CALLER} --uas {} --numbers {}",
        hub::NOW.address(Transport::Udp),
        setting.postgres.pid(),
        GATEWAYS.join(","),
        setting.numbers.display(),
    );
    while !asked_to_stop() {
        hub.still_runs()?;
        sleep(Duration::from_millis(200));
    }
    let folder = setting.folder.clone();
    drop((hub, setting));
    Ok(fs::remove_dir_all(folder)?)
}

/// All systems, and what was measured so far.
pub(super) struct Run<'a> {
    options: &'a Options,
    sipload: Sipload,
    // In the order in which they are stopped: what is written to, last.
    hub: Hub,
    before: Option<Hub>,
    kamailios: Vec<kamailio::Running>,
    relay: Background,
    kamailio: Kamailio,
    setting: Setting,
    figures: Figures,
    others_share: Values,
    sync_ms: Values,
}

const HUB: &str = hub::NOW.name;

/// The column of the relay.
pub(crate) const FLOOR: &str = "relay";

/// Measures, and prints the table.
#[expect(clippy::print_stdout, reason = "the table is what it is for")]
#[expect(clippy::disallowed_methods, reason = "how long a run takes is read from the machine's clock")]
fn measure(options: &Options) -> Result<()> {
    let started = Instant::now();
    let setting = Setting::make(options.prefixes)?;
    let hub = setting.hub(hub::NOW, &options.program())?;
    let before = options.before.as_ref().map(|program| setting.hub(hub::BEFORE, program)).transpose()?;
    let Setting { folder, prefixes, postgres, certificates, .. } = &setting;
    let kamailio = Kamailio::set_up(folder, postgres, certificates, prefixes)?;
    let (program, numbers) = (crate::target().join("release/sipload"), setting.numbers.clone());
    let sipload = Sipload { program, numbers, certificate: certificates.load.clone() };
    let relay = sipload.relay(RELAY, &folder.join("relay.log"))?;
    let mut run = Run {
        options,
        sipload,
        hub,
        before,
        kamailios: Vec::new(),
        relay,
        kamailio,
        setting,
        figures: Figures::default(),
        others_share: Values::default(),
        sync_ms: Values::default(),
    };
    run.start_kamailios(&Variant::ALL, Transport::Udp)?;
    let outcome = run.measure();
    // What was measured until then is worth a look in any case.
    println!("\n{}", run.figures.report());
    println!(
        "{} prefixes, {} repeats, {:.0} s. Work that is not the bench's had {:.0} % of the cores; a write took {} ms \
         to be on the disk.",
        options.prefixes,
        options.repeats(),
        started.elapsed().as_secs_f64(),
        run.others_share.median().unwrap_or(0.0) * 100.0,
        run.sync_ms.text(),
    );
    println!("Kamailio's octets are those that its allocator gave out, the hub's those that it grew by.");
    let folder = run.setting.folder.clone();
    drop(run);
    match outcome {
        Ok(()) => Ok(fs::remove_dir_all(folder)?),
        Err(error) => Err(error.context(format!("the logs are in {}", folder.display()))),
    }
}

impl Run<'_> {
    fn measure(&mut self) -> Result<()> {
        self.note_disk()?;
        if self.options.wants(Part::Steady) {
            self.measure_steady()?;
        }
        if self.options.wants(Part::Highest) {
            self.measure_highest()?;
        }
        if self.options.wants(Part::Crowd) {
            self.measure_crowd()?;
        }
        if self.options.wants(Part::Memory) {
            self.measure_memory()?;
        }
        // Last, since the gateways are called by another transport from there on.
        if self.options.wants(Part::Streams) {
            self.measure_streams()?;
        }
        self.note_disk()
    }

    fn note_disk(&mut self) -> Result<()> {
        self.sync_ms.0.push(stage::sync_ms(&self.setting.folder)?);
        Ok(())
    }

    /// These variants, instead of those that run.
    fn start_kamailios(&mut self, variants: &[Variant], transport: Transport) -> Result<()> {
        self.kamailios.clear();
        for &variant in variants {
            self.kamailios.push(self.kamailio.start(variant, transport)?);
        }
        Ok(())
    }

    /// The hub, and these variants instead of those that run, with the gateways called by another transport. An older
    /// hub, which has none but UDP, ends.
    pub(super) fn reach_gateways_by(&mut self, transport: Transport, variants: &[Variant]) -> Result<()> {
        self.kamailios.clear();
        self.before = None;
        self.hub.reach_gateways_by(transport, &self.setting.prefixes)?;
        self.kamailio.reach_gateways_by(transport, &self.setting.postgres)?;
        self.start_kamailios(variants, transport)?;
        sleep(AFTER_START);
        Ok(())
    }

    pub(super) fn repeats(&self) -> usize {
        self.options.repeats()
    }

    /// Those that run, in the order of the table's columns.
    pub(super) fn systems(&self) -> Result<Vec<System>> {
        let database = self.setting.postgres.pid();
        let hubs = std::iter::once(&self.hub).chain(&self.before).map(|hub| hub.system(database));
        let mut systems = hubs.collect::<Result<Vec<_>>>()?;
        systems.extend(self.kamailios.iter().map(|running| running.system(database)));
        let (address, transport) = (RELAY.to_owned(), Transport::Udp);
        systems.push(System { name: FLOOR, address, transport, pid: self.relay.id(), database: None });
        Ok(systems)
    }

    fn note(&mut self, figure: Figure, system: &'static str, value: f64) {
        self.figures.note(figure, system, value);
    }

    fn measure_steady(&mut self) -> Result<()> {
        let rates = if self.options.quick { &[GOAL_RATE][..] } else { &[GOAL_RATE, 2 * GOAL_RATE] };
        let (before, mut completed) = (self.cdrs()?, 0);
        for repeat in 1..=self.repeats() {
            for &rate in rates {
                let mut systems = self.systems()?;
                // None is always the first, nor always after the same one.
                if repeat % 2 == 0 {
                    systems.reverse();
                }
                for system in systems {
                    completed += self.measure_one(repeat, &system, rate)?;
                }
            }
        }
        self.check_cdrs(before + completed)
    }

    /// What a call takes of one system at a steady rate; what is returned is how many CDRs it owes.
    pub(super) fn measure_one(&mut self, repeat: usize, system: &System, rate: u32) -> Result<u64> {
        let seconds = if self.options.quick { 2.5 } else { 3.0 };
        let taken = steady(&self.sipload, system, rate, seconds)?;
        let (name, transport, outcome) = (system.name, system.transport, &taken.outcome);
        say(format!(
            "{repeat}: {name} over {transport} at {rate} calls/s: {:.0} us + {:.0} us of Postgres a call, {} bad {}",
            taken.program_us, taken.database_us, outcome.bad, outcome.refusals,
        ));
        self.note(Figure::Program(transport, rate), name, taken.program_us);
        self.note(Figure::Bad(transport, rate), name, outcome.bad_share() * 100.0);
        if !system.is_relay() {
            let both = taken.program_us + taken.database_us;
            self.note(Figure::WithDatabase(transport, rate), name, both);
        }
        if rate == GOAL_RATE {
            self.note(Figure::SetupP50(transport), name, outcome.setup_p50_us.unwrap_or(f64::NAN));
            self.note(Figure::SetupP99(transport), name, outcome.setup_p99_us.unwrap_or(f64::NAN));
        }
        self.others_share.0.push(taken.others_share);
        let writes_cdrs = !system.is_relay() && name != Variant::Lean.name();
        Ok(if writes_cdrs { outcome.completed } else { 0 })
    }

    /// CDRs that the systems have written so far.
    pub(super) fn cdrs(&self) -> Result<u64> {
        let count = |database: &str, rows: &str| -> Result<u64> {
            let said = self.setting.postgres.sql(database, &format!("select count(*) from {rows}"))?;
            Ok(said.parse()?)
        };
        let mut written = count("kamailio", "cdr")?;
        for place in [Some(hub::NOW), self.before.as_ref().map(|_| hub::BEFORE)].into_iter().flatten() {
            written += count(place.database, "call where outcome = 'answered'")?;
        }
        Ok(written)
    }

    /// An error where a system has answered calls without writing their CDRs: it had less work than the others.
    pub(super) fn check_cdrs(&self, owed: u64) -> Result<()> {
        wait_for("a CDR of each call", Duration::from_secs(20), || Ok(self.cdrs()? >= owed))
    }

    fn measure_highest(&mut self) -> Result<()> {
        let seconds = if self.options.quick { 1.5 } else { 3.0 };
        // The relay shows only how good the minute is, which its CPU per call does as well.
        let mut near: HashMap<&str, Option<usize>> = HashMap::new();
        for _ in 0..self.options.repeats().min(2) {
            self.note_disk()?;
            for system in self.systems()?.iter().filter(|system| !system.is_relay()) {
                if self.options.quick && system.name == Variant::CdrAsync.name() {
                    continue;
                }
                let near = near.entry(system.name).or_default();
                let rate = highest_rate(&self.sipload, system, seconds, near)?;
                say(format!("{}: {rate} calls/s at most", system.name));
                self.note(Figure::HighestRate, system.name, rate);
            }
        }
        Ok(())
    }

    /// CPU per call with few calls up, then with many of one member, then with few again.
    fn measure_crowd(&mut self) -> Result<()> {
        let hold = Duration::from_secs(u64::from(MANY / FURTHER_RATE));
        let window = Duration::from_secs(4);
        for system in self.systems()?.into_iter().filter(|system| !system.is_relay()) {
            if system.name == Variant::CdrAsync.name() || (self.options.quick && system.name != HUB) {
                continue;
            }
            let alone = |run: &Self| steady(&run.sipload, &system, FURTHER_RATE, 3.0);
            let before = alone(self)?;
            let after = hold + Duration::from_millis(800);
            let plan = Plan {
                calls_per_second: FURTHER_RATE,
                calls: FURTHER_RATE * (after + window).as_secs() as u32 + FURTHER_RATE / 2,
                hold_ms: hold.as_millis() as u32,
            };
            let crowded = watched(&self.sipload, &system, plan, after, window)?;
            let again = alone(self)?;
            say(format!(
                "{} at {FURTHER_RATE} calls/s: {:.0} us a call, {:.0} us with {MANY} up ({} bad), {:.0} us again",
                system.name, before.program_us, crowded.program_us, crowded.outcome.bad, again.program_us,
            ));
            self.note(Figure::Alone, system.name, (before.program_us + again.program_us) / 2.0);
            self.note(Figure::Crowded, system.name, crowded.program_us);
            self.note(Figure::BadInCrowd, system.name, crowded.outcome.bad_share() * 100.0);
        }
        Ok(())
    }

    /// Memory per call, each time of a system that has just been started.
    fn measure_memory(&mut self) -> Result<()> {
        self.kamailios.clear();
        let finished = Plan { calls_per_second: MANY_RATE, calls: MANY, hold_ms: 50 };
        let held = Plan { hold_ms: 120_000, ..finished };
        let placing = Duration::from_secs(u64::from(MANY / MANY_RATE));
        // Kamailio forgets a transaction after 5 s, the hub after the 32 s of Timers H, L and M.
        let (of_hub, of_kamailio) = (Duration::from_secs(36), Duration::from_secs(8));
        let per_call = |now: u64, before: u64| (now as f64 - before as f64) / f64::from(MANY);

        // The hub's allocator cannot be asked, and what was freed before is used again before it grows:
        // so it is what the second ten thousand calls add that counts.
        let twice = |plan: Plan| Plan { calls: 2 * MANY, ..plan };
        // Slowly enough that as many transactions end as begin while the second ten thousand come.
        let slowly = Plan { calls_per_second: SLOW_RATE, ..held };
        let of_slow = Duration::from_secs(u64::from(MANY / SLOW_RATE));
        for (plan, first, second, figure) in [
            (finished, placing, placing, Figure::FinishedOctets),
            (held, placing, placing, Figure::NewOctets),
            (slowly, of_hub, of_slow, Figure::HeldOctets),
        ] {
            if self.options.quick && figure == Figure::HeldOctets {
                continue;
            }
            self.restart_hub(Hub::start_without_reserve)?;
            let hub = self.hub.system(self.setting.postgres.pid())?;
            let load = self.sipload.start(&hub, twice(plan))?;
            sleep(first);
            let before = usage::memory(hub.pid);
            sleep(second);
            let octets = per_call(usage::memory(hub.pid), before);
            say(format!("hub: {octets:.0} octets a call"));
            self.note(figure, HUB, octets);
            drop(load);
        }
        self.restart_hub(Hub::start)?;

        for variant in [Variant::Lean, Variant::Cdr] {
            if self.options.quick && variant == Variant::Lean {
                continue;
            }
            for (plan, wait, figure) in [
                (finished, Duration::ZERO, Figure::FinishedOctets),
                (held, Duration::ZERO, Figure::NewOctets),
                (held, of_kamailio, Figure::HeldOctets),
            ] {
                let running = self.kamailio.start(variant, Transport::Udp)?;
                let system = running.system(self.setting.postgres.pid());
                let idle = running.allocated()?;
                let load = self.sipload.start(&system, plan)?;
                sleep(placing + Duration::from_millis(300) + wait);
                let octets = per_call(running.allocated()?, idle);
                say(format!("{}: {octets:.0} octets a call", system.name));
                self.note(figure, system.name, octets);
                drop(load);
            }
        }
        Ok(())
    }

    /// With the same data and nothing up.
    fn restart_hub(&mut self, start: impl FnOnce(&mut Hub) -> Result<()>) -> Result<()> {
        self.hub.stop();
        start(&mut self.hub)?;
        sleep(AFTER_START);
        Ok(())
    }
}
