//! What the fuzz targets of uploads and certificates reach: built with `--cfg fuzzing`, as libFuzzer's targets are.

use chrono::DateTime;
use tandem_model::{EndpointId, ImportId, MemberId};
use tandem_store::endpoint::EndpointName;
use tandem_store::import::ImportFormat;
use uuid::Uuid;

use crate::announcement::EndpointNames;
use crate::csv;
use crate::import_reader::{Ids, ImportReader};
use crate::sti_certificate::{self, TrustAnchors};

/// Most rows that an upload may have here.
const MAX_ROWS: usize = 1_000;

/// A point of P-256, its generator (FIPS 186-4 D.1.2.3): no text here is signed by the key to it.
const POINT: [u8; 65] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
    0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
    0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];

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

/// Reads `octets` as certificates in PEM form, as the list of numbers of one, and as a signed text.
///
/// # Panics
/// When a text is believed to be signed that is not; that is to be found.
pub fn read_certificate(octets: &[u8]) {
    let anchors = TrustAnchors::read(octets).unwrap_or_default();
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    let _ = sti_certificate::read(octets, &anchors, now);
    let _ = sti_certificate::entries(octets);
    let text = String::from_utf8_lossy(octets);
    assert!(!sti_certificate::is_signed(&text, "text", &POINT));
}
