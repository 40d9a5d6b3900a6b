//! Rate decks in the table: the rate for a number at a time, by its longest prefix that has one then.

use tandem_model::{DeckRate, MemberId, Prefix, Rate, RateDeck, RateDeckId};

use crate::hash::{Digest, kind};
use crate::terms::{ENDLESS, as_prefix, as_validity, nanos};

/// Bits of a rate: it is less than 2^40 millionths.
const RATE_BITS: u32 = 40;

/// A deck in 16 bytes a rate, and as many for each time that its rates share.
pub(crate) struct Rates {
    member: Option<MemberId>,
    /// By prefix, then by begin.
    entries: Box<[Entry]>,
    /// From when until when, in nanoseconds.
    spans: Box<[(i64, i64)]>,
    /// Bit n is set where a prefix has n digits.
    lens: u16,
    digest: u128,
}

/// A prefix, and the index of its span above its rate.
#[derive(Clone, Copy)]
struct Entry {
    prefix: u64,
    span_and_rate: u64,
}

impl Entry {
    fn rate(self) -> Rate {
        let millionths = self.span_and_rate & ((1 << RATE_BITS) - 1);
        Rate::from_millionths(millionths).expect("it was a rate")
    }

    fn span(self) -> usize {
        (self.span_and_rate >> RATE_BITS) as usize
    }
}

impl Rates {
    /// The deck; of more than 2^24 different times the last ones are left out, and no deck has as many rates.
    pub(crate) fn new(deck: &RateDeck) -> Self {
        let span_of =
            |rate: &DeckRate| (nanos(rate.validity.from), rate.validity.until.map_or(ENDLESS, nanos));
        let mut spans: Vec<(i64, i64)> = deck.rates.iter().map(span_of).collect();
        spans.sort_unstable();
        spans.dedup();
        spans.truncate(1 << (u64::BITS - RATE_BITS));
        let entry = |rate: &DeckRate| {
            let span = spans.binary_search(&span_of(rate)).ok()? as u64;
            let span_and_rate = span << RATE_BITS | rate.per_minute.millionths();
            Some(Entry { prefix: rate.prefix.value(), span_and_rate })
        };
        let mut entries: Vec<Entry> = deck.rates.iter().filter_map(entry).collect();
        entries.sort_unstable_by_key(|entry| (entry.prefix, entry.span_and_rate));
        entries.dedup_by_key(|entry| (entry.prefix, entry.span_and_rate));
        let lens = entries.iter().fold(0, |lens, entry| lens | 1 << as_prefix(entry.prefix).len());
        let digest = Digest::of(kind::RATE_DECK).id(deck.rate_deck_id.0);
        let digest = deck.member_id.into_iter().fold(digest, |digest, member| digest.id(member.0));
        let digest = entries.iter().fold(digest, |digest, entry| {
            let (from, until) = spans[entry.span()];
            let digest = digest.word(entry.prefix).word(entry.rate().millionths());
            digest.word(from as u64).word(until as u64)
        });
        let (entries, spans) = (entries.into(), spans.into());
        Self { member: deck.member_id, entries, spans, lens, digest: digest.finish() }
    }

    pub(crate) fn digest(&self) -> u128 {
        self.digest
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.entries) + size_of_val(&*self.spans)
    }

    /// Each prefix that has a rate, whenever that is in force.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| entry.prefix)
    }

    /// The longest prefix of the number with a rate in force, and the rate.
    pub(crate) fn find(&self, number: Prefix, now_ns: i64) -> Option<(Prefix, Rate)> {
        self.under(number).find_map(|(prefix, entries)| {
            let is_in_force = |entry: &&Entry| {
                let (from, until) = self.spans[entry.span()];
                from <= now_ns && (until == ENDLESS || now_ns < until)
            };
            // At most one is, where the facts are right; else the one that began last.
            entries.iter().rev().find(is_in_force).map(|entry| (prefix, entry.rate()))
        })
    }

    /// The longest prefix of the number that has a rate, in force or not.
    pub(crate) fn named(&self, number: Prefix) -> Option<Prefix> {
        self.under(number).next().map(|(prefix, _)| prefix)
    }

    /// Prefixes of the number that have rates, the longest first, with those.
    fn under(&self, number: Prefix) -> impl Iterator<Item = (Prefix, &[Entry])> {
        let lens = (1..=number.len()).rev().filter(|len| self.lens >> len & 1 == 1);
        lens.filter_map(move |len| {
            let prefix = number.leading(len);
            let start = self.entries.partition_point(|entry| entry.prefix < prefix.value());
            let rest = &self.entries[start..];
            let count = rest.iter().take_while(|entry| entry.prefix == prefix.value()).count();
            (count > 0).then(|| (prefix, &rest[..count]))
        })
    }

    pub(crate) fn as_deck(&self, id: RateDeckId) -> RateDeck {
        let rate = |entry: &Entry| {
            let (from, until) = self.spans[entry.span()];
            let validity = as_validity(from, until);
            DeckRate { prefix: as_prefix(entry.prefix), per_minute: entry.rate(), validity }
        };
        RateDeck { rate_deck_id: id, member_id: self.member, rates: self.entries.iter().map(rate).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{at, deck, id, number};

    /// The prefix and rate that are found for a number at a second.
    fn find(rates: &Rates, called: &str, second: i64) -> Option<String> {
        let found = rates.find(number(called).into(), nanos(at(second)));
        found.map(|(prefix, rate)| format!("{prefix} {rate}"))
    }

    #[test]
    fn the_longest_prefix_with_a_rate_in_force_decides() {
        let rates = Rates::new(&deck("deck", None, "+44 0.01 | +4420 0.02 0 10 | +4420 0.03 10"));
        assert_eq!(find(&rates, "+442079460000", -1).as_deref(), Some("+44 0.0100"));
        assert_eq!(find(&rates, "+442079460000", 0).as_deref(), Some("+4420 0.0200"));
        assert_eq!(find(&rates, "+442079460000", 9).as_deref(), Some("+4420 0.0200"));
        assert_eq!(find(&rates, "+442079460000", 10).as_deref(), Some("+4420 0.0300"));
        assert_eq!(find(&rates, "+443012345678", 10).as_deref(), Some("+44 0.0100"));
        assert_eq!(find(&rates, "+33123456789", 10), None);
        assert_eq!(
            rates.named(number("+442079460000").into()).map(|it| it.to_string()).as_deref(),
            Some("+4420")
        );
    }

    #[test]
    fn a_deck_is_given_back_as_it_came_in_16_bytes_a_rate() {
        let text: Vec<String> = (0..1000).map(|n| format!("+44{n:03} 0.{n:06}")).collect();
        let deck = deck("deck", Some("acme"), &text.join(" | "));
        let rates = Rates::new(&deck);
        assert_eq!(rates.as_deck(id("deck")), deck);
        assert_eq!(size_of_val(&*rates.entries), 16_000);
        assert_eq!(rates.spans.len(), 1);
    }
}
