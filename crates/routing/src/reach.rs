//! Which numbers a member can reach, as a set of prefixes that it can follow by what changes.
//!
//! A prefix stands for all numbers that begin with it, save those that begin with a longer one of the set. It adds
//! no rule of its own: each announced prefix, each in the terms of an agreement, and each that has a rate or is blocked, is put to [`select()`] as the number of just its digits. That the set says the
//! same of every number as `select` does is a property that is tested.

use chrono::{DateTime, Utc};
use tandem_model::{MemberId, Prefix};

use crate::digits::Key;
use crate::terms::as_prefix;
use crate::{CallRequest, Dip, RouteTable, select};

/// The prefixes that a member can reach, and those beneath them that it cannot, in 8 bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach(Vec<Entry>);

/// A prefix and whether it is reached, in the order of a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    fn new(key: Key, is_reached: bool) -> Self {
        Self(key.bits() << 1 | u64::from(is_reached))
    }

    fn key(self) -> Key {
        Key::from_bits(self.0 >> 1)
    }

    fn is_reached(self) -> bool {
        self.0 & 1 == 1
    }

    fn prefix(self) -> Prefix {
        as_prefix(self.key().prefix())
    }
}

/// What makes one set of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReachDelta {
    /// Prefixes that are reached now.
    pub reached: Vec<Prefix>,
    /// Prefixes beneath one that is reached, and that are not.
    pub excepted: Vec<Prefix>,
    /// Prefixes that are not in the set any more.
    pub gone: Vec<Prefix>,
}

impl ReachDelta {
    /// How many prefixes it names.
    pub fn len(&self) -> usize {
        self.reached.len() + self.excepted.len() + self.gone.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&mut self, entry: Entry) {
        let list = if entry.is_reached() { &mut self.reached } else { &mut self.excepted };
        list.push(entry.prefix());
    }
}

impl Reach {
    /// What a member can reach now. It takes as long as a selection for each announced prefix.
    pub fn of(table: &RouteTable, originating_member: MemberId, now: DateTime<Utc>) -> Self {
        let mut keys = Vec::with_capacity(table.counts().prefixes);
        table.announcements.for_each(|prefix, _| keys.push(Key::of(prefix)));
        let named = table.term_prefixes(originating_member, now).map(Prefix::value);
        let mut named: Vec<Key> = named.chain(table.common_prefixes()).map(Key::of).collect();
        named.sort_unstable();
        keys.extend_from_slice(&named);
        keys.sort_unstable();
        keys.dedup();
        let mut entries: Vec<Entry> = Vec::new();
        // Those of the set that begin the prefix at hand, the longest last.
        let mut above: Vec<Entry> = Vec::new();
        for key in keys {
            let prefix = as_prefix(key.prefix());
            let call = CallRequest {
                originating_member,
                called: prefix.into(),
                dip: Some(Dip::OF_PREFIX),
                site: None,
                draw: 0,
            };
            let selection = select(table, &call, now);
            // Whoever announces it does not count. By terms, rates or blocks, its numbers may still go where those of a
            // shorter one do not.
            if selection.matched != Some(prefix) && named.binary_search(&key).is_err() {
                continue;
            }
            while above.last().is_some_and(|last| !last.key().begins(key)) {
                above.pop();
            }
            let is_reached = !selection.candidates.is_empty();
            if is_reached || above.last().is_some_and(|last| last.is_reached()) {
                let entry = Entry::new(key, is_reached);
                above.push(entry);
                entries.push(entry);
            }
        }
        entries.shrink_to_fit();
        Self(entries)
    }

    /// How many prefixes it names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing can be reached.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it in parts of at most so many prefixes: what makes it of nothing.
    pub fn parts(&self, most: usize) -> impl Iterator<Item = ReachDelta> {
        self.0.chunks(most).map(|entries| {
            let mut part = ReachDelta::default();
            entries.iter().for_each(|entry| part.put(*entry));
            part
        })
    }

    /// What makes `next` of this.
    pub fn delta(&self, next: &Self) -> ReachDelta {
        let mut delta = ReachDelta::default();
        let (mut old, mut new) = (self.0.iter().copied().peekable(), next.0.iter().copied().peekable());
        loop {
            match (old.peek().copied(), new.peek().copied()) {
                (None, None) => return delta,
                (Some(before), Some(after)) if before.key() == after.key() => {
                    if before != after {
                        delta.put(after);
                    }
                    old.next();
                    new.next();
                }
                (Some(before), after) if after.is_none_or(|after| before.key() < after.key()) => {
                    delta.gone.push(before.prefix());
                    old.next();
                }
                (_, Some(after)) => {
                    delta.put(after);
                    new.next();
                }
                (Some(_), None) => unreachable!("what is only in the old set was taken above"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::exchange::{Exchange, at, exchange, id};
    use tandem_model::AgreementState;

    fn reach(exchange: &Exchange) -> Vec<String> {
        let reach = Reach::of(&exchange.table(), id("caller"), at(0));
        let line =
            |entry: &Entry| format!("{}{}", if entry.is_reached() { "" } else { "not " }, entry.prefix());
        reach.0.iter().map(line).collect()
    }

    #[test]
    fn it_names_what_can_be_reached_and_what_beneath_it_cannot() {
        let mut exchange = exchange("+44 acme | +4420 globex | +44207 acme | +33 globex | +49 acme");
        assert_eq!(reach(&exchange), ["+33", "+44", "+4420", "+44207", "+49"]);
        exchange.agreement("globex").state = AgreementState::Ended;
        assert_eq!(reach(&exchange), ["+44", "not +4420", "+44207", "+49"]);
        exchange.range("+4420", "globex").validity.until = Some(at(0));
        assert_eq!(reach(&exchange), ["+44", "+44207", "+49"]);
    }

    #[test]
    fn it_names_the_prefixes_of_terms_where_those_alone_are_reached() {
        let mut exchange = exchange("+44 acme | +442 acme | +33 globex");
        let terms = r#"{ "prefixes_of_accepting": ["+4420", "+49"] }"#;
        exchange.agreement("acme").terms = Some(Box::new(serde_json::from_str(terms).unwrap()));
        assert_eq!(reach(&exchange), ["+33", "+4420"]);
        exchange.range("+442", "acme").validity.until = Some(at(0));
        assert_eq!(reach(&exchange), ["+33", "+4420"]);
    }

    #[test]
    fn the_deltas_of_a_sequence_end_equal_to_the_full_set() {
        let steps = ["+44 acme", "+44 acme | +4420 acme", "+4420 acme | +33 acme", "", "+1 acme"];
        let (mut held, mut last) = (BTreeMap::new(), Reach::default());
        for step in steps {
            let next = match step {
                "" => Reach::default(),
                routes => Reach::of(&exchange(routes).table(), id("caller"), at(0)),
            };
            apply(&mut held, &last.delta(&next));
            assert_eq!(held, next.0.iter().map(|it| (it.prefix(), it.is_reached())).collect());
            last = next;
        }
    }

    /// What whoever follows the changes does with them.
    fn apply(held: &mut BTreeMap<Prefix, bool>, delta: &ReachDelta) {
        held.retain(|prefix, _| !delta.gone.contains(prefix));
        held.extend(delta.reached.iter().map(|prefix| (*prefix, true)));
        held.extend(delta.excepted.iter().map(|prefix| (*prefix, false)));
    }
}
