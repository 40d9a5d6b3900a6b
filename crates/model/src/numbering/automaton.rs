//! The numbers of one country code as an automaton over digits: each digit is one step in a table.
//!
//! Made of the patterns by `regex-automata`; kept are only the ten digits, and for each state which countries and
//! types its numbers may yet be.

use std::collections::{BTreeMap, HashMap};
use std::ops::BitOrAssign;

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};

/// Countries and types of some numbers: a bit for each, by their places in the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) countries: u64,
    pub(super) types: u16,
}

impl Kinds {
    pub(super) fn add(&mut self, other: Self) {
        self.countries.bitor_assign(other.countries);
        self.types.bitor_assign(other.types);
    }
}

struct State {
    /// By digit; `None` where no number goes on so.
    next: [Option<u16>; 10],
    /// Of the number that ends here.
    whole: Kinds,
    /// Of all numbers that lead through here.
    leading: Kinds,
}

pub(super) struct Automaton {
    /// The first one is the start.
    states: Vec<State>,
}

impl Automaton {
    /// The automaton of patterns of national numbers.
    ///
    /// # Panics
    /// If a pattern is none: they are part of the program.
    pub(super) fn of(patterns: &BTreeMap<&str, Kinds>) -> Self {
        let texts: Vec<&str> = patterns.keys().copied().collect();
        let kinds: Vec<Kinds> = patterns.values().copied().collect();
        let dfa = dense::Builder::new()
            .configure(dense::Config::new().start_kind(StartKind::Anchored).match_kind(MatchKind::All))
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .build_many(&texts)
            .expect("the patterns are regular expressions");
        let start = dfa
            .start_state(&start::Config::new().anchored(Anchored::Yes))
            .expect("an anchored automaton has a start");
        let mut found: HashMap<StateID, u16> = HashMap::from([(start, 0)]);
        let mut order = vec![start];
        let mut states = Vec::new();
        while let Some(&id) = order.get(states.len()) {
            let next = std::array::from_fn(|digit| {
                let next = dfa.next_state(id, b'0' + digit as u8);
                if dfa.is_dead_state(next) {
                    return None;
                }
                Some(*found.entry(next).or_insert_with(|| {
                    order.push(next);
                    u16::try_from(order.len() - 1).expect("a plan has few states")
                }))
            });
            let mut whole = Kinds::default();
            let end = dfa.next_eoi_state(id);
            if dfa.is_match_state(end) {
                (0..dfa.match_len(end)).for_each(|at| whole.add(kinds[dfa.match_pattern(end, at)]));
            }
            states.push(State { next, whole, leading: whole });
        }
        let mut automaton = Self { states };
        automaton.spread();
        automaton
    }

    /// Carries what numbers are back to the states that lead to them.
    fn spread(&mut self) {
        let mut settled = false;
        while !settled {
            settled = true;
            for at in (0..self.states.len()).rev() {
                let mut leading = self.states[at].leading;
                for next in self.states[at].next.into_iter().flatten() {
                    leading.add(self.states[usize::from(next)].leading);
                }
                settled &= leading == self.states[at].leading;
                self.states[at].leading = leading;
            }
        }
    }

    fn walk(&self, digits: &str) -> Option<&State> {
        let step = |state: &State, digit: u8| state.next[usize::from(digit - b'0')];
        digits.bytes().try_fold(&self.states[0], |state, digit| {
            step(state, digit).map(|next| &self.states[usize::from(next)])
        })
    }

    /// Of the number that has just these digits; none where there is none.
    pub(super) fn whole(&self, digits: &str) -> Kinds {
        self.walk(digits).map_or(Kinds::default(), |state| state.whole)
    }

    /// Of all numbers that begin with the digits; none where there is none.
    pub(super) fn leading(&self, digits: &str) -> Kinds {
        self.walk(digits).map_or(Kinds::default(), |state| state.leading)
    }
}
