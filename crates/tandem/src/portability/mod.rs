//! Keeps the ported numbers of a node in step with files: a base, and a folder into which deltas come.
//!
//! Once a second the files are looked at. A base that is new or another one is read in the background and takes the place of
//! all there was, with the deltas that follow it; a delta named for its serial, such as `42.delta`, is applied once the
//! state is that of the serial before. A file that cannot be used changes nothing: calls go on by the last state, and the
//! log, the metrics and the nodes page say why, until another file is there.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use tandem_model::{E164, PortedError, Reason};
use tandem_routing::{PortedNumbers, SharedTable, port};
use tokio::task::spawn_blocking;

use file::{FileError, read_base, read_delta};

pub mod command;
pub mod file;

/// Time between two looks at the files.
const EVERY: Duration = Duration::from_secs(1);

/// What names of deltas end in.
const DELTA: &str = "delta";

/// Where ported numbers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortabilitySettings {
    /// The base; `None` where the node holds no ported numbers.
    pub file: Option<PathBuf>,
    /// Into which deltas come, if any do.
    pub deltas: Option<PathBuf>,
}

/// What a node says of its ported numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortedState {
    /// How many it holds, and by which serial; `None` before the first are loaded.
    pub held: Option<(u64, u64)>,
    /// Why the newest file is not used.
    pub fault: Option<Reason>,
}

/// The state as others read it.
pub type SharedState = Arc<ArcSwap<PortedState>>;

/// See the module.
pub struct PortabilityKeeper {
    files: Files,
    table: SharedTable,
    metrics: Metrics,
    state: SharedState,
    /// States of before that somebody may still read. To free one takes long, and whoever carries calls must not be the last
    /// to hold it.
    retired: Vec<PortedNumbers>,
}

impl PortabilityKeeper {
    /// A keeper that puts ported numbers into `table`.
    ///
    /// # Errors
    /// When `registry` has metrics of these names already.
    pub fn new(
        settings: PortabilitySettings,
        table: SharedTable,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            files: Files::new(settings),
            table,
            metrics: Metrics::register(registry)?,
            state: SharedState::default(),
            retired: Vec::new(),
        })
    }

    /// What it says of the numbers.
    pub fn state(&self) -> SharedState {
        self.state.clone()
    }

    /// Keeps the table in step for ever; drop the future to stop.
    pub async fn run(mut self) -> Infallible {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // A base of a hundred million numbers takes many seconds.
            self = spawn_blocking(move || {
                self.look();
                self
            })
            .await
            .expect("looking at files does not panic");
        }
    }

    /// Looks at the files once.
    pub fn look(&mut self) {
        let before = self.files.numbers.clone();
        let (is_changed, error) = self.files.look();
        let numbers = self.files.held();
        if let Some(numbers) = numbers.filter(|_| is_changed) {
            tracing::info!(
                serial = numbers.serial(),
                numbers = numbers.len(),
                "the ported numbers have changed"
            );
            port(&self.table, numbers);
            self.retired.push(before);
        }
        self.retired.retain(PortedNumbers::is_shared);
        if let Some(error) = error {
            let code = error.reason().code();
            tracing::warn!(%error, code, "a file of ported numbers is not used; calls go by the last state");
        }
        let fault = self.files.fault.as_ref().map(|(_, reason)| *reason);
        self.metrics.show(numbers, fault);
        let held = numbers.map(|numbers| (numbers.len() as u64, numbers.serial()));
        self.state.store(Arc::new(PortedState { held, fault }));
    }
}

/// The state that the files make, with those numbers alone that are `wanted`; and why it is not that of the newest file,
/// where it is not.
pub fn look_up(
    settings: &PortabilitySettings,
    wanted: HashSet<E164>,
) -> Result<(PortedNumbers, Option<FileError>), FileError> {
    let mut files = Files { wanted: Some(wanted), ..Files::new(settings.clone()) };
    match files.look() {
        (_, Some(error)) if files.base.is_none() => Err(error),
        (_, error) => Ok((files.numbers, error)),
    }
}

/// What tells a file from the one that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    /// Its inode, its octets, and when it was changed; nothing where there is none.
    is: Option<(u64, u64, i64, i64)>,
}

impl Stamp {
    fn of(path: PathBuf) -> Self {
        let is = fs::metadata(&path).ok().map(|it| (it.ino(), it.len(), it.mtime(), it.mtime_nsec()));
        Self { path, is }
    }
}

/// The files, and the state that they have made so far.
struct Files {
    settings: PortabilitySettings,
    /// Only these are kept; all, where there are none.
    wanted: Option<HashSet<E164>>,
    numbers: PortedNumbers,
    /// The base of that state; none before the first was read.
    base: Option<Stamp>,
    /// The file that is not used, and why: it is told once, and the file not read again.
    fault: Option<(Stamp, Reason)>,
}

/// A file that is not used, and why; `None` where that was told before.
type Fault = (Stamp, Option<FileError>);

impl Files {
    fn new(settings: PortabilitySettings) -> Self {
        Self { settings, wanted: None, numbers: PortedNumbers::default(), base: None, fault: None }
    }

    /// The state, if there is one.
    fn held(&self) -> Option<&PortedNumbers> {
        self.base.as_ref().map(|_| &self.numbers)
    }

    /// Takes in what is new. Says whether the state is another one now, and what is newly wrong.
    fn look(&mut self) -> (bool, Option<FileError>) {
        let before = self.fault.take();
        let mut is_changed = false;
        match self.read(before.as_ref().map(|(stamp, _)| stamp), &mut is_changed) {
            Ok(()) => (is_changed, None),
            Err((_, None)) => {
                self.fault = before;
                (is_changed, None)
            }
            Err((stamp, Some(error))) => {
                self.fault = Some((stamp, error.reason()));
                (is_changed, Some(error))
            }
        }
    }

    /// Reads what is new, up to the first file that cannot be used; one that is known for that is not read again.
    fn read(&mut self, known: Option<&Stamp>, is_changed: &mut bool) -> Result<(), Fault> {
        let Some(path) = self.settings.file.clone() else { return Ok(()) };
        let stamp = Stamp::of(path);
        if self.base.as_ref() != Some(&stamp) {
            if known == Some(&stamp) {
                return Err((stamp, None));
            }
            match read_base(&stamp.path, |number| self.wants(number)) {
                Ok(numbers) => self.numbers = numbers,
                Err(error) => return Err((stamp, Some(error))),
            }
            (self.base, *is_changed) = (Some(stamp), true);
        }
        while let Some(folder) = self.settings.deltas.clone() {
            let following = self.numbers.serial().saturating_add(1);
            let stamp = Stamp::of(folder.join(format!("{following}.{DELTA}")));
            let next = match stamp.is {
                Some(_) if known == Some(&stamp) => return Err((stamp, None)),
                Some(_) => self.after(&stamp.path),
                None => match later(&folder, following) {
                    Ok(None) => break,
                    _ if known == Some(&stamp) => return Err((stamp, None)),
                    Ok(Some(serial)) => {
                        let error = PortedError::OutOfOrder { serial, state: self.numbers.serial() };
                        Err(FileError::Refused { path: folder, error })
                    }
                    Err(error) => Err(FileError::Unreadable { path: folder, error }),
                },
            };
            match next {
                Ok(numbers) => (self.numbers, *is_changed) = (numbers, true),
                Err(error) => return Err((stamp, Some(error))),
            }
        }
        Ok(())
    }

    fn wants(&self, number: E164) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&number))
    }

    /// The state after a delta.
    fn after(&self, path: &Path) -> Result<PortedNumbers, FileError> {
        let delta = read_delta(path, |number| self.wants(number))?;
        self.numbers.apply(&delta).map_err(|error| FileError::Refused { path: path.to_owned(), error })
    }
}

/// The first serial after `following` of which there is a delta.
fn later(folder: &Path, following: u64) -> io::Result<Option<u64>> {
    let mut first: Option<u64> = None;
    for entry in fs::read_dir(folder)? {
        let path = PathBuf::from(entry?.file_name());
        if path.extension().is_some_and(|extension| extension == DELTA)
            && let Some(serial) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
            && serial > following
        {
            first = Some(first.map_or(serial, |first| first.min(serial)));
        }
    }
    Ok(first)
}

/// Reasons for which a file is not used.
const FAULTS: [Reason; 7] = [
    Reason::PortedFileUnreadable,
    Reason::PortedFileMalformed,
    Reason::PortedDeltaOutOfOrder,
    Reason::PortedNumberRepeated,
    Reason::PortedNumberExists,
    Reason::PortedNumberUnknown,
    Reason::PortedNetworksTooMany,
];

struct Metrics {
    numbers: IntGauge,
    serial: IntGauge,
    bytes: IntGauge,
    fault: IntGaugeVec,
}

impl Metrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let help = "Whether the newest file of ported numbers is not used, by reason.";
        let fault = IntGaugeVec::new(Opts::new("tandem_ported_numbers_fault", help), &["reason"])?;
        registry.register(Box::new(fault.clone()))?;
        for reason in FAULTS {
            fault.with_label_values(&[reason.code()]);
        }
        Ok(Self {
            numbers: gauge("tandem_ported_numbers", "Ported numbers that the node holds.")?,
            serial: gauge("tandem_ported_numbers_serial", "Serial of the state that they are in.")?,
            bytes: gauge("tandem_ported_numbers_bytes", "Memory of the ported numbers, estimated.")?,
            fault,
        })
    }

    fn show(&self, numbers: Option<&PortedNumbers>, fault: Option<Reason>) {
        if let Some(numbers) = numbers {
            self.numbers.set(numbers.len() as i64);
            self.serial.set(numbers.serial().cast_signed());
            self.bytes.set(numbers.bytes() as i64);
        }
        for reason in FAULTS {
            self.fault.with_label_values(&[reason.code()]).set((Some(reason) == fault).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use tandem_model::{PortedChange, PortedDelta, PortedNumber};
    use tandem_routing::{PortedLoad, RouteTable, shared};

    use super::*;
    use file::{write_base, write_delta};

    const FIRST: &str = "+441632960001";
    const SECOND: &str = "+441632960002";

    fn ported(number: &str, rn: &str) -> PortedNumber {
        PortedNumber { number: number.parse().expect("a number"), rn: rn.parse().expect("a routing number") }
    }

    /// A node with a folder of its own.
    struct Node {
        keeper: PortabilityKeeper,
        folder: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a directory");
            let settings = PortabilitySettings {
                file: Some(folder.path().join("numbers.base")),
                deltas: Some(folder.path().join("deltas")),
            };
            fs::create_dir(folder.path().join("deltas")).expect("the folder is ours");
            let table = shared(RouteTable::empty());
            let keeper = PortabilityKeeper::new(settings, table, &Registry::new());
            Self { keeper: keeper.expect("a new registry"), folder }
        }

        fn base(&self, serial: u64, numbers: &[(&str, &str)]) {
            let mut load = PortedLoad::new();
            for (number, rn) in numbers {
                load.push(ported(number, rn)).expect("each is there once");
            }
            let numbers = load.finish(serial).expect("each is there once");
            write_base(&self.folder.path().join("numbers.base"), &numbers).expect("writable");
        }

        fn delta_path(&self, serial: u64) -> PathBuf {
            self.folder.path().join(format!("deltas/{serial}.delta"))
        }

        fn delta(&self, serial: u64, changes: Vec<PortedChange>) {
            write_delta(&self.delta_path(serial), &PortedDelta { serial, changes }).expect("writable");
        }

        /// Serial and routing numbers of the two numbers, as the table has them after a look, and the fault.
        fn look(&mut self) -> (u64, [Option<String>; 2], Option<&'static str>) {
            self.keeper.look();
            let table = self.keeper.table.load();
            let rn = |number: &str| table.ported().get(number.parse().expect("a number"));
            let rns = [FIRST, SECOND].map(|number| rn(number).map(|rn| rn.to_string()));
            let state = self.keeper.state.load();
            let faults = FAULTS
                .iter()
                .filter(|it| self.keeper.metrics.fault.with_label_values(&[it.code()]).get() == 1);
            let faults: Vec<&str> = faults.map(|it| it.code()).collect();
            assert_eq!(faults, state.fault.iter().map(|it| it.code()).collect::<Vec<_>>());
            (table.ported().serial(), rns, state.fault.map(Reason::code))
        }
    }

    fn rns(first: &str, second: &str) -> [Option<String>; 2] {
        [first, second].map(|rn| (!rn.is_empty()).then(|| rn.to_owned()))
    }

    #[test]
    fn a_base_and_the_deltas_that_follow_it_are_taken_in_their_order_and_once() {
        let mut node = Node::new();
        assert_eq!(node.look(), (0, rns("", ""), Some("ported_file_unreadable")));
        node.base(41, &[(FIRST, "+4411")]);
        node.delta(43, vec![PortedChange::Remove { number: FIRST.parse().expect("a number") }]);
        assert_eq!(node.look(), (41, rns("+4411", ""), Some("ported_delta_out_of_order")));
        assert_eq!(node.look().2, Some("ported_delta_out_of_order"));
        node.delta(42, vec![PortedChange::Add(ported(SECOND, "+4412"))]);
        assert_eq!(node.look(), (43, rns("", "+4412"), None));
        assert_eq!(node.look(), (43, rns("", "+4412"), None));
        node.delta(44, vec![PortedChange::Change(ported(SECOND, "+4413"))]);
        assert_eq!(node.look(), (44, rns("", "+4413"), None));
        // A later base takes the place of all that, and older deltas are none of its.
        node.base(50, &[(FIRST, "+4411")]);
        assert_eq!(node.look(), (50, rns("+4411", ""), None));
        assert_eq!(node.keeper.state.load().held, Some((1, 50)));
    }

    #[test]
    fn a_file_that_cannot_be_used_leaves_the_last_state_in_force_until_another_is_there() {
        let mut node = Node::new();
        node.base(1, &[(FIRST, "+4411")]);
        for (changes, code) in [
            (vec![PortedChange::Add(ported(FIRST, "+4412"))], "ported_number_exists"),
            (vec![PortedChange::Change(ported(SECOND, "+4412"))], "ported_number_unknown"),
            (vec![PortedChange::Add(ported(SECOND, "+4412")); 2], "ported_number_repeated"),
        ] {
            node.delta(2, changes);
            assert_eq!(node.look(), (1, rns("+4411", ""), Some(code)));
            assert_eq!(node.look(), (1, rns("+4411", ""), Some(code)));
        }
        let whole = fs::read(node.delta_path(2)).expect("readable");
        fs::write(node.delta_path(2), &whole[..20]).expect("writable");
        assert_eq!(node.look(), (1, rns("+4411", ""), Some("ported_file_malformed")));
        node.delta(2, vec![PortedChange::Add(ported(SECOND, "+4412"))]);
        assert_eq!(node.look(), (2, rns("+4411", "+4412"), None));
        fs::write(node.folder.path().join("numbers.base"), "number,rn\n").expect("writable");
        assert_eq!(node.look(), (2, rns("+4411", "+4412"), Some("ported_file_malformed")));
        node.base(1, &[(SECOND, "+4413")]);
        fs::remove_file(node.delta_path(2)).expect("it is there");
        assert_eq!(node.look(), (1, rns("", "+4413"), None));
    }

    #[test]
    fn a_state_that_a_call_still_reads_is_not_freed_by_the_call() {
        let mut node = Node::new();
        node.base(1, &[(FIRST, "+4411")]);
        node.look();
        let read = node.keeper.table.load_full();
        node.base(2, &[(SECOND, "+4412")]);
        node.look();
        let held = |node: &Node| node.keeper.retired.iter().any(|numbers| numbers.serial() == 1);
        assert!(held(&node));
        drop(read);
        node.look();
        assert!(!held(&node));
    }

    #[test]
    fn a_command_reads_only_the_numbers_that_it_wants() {
        let node = Node::new();
        node.base(1, &[(FIRST, "+4411"), ("+441632960003", "+4411")]);
        node.delta(
            2,
            vec![
                PortedChange::Change(ported("+441632960003", "+4412")),
                PortedChange::Add(ported(SECOND, "+4412")),
            ],
        );
        let wanted = HashSet::from([SECOND.parse().expect("a number")]);
        let (numbers, error) = look_up(&node.keeper.files.settings, wanted).expect("both files are whole");
        assert!(error.is_none());
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [ported(SECOND, "+4412")]);
    }
}
