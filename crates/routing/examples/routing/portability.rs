//! The table of ported numbers: 100 million in a plan of which each tenth number is ported, to 300 networks.

use std::hint::black_box;

use tandem_model::{E164, PortedChange, PortedDelta, PortedNumber, RoutingNumber};
use tandem_routing::{PortedLoad, PortedNumbers};

use crate::heap::Heap;
use crate::plan::Random;
use crate::stopwatch;

const NETWORKS: u64 = 300;
const LOOKUPS: u64 = 1_000_000;
const CHANGED: u64 = 100_000;

/// The ported number of the `n`th ten of the plan.
fn ported(n: u64) -> PortedNumber {
    let random = Random(n).below(10 * NETWORKS);
    PortedNumber { number: number(n * 10 + random % 10), rn: network(random / 10) }
}

fn number(at: u64) -> E164 {
    E164::from_value(440_000_000_000 + at).expect("it has 12 digits")
}

fn network(n: u64) -> RoutingNumber {
    RoutingNumber::from_value(4_400_000 + n).expect("it has 7 digits")
}

fn load(count: u64, order: impl Fn(u64) -> u64) -> PortedNumbers {
    let mut load = PortedLoad::new();
    (0..count).for_each(|n| load.push(ported(order(n))).expect("each is there once"));
    load.finish(1).expect("each is there once")
}

pub(crate) fn measure(count: u64) {
    let before = Heap::now();
    let (numbers, sorted) = stopwatch::time(|| load(count, |n| n));
    drop(numbers);
    // A prime that has no divisor in common with the count: each comes once, in no order.
    let (numbers, unsorted) = stopwatch::time(|| load(count, |n| n * 982_451_653 % count));
    let bytes = Heap::since(before, count as usize);
    let peak = Heap::peak_since(before);
    let estimated = numbers.bytes() as f64 / count as f64;
    let mut random = Random(5);
    let called: Vec<_> = (0..LOOKUPS)
        .map(|n| match n % 2 {
            0 => ported(random.below(count)).number,
            _ => number(random.below(count * 10)),
        })
        .collect();
    let find = |called: &E164| usize::from(black_box(numbers.get(*called)).is_some());
    let (cold_ns, warm_ns, found) = stopwatch::lookups(&called, find);
    assert!(found as u64 >= LOOKUPS / 2, "half of them are ported");
    let changes = (0..CHANGED)
        .map(|n| {
            let old = ported(n * (count / CHANGED));
            match n % 4 {
                0 => PortedChange::Remove { number: old.number },
                1 => PortedChange::Change(PortedNumber { rn: network(NETWORKS), ..old }),
                _ => {
                    let next = old.number.value() / 10 * 10 + (old.number.value() + 1) % 10;
                    let number = E164::from_value(next).expect("it has as many digits");
                    PortedChange::Add(PortedNumber { number, ..old })
                }
            }
        })
        .collect();
    let delta = PortedDelta { serial: 2, changes };
    let (next, delta_took) = stopwatch::time(|| numbers.apply(&delta).expect("it fits"));
    assert_eq!(next.len() as u64, count + CHANGED / 4);
    println!(
        "\n{count} ported numbers: {:.2} bytes each ({:.2} set aside, {estimated:.2} as the node counts them; {:.0} MB at most while loading), loaded in {:.1} s \
         in order and {:.1} s in none, found in {cold_ns:.0} ns cold and {warm_ns:.0} ns warm; a delta of {CHANGED} in \
         {:.0} ms",
        bytes[0],
        bytes[1],
        peak as f64 / 1e6,
        sorted.as_secs_f64(),
        unsorted.as_secs_f64(),
        delta_took.as_secs_f64() * 1e3,
    );
}
