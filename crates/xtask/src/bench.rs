//! `cargo xtask bench`: the measurements that exist, each an example of the crate it measures.

use anyhow::{Result, bail};

use crate::run::{Steps, cargo, run as run_command};

struct Bench {
    name: &'static str,
    what: &'static str,
    package: &'static str,
    example: &'static str,
}

const BENCHES: &[Bench] = &[Bench {
    name: "lookup",
    what: "route table: build, memory, lookup and change at 1,000 to 10 million prefixes",
    package: "tandem-routing",
    example: "lookup",
}];

/// Lists the benches, then runs all of them or the one that is named.
#[expect(clippy::print_stderr, reason = "the list is for the person who asked")]
pub(crate) fn run(name: Option<&str>) -> Result<()> {
    for bench in BENCHES {
        eprintln!("{:10} {}", bench.name, bench.what);
    }
    let chosen: Vec<&Bench> =
        BENCHES.iter().filter(|bench| name.is_none_or(|name| name == bench.name)).collect();
    if chosen.is_empty() {
        bail!("there is no such bench");
    }
    let mut steps = Steps::new();
    for bench in chosen {
        let args = ["run", "--release", "--package", bench.package, "--example", bench.example];
        steps.step(bench.name, || run_command(&mut cargo(&args)));
    }
    steps.finish()
}
