//! Allocations as CSV (RFC 4180): a header line `prefix,holder` or `prefix,holder,from,until`, then a line each.
//!
//! The file is read while it comes, so that it takes little memory however long it is: by a thread of its own, which
//! waits for who sends it and for who writes the rows.

use std::collections::VecDeque;
use std::io;

use axum::body::{Body, Bytes};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use futures_util::StreamExt;
use tandem_model::{Prefix, Reason, Validity};
use tandem_store::allocation::Allocation;
use tokio::sync::mpsc;

use crate::allocation::MAX_HOLDER;
use crate::problem::{ApiError, Faults, FieldError, MAX_FIELD_ERRORS};
use crate::text;

/// Most octets of a file.
const MAX_OCTETS: usize = 512 * 1024 * 1024;

/// Most rows of a file.
const MAX_ROWS: usize = 5_000_000;

/// Longest row, in octets: a quote that never closes is found here.
const MAX_ROW: u64 = 16 * 1024;

/// Rows that are handed on together.
const PART: usize = 2_000;

/// Reads a body: the rows as they come, and in the end whether all of it was good. Rows that were handed on before a
/// fault was found must not count.
pub(crate) fn read(
    body: Body,
) -> (mpsc::Receiver<Vec<Allocation>>, impl Future<Output = Result<(), ApiError>>) {
    let (octets, coming) = mpsc::channel(4);
    let (rows, read) = mpsc::channel(4);
    let sending = tokio::spawn(send(body, octets));
    let reading = tokio::task::spawn_blocking(move || Reader::new(Octets::new(coming)).read(&rows));
    let outcome = async move {
        let internal = |_| ApiError::new(Reason::InternalError);
        let read = reading.await.map_err(internal)?;
        // A file that broke off is not judged by what came of it.
        sending.await.map_err(internal)?.and(read)
    };
    (read, outcome)
}

/// Hands the octets of a body on, until there are too many.
async fn send(body: Body, octets: mpsc::Sender<Bytes>) -> Result<(), ApiError> {
    let (mut stream, mut count) = (body.into_data_stream(), 0);
    while let Some(part) = stream.next().await {
        let part = part.map_err(|_| ApiError::new(Reason::BadRequest).detail("The body broke off."))?;
        count += part.len();
        if count > MAX_OCTETS {
            return Err(ApiError::new(Reason::TooLarge).detail(format!(
                "The file has more than {MAX_OCTETS} octets; split it into several lists."
            )));
        }
        // Whoever reads has found enough faults.
        if octets.send(part).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The octets of a body as a file whose lines all end with a line feed alone: so the reader's count of lines is exact.
struct Octets {
    coming: mpsc::Receiver<Bytes>,
    held: VecDeque<u8>,
    ends_line: bool,
}

impl Octets {
    fn new(coming: mpsc::Receiver<Bytes>) -> Self {
        Self { coming, held: VecDeque::new(), ends_line: false }
    }
}

impl io::Read for Octets {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            match self.coming.blocking_recv() {
                Some(part) => self.held.extend(part.iter().filter(|octet| **octet != b'\r')),
                None if self.ends_line => return Ok(0),
                None => self.held.push_back(b'\n'),
            }
        }
        let read = self.held.read(room)?;
        if read > 0 {
            self.ends_line = room[read - 1] == b'\n';
        }
        Ok(read)
    }
}

/// A file that is being read.
struct Reader<R> {
    csv: csv::Reader<R>,
    faults: Vec<FieldError>,
}

impl<R: io::Read> Reader<R> {
    fn new(octets: R) -> Self {
        let csv = csv::ReaderBuilder::new().flexible(true).has_headers(true).from_reader(octets);
        Self { csv, faults: Vec::new() }
    }

    /// Reads all rows and hands them on; stops where it has found as many faults as one answer names.
    fn read(mut self, rows: &mpsc::Sender<Vec<Allocation>>) -> Result<(), ApiError> {
        let header = self.csv.byte_headers().map_err(unreadable)?;
        let bare = |name: &[u8]| name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name).trim_ascii().to_vec();
        let header: Vec<_> = header.iter().map(|name| bare(name).to_ascii_lowercase()).collect();
        let has_times = match header.iter().map(|name| &**name).collect::<Vec<&[u8]>>()[..] {
            [b"prefix", b"holder"] => false,
            [b"prefix", b"holder", b"from", b"until"] => true,
            _ => {
                self.fault(1, "the first line must be: prefix,holder or: prefix,holder,from,until");
                return self.outcome();
            }
        };
        let (mut record, mut part, mut count) = (csv::ByteRecord::new(), Vec::with_capacity(PART), 0);
        while self.faults.len() < MAX_FIELD_ERRORS {
            let begins = self.csv.position().byte();
            if !self.csv.read_byte_record(&mut record).map_err(unreadable)? {
                break;
            }
            let inner_lines = record.as_slice().iter().filter(|octet| **octet == b'\n').count();
            // Empty lines come before the row; where a quote was closed, the reader stands after its line feed.
            let after = (self.csv.position().line() as usize).saturating_sub(1 + inner_lines);
            let line = record.position().map_or(1, |position| position.line() as usize).max(after);
            if self.csv.position().byte() - begins > MAX_ROW {
                self.fault(line, "the line is too long; a quote may not have been closed");
                break;
            }
            count += 1;
            if count > MAX_ROWS {
                let detail = format!("The file has more than {MAX_ROWS} rows; split it into several lists.");
                return Err(ApiError::new(Reason::TooLarge).detail(detail));
            }
            match allocation(&record, has_times) {
                Ok(row) => part.push(row),
                Err(message) => self.fault(line, message),
            }
            if part.len() == PART && self.faults.is_empty() {
                let part = std::mem::replace(&mut part, Vec::with_capacity(PART));
                // Whoever writes the rows has failed, and says why.
                if rows.blocking_send(part).is_err() {
                    return Ok(());
                }
            }
        }
        if self.faults.is_empty() {
            // As above.
            let _ = rows.blocking_send(part);
        }
        self.outcome()
    }

    fn outcome(self) -> Result<(), ApiError> {
        let Some(first) = self.faults.first() else { return Ok(()) };
        let line = first.row.unwrap_or(1);
        let detail =
            format!("Line {line} of the CSV file cannot be taken, and nothing of the file has been.");
        Err(ApiError::new(Reason::Invalid).detail(detail).errors(self.faults))
    }

    fn fault(&mut self, line: usize, message: impl Into<String>) {
        self.faults.push(FieldError { field: "body".to_owned(), message: message.into(), row: Some(line) });
    }
}

fn unreadable(_: csv::Error) -> ApiError {
    ApiError::new(Reason::BadRequest).detail("The body cannot be read as CSV.")
}

/// The allocation that a row says, or what is wrong with it.
fn allocation(record: &csv::ByteRecord, has_times: bool) -> Result<Allocation, String> {
    let fields = if has_times { 4 } else { 2 };
    if record.len() != fields {
        return Err(format!("it has {} fields; write {fields}, as the first line says", record.len()));
    }
    let field = |index: usize| {
        let text = std::str::from_utf8(&record[index]).map(str::trim);
        text.map_err(|_| "it is not UTF-8; save the file as UTF-8".to_owned())
    };
    let prefix: Prefix = field(0)?.parse().map_err(|error| format!("prefix: {error}"))?;
    let mut faults = Faults::default();
    let holder = text::line(&mut faults, "holder", field(1)?, 1, MAX_HOLDER)
        .ok_or_else(|| format!("holder: write 1 to {MAX_HOLDER} characters of plain text"))?;
    let time = |index: usize| match has_times {
        true => field(index).and_then(instant),
        false => Ok(None),
    };
    let (from, until) = (time(2)?.unwrap_or(DateTime::UNIX_EPOCH), time(3)?);
    if until.is_some_and(|until| until <= from) {
        return Err("until: it must be later than from".to_owned());
    }
    Ok(Allocation { prefix, holder, validity: Validity { from, until } })
}

/// The beginning of a day, or an instant; `None` where nothing is written.
fn instant(text: &str) -> Result<Option<DateTime<Utc>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let day = text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let instant = day.or_else(|_| DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()));
    let known = instant.ok().filter(|at| (1900..10_000).contains(&chrono::Datelike::year(at)));
    known.map(Some).ok_or_else(|| "write a day such as 2026-11-30, or nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prefix, holder and times of the rows of a body that comes in parts of `part` octets, or the lines at fault.
    async fn rows(text: &str, part: usize) -> Result<Vec<String>, Vec<usize>> {
        let parts: Vec<io::Result<Bytes>> =
            text.as_bytes().chunks(part).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        let (mut coming, outcome) = read(Body::from_stream(futures_util::stream::iter(parts)));
        let mut read = Vec::new();
        while let Some(part) = coming.recv().await {
            read.extend(part.into_iter().map(|it| {
                let until = it.validity.until.map(|until| until.date_naive().to_string()).unwrap_or_default();
                format!("{} {} {} {until}", it.prefix, it.holder, it.validity.from.date_naive())
            }));
        }
        outcome.await.map(|()| read).map_err(|error| error.rows())
    }

    #[tokio::test]
    async fn a_file_is_read_alike_however_it_comes() {
        let text = "\u{feff}Prefix,Holder,from,until\r\n+44207946,\"Acme, Ltd\",2020-01-01,\r\n\r\n44208,B,,2030-06-01T00:00:00Z";
        for part in [1, 2, 7, 1_000] {
            let expected =
                ["+44207946 Acme, Ltd 2020-01-01 ", "+44208 B 1970-01-01 2030-06-01"].map(str::to_owned);
            assert_eq!(rows(text, part).await, Ok(expected.to_vec()), "{part}");
        }
        assert_eq!(rows("prefix,holder\n", 5).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn each_fault_names_its_line() {
        for (text, lines) in [
            ("", vec![1]),
            ("digits,holder\n44,a\n", vec![1]),
            ("prefix,holder\n44207,a\n\nx,a\n44208,\n44209,b\n44,a,b", vec![4, 5, 7]),
            ("prefix,holder\r\n\r\n44207,\"a\r\nb\"\r\n44207,c\r\nx,c\r\n", vec![3, 6]),
            ("prefix,holder,from,until\n44,a,2020-02-30,\n44,a,2021-01-01,2021-01-01\n44,a,,\n", vec![2, 3]),
            (&format!("prefix,holder\n44,a\n44,\"{}", "a\n".repeat(20_000)), vec![3]),
            (&format!("prefix,holder\n{}", "x,a\n".repeat(500)), (2..102).collect()),
        ] {
            for part in [3, 4_096] {
                assert_eq!(rows(text, part).await, Err(lines.clone()), "{}", &text[..text.len().min(50)]);
            }
        }
    }
}
