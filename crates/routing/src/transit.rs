//! Transit: who offers to carry calls onward, and which of the offers a call may take, in their order.
//!
//! Transit comes after home routes. An offer takes the call where
//!
//! 1. it is in force, its member approved, and the operator permits it,
//! 2. a rate of its deck is in force for the number; the longest prefix that has one decides, by offer,
//! 3. the call would not return to where it came from: the originating member neither offers it nor announces the number,
//! 4. an agreement in force lets the call cross to the offering member, and its terms admit the rate, the quality and
//!    what is left of what the originating member pays.
//!
//! The cheaper offer comes first, of the same rate the one that the operator prefers; then sites, priorities and weights
//! of the endpoints count as they do at home.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;
use tandem_model::{AnnouncementId, EndpointId, Prefix, Rate, RateDeck, RateDeckId, Reason, TransitOffer};

use crate::rates::Rates;
use crate::select::{Candidate, LeftOut, Lookup, Selection};
use crate::table::{Crossing, RouteTable};
use crate::terms::nanos;
use crate::weight::{Weighted, order};

/// Offers and decks. `clone` copies two pointers; a change copies as many as there are offers and decks.
#[derive(Clone, Default)]
pub(crate) struct Transit {
    offers: Arc<BTreeMap<AnnouncementId, Arc<TransitOffer>>>,
    decks: Arc<BTreeMap<RateDeckId, Arc<Rates>>>,
}

impl Transit {
    /// Whether nobody offers transit: then no call asks any further.
    pub(crate) fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    /// How many offers and decks there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.offers.len(), self.decks.len())
    }

    pub(crate) fn bytes(&self) -> usize {
        let offer = |offer: &TransitOffer| size_of::<TransitOffer>() + size_of_val(&offer.endpoints[..]);
        let offers: usize = self.offers.values().map(|it| 16 + offer(it)).sum();
        offers + self.decks.values().map(|it| 16 + it.bytes()).sum::<usize>()
    }

    pub(crate) fn offers(&self) -> impl Iterator<Item = &TransitOffer> {
        self.offers.values().map(Arc::as_ref)
    }

    pub(crate) fn offer(&self, id: AnnouncementId) -> Option<&TransitOffer> {
        self.offers.get(&id).map(Arc::as_ref)
    }

    /// Rates by the ids of their decks.
    pub(crate) fn decks(&self) -> impl Iterator<Item = (RateDeckId, &Rates)> {
        self.decks.iter().map(|(id, rates)| (*id, rates.as_ref()))
    }

    pub(crate) fn deck(&self, id: RateDeckId) -> Option<&Rates> {
        self.decks.get(&id).map(Arc::as_ref)
    }

    /// The rate of a deck for a number.
    pub(crate) fn rate(&self, deck: RateDeckId, number: Prefix, now_ns: i64) -> Option<(Prefix, Rate)> {
        self.deck(deck)?.find(number, now_ns)
    }

    /// Whether an offer names the endpoint.
    pub(crate) fn names(&self, endpoint: EndpointId) -> bool {
        self.offers().any(|offer| offer.endpoints.contains(&endpoint))
    }

    /// Whether no offer was touched between the two.
    pub(crate) fn has_offers_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.offers, &other.offers)
    }

    /// Puts an offer, or takes it out; what was there before.
    pub(crate) fn put_offer(
        &mut self,
        id: AnnouncementId,
        offer: Option<TransitOffer>,
    ) -> Option<Arc<TransitOffer>> {
        if offer.is_none() && !self.offers.contains_key(&id) {
            return None;
        }
        let offers = Arc::make_mut(&mut self.offers);
        match offer {
            Some(mut offer) => {
                offer.endpoints.sort_unstable();
                offer.endpoints.dedup();
                offers.insert(id, Arc::new(offer))
            }
            None => offers.remove(&id),
        }
    }

    /// Puts a deck, or takes it out; what was there before.
    pub(crate) fn put_deck(&mut self, id: RateDeckId, deck: Option<&RateDeck>) -> Option<Arc<Rates>> {
        if deck.is_none() && !self.decks.contains_key(&id) {
            return None;
        }
        let decks = Arc::make_mut(&mut self.decks);
        match deck {
            Some(deck) => decks.insert(id, Arc::new(Rates::new(deck))),
            None => decks.remove(&id),
        }
    }
}

impl RouteTable {
    /// The offer of transit with this id.
    pub fn transit_offer(&self, id: AnnouncementId) -> Option<&TransitOffer> {
        self.transit.offer(id)
    }

    /// What an offer asks for a number at a time, and by which prefix.
    pub fn transit_rate(
        &self,
        offer: &TransitOffer,
        number: Prefix,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Option<(Prefix, Rate)> {
        self.transit.rate(offer.rate_deck, number, nanos(now))
    }
}

/// What decides the order of an endpoint: rate, preference, then place at sites and priority.
type Rank = (Rate, u16, u32);

impl Lookup<'_> {
    /// Adds the offers of transit that the call may take, and those that it may not with their reasons.
    #[inline(never)]
    pub(crate) fn add_transit(&self, selection: &mut Selection) {
        let mut found: SmallVec<[(Rank, Weighted<Candidate, EndpointId>); 8]> = SmallVec::new();
        let is_own = selection.left_out.iter().any(|it| it.reason == Reason::OwnNumber);
        for offer in self.table.transit.offers() {
            let Some(deck) = self.table.transit.deck(offer.rate_deck) else { continue };
            let Some(named) = deck.named(self.number) else { continue };
            let rated = deck.find(self.number, self.now_ns);
            let prefix = rated.map_or(named, |(prefix, _)| prefix);
            let leave_out = |endpoint, reason| LeftOut {
                member: offer.member_id,
                endpoint,
                announcement: offer.announcement_id,
                prefix,
                reason,
            };
            let admitted = self.standing_of_offer(offer, rated.map(|(_, rate)| rate));
            let admitted = admitted.and_then(|rate| match is_own {
                true => Err(Reason::WouldReturn),
                false => self.crossing_of_offer(offer, rate).map(|crossing| (rate, crossing)),
            });
            let (rate, crossing) = match admitted {
                Ok(admitted) => admitted,
                Err(reason) => {
                    selection.left_out.push(leave_out(None, reason));
                    continue;
                }
            };
            if offer.endpoints.is_empty() {
                selection.left_out.push(leave_out(None, Reason::EndpointDisabled));
            }
            for &id in &offer.endpoints {
                let endpoint = match self.usable(id, offer.member_id) {
                    Ok(endpoint) => endpoint,
                    Err(reason) => {
                        selection.left_out.push(leave_out(Some(id), reason));
                        continue;
                    }
                };
                let candidate = Candidate {
                    member: offer.member_id,
                    endpoint: id,
                    announcement: offer.announcement_id,
                    agreement: crossing.agreement,
                    prefix,
                    range: None,
                    rate: Some(rate),
                };
                let rank = (rate, offer.preference, self.place(endpoint, &crossing));
                let weighted = Weighted { priority: 0, weight: endpoint.weight, tie: id, item: candidate };
                found.push((rank, weighted));
            }
        }
        found.sort_unstable_by_key(|(rank, it)| (*rank, it.tie, it.item.announcement));
        let mut ordered: SmallVec<[Weighted<Candidate, EndpointId>; 8]> = SmallVec::new();
        let mut last = None;
        let mut priority = 0;
        for (rank, mut weighted) in found {
            let is_there = |candidate: &Candidate| candidate.endpoint == weighted.tie;
            if selection.candidates.iter().any(is_there) || ordered.iter().any(|it| is_there(&it.item)) {
                continue;
            }
            priority += u32::from(last.is_some_and(|last| last != rank));
            last = Some(rank);
            weighted.priority = priority;
            ordered.push(weighted);
        }
        order(&mut ordered, self.call.draw);
        selection.candidates.extend(ordered.into_iter().map(|it| it.item));
    }

    /// Whether an offer counts in itself: its rate for the number, or what it lacks.
    fn standing_of_offer(&self, offer: &TransitOffer, rate: Option<Rate>) -> Result<Rate, Reason> {
        if !offer.validity.contains(self.now) {
            return Err(Reason::NotYetInForce);
        }
        if !self.table.is_approved(offer.member_id) {
            return Err(Reason::MemberNotApproved);
        }
        if !offer.is_permitted {
            return Err(Reason::TransitNotPermitted);
        }
        rate.ok_or(Reason::RateMissing)
    }

    /// By which agreement the call may cross to who offers, at this rate, or why it may not.
    fn crossing_of_offer(&self, offer: &TransitOffer, cost: Rate) -> Result<Crossing<'_>, Reason> {
        self.may_call(offer.member_id, Reason::WouldReturn)?;
        let price = |deck| Some(self.table.transit.rate(deck, self.number, self.now_ns)?.1);
        self.table.agreement(self.call.originating_member, offer.member_id, self.now, |terms, party| {
            terms.admit(party, |len| self.leading(len), &offer.tags, self.now)?;
            terms.transit.admit(cost, price, offer.quality)
        })
    }
}

#[cfg(test)]
mod tests {
    use tandem_model::{AgreementState, AgreementTerms, BlockList, CallId, MemberState, Quality};

    use super::*;
    use crate::exchange::{
        Exchange, at, candidates, deck, exchange, id, left_out, name, prefix, refusal, selection,
    };
    use crate::{CallRequest, draw_of, select};

    const LONDON: &str = "+442079460000";

    /// An exchange in which each member that is named with rates offers transit.
    fn transit(routes: &str, offers: &[(&str, &str)]) -> Exchange {
        let mut exchange = exchange(routes);
        offers.iter().for_each(|(member, rates)| exchange.add_transit(member, rates));
        exchange
    }

    /// The terms of the caller's agreement with a member ask this of transit.
    fn with_terms(exchange: &mut Exchange, member: &str, terms: &str) {
        let transit = serde_json::from_str(terms).unwrap();
        exchange.agreement(member).terms = Some(Box::new(AgreementTerms { transit, ..Default::default() }));
    }

    /// The members that may take the call at a second.
    fn candidates_at(exchange: &Exchange, called: &str, second: i64) -> Vec<String> {
        let table = exchange.table();
        let selection = selection(&table, "caller", called, at(second));
        selection.candidates.iter().map(|it| name(&table, it.member)).collect()
    }

    #[test]
    fn a_home_route_comes_before_transit_however_cheap_that_is() {
        let exchange = transit("+4420 acme", &[("telco", "+44 0 | +33 0.01")]);
        let table = exchange.table();
        assert_eq!(candidates(&table, LONDON), ["acme", "telco"]);
        assert_eq!(candidates(&table, "+33123456789"), ["telco"]);
        let chosen = selection(&table, "caller", "+33123456789", at(0));
        assert_eq!((chosen.matched, chosen.refusal()), (None, None));
        assert_eq!(
            chosen.candidates[0],
            Candidate {
                member: id("telco"),
                endpoint: id("telco"),
                announcement: id("offer telco"),
                agreement: id("agreement caller telco"),
                prefix: prefix("+33"),
                range: None,
                rate: "0.01".parse().ok(),
            }
        );
    }

    #[test]
    fn transit_carries_a_call_to_a_member_that_cannot_be_called_by_the_exchange() {
        let mut exchange = transit("+4420 acme", &[("telco", "+44 0.01")]);
        exchange.agreement("acme").state = AgreementState::Ended;
        assert_eq!(candidates(&exchange.table(), LONDON), ["telco"]);
        assert_eq!(left_out(&exchange.table(), LONDON), ["acme no_agreement"]);
    }

    #[test]
    fn the_cheaper_transit_comes_first_and_the_preferred_one_among_equals() {
        let offers = [("dear", "+44 0.02"), ("cheap", "+442 0.011 | +44 0.5"), ("also", "+4 0.011")];
        let mut exchange = transit("", &offers);
        exchange.offer("also").preference = 2;
        exchange.offer("cheap").preference = 1;
        assert_eq!(candidates(&exchange.table(), LONDON), ["cheap", "also", "dear"]);
        exchange.offer("cheap").preference = 3;
        assert_eq!(candidates(&exchange.table(), LONDON), ["also", "cheap", "dear"]);
        assert_eq!(candidates(&exchange.table(), "+443012345678"), ["also", "dear", "cheap"]);
    }

    #[test]
    fn a_rate_that_ends_changes_the_order_at_its_instant() {
        let exchange = transit("", &[("one", "+44 0.01 -60 10 | +44 0.03 10"), ("two", "+44 0.02")]);
        assert_eq!(candidates_at(&exchange, LONDON, 9), ["one", "two"]);
        assert_eq!(candidates_at(&exchange, LONDON, 10), ["two", "one"]);
        let ended = transit("", &[("one", "+44 0.01 -60 10"), ("two", "+44 0.02")]);
        assert_eq!(candidates_at(&ended, LONDON, 10), ["two"]);
        let selection = selection(&ended.table(), "caller", LONDON, at(10));
        assert_eq!(selection.left_out[0].reason, Reason::RateMissing);
    }

    #[test]
    fn each_reason_for_which_transit_is_left_out_is_seen() {
        type Break = fn(&mut Exchange);
        let table: [(Break, &str); 13] = [
            (|x| x.offer("telco").validity.from = at(1), "not_yet_in_force"),
            (|x| x.member("telco").state = MemberState::Suspended, "member_not_approved"),
            (|x| x.offer("telco").is_permitted = false, "transit_not_permitted"),
            (|x| x.0.rate_decks = vec![deck("deck telco", Some("telco"), "+44 0.01 5")], "rate_missing"),
            (|x| x.offer("telco").member_id = id("caller"), "would_return"),
            (|x| x.agreement("telco").state = AgreementState::Ended, "no_agreement"),
            (|x| x.endpoint("telco").enabled = false, "endpoint_disabled"),
            (|x| with_terms(x, "telco", r#"{"max_rate":"0.009999"}"#), "rate_too_high"),
            (|x| with_terms(x, "telco", r#"{"margin_floor":"0"}"#), "at_a_loss"),
            (
                |x| {
                    x.offer("telco").quality =
                        Some(Quality { asr_percent: 30, ner_percent: 90, pdd_ms: 900 });
                    with_terms(x, "telco", r#"{"min_asr_percent":35}"#);
                },
                "quality_too_low",
            ),
            (
                |x| {
                    x.0.block_lists
                        .push(BlockList { member_id: Some(id("caller")), prefixes: vec![prefix("+4420")] })
                },
                "blocked_by_member",
            ),
            (
                |x| x.0.block_lists.push(BlockList { member_id: None, prefixes: vec![prefix("+44207")] }),
                "blocked_by_operator",
            ),
            (|x| x.agreement("telco").state = AgreementState::Suspended, "agreement_suspended"),
        ];
        for (fault, expected) in table {
            let broken = transit("", &[("telco", "+44 0.01")]).with(fault).table();
            let first = left_out(&broken, LONDON);
            let reason = first[0].split(' ').next_back();
            assert_eq!((reason, refusal(&broken, LONDON)), (Some(expected), Some(expected)));
        }
    }

    #[test]
    fn a_number_that_the_caller_announces_itself_does_not_return_by_transit() {
        let exchange = transit("+4420 caller", &[("telco", "+44 0.01")]);
        assert_eq!(left_out(&exchange.table(), LONDON), ["caller own_number", "telco would_return"]);
        assert_eq!(refusal(&exchange.table(), LONDON), Some("own_number"));
        assert_eq!(candidates(&exchange.table(), "+443012345678"), ["telco"]);
    }

    #[test]
    fn transit_leaves_the_margin_of_the_agreement_or_is_left_out() {
        let mut exchange = transit("", &[("telco", "+44 0.01 | +4420 0.02")]);
        exchange.0.rate_decks.push(deck("prices", None, "+4 0.03 | +44207 0.022"));
        let terms = serde_json::json!({ "rate_deck": id::<RateDeckId>("prices"), "margin_floor": "0.005" });
        with_terms(&mut exchange, "telco", &terms.to_string());
        assert_eq!(candidates(&exchange.table(), "+443012345678"), ["telco"]);
        assert_eq!(candidates(&exchange.table(), "+44201"), ["telco"]);
        assert_eq!(refusal(&exchange.table(), LONDON), Some("at_a_loss"));
    }

    #[test]
    fn what_is_blocked_has_no_home_route_either() {
        let blocked = |member_id, text| {
            let list = BlockList { member_id, prefixes: vec![prefix(text)] };
            exchange("+4420 acme").with(|x| x.0.block_lists = vec![list]).table()
        };
        assert_eq!(refusal(&blocked(Some(id("caller")), "+442079"), LONDON), Some("blocked_by_member"));
        assert_eq!(refusal(&blocked(None, "+44"), LONDON), Some("blocked_by_operator"));
        assert_eq!(candidates(&blocked(Some(id("acme")), "+44"), LONDON), ["acme"]);
        assert_eq!(candidates(&blocked(None, "+4421"), LONDON), ["acme"]);
    }

    #[test]
    fn an_endpoint_is_tried_once_at_its_lowest_rate() {
        let mut exchange = transit("+4420 acme", &[("telco", "+44 0.02")]);
        exchange.0.rate_decks.push(deck("other", Some("telco"), "+44 0.01"));
        let mut other = exchange.offer("telco").clone();
        (other.announcement_id, other.rate_deck) = (id("offer other"), id("other"));
        exchange.0.transit_offers.push(other);
        let chosen = selection(&exchange.table(), "caller", LONDON, at(0));
        let rates: Vec<_> = chosen.candidates.iter().map(|it| it.rate.map(|rate| rate.to_string())).collect();
        assert_eq!(rates, [None, Some("0.0100".to_owned())]);
    }

    #[test]
    fn calls_split_among_equal_offers_in_proportion_to_the_weights_by_their_ids() {
        const CALLS: u64 = 100_000;
        let mut exchange = transit("", &[("one", "+44 0.01"), ("two", "+44 0.01"), ("three", "+44 0.01")]);
        let weights = [60, 30, 10];
        for (name, weight) in ["one", "two", "three"].into_iter().zip(weights) {
            exchange.endpoint(name).weight = weight;
        }
        let table = exchange.table();
        let mut firsts: BTreeMap<EndpointId, u64> = BTreeMap::new();
        for n in 0..CALLS {
            // Of version 7: made in one millisecond after the other.
            let random = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes();
            let random = random[..10].try_into().unwrap();
            let id = uuid::Builder::from_unix_timestamp_millis(1_800_000_000_000 + n, random).into_uuid();
            let request = CallRequest {
                originating_member: self::id("caller"),
                called: LONDON.parse().unwrap(),
                dip: None,
                site: None,
                draw: draw_of(CallId(id)),
            };
            let first = select(&table, &request, at(0)).candidates[0].endpoint;
            assert_eq!(first, select(&table, &request, at(0)).candidates[0].endpoint);
            *firsts.entry(first).or_default() += 1;
        }
        let chi_square: f64 = ["one", "two", "three"]
            .into_iter()
            .zip(weights)
            .map(|(name, weight)| {
                let expected = (CALLS * u64::from(weight) / 100) as f64;
                (firsts[&id(name)] as f64 - expected).powi(2) / expected
            })
            .sum();
        // The 99.9 % quantile with 2 degrees of freedom.
        assert!(chi_square < 13.82, "{firsts:?}: {chi_square}");
    }

    #[test]
    fn a_table_with_transit_is_the_same_however_it_came_about() {
        let exchange = transit("+4420 acme", &[("one", "+44 0.01"), ("two", "+44 0.02")])
            .with(|x| x.0.block_lists.push(BlockList { member_id: None, prefixes: vec![prefix("+449")] }));
        let (table, facts) = (exchange.table(), exchange.table().facts());
        assert_eq!(RouteTable::from_facts(facts.clone()).hash(), table.hash());
        assert_eq!((facts.transit_offers.len(), facts.rate_decks.len(), facts.block_lists.len()), (2, 2, 1));
        let gone = vec![
            tandem_model::ObjectId::TransitOffer(id("offer two")),
            tandem_model::ObjectId::RateDeck(id("deck two")),
            tandem_model::ObjectId::BlockList(None),
        ];
        let without = table.apply(tandem_model::Facts { gone, ..Default::default() });
        assert_eq!(candidates(&without, LONDON), ["acme", "one"]);
        let mut less = exchange;
        less.0.transit_offers.pop();
        less.0.rate_decks.pop();
        less.0.block_lists.clear();
        assert_eq!(without.hash(), less.table().hash());
        let back = without.apply(facts);
        assert_eq!(back.hash(), table.hash());
    }
}
