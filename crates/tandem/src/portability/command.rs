//! `tandem portability`: makes the files of ported numbers from CSV, and says what is wrong with one.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use tandem_model::{E164, PortedChange, PortedDelta, PortedNumber, RoutingNumber};
use tandem_routing::PortedLoad;

use super::file::{read_base, read_delta, write_base, write_delta};
use crate::say;

/// What is made or looked at.
#[derive(Debug, Subcommand)]
pub enum PortabilityCommand {
    /// Makes a base of all ported numbers from CSV: on each line a number and its routing number
    Build {
        /// The CSV; a first line with the names of the columns is left out
        csv: PathBuf,
        /// Where the base goes; a node that reads it there takes it in
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The deltas that follow begin with the next one
        #[arg(long, default_value_t = 1)]
        serial: u64,
    },
    /// Makes a delta from CSV: on each line add, change or remove, a number, and its routing number
    Delta {
        /// The CSV; a first line with the names of the columns is left out
        csv: PathBuf,
        /// The folder into which deltas go; the delta is named for its serial
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// One more than that of the base or delta before
        #[arg(long)]
        serial: u64,
    },
    /// Reads a base or delta as a node would, and says what is in it
    Check {
        /// The file
        file: PathBuf,
    },
}

/// Does it.
pub fn run(command: &PortabilityCommand) -> anyhow::Result<()> {
    match command {
        PortabilityCommand::Build { csv, out, serial } => build(csv, out, *serial),
        PortabilityCommand::Delta { csv, out, serial } => {
            let out = out.join(format!("{serial}.{}", super::DELTA));
            delta(csv, &out, *serial)
        }
        PortabilityCommand::Check { file } => check(file),
    }
}

fn build(csv: &Path, out: &Path, serial: u64) -> anyhow::Result<()> {
    let mut load = PortedLoad::new();
    each_row(csv, "number", |row| {
        let [number, rn] = row else { bail!("write a number and its routing number") };
        Ok(load.push(ported(number, rn)?)?)
    })?;
    let numbers = load.finish(serial).with_context(|| csv.display().to_string())?;
    write_base(out, &numbers).with_context(|| format!("cannot write {}", out.display()))?;
    say(format_args!("{}: {} ported numbers, serial {serial}", out.display(), numbers.len()));
    Ok(())
}

fn delta(csv: &Path, out: &Path, serial: u64) -> anyhow::Result<()> {
    let mut changes = Vec::new();
    each_row(csv, "change", |row| {
        changes.push(match row {
            ["add", number, rn] => PortedChange::Add(ported(number, rn)?),
            ["change", number, rn] => PortedChange::Change(ported(number, rn)?),
            ["remove", number] | ["remove", number, ""] => {
                PortedChange::Remove { number: read_number(number)? }
            }
            _ => bail!("write add or change, a number and its routing number, or remove and a number"),
        });
        Ok(())
    })?;
    let delta = PortedDelta { serial, changes };
    write_delta(out, &delta).with_context(|| format!("cannot write {}", out.display()))?;
    say(format_args!("{}: {} changes, serial {serial}", out.display(), delta.changes.len()));
    Ok(())
}

fn check(file: &Path) -> anyhow::Result<()> {
    let said = match file.extension().is_some_and(|extension| extension == super::DELTA) {
        true => read_delta(file, |_| true)
            .map(|delta| format!("{} changes, serial {}", delta.changes.len(), delta.serial)),
        false => read_base(file, |_| true)
            .map(|numbers| format!("{} ported numbers, serial {}", numbers.len(), numbers.serial())),
    };
    match said {
        Ok(said) => say(format_args!("{}: {said}", file.display())),
        Err(error) => bail!("{error} ({})", error.reason()),
    }
    Ok(())
}

/// Calls `work` with the fields of each line, save the names of the columns, the first of which is `first`.
fn each_row(
    csv: &Path,
    first: &str,
    mut work: impl FnMut(&[&str]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).trim(csv::Trim::All);
    let mut reader = reader.from_path(csv).with_context(|| format!("cannot read {}", csv.display()))?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).with_context(|| csv.display().to_string())? {
        let line = record.position().map_or(0, csv::Position::line);
        if line == 1 && record.get(0) == Some(first) {
            continue;
        }
        let row: Vec<&str> = record.iter().collect();
        work(&row).with_context(|| format!("{}, line {line}", csv.display()))?;
    }
    Ok(())
}

fn ported(number: &str, rn: &str) -> anyhow::Result<PortedNumber> {
    let rn = rn.parse::<RoutingNumber>().with_context(|| format!("{rn:?} is no routing number"))?;
    Ok(PortedNumber { number: read_number(number)?, rn })
}

fn read_number(number: &str) -> anyhow::Result<E164> {
    number.parse().with_context(|| format!("{number:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_becomes_files_that_a_node_reads_and_a_wrong_line_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |text: &str| {
            let csv = dir.path().join("t.csv");
            std::fs::write(&csv, text).expect("writable");
            csv
        };
        let out = dir.path().join("numbers.base");
        let csv = write("number,routing_number\n+441632960002, 441617901\n\"441632960001\",+441617900\n");
        run(&PortabilityCommand::Build { csv, out: out.clone(), serial: 7 }).expect("it is made");
        let numbers = read_base(&out, |_| true).expect("it is whole");
        assert_eq!((numbers.serial(), numbers.len()), (7, 2));
        run(&PortabilityCommand::Check { file: out.clone() }).expect("it is whole");

        let csv = write("change,number,routing_number\nadd,+441632960003,+44161\nremove,+441632960002,\n");
        let made = PortabilityCommand::Delta { csv, out: dir.path().to_owned(), serial: 8 };
        run(&made).expect("it is made");
        let delta = read_delta(&dir.path().join("8.delta"), |_| true).expect("it is whole");
        assert_eq!(numbers.apply(&delta).expect("it fits").len(), 2);

        for (text, says) in [
            ("+441632960001\n", "t.csv, line 1: write a number and its routing number"),
            ("+441632960001,+44\n044,+44\n", "t.csv, line 2: \"044\" is no number: it begins with 0"),
            ("+441632960001,x\n", "t.csv, line 1: \"x\" is no routing number: 'x' is not a digit"),
            ("+441632960001,+44\n+441632960001,+44\n", "t.csv: +441632960001 is there more than once"),
        ] {
            let build = PortabilityCommand::Build { csv: write(text), out: out.clone(), serial: 1 };
            let error = format!("{:#}", run(&build).expect_err(text));
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(read_base(&out, |_| true).expect("the last one stays").serial(), 7);
    }
}
