//! The rows of an import that cannot be taken, as a CSV file that spreadsheets open without running anything.

use axum::body::Bytes;
use tandem_model::ImportId;
use tandem_store::Error;
use tandem_store::import::{self, ImportFault};

use crate::app::App;

/// The first line.
const HEADER: &str = "line,row,reason,detail,remedy\n";

/// Faults that are read at once.
const AT_ONCE: i64 = 5_000;

/// How far the file has been written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    /// The line of the last fault; 0 at the beginning.
    after: u32,
}

/// The next octets of the file, and where it goes on.
pub(crate) async fn next_page(
    app: &App,
    id: ImportId,
    cursor: Cursor,
) -> Option<(Result<Bytes, Error>, Option<Cursor>)> {
    let faults = match import::faults(&app.db, id, cursor.after, AT_ONCE).await {
        Ok(faults) => faults,
        Err(error) => return Some((Err(error), None)),
    };
    let mut text = if cursor.after == 0 { HEADER.to_owned() } else { String::new() };
    faults.iter().for_each(|fault| write_line(&mut text, fault));
    let next = faults.last().filter(|_| faults.len() as i64 == AT_ONCE);
    Some((Ok(text.into()), next.map(|fault| Cursor { after: fault.line })))
}

fn write_line(text: &mut String, fault: &ImportFault) {
    let ImportFault { line, content, reason, detail } = fault;
    let [content, detail, remedy] = [content, detail, reason.remedy()].map(cell);
    text.push_str(&format!("{line},{content},{reason},{detail},{remedy}\n"));
}

/// A cell in quotes. One that a spreadsheet would take for a formula begins with an apostrophe instead, save a number.
fn cell(text: &str) -> String {
    let is_number =
        text.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|octet| octet.is_ascii_digit()));
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    let apostrophe = if is_formula && !is_number { "'" } else { "" };
    format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_model::Reason;

    #[test]
    fn a_cell_is_no_formula_and_a_number_stays_one() {
        for (text, written) in [
            ("+4420", "\"+4420\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+44,a", "\"'+44,a\""),
            ("-1", "\"'-1\""),
            ("@x", "\"'@x\""),
            ("acme", "\"acme\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }

    #[test]
    fn a_line_names_the_row_its_reason_and_the_remedy() {
        let fault = ImportFault {
            line: 7,
            content: "+4420".to_owned(),
            reason: Reason::RangeMissing,
            detail: String::new(),
        };
        let mut text = String::new();
        write_line(&mut text, &fault);
        let remedy = Reason::RangeMissing.remedy();
        assert_eq!(text, format!("7,\"+4420\",range_missing,\"\",\"{remedy}\"\n"));
    }
}
