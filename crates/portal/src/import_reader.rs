//! Reads the lines of an import, in CSV (RFC 4180) or as JSON (NDJSON): each is a row, or has a fault of its own.
//!
//! A row is a line: a cell of CSV that goes on beyond its line is a fault of that line, and so is a quote that never
//! closes. So the file can be read in parts that end with a line, whichever connection brings them.

use serde::Deserialize;
use tandem_model::{AnnouncementId, EndpointId, ImportId, Prefix, Reason};
use tandem_store::import::{ImportFormat, Part};
use utoipa::ToSchema;

use crate::announcement::EndpointNames;
use crate::csv::endpoint_names;
use crate::problem::{ApiError, Faults};
use crate::text;

/// Longest line, in octets.
const MAX_LINE: usize = 16 * 1024;

/// The mark that some programs put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a row does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RowAction {
    /// The prefix is announced from now on, until further notice, on the endpoints of the row.
    #[default]
    Announce,
    /// The prefix is no longer announced.
    Withdraw,
}

/// A line of an NDJSON file.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRow {
    /// The leading digits of the numbers, internationally.
    #[schema(example = "+44207946")]
    prefix: String,
    /// Names or ids of endpoints of the member; left out where the prefix is withdrawn.
    #[serde(default)]
    #[schema(max_items = 64)]
    endpoints: Vec<String>,
    #[serde(default)]
    #[schema(inline)]
    action: RowAction,
}

/// Makes the ids of announcements: UUIDv7 (RFC 9562 §5.7) of one millisecond, told apart by their lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    /// When the part is read, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
    pub(crate) random: [u8; 6],
}

impl Ids {
    fn of_line(self, line: u32) -> AnnouncementId {
        let mut octets = [0; 10];
        octets[..6].copy_from_slice(&self.random);
        octets[6..].copy_from_slice(&line.to_be_bytes());
        AnnouncementId(uuid::Builder::from_unix_timestamp_millis(self.unix_ms, &octets).into_uuid())
    }
}

/// Reads a file from some line on.
pub(crate) struct ImportReader<'a> {
    pub(crate) import: ImportId,
    pub(crate) format: ImportFormat,
    /// Lines that were read before.
    pub(crate) lines_before: u32,
    pub(crate) names: &'a EndpointNames,
    pub(crate) ids: Ids,
}

impl ImportReader<'_> {
    /// Reads whole lines; the last one of a file may lack its end.
    ///
    /// # Errors
    /// When the file does not begin as a file of announcements does.
    pub(crate) fn read(&self, octets: &[u8]) -> Result<Part, ApiError> {
        let mut part = Part::new(octets.len() as u64);
        let body = octets.strip_suffix(b"\n").unwrap_or(octets);
        if octets.is_empty() {
            return Ok(part);
        }
        for line in body.split(|octet| *octet == b'\n') {
            part.lines += 1;
            let number = self.lines_before + part.lines;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
            if number == 1 && self.format == ImportFormat::Csv {
                check_header(line)?;
            } else if !line.iter().all(u8::is_ascii_whitespace) {
                self.read_line(number, line, &mut part);
            }
        }
        Ok(part)
    }

    fn read_line(&self, number: u32, line: &[u8], part: &mut Part) {
        let mut faults = Faults::default();
        let row = parse(self.format, line, &mut faults).and_then(|row| self.judge(&row, &mut faults));
        match faults.hold(row) {
            Ok((prefix, endpoints)) => {
                part.push(self.import, number, prefix, &endpoints, self.ids.of_line(number));
            }
            Err(error) => {
                let content = text::quoted(&String::from_utf8_lossy(&line[..line.len().min(1024)]));
                part.push_fault(
                    self.import,
                    number,
                    &content,
                    error.reason(),
                    &text::quoted(&error.messages()),
                );
            }
        }
    }

    /// The prefix with the endpoints on which it is announced: none where it is withdrawn.
    fn judge(&self, row: &ImportRow, faults: &mut Faults) -> Option<(Prefix, Vec<EndpointId>)> {
        match row.action {
            RowAction::Announce => {
                let prefix = text::announced(faults, "prefix", &row.prefix);
                prefix.zip(self.names.read(faults, "endpoints", &row.endpoints))
            }
            RowAction::Withdraw if row.endpoints.is_empty() => {
                text::prefix(faults, "prefix", &row.prefix).map(|prefix| (prefix, Vec::new()))
            }
            RowAction::Withdraw => {
                faults.note("endpoints", "leave them out where the prefix is withdrawn");
                None
            }
        }
    }
}

fn check_header(line: &[u8]) -> Result<(), ApiError> {
    let cells = std::str::from_utf8(line).ok().and_then(|line| cells(line).ok());
    let names: Vec<String> =
        cells.unwrap_or_default().iter().map(|cell| cell.trim().to_ascii_lowercase()).collect();
    match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["prefix", "endpoints"] | ["prefix", "endpoints", "action"] => Ok(()),
        _ => Err(ApiError::new(Reason::ImportUnreadable)
            .detail("The first line must be prefix,endpoints or prefix,endpoints,action.")),
    }
}

fn parse(format: ImportFormat, line: &[u8], faults: &mut Faults) -> Option<ImportRow> {
    if line.len() > MAX_LINE {
        faults.note("row", format!("the line is longer than {MAX_LINE} octets"));
        return None;
    }
    let Ok(line) = std::str::from_utf8(line) else {
        faults.note("row", "it is not UTF-8; save the file as UTF-8");
        return None;
    };
    match format {
        ImportFormat::Csv => parse_csv(line, faults),
        ImportFormat::Ndjson => match serde_json::from_str(line) {
            Ok(row) => Some(row),
            Err(error) => {
                let message = error.to_string();
                // It counts lines, too, and there is one.
                faults.note("row", message.split(" at line ").next().unwrap_or_default());
                None
            }
        },
    }
}

fn parse_csv(line: &str, faults: &mut Faults) -> Option<ImportRow> {
    let cells = match cells(line) {
        Ok(cells) => cells,
        Err(message) => {
            faults.note("row", message);
            return None;
        }
    };
    let action = match cells.get(2).map(|cell| cell.trim()) {
        None | Some("" | "announce") => RowAction::Announce,
        Some("withdraw") => RowAction::Withdraw,
        Some(_) => {
            faults.note("action", "write announce or withdraw, or leave it empty");
            return None;
        }
    };
    if !(2..=3).contains(&cells.len()) {
        faults.note("row", format!("it has {} cells; write a prefix and its endpoints", cells.len()));
        return None;
    }
    Some(ImportRow { prefix: cells[0].trim().to_owned(), endpoints: endpoint_names(&cells[1]), action })
}

/// The cells of a line.
fn cells(line: &str) -> Result<Vec<String>, &'static str> {
    if !line.contains('"') {
        return Ok(line.split(',').map(str::to_owned).collect());
    }
    if line.matches('"').count() % 2 == 1 {
        return Err("a quote is not closed in its line");
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(_) => Ok(record.iter().map(str::to_owned).collect()),
        Err(_) => Err("it cannot be read as CSV"),
    }
}

#[cfg(test)]
mod tests;
