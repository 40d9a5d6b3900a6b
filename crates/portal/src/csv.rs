//! CSV (RFC 4180): a header line with the names of the fields, then a line each.

use tandem_model::Reason;

use crate::bulk::BulkRow;
use crate::problem::{ApiError, FieldError};

/// Longest line, in octets: a quote that never closes is found here.
const MAX_LINE: u64 = 16 * 1024;

/// Reads announcements: `prefix,endpoints`.
pub(crate) fn read(octets: &[u8], max_rows: usize) -> Result<Vec<(usize, BulkRow)>, ApiError> {
    let row = |(line, record): (usize, csv::StringRecord)| {
        (line, BulkRow { prefix: record[0].trim().to_owned(), endpoints: endpoint_names(&record[1]) })
    };
    Ok(records(octets, &["prefix", "endpoints"], &[], max_rows)?.into_iter().map(row).collect())
}

/// Reads the rows, each with the line on which it begins: fields of these names, of which the first line names the
/// `optional` ones or not. An error names its line.
pub(crate) fn records(
    octets: &[u8],
    names: &[&str],
    optional: &[&str],
    max_rows: usize,
) -> Result<Vec<(usize, csv::StringRecord)>, ApiError> {
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(true).from_reader(octets);
    let headers = reader.headers().map_err(|error| fault(line_of(octets, &error), describe(&error)))?;
    let headers: Vec<String> = headers.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    let all: Vec<&str> = names.iter().chain(optional).copied().collect();
    if headers.len() < names.len() || headers.len() > all.len() || headers != all[..headers.len()] {
        let may = if optional.is_empty() { "" } else { ", with or without what comes after the first ones" };
        return Err(fault(1, format!("the first line must be: {}{may}", all.join(","))));
    }
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let begins = reader.position().byte();
        let more = reader
            .read_record(&mut record)
            .map_err(|error| fault(line_of(octets, &error), describe(&error)))?;
        if !more {
            return Ok(rows);
        }
        let line = record.position().map_or(1, |position| line_at(octets, position));
        if reader.position().byte() - begins > MAX_LINE {
            return Err(fault(line, "the line is too long; a quote may not have been closed"));
        }
        if rows.len() == max_rows {
            return Err(
                ApiError::new(Reason::TooLarge).detail(format!("There are more than {max_rows} rows."))
            );
        }
        if record.len() != headers.len() {
            let (fields, named) = (record.len(), headers.join(","));
            return Err(fault(line, format!("it has {fields} fields; write {named}")));
        }
        rows.push((line, record.clone()));
    }
}

/// The names in a cell.
pub(crate) fn endpoint_names(cell: &str) -> Vec<String> {
    cell.split([';', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The line on which a record begins. The reader may stand before the end of the line above, and before
/// empty ones.
fn line_at(octets: &[u8], position: &csv::Position) -> usize {
    let rest = octets.get(position.byte() as usize..).unwrap_or_default();
    let passed =
        rest.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).filter(|octet| **octet == b'\n');
    position.line() as usize + passed.count()
}

fn line_of(octets: &[u8], error: &csv::Error) -> usize {
    error.position().map_or(1, |position| line_at(octets, position))
}

fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8; save the file as UTF-8".to_owned(),
        _ => "it cannot be read as CSV".to_owned(),
    }
}

fn fault(line: usize, message: impl Into<String>) -> ApiError {
    ApiError::new(Reason::Invalid)
        .detail(format!("Line {line} of the CSV file cannot be taken."))
        .errors(vec![FieldError { field: "body".to_owned(), message: message.into(), row: Some(line) }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<(usize, String, Vec<String>)>, usize> {
        match read(text.as_bytes(), 3) {
            Ok(rows) => Ok(rows.into_iter().map(|(line, row)| (line, row.prefix, row.endpoints)).collect()),
            Err(error) => Err(error.first_row().unwrap_or(0)),
        }
    }

    #[test]
    fn a_line_is_a_prefix_and_its_endpoints() {
        let text = "\u{feff}prefix,endpoints\r\n+4420,a;b\r\n\"+4421\",\"a b\"\r\n";
        let names = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(rows(text), Ok(vec![(2, "+4420".to_owned(), names()), (3, "+4421".to_owned(), names())]));
    }

    #[test]
    fn an_error_names_its_line() {
        for (text, line) in [
            ("", 1),
            ("digits,endpoints\n", 1),
            ("prefix,endpoints\n+4420,a\n+4421\n", 3),
            ("prefix,endpoints\n+4420,a,b\n", 2),
            (&format!("prefix,endpoints\n+4420,\"{}", "a\n".repeat(20_000)), 2),
            (&format!("prefix,endpoints\n{}", ",".repeat(1_000_000)), 2),
        ] {
            assert_eq!(rows(text), Err(line), "{}", &text[..text.len().min(40)]);
        }
        assert_eq!(rows("prefix,endpoints\n1,a\n2,a\n3,a\n4,a\n"), Err(0));
        assert!(read(b"prefix,endpoints\n+4420,\xff\n", 3).is_err());
    }
}
