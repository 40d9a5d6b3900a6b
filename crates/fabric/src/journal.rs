//! The node's local log of calls: what happened, before anyone is told that it happened.
//!
//! A journal is a folder of numbered segments. Each record is framed by its length and a checksum, so a cut
//! or damaged tail is found and everything before it is read. A segment begins with every call that is up,
//! then a checkpoint: a node that starts reads the newest segment that has one, and what follows it.
//!
//! Written with `write(2)` before the messages of the same batch leave, so it survives the end of the
//! process; what tells of an answer waits for the disk, too (see [`crate::flusher`]), so that it outlives a
//! power cut.
//!
//! Records are in the postcard format; a segment begins with the version of what is in it.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tandem_model::CallId;

use crate::record::{Record, UpRecord};

/// Octets after which a new segment is begun.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Most octets kept in memory while the disk refuses them; new calls are refused long before.
const MAX_PENDING_BYTES: usize = 64 << 20;

/// Octets before a record: its length and its checksum, both little-endian.
const FRAME_BYTES: usize = 8;

/// How long before the last end of a call another one ended last, too: a write that waits for the disk takes less.
const JUST_ENDED: Duration = Duration::from_millis(500);

/// Most octets of one record; a longer length is damage.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// How a segment begins; then come the version and the checksum of both.
const MAGIC: &[u8; 7] = b"tandem\n";

/// The version of [`Record`]: raise it with every change of that.
const VERSION: u8 = 11;

/// The first version with a checksum in its header.
const FIRST_WITH_CHECKSUM: u8 = 4;

/// Octets of the header.
const HEADER_BYTES: usize = 12;

/// The end of the journal, where records are added.
pub(crate) struct Journal {
    dir: PathBuf,
    file: Arc<File>,
    /// Segments that are full and not yet asked to be flushed.
    full: Vec<Arc<File>>,
    segment: u64,
    /// Octets of this segment.
    written: u64,
    /// Octets of all segments since the start: the mark of what was written last.
    mark: u64,
    pending: Vec<u8>,
    /// Whether something pending must be written with this batch.
    urgent: bool,
    failing: bool,
    flush_failing: bool,
    /// Whether what the segment holds may not be on the disk, whatever the disk says.
    distrusted: bool,
}

impl Journal {
    /// Opens the journal in `dir` with a new segment, and tells which calls were up.
    ///
    /// # Errors
    /// When the folder or its files cannot be read or written.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Vec<UpRecord<'static>>)> {
        fs::create_dir_all(dir)?;
        let segments = segments(dir)?;
        let (up, damage) = recover(dir, &segments)?;
        for Position { segment, offset } in damage {
            tracing::warn!(segment, offset, "the journal is incomplete or damaged here");
        }
        let segment = segments.last().map_or(1, |last| last + 1);
        let file = create_segment(dir, segment)?;
        let journal = Self {
            dir: dir.to_owned(),
            file,
            full: Vec::new(),
            segment,
            written: 0,
            mark: 0,
            pending: header(VERSION).to_vec(),
            urgent: true,
            failing: false,
            flush_failing: false,
            distrusted: false,
        };
        Ok((journal, up))
    }

    /// A journal that keeps nothing.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn nowhere() -> Self {
        let file = OpenOptions::new().write(true).open("/dev/null").expect("it is always there");
        Self {
            dir: PathBuf::new(),
            file: Arc::new(file),
            full: Vec::new(),
            segment: 1,
            written: 0,
            mark: 0,
            pending: Vec::new(),
            urgent: false,
            failing: false,
            flush_failing: false,
            distrusted: false,
        }
    }

    /// Adds a record to what the next [`commit`](Self::commit) writes.
    pub(crate) fn append(&mut self, record: &Record<'_>) {
        self.urgent = true;
        self.append_later(record);
    }

    /// Adds a record that need not be written before something else is, or [`hurry`](Self::hurry) is called.
    pub(crate) fn append_later(&mut self, record: &Record<'_>) {
        if self.pending.len() >= MAX_PENDING_BYTES {
            tracing::error!("the journal cannot be written and its memory is full; a record is lost");
            return;
        }
        let start = self.pending.len();
        self.pending.extend_from_slice(&[0; FRAME_BYTES]);
        self.pending = postcard::to_extend(record, std::mem::take(&mut self.pending))
            .expect("a vector takes every record");
        let payload = &self.pending[start + FRAME_BYTES..];
        let (len, sum) = (payload.len() as u32, crc32fast::hash(payload));
        self.pending[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.pending[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
    }

    /// Lets the next [`commit`](Self::commit) write everything.
    pub(crate) fn hurry(&mut self) {
        self.urgent = true;
    }

    /// Writes what was appended. What cannot be written is kept and tried again.
    ///
    /// # Errors
    /// What the disk said.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        while self.urgent && !self.pending.is_empty() {
            match (&*self.file).write(&self.pending) {
                Ok(0) => return self.fail(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.pending.drain(..n);
                    self.written += n as u64;
                    self.mark += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.fail(error),
            }
        }
        self.urgent = false;
        self.failing = false;
        Ok(())
    }

    /// Brings what was appended to the disk, now.
    ///
    /// # Errors
    /// What the disk said.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.hurry();
        self.commit()?;
        self.file.sync_data()
    }

    fn fail(&mut self, error: io::Error) -> io::Result<()> {
        self.failing = true;
        Err(error)
    }

    /// The files to flush so that everything written is on the disk, and the mark of that.
    pub(crate) fn take_files(&mut self) -> (impl Iterator<Item = Arc<File>>, u64) {
        let files = std::mem::take(&mut self.full).into_iter().chain([Arc::clone(&self.file)]);
        (files, self.mark)
    }

    /// The mark of what is written.
    pub(crate) fn written_mark(&self) -> u64 {
        self.mark
    }

    /// The mark of what was appended, once it is written.
    pub(crate) fn end_mark(&self) -> u64 {
        self.mark + self.pending.len() as u64
    }

    /// Says whether the disk refused the last flush.
    pub(crate) fn set_flush_failing(&mut self, failing: bool) {
        self.flush_failing = failing;
    }

    /// Whether the disk refused the last write.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.failing
    }

    /// Whether the disk refused the last write or flush.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing || self.flush_failing
    }

    /// Puts another file in the place of that of the segment, and gives that one.
    #[cfg(test)]
    pub(crate) fn replace_file(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }

    /// Notes that a flush failed: the segment is not relied on any more.
    pub(crate) fn distrust(&mut self) {
        self.distrusted = true;
    }

    /// Whether a flush of the segment failed; to flush it again would tell nothing.
    pub(crate) fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// Whether [`rotate`](Self::rotate) is due: the segment is full, or not relied on.
    pub(crate) fn needs_segment(&self) -> bool {
        (self.distrusted || self.written >= SEGMENT_BYTES) && !self.failing
    }

    /// Begins a new segment. The caller appends every call that is up, then a checkpoint.
    ///
    /// # Errors
    /// What the disk said; the old segment stays in use.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        let next = create_segment(&self.dir, self.segment + 1)?;
        self.full.push(std::mem::replace(&mut self.file, next));
        if std::mem::take(&mut self.distrusted) {
            self.full.clear();
        }
        self.segment += 1;
        self.written = 0;
        self.pending.splice(..0, header(VERSION));
        Ok(())
    }
}

/// Where a reader of the journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Reads records of one segment from `position` on, at most about `limit` octets, and tells where it stopped.
///
/// Damage or a torn tail ends a segment: when a later segment exists, reading goes on there.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn read(
    dir: &Path,
    position: Position,
    limit: usize,
) -> io::Result<(Vec<Record<'static>>, Position)> {
    let mut at = position;
    for segment in segments(dir)?.into_iter().filter(|&segment| segment >= position.segment) {
        if segment != at.segment {
            at = Position { segment, offset: 0 };
        }
        let path = segment_path(dir, segment);
        if at.offset == 0 {
            match Head::of(&read_from(&path, 0, HEADER_BYTES)?) {
                Head::Own | Head::Damaged => at.offset = HEADER_BYTES as u64,
                Head::Torn => continue,
                Head::OtherVersion => return Err(other_version(&path)),
            }
        }
        let octets = read_from(&path, at.offset, limit)?;
        let mut frames = Frames { octets: &octets, offset: 0 };
        let records: Vec<Record<'static>> = frames.by_ref().collect();
        at.offset += frames.offset as u64;
        if !records.is_empty() {
            return Ok((records, at));
        }
    }
    Ok((Vec::new(), at))
}

/// Deletes the segments before `segment`, whose checkpoint takes their place: that is brought to the disk first.
///
/// # Errors
/// When a file cannot be flushed or deleted.
pub(crate) fn discard_before(dir: &Path, segment: u64) -> io::Result<()> {
    File::open(segment_path(dir, segment))?.sync_data()?;
    for old in segments(dir)?.into_iter().filter(|&old| old < segment) {
        fs::remove_file(segment_path(dir, old))?;
    }
    Ok(())
}

/// The first position of the journal.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn beginning(dir: &Path) -> io::Result<Position> {
    Ok(Position { segment: segments(dir)?.first().copied().unwrap_or(1), offset: 0 })
}

/// Octets of all segments together.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn size(dir: &Path) -> io::Result<u64> {
    segments(dir)?.into_iter().map(|segment| Ok(fs::metadata(segment_path(dir, segment))?.len())).sum()
}

/// The calls that are up by the newest checkpoint and what follows it, the oldest call first; and where what was
/// read for that is damaged.
fn recover(dir: &Path, segments: &[u64]) -> io::Result<(Vec<UpRecord<'static>>, Vec<Position>)> {
    let mut tail: Vec<Vec<Record<'static>>> = Vec::new();
    let mut damage = Vec::new();
    for &segment in segments.iter().rev() {
        let path = segment_path(dir, segment);
        let octets = fs::read(&path)?;
        // The checkpoint to come takes its place, and must not be on the disk before it.
        File::open(&path)?.sync_data()?;
        let Some((records, damaged)) = read_segment(&octets) else { return Err(other_version(&path)) };
        damage.extend(damaged.into_iter().map(|offset| Position { segment, offset }));
        let has_checkpoint = records.iter().any(|record| matches!(record, Record::Checkpoint));
        tail.push(records);
        if has_checkpoint {
            break;
        }
    }
    Ok((replay(tail.into_iter().rev().flatten()), damage))
}

/// The calls that are up after these records, the oldest first, and with them those that ended last: the members
/// may not have been told. Their CDR says that they are over.
pub(crate) fn replay(records: impl Iterator<Item = Record<'static>>) -> Vec<UpRecord<'static>> {
    let mut up: HashMap<CallId, UpRecord<'static>> = HashMap::new();
    let mut over: VecDeque<UpRecord<'static>> = VecDeque::new();
    for record in records {
        match record {
            Record::Up(call) => drop(up.insert(call.cdr.call_id, *call)),
            Record::Acked(call_id, answered_at) => {
                if let Some(call) = up.get_mut(&call_id) {
                    (call.acked, call.answer) = (true, None);
                    call.cdr.to_mut().answered_at = answered_at.or(call.cdr.answered_at);
                }
            }
            Record::Over(cdr) => {
                let since = cdr.ended_at.map(|at| at - JUST_ENDED);
                while over.front().is_some_and(|first| first.cdr.ended_at < since) {
                    over.pop_front();
                }
                if let Some(call) = up.remove(&cdr.call_id) {
                    over.push_back(UpRecord { cdr, answer: None, ..call });
                }
            }
            Record::Checkpoint => {}
        }
    }
    let mut up: Vec<UpRecord> = up.into_values().chain(over).collect();
    up.sort_by_key(|call| call.cdr.call_id);
    up
}

/// The records of a segment up to its end or to the first that is incomplete or damaged, and the offsets of what
/// is. `None` when another version of the program wrote it.
pub(crate) fn read_segment(octets: &[u8]) -> Option<(Vec<Record<'static>>, Vec<u64>)> {
    let mut damage = Vec::new();
    match Head::of(octets) {
        Head::Own => {}
        Head::Torn if octets.is_empty() => return Some((Vec::new(), damage)),
        Head::Torn | Head::Damaged => damage.push(0),
        Head::OtherVersion => return None,
    }
    // What follows a damaged header has checksums of its own.
    let mut frames = Frames { octets, offset: HEADER_BYTES.min(octets.len()) };
    let records = frames.by_ref().collect();
    if frames.offset < octets.len() {
        damage.push(frames.offset as u64);
    }
    Some((records, damage))
}

/// The header of a segment of that version.
fn header(version: u8) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()] = version;
    let sum = crc32fast::hash(&header[..=MAGIC.len()]);
    header[MAGIC.len() + 1..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// What the beginning of a segment says of it.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// It is of this version.
    Own,
    /// The segment ends in its header, or before.
    Torn,
    /// No version wrote this.
    Damaged,
    /// Another version wrote it.
    OtherVersion,
}

impl Head {
    fn of(octets: &[u8]) -> Self {
        let own = header(VERSION);
        let Some(begin) = octets.get(..HEADER_BYTES) else {
            return if own.starts_with(octets) { Self::Torn } else { Self::Damaged };
        };
        let (version, sum) = (begin[MAGIC.len()], &begin[MAGIC.len() + 1..]);
        let is_plausible = match version {
            0 => false,
            // Records follow at once. Where this version's checksum follows it is the version that is damaged.
            1..FIRST_WITH_CHECKSUM => begin.starts_with(MAGIC) && sum != &own[MAGIC.len() + 1..],
            FIRST_WITH_CHECKSUM.. => begin == header(version),
        };
        match is_plausible {
            true if version == VERSION => Self::Own,
            true => Self::OtherVersion,
            false => Self::Damaged,
        }
    }
}

fn other_version(path: &Path) -> io::Error {
    io::Error::other(format!(
        "{} was written by another version of the program: let that version stop in good order, so that it ships \
         every CDR, then delete the journal",
        path.display()
    ))
}

/// The records in some octets; stops before the first that is incomplete or damaged.
struct Frames<'a> {
    octets: &'a [u8],
    offset: usize,
}

impl Iterator for Frames<'_> {
    type Item = Record<'static>;

    fn next(&mut self) -> Option<Record<'static>> {
        let rest = &self.octets[self.offset..];
        let len = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let sum = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?);
        if len > MAX_RECORD_BYTES {
            return None;
        }
        let payload = rest.get(FRAME_BYTES..FRAME_BYTES + len)?;
        if crc32fast::hash(payload) != sum {
            return None;
        }
        let record = read_record(payload)?;
        self.offset += FRAME_BYTES + len;
        Some(record)
    }
}

/// A segment with the header, lengths and checksums put right, so that what else is in it is read.
#[cfg(any(test, fuzzing))]
pub(crate) fn mend(octets: &[u8]) -> Vec<u8> {
    let mut mended = header(VERSION).to_vec();
    let mut rest = octets.get(HEADER_BYTES..).unwrap_or_default();
    while let Some((frame, payload)) = rest.split_at_checked(FRAME_BYTES) {
        let len = u32::from_le_bytes(frame[..4].try_into().expect("a frame begins with four octets"));
        let (payload, behind) = payload.split_at((len as usize).min(payload.len()));
        mended.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        mended.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        mended.extend_from_slice(payload);
        rest = behind;
    }
    mended
}

/// A record that owns what it says.
fn read_record(payload: &[u8]) -> Option<Record<'static>> {
    postcard::from_bytes(payload).ok()
}

fn read_from(path: &Path, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    use std::io::Seek;
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::Start(offset))?;
    let mut octets = Vec::new();
    file.take(limit as u64).read_to_end(&mut octets)?;
    Ok(octets)
}

fn segment_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:010}.journal"))
}

fn create_segment(dir: &Path, segment: u64) -> io::Result<Arc<File>> {
    let file = OpenOptions::new().append(true).create_new(true).open(segment_path(dir, segment))?;
    // A flushed file that its folder does not name is lost with the power all the same.
    File::open(dir)?.sync_all()?;
    Ok(Arc::new(file))
}

/// Numbers of the segments in `dir`, ascending.
fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "journal")
            && let Some(segment) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
        {
            segments.push(segment);
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use crate::record::CallRecord;

    use super::*;

    fn over(n: u128) -> Record<'static> {
        let id = uuid::Uuid::from_u128(n);
        Record::Over(std::borrow::Cow::Owned(CallRecord {
            cause: Default::default(),
            heard: None,
            call_id: id.into(),
            started_at: chrono::DateTime::UNIX_EPOCH,
            originating_member: id.into(),
            originating_endpoint: id.into(),
            calling: "a".into(),
            called: "b".into(),
            ingress_call_id: "c".into(),
            table_version: 1,
            selection: None,
            attempts: Default::default(),
            outcome: None,
            status: None,
            reason: None,
            answered_at: None,
            ended_at: None,
            ended_by: None,
            setup_ms: None,
            duration_ms: None,
        }))
    }

    #[test]
    fn a_reason_is_written_as_its_code_so_that_the_registry_may_grow() {
        for &reason in tandem_model::Reason::ALL {
            let octets = postcard::to_stdvec(&reason).unwrap();
            assert_eq!(octets[1..], *reason.code().as_bytes());
            assert_eq!(postcard::from_bytes(&octets), Ok(reason));
        }
    }

    fn written(records: u128) -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        for n in 0..records {
            journal.append(&over(n));
        }
        journal.commit().unwrap();
        let octets = fs::read(segment_path(dir.path(), 1)).unwrap();
        (dir, octets)
    }

    /// How many records are read, and where damage is reported.
    fn read_back(octets: &[u8]) -> (usize, Vec<u64>) {
        let (records, damage) = read_segment(octets).expect("it is of this version");
        (records.len(), damage)
    }

    /// The numbers of the records before `offset`, of `size` octets each, and where the record there begins.
    fn before(offset: usize, size: usize) -> (usize, u64) {
        let count = offset.saturating_sub(HEADER_BYTES) / size;
        (count, (HEADER_BYTES + count * size) as u64)
    }

    #[track_caller]
    fn expect_every_record_before_the_cut(octets: &[u8], cut: usize, size: usize) {
        let (count, start) = before(cut, size);
        let damage = match cut {
            0 => vec![],
            1..HEADER_BYTES => vec![0],
            _ if start == cut as u64 => vec![],
            _ => vec![start],
        };
        assert_eq!(read_back(&octets[..cut]), (count, damage), "cut at {cut}");
    }

    #[track_caller]
    fn expect_every_record_but_the_damaged(octets: &mut [u8], bit: usize, size: usize) {
        octets[bit / 8] ^= 1 << (bit % 8);
        let read = read_back(octets);
        octets[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0..HEADER_BYTES => ((octets.len() - HEADER_BYTES) / size, vec![0]),
            at => (before(at, size).0, vec![before(at, size).1]),
        };
        assert_eq!(read, expected, "bit {bit}");
    }

    #[test]
    fn a_journal_cut_at_any_octet_gives_every_record_before_the_cut() {
        let (_dir, octets) = written(5);
        let size = (octets.len() - HEADER_BYTES) / 5;
        for cut in 0..=octets.len() {
            expect_every_record_before_the_cut(&octets, cut, size);
        }
        let count = (1 << 20) / size + 1;
        let (_dir, octets) = written(count as u128);
        let size = (octets.len() - HEADER_BYTES) / count;
        for cut in (0..octets.len()).step_by(4_999) {
            expect_every_record_before_the_cut(&octets, cut, size);
        }
    }

    #[test]
    fn a_flipped_bit_loses_no_record_before_it_and_is_reported() {
        use rand::{RngExt, SeedableRng};
        let (_dir, mut octets) = written(3);
        let size = (octets.len() - HEADER_BYTES) / 3;
        for bit in 0..octets.len() * 8 {
            expect_every_record_but_the_damaged(&mut octets, bit, size);
        }
        let (_dir, mut octets) = written(200);
        let size = (octets.len() - HEADER_BYTES) / 200;
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        for _ in 0..10_000 {
            let bit = rng.random_range(0..octets.len() * 8);
            expect_every_record_but_the_damaged(&mut octets, bit, size);
        }
    }

    #[test]
    fn a_journal_with_a_damaged_header_is_read_and_one_of_another_version_is_not() {
        let (dir, mut octets) = written(2);
        octets[7] ^= 1;
        fs::write(segment_path(dir.path(), 1), &octets).unwrap();
        let (_, damage) = recover(dir.path(), &[1]).unwrap();
        assert_eq!(damage, [Position { segment: 1, offset: 0 }]);
        let (records, _) = read(dir.path(), beginning(dir.path()).unwrap(), usize::MAX).unwrap();
        assert_eq!(records.len(), 2);
        Journal::open(dir.path()).unwrap();
        let earlier = [&b"tandem\n\x03"[..], &octets[HEADER_BYTES..]].concat();
        let later = [&header(VERSION + 1)[..], b"whatever"].concat();
        for octets in [earlier, later] {
            fs::write(segment_path(dir.path(), 1), octets).unwrap();
            let error = read(dir.path(), beginning(dir.path()).unwrap(), usize::MAX).unwrap_err();
            assert!(error.to_string().contains("another version"), "{error}");
            assert!(recover(dir.path(), &[1]).is_err());
        }
    }

    #[test]
    fn a_reader_goes_on_in_the_next_segment_and_old_ones_can_be_discarded() {
        let (dir, octets) = written(2);
        fs::write(segment_path(dir.path(), 1), &octets[..octets.len() - 1]).unwrap(); // A torn tail.
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        journal.append(&over(9));
        journal.append(&Record::Checkpoint);
        journal.commit().unwrap();
        let (records, at) = read(dir.path(), beginning(dir.path()).unwrap(), usize::MAX).unwrap();
        assert_eq!(records, [over(0)]);
        let (records, at) = read(dir.path(), at, usize::MAX).unwrap();
        assert_eq!(records, [over(9), Record::Checkpoint]);
        discard_before(dir.path(), at.segment).unwrap();
        assert_eq!(beginning(dir.path()).unwrap(), Position { segment: 2, offset: 0 });
        assert_eq!(read(dir.path(), at, usize::MAX).unwrap(), (vec![], at));
    }
}
