//! Files of ported numbers: which content has a base, which a delta, and is it what was written?
//!
//! Text, a line each, so that anybody can make one and read what is in it:
//!
//! ```text
//! tandem-ported 1 base 41            tandem-ported 1 delta 42
//! +441632960001 +441617900           add +441632960003 +441617900
//! +441632960002 +441617901           change +441632960001 +441617901
//! end 2 8f43…                        remove +441632960002
//!                                    end 3 5be1…
//! ```
//!
//! The first line has the version of the format, what the file is, and the serial of the state that it is or leads to: a
//! delta follows the state with the serial before. The numbers of a base come in any order, each with its routing number,
//! and each once. The last line counts the lines between, and has the SHA-256 of all before it in hexadecimal digits: a file
//! that is cut short, or was changed, is no file. Nothing comes after it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tandem_model::{E164, PortedChange, PortedDelta, PortedError, PortedNumber, Reason, RoutingNumber};
use tandem_routing::{PortedLoad, PortedNumbers};

/// What the first line begins with: the name of the format and its version.
const FORMAT: &str = "tandem-ported 1";

/// Octets that are read or written at a time.
const BUFFER: usize = 1 << 20;

/// Most octets of a line; none that is right has more than half of it.
const MAX_LINE: u64 = 128;

/// Why a file of ported numbers is not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not give it.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is not as it was written.
    #[error("{}, line {line}: {fault}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong there.
        fault: &'static str,
    },
    /// Its content is refused.
    #[error("{}: {error}", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why.
        error: PortedError,
    },
}

impl FileError {
    /// The code for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { .. } => Reason::PortedFileUnreadable,
            Self::Malformed { .. } => Reason::PortedFileMalformed,
            Self::Refused { error, .. } => error.reason(),
        }
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole state.
    Base,
    /// What changed since the state before.
    Delta,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Delta => "delta",
        }
    }
}

/// Reads a base, with the numbers that `keep` wants of it.
pub fn read_base(path: &Path, keep: impl Fn(E164) -> bool) -> Result<PortedNumbers, FileError> {
    let mut lines = Lines::open(path, Kind::Base)?;
    let mut load = PortedLoad::new();
    while let Some(line) = lines.next()? {
        let ported = read_ported(line).ok_or(BASE_LINE);
        let ported = ported.map_err(|fault| lines.malformed(fault))?;
        if keep(ported.number) {
            load.push(ported).map_err(|error| lines.refused(error))?;
        }
    }
    load.finish(lines.serial).map_err(|error| lines.refused(error))
}

/// Reads a delta, with those changes that `keep` wants of it.
pub fn read_delta(path: &Path, keep: impl Fn(E164) -> bool) -> Result<PortedDelta, FileError> {
    let mut lines = Lines::open(path, Kind::Delta)?;
    let mut changes = Vec::new();
    while let Some(line) = lines.next()? {
        let change = read_change(line).ok_or(DELTA_LINE);
        let change = change.map_err(|fault| lines.malformed(fault))?;
        if keep(change.number()) {
            changes.push(change);
        }
    }
    Ok(PortedDelta { serial: lines.serial, changes })
}

const BASE_LINE: &str = "write a number and its routing number, such as +441632960001 +441617900";
const DELTA_LINE: &str = "write add or change with a number and its routing number, or remove with a number";

fn read_ported(line: &str) -> Option<PortedNumber> {
    let (number, rn) = line.split_once(' ')?;
    Some(PortedNumber { number: read_number(number)?, rn: read_rn(rn)? })
}

fn read_change(line: &str) -> Option<PortedChange> {
    match line.split_once(' ')? {
        ("add", ported) => read_ported(ported).map(PortedChange::Add),
        ("change", ported) => read_ported(ported).map(PortedChange::Change),
        ("remove", number) => Some(PortedChange::Remove { number: read_number(number)? }),
        _ => None,
    }
}

fn read_number(text: &str) -> Option<E164> {
    text.parse().ok().filter(|_| text.starts_with('+'))
}

fn read_rn(text: &str) -> Option<RoutingNumber> {
    text.parse().ok().filter(|_| text.starts_with('+'))
}

/// The lines between the first and the last one.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    /// Which line that is.
    at: u64,
    serial: u64,
    digest: Sha256,
}

impl Lines {
    fn open(path: &Path, kind: Kind) -> Result<Self, FileError> {
        let unreadable = |error| FileError::Unreadable { path: path.to_owned(), error };
        let file = BufReader::with_capacity(BUFFER, File::open(path).map_err(unreadable)?);
        let (line, digest) = (Vec::new(), Sha256::new());
        let mut lines = Self { path: path.to_owned(), file, line, at: 0, serial: 0, digest };
        lines.read()?;
        let header = std::str::from_utf8(&lines.line).unwrap_or_default().trim_end_matches('\n');
        let serial = header
            .strip_prefix(FORMAT)
            .and_then(|rest| rest.strip_prefix(' ')?.strip_prefix(kind.as_str())?.strip_prefix(' '))
            .and_then(|serial| serial.parse().ok());
        let fault = match kind {
            Kind::Base => "a file of ported numbers begins with \"tandem-ported 1 base \" and its serial",
            Kind::Delta => "a delta of ported numbers begins with \"tandem-ported 1 delta \" and its serial",
        };
        lines.serial = serial.ok_or_else(|| lines.malformed(fault))?;
        lines.digest.update(&lines.line);
        Ok(lines)
    }

    /// Reads a line, with its end.
    fn read(&mut self) -> Result<(), FileError> {
        self.line.clear();
        self.at += 1;
        let read = io::Read::take(&mut self.file, MAX_LINE).read_until(b'\n', &mut self.line);
        read.map_err(|error| FileError::Unreadable { path: self.path.clone(), error })?;
        Ok(())
    }

    /// The next line that is neither the first nor the last; at the last one it is seen to that all came as it was written.
    fn next(&mut self) -> Result<Option<&str>, FileError> {
        self.read()?;
        let fault = match self.line.as_slice() {
            [] => Some("it ends without a line that begins with end: it is cut short"),
            [.., b'\n'] => None,
            line if line.len() as u64 == MAX_LINE => Some("the line is too long"),
            _ => Some("the line has no end: the file is cut short"),
        };
        if let Some(fault) = fault {
            return Err(self.malformed(fault));
        }
        if let Some(end) = self.line.strip_prefix(b"end ") {
            let fault = self.judge_end(end);
            let is_over = self.file.fill_buf().map(<[u8]>::is_empty).unwrap_or(true);
            return match fault.or((!is_over).then_some("nothing comes after the line that begins with end")) {
                Some(fault) => Err(self.malformed(fault)),
                None => Ok(None),
            };
        }
        self.digest.update(&self.line);
        match std::str::from_utf8(&self.line) {
            Ok(line) => Ok(Some(line.trim_end_matches('\n'))),
            Err(_) => Err(self.malformed("it is no text")),
        }
    }

    /// What is wrong with how many lines there are, or with what is in them.
    fn judge_end(&self, end: &[u8]) -> Option<&'static str> {
        let said = std::str::from_utf8(end).ok().and_then(|end| end.trim_end_matches('\n').split_once(' '));
        let Some((count, digest)) = said else {
            return Some("write end, how many lines there are between, and the SHA-256 of all before");
        };
        if count.parse() != Ok(self.at - 2) {
            return Some("there are not as many lines as it says");
        }
        (digest != hex(self.digest.clone()))
            .then_some("the content does not have this SHA-256: it was changed")
    }

    fn malformed(&self, fault: &'static str) -> FileError {
        FileError::Malformed { path: self.path.clone(), line: self.at, fault }
    }

    fn refused(&self, error: PortedError) -> FileError {
        FileError::Refused { path: self.path.clone(), error }
    }
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Writes a base, whole or not at all.
pub fn write_base(path: &Path, numbers: &PortedNumbers) -> io::Result<()> {
    let lines = numbers.iter().map(|PortedNumber { number, rn }| format!("{number} {rn}\n"));
    write(path, Kind::Base, numbers.serial(), lines)
}

/// Writes a delta, whole or not at all.
pub fn write_delta(path: &Path, delta: &PortedDelta) -> io::Result<()> {
    let line = |change: &PortedChange| match change {
        PortedChange::Add(PortedNumber { number, rn }) => format!("add {number} {rn}\n"),
        PortedChange::Change(PortedNumber { number, rn }) => format!("change {number} {rn}\n"),
        PortedChange::Remove { number } => format!("remove {number}\n"),
    };
    write(path, Kind::Delta, delta.serial, delta.changes.iter().map(line))
}

fn write(path: &Path, kind: Kind, serial: u64, lines: impl Iterator<Item = String>) -> io::Result<()> {
    // A node that looks meanwhile sees nothing or all.
    let new = path.with_extension("new");
    let mut file = BufWriter::with_capacity(BUFFER, File::create(&new)?);
    let (mut digest, mut count) = (Sha256::new(), 0_u64);
    let mut put = |line: &str| {
        digest.update(line);
        file.write_all(line.as_bytes())
    };
    put(&format!("{FORMAT} {} {serial}\n", kind.as_str()))?;
    for line in lines {
        put(&line)?;
        count += 1;
    }
    writeln!(file, "end {count} {}", hex(digest))?;
    file.flush()?;
    file.get_ref().sync_all()?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ported(number: &str, rn: &str) -> PortedNumber {
        PortedNumber { number: number.parse().expect("a number"), rn: rn.parse().expect("a routing number") }
    }

    fn base(serial: u64) -> PortedNumbers {
        let mut load = PortedLoad::new();
        for (number, rn) in [("+441632960002", "+441617901"), ("+441632960001", "+441617900")] {
            load.push(ported(number, rn)).expect("each is there once");
        }
        load.finish(serial).expect("each is there once")
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("numbers.base");
        write_base(&path, &base(41)).expect("writable");
        let read = read_base(&path, |_| true).expect("it is whole");
        assert_eq!((read.serial(), read.len()), (41, 2));
        assert_eq!(read.iter().collect::<Vec<_>>(), base(41).iter().collect::<Vec<_>>());
        let one = read_base(&path, |number| number == "+441632960002".parse().expect("a number"));
        assert_eq!(one.expect("it is whole").len(), 1);
        let path = dir.path().join("42.delta");
        let changes = vec![
            PortedChange::Add(ported("+441632960003", "+441617900")),
            PortedChange::Change(ported("+441632960001", "+441617901")),
            PortedChange::Remove { number: "+441632960002".parse().expect("a number") },
        ];
        let delta = PortedDelta { serial: 42, changes };
        write_delta(&path, &delta).expect("writable");
        assert_eq!(read_delta(&path, |_| true).expect("it is whole"), delta);
    }

    #[test]
    fn a_file_in_which_any_octet_is_another_or_that_is_cut_anywhere_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("numbers.base");
        write_base(&path, &base(41)).expect("writable");
        let whole = std::fs::read(&path).expect("readable");
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            std::fs::write(&path, &broken).expect("writable");
            let error = read_base(&path, |_| true).expect_err("an octet is another");
            assert!(
                matches!(error.reason(), Reason::PortedFileMalformed | Reason::PortedNumberRepeated),
                "{error}"
            );
            std::fs::write(&path, &whole[..at]).expect("writable");
            let error = read_base(&path, |_| true).expect_err("it is cut");
            assert_eq!(error.reason(), Reason::PortedFileMalformed, "{error}");
        }
    }

    #[test]
    fn an_error_says_where_and_what_to_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        let said = |text: &str| {
            std::fs::write(&path, text).expect("writable");
            let error = read_base(&path, |_| true).expect_err("it is broken").to_string();
            error.replace(&path.display().to_string(), "f")
        };
        for (text, expected) in [
            (
                "number,rn\n",
                "f, line 1: a file of ported numbers begins with \"tandem-ported 1 base \" and its serial",
            ),
            (
                "tandem-ported 2 base 1\n",
                "f, line 1: a file of ported numbers begins with \"tandem-ported 1 base \" and its serial",
            ),
            (
                "tandem-ported 1 base 1\n441632960001 +44\n",
                "f, line 2: write a number and its routing number, such as +441632960001 +441617900",
            ),
            (
                "tandem-ported 1 base 1\n+441632960001 +44",
                "f, line 2: the line has no end: the file is cut short",
            ),
            (
                "tandem-ported 1 base 1\n+441632960001 +44\n",
                "f, line 3: it ends without a line that begins with end: it is cut short",
            ),
            ("tandem-ported 1 base 1\nend 1 00\n", "f, line 2: there are not as many lines as it says"),
            (
                "tandem-ported 1 base 1\nend 0 00\n",
                "f, line 2: the content does not have this SHA-256: it was changed",
            ),
        ] {
            assert_eq!(said(text), expected);
        }
        let error = read_base(Path::new("/nowhere/f"), |_| true).expect_err("it is not there");
        assert_eq!(error.reason(), Reason::PortedFileUnreadable);
    }
}
