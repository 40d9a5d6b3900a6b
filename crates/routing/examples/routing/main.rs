//! Times the route table beside public crates on the same data: `cargo xtask bench routing`.
//!
//! A structure's bytes are what its building adds to the heap and leaves there. Of the hub that is everything about
//! its announcements: what `select` needs of each, its id of 16 bytes, and the index by id. The crates hold a number
//! of four bytes for each prefix, `fst` one of up to three, and nothing else.
//! The hub's change is the whole of making the next table from the last and dropping that, while readers go on; the
//! crates' is made in place. `fst` sorts its keys as part of its building.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a stopwatch that prints what it measures"
)]

mod heap;
mod peers;
mod plan;
mod portability;
mod stopwatch;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tandem_model::{Announcement, E164, Facts, ObjectId};
use tandem_routing::{CallRequest, RouteTable, select};

use heap::Heap;
use plan::{Announced, MEMBERS, Random};
use stopwatch::Row;

const CALLS: usize = 1_000_000;
pub(crate) const CHANGES: u64 = 3_000;
const SWAPS: usize = 100;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000, 10_000_000] } else { sizes };
    // First: nothing took more memory before.
    portability::measure(10 * sizes.iter().copied().max().unwrap_or(0) as u64);
    sizes.into_iter().for_each(measure);
}

fn measure(size: usize) {
    let prefixes = plan::prefixes(size);
    let numbers = plan::numbers(&prefixes, CALLS);
    let (hub, digits) = hub(&prefixes, &numbers);
    let mut rows = vec![hub];
    for (row, found) in peers::measure(&prefixes, &numbers) {
        assert_eq!(found, digits, "{} finds other prefixes than the hub", row.name);
        rows.push(row);
    }
    let best = |figure: fn(&Row) -> f64| rows[1..].iter().map(figure).fold(f64::MAX, f64::min);
    let ratios = [rows[0].cold_ns / best(|row| row.cold_ns), rows[0].warm_ns / best(|row| row.warm_ns)];
    rows.push(whole_select(&prefixes, &numbers));
    rows.push(one_by_one(&prefixes));
    stopwatch::print(size, &rows);
    println!(
        "slowest of {SWAPS} swaps below 10,000 lookups a second: {:.1} µs",
        swap_us(&prefixes, &numbers)
    );
    println!("lookup, hub / best of the crates: {:.2}x cold, {:.2}x warm", ratios[0], ratios[1]);
}

/// The longest announced prefix of each number with who announces it, and how many digits they have in all.
fn hub(prefixes: &[u64], numbers: &[E164]) -> (Row, usize) {
    let (table, build, bytes) = load(prefixes, Announced::ByFile);
    let find = |number: &E164| {
        table.announced_prefix(*number).map_or(0, |(prefix, member)| {
            black_box(member);
            prefix.len()
        })
    };
    let (cold_ns, warm_ns, found) = stopwatch::lookups(numbers, find);
    let changes = changes(table, prefixes);
    (Row { name: "hub", cold_ns, warm_ns, bytes: Some(bytes), build: Some(build), changes }, found)
}

/// All of a call's choice: announcements, ranges, members, the agreement, endpoints, and the explanation.
fn whole_select(prefixes: &[u64], numbers: &[E164]) -> Row {
    let (table, ..) = load(prefixes, Announced::ByFile);
    let mut random = Random(1);
    let call = |called: &E164| CallRequest {
        originating_member: plan::member_id(random.below(MEMBERS)),
        called: *called,
        dip: None,
        site: None,
        draw: random.below(u64::MAX),
    };
    let calls: Vec<_> = numbers.iter().map(call).collect();
    let find = |call: &CallRequest<'_>| select(&table, call, plan::now()).candidates.len();
    let (cold_ns, warm_ns, _) = stopwatch::lookups(&calls, find);
    Row { name: "hub, whole select", cold_ns, warm_ns, bytes: None, build: None, changes: Vec::new() }
}

/// The hub's memory where no two announcements begin at the same time.
fn one_by_one(prefixes: &[u64]) -> Row {
    let (table, build, bytes) = load(prefixes, Announced::OneByOne);
    let changes = changes(table, prefixes);
    let name = "hub, made one by one";
    Row { name, cold_ns: f64::NAN, warm_ns: f64::NAN, bytes: Some(bytes), build: Some(build), changes }
}

/// The longest time that putting the next table in place of the last took while another thread looked numbers up.
fn swap_us(prefixes: &[u64], numbers: &[E164]) -> f64 {
    let (table, ..) = load(prefixes, Announced::ByFile);
    let shared = tandem_routing::shared(table);
    let is_over = AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in numbers.iter().cycle().take_while(|_| !is_over.load(Relaxed)) {
                black_box(shared.load().announced_prefix(*number));
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let swaps = (0..SWAPS as u64).map(|n| {
            let old = plan::announcement(n, prefixes[n as usize], Announced::OneByOne);
            let change = Facts { position: 2 + n, announcements: vec![old], ..Facts::default() };
            let next = Arc::new(shared.load().apply(change));
            stopwatch::time(|| shared.store(next)).1
        });
        let slowest = swaps.max().unwrap_or_default();
        is_over.store(true, Relaxed);
        slowest
    });
    slowest.as_secs_f64() * 1e6
}

/// The table, how long the announcements took to be in it, and what they take of the heap.
fn load(prefixes: &[u64], announced: Announced) -> (RouteTable, Duration, [f64; 2]) {
    let exchange = RouteTable::from_facts(plan::exchange());
    let before = Heap::now();
    let facts =
        Facts { announcements: plan::announcements(prefixes, announced), position: 1, ..Facts::default() };
    let (table, build) = stopwatch::time(|| exchange.apply(facts));
    (table, build, Heap::since(before, prefixes.len()))
}

/// New announcements, changes of old ones and withdrawals, one at a time.
fn changes(mut table: RouteTable, prefixes: &[u64]) -> Vec<Duration> {
    let mut random = Random(3);
    let size = prefixes.len() as u64;
    stopwatch::changes(CHANGES, |n| {
        let at = random.below(size);
        let old = plan::announcement(at, prefixes[at as usize], Announced::OneByOne);
        let mut change = Facts { position: 1 + n, ..Facts::default() };
        match n % 3 {
            0 => {
                change.announcements = vec![Announcement {
                    announcement_id: plan::announcement(size + n, 100, Announced::ByFile).announcement_id,
                    ..old
                }]
            }
            1 => change.announcements = vec![old],
            _ => change.gone = vec![ObjectId::Announcement(old.announcement_id)],
        }
        let next = || {
            let next = table.apply(change);
            drop(std::mem::replace(&mut table, next));
        };
        stopwatch::time(next).1
    })
}
