//! What the fuzz target of uploads reaches: it is built with `--cfg fuzzing`, as libFuzzer's targets are.

use tandem_model::{EndpointId, ImportId, MemberId};
use tandem_store::endpoint::EndpointName;
use tandem_store::import::ImportFormat;
use uuid::Uuid;

use crate::announcement::EndpointNames;
use crate::csv;
use crate::import_reader::{Ids, ImportReader};

/// Most rows that an upload may have here.
const MAX_ROWS: usize = 1_000;

/// Reads `octets` as an upload of announcements.
///
/// # Panics
/// When a row or an error is said to be on a line that the upload does not have; that is to be found.
pub fn read_csv(octets: &[u8]) {
    let lines = octets.iter().filter(|octet| matches!(octet, b'\n' | b'\r')).count() + 1;
    match csv::read(octets, MAX_ROWS) {
        Ok(rows) => {
            assert!(rows.len() <= MAX_ROWS);
            assert!(rows.iter().all(|(line, _)| (1..=lines).contains(line)));
            assert!(rows.is_sorted_by_key(|(line, _)| *line));
        }
        Err(error) => assert!(error.first_row().is_none_or(|line| (1..=lines).contains(&line))),
    }
}

/// Reads `octets` as the file of an import, in both formats, whole and in two parts.
///
/// # Panics
/// When the two ways to read it tell other things, or more rows than lines; that is to be found.
pub fn read_import(octets: &[u8]) {
    let names = EndpointNames::of(vec![EndpointName {
        endpoint_id: EndpointId(Uuid::nil()),
        member_id: MemberId(Uuid::nil()),
        name: "a".to_owned(),
    }]);
    for format in [ImportFormat::Csv, ImportFormat::Ndjson] {
        let reader = |lines_before| ImportReader {
            import: ImportId(Uuid::nil()),
            format,
            lines_before,
            names: &names,
            ids: Ids { unix_ms: 0, random: [0; 6] },
        };
        let Ok(whole) = reader(0).read(octets) else { continue };
        assert!(whole.good_rows() + whole.faulty_rows() <= whole.lines);
        let Some(end) = octets.iter().position(|octet| *octet == b'\n') else { continue };
        let (first, second) = octets.split_at(end + 1);
        let first = reader(0).read(first).expect("what can be read whole can be read in parts");
        let second = reader(first.lines).read(second).expect("only the first line can be refused");
        assert_eq!(first.lines + second.lines, whole.lines);
        assert_eq!(first.good_rows() + second.good_rows(), whole.good_rows());
        assert_eq!(first.faulty_rows() + second.faulty_rows(), whole.faulty_rows());
    }
}
