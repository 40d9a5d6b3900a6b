//! Holds the table of MUSTs in `must.toml` against the tests that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The names of the tests in a source.
fn tests_in(source: &str) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut is_marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            if std::mem::take(&mut is_marked) {
                tests.insert(name.to_owned());
            }
        }
    }
    tests
}

fn rows(table: &toml::Table) -> Vec<&toml::Table> {
    let rows = table["must"].as_array().expect("the table has rows");
    rows.iter().map(|row| row.as_table().expect("a row has columns")).collect()
}

fn text<'t>(row: &'t toml::Table, column: &str) -> &'t str {
    let text = row.get(column).and_then(|value| value.as_str()).unwrap_or("");
    assert!(!text.is_empty(), "no {column} in {row:?}");
    text
}

#[test]
fn each_must_of_the_table_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace");
    let table = fs::read_to_string(root.join("tests/must.toml")).expect("the table is there");
    let table: toml::Table = table.parse().expect("it is TOML");
    assert_eq!(table.len(), 1, "a row that names no test");
    let rows = rows(&table);
    let mut ids = BTreeSet::new();
    for row in &rows {
        let (id, section) = (text(row, "id"), text(row, "section"));
        assert!(ids.insert(id), "{id} is there twice");
        // The id is the section with a number, so that one is found by the other.
        let place = section.replace("RFC ", "").replace(" §", "-");
        assert!(
            id.strip_prefix(&format!("{place}-")).is_some_and(|n| n.parse::<u8>().is_ok()),
            "{id}: {section}"
        );
        text(row, "says");
    }
    let mut sources: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        let id = text(row, "id");
        let tests = row["tests"].as_array().expect("a list of tests");
        assert!(!tests.is_empty(), "{id} has no test");
        for test in tests {
            let test = test.as_str().expect("a test is path::name");
            let (path, name) = test.split_once("::").expect("a test is path::name");
            let known = sources.entry(path).or_insert_with(|| {
                tests_in(
                    &fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}")),
                )
            });
            assert!(known.contains(name), "{id}: there is no test {test}");
        }
    }
}
