//! What is measured of each structure, and the table of it.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::heap::Heap;

/// Numbers that are looked up again and again, so that what they need lies in the cache.
const WARM: usize = 1_000;
const ROUNDS: usize = 20;

/// Into how many parts the cold lookups are cut.
const PARTS: usize = 20;

/// One structure at one size.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Of one lookup, where each is for another number.
    pub(crate) cold_ns: f64,
    /// Where the same numbers come again.
    pub(crate) warm_ns: f64,
    /// Of the heap, for one prefix: asked for, and set aside by the allocator.
    pub(crate) bytes: Option<[f64; 2]>,
    pub(crate) build: Option<Duration>,
    /// One change each, sorted.
    pub(crate) changes: Vec<Duration>,
}

/// What is built, how long that took, and what it takes of the heap for each item.
pub(crate) fn build<T>(items: usize, build: impl FnOnce() -> T) -> (T, Duration, [f64; 2]) {
    let before = Heap::now();
    let (built, took) = time(build);
    (built, took, Heap::since(before, items))
}

/// Nanoseconds of a lookup cold and warm, and what all lookups found, added up. Cold is the median of [`PARTS`] parts, so
/// that it is not of the machine's worst moment.
pub(crate) fn lookups<K>(keys: &[K], find: impl Fn(&K) -> usize) -> (f64, f64, usize) {
    let time = |keys: &[K]| {
        let all = || keys.iter().map(|key| black_box(find(black_box(key)))).sum();
        let (found, took): (usize, _) = self::time(all);
        (took.as_secs_f64() * 1e9 / keys.len() as f64, found)
    };
    let (mut parts, founds): (Vec<_>, Vec<_>) = keys.chunks(keys.len().div_ceil(PARTS)).map(time).unzip();
    parts.sort_unstable_by(f64::total_cmp);
    let (cold, found) = (parts[parts.len() / 2], founds.iter().sum());
    let warm = (0..ROUNDS).map(|_| time(&keys[..WARM.min(keys.len())]).0).fold(f64::MAX, f64::min);
    (cold, warm, found)
}

/// Times of `count` changes, sorted.
pub(crate) fn changes(count: u64, mut change: impl FnMut(u64) -> Duration) -> Vec<Duration> {
    let mut times: Vec<_> = (0..count).map(&mut change).collect();
    times.sort_unstable();
    times
}

/// What comes of something, and how long this thread works on that: others of the machine's programs do not count.
pub(crate) fn time<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let now =
        || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("it does not run backwards");
    let begun = now();
    let outcome = black_box(what());
    (outcome, now() - begun)
}

pub(crate) fn print(prefixes: usize, rows: &[Row]) {
    println!("\n{prefixes} prefixes");
    println!(
        "{:<24}{:>9}{:>9}{:>8}{:>10}{:>10}{:>11}{:>11}{:>11}",
        "", "cold ns", "warm ns", "bytes", "set aside", "build ms", "change p50", "p99 µs", "max µs"
    );
    let figure =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    for row in rows {
        let quantile = |part: usize| {
            let last = row.changes.len().checked_sub(1)?;
            Some(row.changes[last * part / 100].as_secs_f64() * 1e6)
        };
        println!(
            "{:<24}{:>9.0}{:>9.0}{:>8}{:>10}{:>10}{:>11}{:>11}{:>11}",
            row.name,
            row.cold_ns,
            row.warm_ns,
            figure(row.bytes.map(|bytes| bytes[0]), 1),
            figure(row.bytes.map(|bytes| bytes[1]), 1),
            figure(row.build.map(|build| build.as_secs_f64() * 1e3), 1),
            figure(quantile(50), 1),
            figure(quantile(99), 1),
            figure(quantile(100), 1),
        );
    }
}
