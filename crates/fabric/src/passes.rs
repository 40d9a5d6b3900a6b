//! Recognises calls of the hub's own that come back to it, also from members who strip what names a call.
//!
//! Three signs, from the plainest on: the tag or the Call-ID of an egress leg that is alive; the token that
//! every INVITE of the hub carries, which stands for this node and the called number; and, when a member
//! strips all but the numbers, that calls between the same two numbers pile up while one of them lies with
//! the very member that now sends another. Redialling, call centres and conferences send many calls between
//! two numbers too, but not from the member that the hub sends them to.

use std::time::Duration;

use ahash::{AHashMap, RandomState};
use smallvec::SmallVec;
use tandem_model::{MemberId, NodeId};
use tandem_sip::Message;

use crate::call::CallKey;
use crate::leg::{Side, format_tag};
use crate::transaction::parse_hex;
use crate::worker::{Now, Worker};

/// The header field with the hub's token. A member that passes on what it does not know passes it on.
pub(crate) const TOKEN: &str = "Tandem-Call";

/// Most calls between the same two numbers of which one lies with the member that sends the next.
const MAX_PASSES: usize = 10;

/// A call that is up counts for so long after its beginning; one that is being set up always counts.
const WINDOW: Duration = Duration::from_secs(10);

/// The latest calls of a pair of numbers that are looked at.
const REMEMBERED: usize = 16;

/// See the module.
pub(crate) struct Passes {
    node: RandomState,
    numbers: RandomState,
    live: AHashMap<u64, SmallVec<[CallKey; 2]>>,
}

impl Passes {
    /// No call yet. The token of a number is the same after a restart of the node.
    pub(crate) fn new(node: NodeId, seed: u64) -> Self {
        let (high, low) = node.0.as_u64_pair();
        Self {
            node: RandomState::with_seeds(high, low, high, low),
            numbers: RandomState::with_seeds(seed, high, low, seed),
            live: AHashMap::new(),
        }
    }

    /// The token of a called number.
    pub(crate) fn token(&self, called: &str) -> String {
        format_tag(self.node.hash_one(called))
    }

    /// What stands for a pair of numbers; never 0.
    pub(crate) fn numbers(&self, calling: &str, called: &str) -> u64 {
        self.numbers.hash_one((calling, called)).max(1)
    }

    fn add(&mut self, numbers: u64, key: CallKey) {
        let live = self.live.entry(numbers).or_default();
        if live.len() >= REMEMBERED {
            live.remove(0);
        }
        live.push(key);
    }

    /// A call is over.
    pub(crate) fn remove(&mut self, numbers: u64, key: CallKey) {
        if let Some(live) = self.live.get_mut(&numbers) {
            live.retain(|other| *other != key);
            if live.is_empty() {
                self.live.remove(&numbers);
            }
        }
    }

    /// Pairs of numbers with a call.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }
}

impl Worker {
    /// Whether this INVITE for `called` is one that the hub sent for the same number. The same call for
    /// another number has been forwarded, which is no loop (RFC 3261 §16.3 item 4).
    pub(crate) fn is_own_call_back(&self, request: &Message<'_>, called: &str) -> bool {
        let call_id = request.call_id().ok().and_then(|id| id.split(|&octet| octet == b'@').next());
        let is_own_leg = [call_id, request.from_tag()].into_iter().flatten().any(|text| {
            parse_hex(text)
                .and_then(|tag| self.tags.get(&tag))
                .is_some_and(|&(key, side)| side == Side::Egress && self.calls[key].cdr.attempted() == called)
        });
        is_own_leg
            || request
                .headers()
                .find(|header| is_token(header.raw_name))
                .is_some_and(|header| header.value == self.passes.token(called).as_bytes())
    }

    /// Counts a call between two numbers; false when it is one of those that go round.
    pub(crate) fn count_pass(&mut self, now: Now, key: CallKey) -> bool {
        let call = &self.calls[key];
        let member: MemberId = call.cdr.originating_member;
        let numbers = self.passes.numbers(&call.cdr.calling, call.target());
        if let Some(live) = self.passes.live.get(&numbers).filter(|live| live.len() >= MAX_PASSES) {
            let counted = live.iter().filter_map(|&key| self.calls.get(key)).filter(|call| {
                !call.is_up() || now.instant.saturating_duration_since(call.started) <= WINDOW
            });
            let (mut count, mut comes_back) = (0, false);
            for call in counted {
                count += 1;
                comes_back |= call.cdr.tried().is_some_and(|candidate| candidate.member == member);
            }
            if comes_back && count >= MAX_PASSES {
                return false;
            }
        }
        let before = std::mem::replace(&mut self.calls[key].numbers, numbers);
        self.passes.remove(before, key);
        self.passes.add(numbers, key);
        true
    }
}

/// Whether a header field is the hub's token.
pub(crate) fn is_token(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(TOKEN.as_bytes())
}
