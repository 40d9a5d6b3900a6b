//! What the fuzz target of the CSV import reaches: it is built with `--cfg fuzzing`, as libFuzzer's targets are.

use crate::csv;

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
