use proptest::prelude::*;
use serde_json::json;
use tandem_model::MemberId;
use tandem_store::endpoint::EndpointName;
use uuid::Uuid;

use super::*;

fn names() -> EndpointNames {
    let endpoint = |number: u128, name: &str| EndpointName {
        endpoint_id: EndpointId(Uuid::from_u128(number)),
        member_id: MemberId(Uuid::nil()),
        name: name.to_owned(),
    };
    EndpointNames::of(vec![endpoint(1, "ams-1"), endpoint(2, "ams-2")])
}

fn read_from(lines_before: u32, format: ImportFormat, octets: &[u8]) -> Result<Part, ApiError> {
    let ids = Ids { unix_ms: 1_900_000_000_000, random: [7; 6] };
    ImportReader { import: ImportId(Uuid::nil()), format, lines_before, names: &names(), ids }.read(octets)
}

/// Lines, rows that can be taken and rows that cannot.
fn counts(format: ImportFormat, text: &str) -> (u32, u32, u32) {
    let part = read_from(0, format, text.as_bytes()).expect("it begins as it should");
    (part.lines, part.good_rows(), part.faulty_rows())
}

#[test]
fn each_line_is_a_row_or_has_a_fault_of_its_own() {
    use ImportFormat::{Csv, Ndjson};
    let csv = "\u{feff}Prefix, Endpoints,action\r\n+4420,ams-1;ams-2\r\n\r\n\"+4421\",\"ams-1 ams-2\",\n+4422,,withdraw\n";
    assert_eq!(counts(Csv, csv), (5, 3, 0));
    let ndjson =
        "{\"prefix\":\"+4420\",\"endpoints\":[\"ams-1\"]}\n\n{\"prefix\":\"+4421\",\"action\":\"withdraw\"}";
    assert_eq!(counts(Ndjson, ndjson), (3, 2, 0));
    for row in [
        "+4420",
        "+4420,nobody",
        "+4420,",
        "0044,ams-1",
        "+4420,ams-1,withdraw",
        "+4420,ams-1,remove",
        "+4420,ams-1,announce,more",
        "\"+4420,ams-1",
        "+4420,\"ams-1\u{0}\"",
        "=cmd|' /C calc'!A0,ams-1",
    ] {
        assert_eq!(counts(Csv, &format!("prefix,endpoints\n{row}\n+4421,ams-1\n")), (3, 1, 1), "{row}");
    }
    for row in ["", "[]", "{\"prefix\":\"+44\",\"endpoints\":[\"ams-1\"],\"more\":1}", "{\"prefix\":44}", "{"]
    {
        let faulty = u32::from(!row.is_empty());
        let text = format!("{row}\n{{\"prefix\":\"+4421\",\"endpoints\":[\"ams-1\"]}}\n");
        assert_eq!(counts(Ndjson, &text), (2, 1, faulty), "{row}");
    }
    let long = format!("prefix,endpoints\n+4420,{}\n", "a".repeat(MAX_LINE));
    assert_eq!(counts(Csv, &long), (2, 0, 1));
    let octets = [b"prefix,endpoints\n+4420,".as_slice(), b"\xff\n"].concat();
    assert_eq!(read_from(0, Csv, &octets).expect("its first line is good").faulty_rows(), 1);
}

#[test]
fn a_file_that_does_not_begin_as_announcements_do_is_refused_as_a_whole() {
    for text in ["", "\n", "digits,endpoints\n", "PK\u{3}\u{4}\n+4420,ams-1\n", "prefix;endpoints\n"] {
        let error = read_from(0, ImportFormat::Csv, format!("{text}\n").as_bytes()).expect_err(text);
        assert_eq!(error.reason(), Reason::ImportUnreadable, "{text:?}");
    }
    // Only at its beginning has a file a first line.
    assert!(read_from(1, ImportFormat::Csv, b"+4420,ams-1\n").is_ok());
}

/// A row: mostly one that can be taken.
fn row() -> impl Strategy<Value = (String, Vec<&'static str>, bool)> {
    let prefix = prop_oneof![
        8 => (10_000_u32..99_999).prop_map(|digits| format!("+44{digits}")),
        1 => Just("0044".to_owned()),
        1 => Just(String::new()),
    ];
    let endpoints =
        prop::collection::vec(prop_oneof![4 => Just("ams-1"), 4 => Just("ams-2"), 1 => Just("no")], 0..3);
    (prefix, endpoints, any::<bool>())
}

proptest! {
    #[test]
    fn rows_are_read_alike_in_both_formats_and_in_any_parts(
        rows in prop::collection::vec(row(), 1..40),
        split_after in 0_usize..40,
        quoted in any::<bool>(),
    ) {
        let quote = if quoted { "\"" } else { "" };
        let mut csv = "prefix,endpoints,action\n".to_owned();
        // An empty line stands where CSV has its first one.
        let mut ndjson = "\n".to_owned();
        for (prefix, endpoints, announces) in &rows {
            let action = if *announces { "announce" } else { "withdraw" };
            csv += &format!("{quote}{prefix}{quote},{quote}{}{quote},{action}\n", endpoints.join(";"));
            ndjson += &format!("{}\n", json!({ "prefix": prefix, "endpoints": endpoints, "action": action }));
        }
        let of_csv = read_from(0, ImportFormat::Csv, csv.as_bytes()).expect("it has its first line");
        let of_ndjson = read_from(0, ImportFormat::Ndjson, ndjson.as_bytes()).expect("it needs none");
        prop_assert_eq!(of_csv.rows(), of_ndjson.rows());
        prop_assert_eq!(of_csv.faulty_rows(), of_ndjson.faulty_rows());

        for (format, text, whole) in [(ImportFormat::Csv, &csv, &of_csv), (ImportFormat::Ndjson, &ndjson, &of_ndjson)] {
            let ends = text.match_indices('\n').map(|(at, _)| at + 1).collect::<Vec<_>>();
            let (first, second) = text.split_at(ends[split_after % ends.len()]);
            let first = read_from(0, format, first.as_bytes()).expect("it begins as the whole does");
            let second = read_from(first.lines, format, second.as_bytes()).expect("only a first line can be refused");
            prop_assert_eq!(first.rows().to_owned() + second.rows(), whole.rows());
            prop_assert_eq!(first.lines + second.lines, whole.lines);
            prop_assert_eq!(first.faulty_rows() + second.faulty_rows(), whole.faulty_rows());
        }
    }
}
