//! `tandem apply`: brings the exchange to the state that a TOML file declares.

use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tandem_store::PgPool;
use tandem_store::declaration::{self, Applied, Declaration};

use crate::say;

/// Most changes that are printed one by one.
pub(crate) const MOST_SHOWN: usize = 100;

/// Applies `file` and prints what it changed.
pub async fn run(db: &PgPool, file: &Path, at: DateTime<Utc>) -> anyhow::Result<()> {
    let (name, declaration) = read_file(file)?;
    let applied =
        declaration::apply(db, &declaration, at).await.with_context(|| format!("{name} was not applied"))?;
    show(&applied);
    Ok(())
}

/// Prints the changes, if they are many the first of them, and how many there are of each kind.
pub(crate) fn show(applied: &Applied) {
    applied.changes.iter().take(MOST_SHOWN).for_each(say);
    if applied.changes.len() > MOST_SHOWN {
        say(format_args!("… and {} more", applied.changes.len() - MOST_SHOWN));
    }
    say(applied.summary());
}

/// The declaration in a file, and what to call the file.
pub(crate) fn read_file(file: &Path) -> anyhow::Result<(String, Declaration)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.display().to_string();
    let declaration = read(&name, &text)?;
    Ok((name, declaration))
}

/// Reads a declaration; the error begins with `name` and has the line, the column and what is wrong there.
pub fn read(name: &str, text: &str) -> anyhow::Result<Declaration> {
    toml::from_str(text).map_err(|error| anyhow::anyhow!("{name}: {}", error.to_string().trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[member]]
name = "acme"
[[member.endpoint]]
name = "acme-ams-1"
source = ["192.0.2.21/32"]
target = "sip:192.0.2.21:5060;transport=udp"
max_calls = 200
[[member.range]]
prefix = "+44207946"
authority = "valid"
[[member.announcement]]
prefix = "+44207946"
endpoints = ["acme-ams-1"]
"#;

    #[test]
    fn the_format_of_the_design_is_read() {
        let declaration = read("x.toml", GOOD).expect("it is right");
        assert_eq!(declaration.members[0].endpoints[0].max_calls, Some(200));
        assert_eq!(declaration.members[0].announcements[0].endpoints, ["acme-ams-1"]);
    }

    #[test]
    fn an_error_names_the_file_the_line_and_the_fault() {
        let cases = [
            ("max_calls", "max_cals", 8, "unknown field `max_cals`"),
            ("200", "\"many\"", 8, "invalid type: string \"many\", expected u32"),
            ("authority = \"valid\"", "authority = \"true\"", 11, "unknown variant `true`"),
            (
                "\"+44207946\"\nendpoints",
                "\"020\"\nendpoints",
                13,
                "it begins with 0; write it internationally",
            ),
            ("192.0.2.21/32", "192.0.2.21/24", 6, "has host bits; write 192.0.2.0/24"),
            ("sip:192.0.2.21", "192.0.2.21", 7, "a target begins with \"sip:\""),
            ("name = \"acme\"", "name = acme", 3, ""),
        ];
        for (good, bad, line, fault) in cases {
            let error = read("x.toml", &GOOD.replacen(good, bad, 1)).expect_err(bad).to_string();
            assert!(
                error.starts_with(&format!("x.toml: TOML parse error at line {line}, ")),
                "{bad}: {error}"
            );
            assert!(error.contains(fault), "{bad}: {error}");
        }
    }
}
