//! The public crates that find the longest prefix of a number, each with the keys that suit it.

use std::hint::black_box;

use fst::{Map, MapBuilder};
use patricia_tree::PatriciaMap;
use prefix_trie::PrefixMap;
use tandem_model::E164;

use crate::CHANGES;
use crate::plan::Random;
use crate::stopwatch::{self, Row};

/// Digits as four bits each from the left, and how many bits they are.
fn bcd(value: u64) -> (u64, u8) {
    let len = value.ilog10() + 1;
    let nibbles = (0..len).fold(0, |bits, place| {
        let digit = value / 10_u64.pow(len - place - 1) % 10;
        bits | digit << (60 - 4 * place)
    });
    (nibbles, len as u8 * 4)
}

/// All of them, each with how many digits its lookups found in all.
pub(crate) fn measure(prefixes: &[u64], numbers: &[E164]) -> Vec<(Row, usize)> {
    let texts: Vec<String> = numbers.iter().map(|number| number.digits()).collect();
    vec![fst(prefixes, &texts), prefix_trie(prefixes, numbers), patricia_tree(prefixes, &texts)]
}

/// An automaton of sorted keys; it cannot be changed.
fn fst(prefixes: &[u64], numbers: &[String]) -> (Row, usize) {
    let (map, build, bytes) = stopwatch::build(prefixes.len(), || {
        let mut sorted: Vec<_> = prefixes.iter().map(|prefix| (prefix.to_string(), *prefix)).collect();
        sorted.sort_unstable();
        let mut builder = MapBuilder::memory();
        sorted
            .iter()
            .for_each(|(text, value)| builder.insert(text, *value % 1_000_000).expect("keys are sorted"));
        let mut bytes = builder.into_inner().expect("it is memory");
        bytes.shrink_to_fit();
        Map::new(bytes).expect("it was just built")
    });
    let automaton = map.as_fst();
    let (cold_ns, warm_ns, found) = stopwatch::lookups(numbers, |number| {
        let mut node = automaton.root();
        let (mut output, mut longest) = (0, 0);
        for (at, digit) in number.bytes().enumerate() {
            let Some(index) = node.find_input(digit) else { break };
            let transition = node.transition(index);
            output += transition.out.value();
            node = automaton.node(transition.addr);
            if node.is_final() {
                black_box(output + node.final_output().value());
                longest = at + 1;
            }
        }
        longest
    });
    (
        Row { name: "fst", cold_ns, warm_ns, bytes: Some(bytes), build: Some(build), changes: Vec::new() },
        found,
    )
}

/// Changed in place: nobody can read meanwhile.
fn prefix_trie(prefixes: &[u64], numbers: &[E164]) -> (Row, usize) {
    let (mut map, build, bytes) = stopwatch::build(prefixes.len(), || {
        prefixes
            .iter()
            .zip(0_u32..)
            .map(|(prefix, n)| (bcd(*prefix), n))
            .collect::<PrefixMap<(u64, u8), u32>>()
    });
    let keys: Vec<_> = numbers.iter().map(|number| bcd(number.value())).collect();
    let find = |key: &(u64, u8)| {
        map.get_lpm(key).map_or(0, |(prefix, value)| {
            black_box(*value);
            usize::from(prefix.1 / 4)
        })
    };
    let (cold_ns, warm_ns, found) = stopwatch::lookups(&keys, find);
    let mut random = Random(3);
    let changes = stopwatch::changes(CHANGES, |n| {
        let prefix = prefixes[random.below(prefixes.len() as u64) as usize];
        match n % 2 {
            0 => stopwatch::time(|| map.insert(bcd(prefix * 10 + n % 10), n as u32)).1,
            _ => stopwatch::time(|| map.remove(&bcd(prefix))).1,
        }
    });
    (Row { name: "prefix-trie", cold_ns, warm_ns, bytes: Some(bytes), build: Some(build), changes }, found)
}

/// Changed in place, too.
fn patricia_tree(prefixes: &[u64], numbers: &[String]) -> (Row, usize) {
    let (mut map, build, bytes) = stopwatch::build(prefixes.len(), || {
        let pairs = prefixes.iter().zip(0_u32..).map(|(prefix, n)| (prefix.to_string(), n));
        pairs.collect::<PatriciaMap<u32>>()
    });
    let find = |number: &String| {
        map.get_longest_common_prefix(number).map_or(0, |(prefix, value)| {
            black_box(*value);
            prefix.len()
        })
    };
    let (cold_ns, warm_ns, found) = stopwatch::lookups(numbers, find);
    let mut random = Random(3);
    let changes = stopwatch::changes(CHANGES, |n| {
        let prefix = prefixes[random.below(prefixes.len() as u64) as usize].to_string();
        match n % 2 {
            0 => stopwatch::time(|| map.insert(format!("{prefix}{}", n % 10), n as u32)).1,
            _ => stopwatch::time(|| map.remove(&prefix)).1,
        }
    });
    (Row { name: "patricia_tree", cold_ns, warm_ns, bytes: Some(bytes), build: Some(build), changes }, found)
}
