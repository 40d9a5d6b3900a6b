//! What must happen when: the worker's one queue of deadlines, a hierarchical timing wheel.
//!
//! Setting and cancelling cost the same however many deadlines there are, and a cancelled one takes no
//! memory: a call that lasts a minute leaves nothing of its twelve-hour limit behind. (Varghese and Lauck,
//! "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7.)

use std::time::{Duration, Instant};

use tandem_sip::transaction::Timer;

use crate::call::CallKey;
use crate::challenge::ChallengeKey;
use crate::page::PageKey;
use crate::transaction::TransactionKey;

/// Whom a deadline wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// A timer of a transaction (RFC 3261 appendix A).
    Transaction(TransactionKey, Timer),
    /// A timer of a call.
    Call(CallKey, CallTimer),
    /// What was to be written to the journal later is written now.
    Journal,
    /// Look after the registrations of the hub at members' switches.
    OutboundRegistrations,
    /// A challenge call has taken long enough.
    Challenge(ChallengeKey),
    /// A cancelled INVITE never got its final response (RFC 3261 §9.1): give its transaction up.
    Abandoned(TransactionKey),
    /// No PRACK comes any more in the early dialog with this tag of the hub's.
    LatePrack(u64),
    /// A MESSAGE has waited for its response so long that its sender is told to wait (RFC 4320 §4.1).
    PageSlow(PageKey),
    /// Its sender is about to stop waiting.
    PageOverdue(PageKey),
}

/// The timers that the hub keeps for a call, beside those of its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallTimer {
    /// Nothing at all has come from the candidate of attempt `n`.
    Attempt(u16),
    /// Attempt `n` rang for too long (RFC 3261 §16.6 item 11: Timer C).
    Ring(u16),
    /// Send the 2xx again: no ACK yet (RFC 3261 §13.3.1.4). Carries the CSeq number of the INVITE.
    Retransmit(u32),
    /// 64·T1 without an ACK to the 2xx (RFC 3261 §13.3.1.4). Carries the CSeq number of the INVITE.
    NoAck(u32),
    /// Send a reliable provisional response again: no PRACK yet (RFC 3262 §3). Carries its RSeq.
    Provisional(u32),
    /// 64·T1 without a PRACK (RFC 3262 §3). Carries the RSeq.
    NoPrack(u32),
    /// A re-INVITE has been under way for too long, or was taken back and got no final response. Carries its
    /// CSeq number.
    Reinvite(u32),
    /// A request other than INVITE has not been answered on the other leg for so long that its sender is
    /// told to wait (RFC 4320 §4.1). Carries the number of the exchange.
    Slow(u32),
    /// Its sender is about to stop waiting. Carries the number of the exchange.
    Overdue(u32),
    /// A leg is to be refreshed, or was not, or the call has been up for as long as one may be.
    Session,
    /// The service for ported numbers has not said in time where the called number went.
    Dip,
    /// Ask both sides whether they know a call that was taken up after a restart.
    Probe,
}

/// Names a deadline that was set, so that it can be cancelled. One that has passed is named by nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerHandle {
    index: u32,
    generation: u32,
}

impl TimerHandle {
    /// No deadline.
    pub(crate) const NONE: Self = Self { index: NIL, generation: 0 };
}

impl Default for TimerHandle {
    fn default() -> Self {
        Self::NONE
    }
}

/// Resolution: a deadline is met at most so much late.
const TICK: Duration = Duration::from_millis(1);

/// Slots of a level, a power of two.
const SLOTS: usize = 64;

/// Bits of a tick that choose the slot of one level.
const BITS: u32 = SLOTS.trailing_zeros();

/// Levels: together they reach 64⁶ ms, over two years.
const LEVELS: usize = 6;

/// The index that names no entry.
const NIL: u32 = u32::MAX;

/// A deadline in the list of its slot, or a place that is free.
struct Entry {
    tick: u64,
    wake: Option<Wake>,
    generation: u32,
    slot: u16,
    next: u32,
    previous: u32,
}

/// Deadlines, earliest first.
pub(crate) struct TimerQueue {
    /// When tick 0 was.
    origin: Option<Instant>,
    /// Everything before this tick has been taken out or is due.
    tick: u64,
    entries: Vec<Entry>,
    free: u32,
    heads: [u32; LEVELS * SLOTS],
    /// Which slots of a level are not empty.
    occupied: [u64; LEVELS],
    /// First of those that are due.
    due: u32,
    len: usize,
}

/// Stands for the list of what is due, where a slot is named.
const DUE: u16 = (LEVELS * SLOTS) as u16;

impl Default for TimerQueue {
    fn default() -> Self {
        Self {
            origin: None,
            tick: 0,
            entries: Vec::new(),
            free: NIL,
            heads: [NIL; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            due: NIL,
            len: 0,
        }
    }
}

impl TimerQueue {
    /// Begins to count at `now`. Deadlines are set after this, and lie later.
    pub(crate) fn start(&mut self, now: Instant) {
        self.origin.get_or_insert(now);
    }

    /// Wakes `wake` at `at`.
    pub(crate) fn set(&mut self, at: Instant, wake: Wake) -> TimerHandle {
        let origin = *self.origin.get_or_insert(at);
        let since = at.saturating_duration_since(origin);
        let tick = since.as_nanos().div_ceil(TICK.as_nanos()) as u64;
        let index = match self.free {
            NIL => {
                let entry =
                    Entry { tick, wake: Some(wake), generation: 0, slot: DUE, next: NIL, previous: NIL };
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
            index => {
                let entry = &mut self.entries[index as usize];
                self.free = entry.next;
                entry.tick = tick;
                entry.wake = Some(wake);
                index
            }
        };
        self.len += 1;
        self.link(index);
        TimerHandle { index, generation: self.entries[index as usize].generation }
    }

    /// Cancels a deadline; one that has passed already is let be.
    pub(crate) fn cancel(&mut self, handle: TimerHandle) {
        let is_current = self
            .entries
            .get(handle.index as usize)
            .is_some_and(|entry| entry.generation == handle.generation && entry.wake.is_some());
        if is_current {
            self.unlink(handle.index);
            self.release(handle.index);
        }
    }

    /// Cancels the deadline that `handle` names and puts the new one in its place.
    pub(crate) fn replace(&mut self, handle: &mut TimerHandle, at: Instant, wake: Wake) {
        self.cancel(*handle);
        *handle = self.set(at, wake);
    }

    /// How many deadlines are set.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// When to look again: the earliest deadline, or a moment before it.
    pub(crate) fn next(&self) -> Option<Instant> {
        let origin = self.origin?;
        if self.due != NIL {
            return Some(origin + Duration::from_millis(self.tick));
        }
        let tick = self.next_event()?;
        Some(origin + Duration::from_millis(tick))
    }

    /// Takes one wake that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Wake> {
        let origin = self.origin?;
        let target = now.saturating_duration_since(origin).as_millis() as u64;
        loop {
            if self.due != NIL {
                let index = self.due;
                self.unlink(index);
                let wake = self.entries[index as usize].wake;
                self.release(index);
                return wake;
            }
            match self.next_event() {
                Some(tick) if tick <= target => self.advance(tick),
                _ => {
                    self.tick = self.tick.max(target);
                    return None;
                }
            }
        }
    }

    /// The tick at which a slot is to be opened next: the earliest non-empty one of any level.
    fn next_event(&self) -> Option<u64> {
        (0..LEVELS)
            .filter(|&level| self.occupied[level] != 0)
            .map(|level| {
                let shift = BITS * level as u32;
                let at = (self.tick >> shift) as u32 % SLOTS as u32;
                // Slots at or after the present one come in this round, the others in the next.
                let ahead = u64::from(self.occupied[level].rotate_right(at).trailing_zeros());
                ((self.tick >> shift) + ahead) << shift
            })
            .map(|tick| tick.max(self.tick))
            .min()
    }

    /// Goes to `tick` and opens the slots that begin there: what is due comes into the list of that, the rest
    /// into finer slots.
    fn advance(&mut self, tick: u64) {
        self.tick = tick;
        for level in (0..LEVELS).rev() {
            let slot = level * SLOTS + (tick >> (BITS * level as u32)) as usize % SLOTS;
            let mut index = self.heads[slot];
            self.heads[slot] = NIL;
            self.occupied[level] &= !(1 << (slot % SLOTS));
            while index != NIL {
                let next = self.entries[index as usize].next;
                self.link(index);
                index = next;
            }
        }
    }

    /// Puts an entry where its tick belongs, seen from the present tick.
    fn link(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        let slot = if tick <= self.tick {
            DUE
        } else {
            // The highest bit in which the two differ decides the level.
            let level = ((63 - (tick ^ self.tick).leading_zeros()) / BITS).min(LEVELS as u32 - 1);
            let place = (tick >> (BITS * level)) as usize % SLOTS;
            self.occupied[level as usize] |= 1 << place;
            (level as usize * SLOTS + place) as u16
        };
        let head = self.head(slot);
        let entry = &mut self.entries[index as usize];
        (entry.slot, entry.next, entry.previous) = (slot, head, NIL);
        if head != NIL {
            self.entries[head as usize].previous = index;
        }
        *self.head_mut(slot) = index;
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: u32) {
        let Entry { slot, next, previous, .. } = self.entries[index as usize];
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
            return;
        }
        *self.head_mut(slot) = next;
        if next == NIL && slot != DUE {
            self.occupied[usize::from(slot) / SLOTS] &= !(1 << (usize::from(slot) % SLOTS));
        }
    }

    fn release(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.wake = None;
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
    }

    fn head(&self, slot: u16) -> u32 {
        if slot == DUE { self.due } else { self.heads[usize::from(slot)] }
    }

    fn head_mut(&mut self, slot: u16) -> &mut u32 {
        if slot == DUE { &mut self.due } else { &mut self.heads[usize::from(slot)] }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use slotmap::SlotMap;

    use super::*;

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn origin() -> Instant {
        Instant::now()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set { after_ms: u64 },
        Cancel { nth: usize },
        Pass { ms: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let delay = prop_oneof![0..100_u64, 0..40_000_u64, 0..50_000_000_u64];
        prop_oneof![
            4 => delay.clone().prop_map(|after_ms| Step::Set { after_ms }),
            2 => (0..64_usize).prop_map(|nth| Step::Cancel { nth }),
            3 => delay.prop_map(|ms| Step::Pass { ms }),
        ]
    }

    proptest! {
        #[test]
        fn every_deadline_wakes_at_its_moment_unless_it_was_cancelled(steps in prop::collection::vec(step(), 1..200)) {
            let mut keys: SlotMap<CallKey, ()> = SlotMap::with_key();
            let (mut queue, origin) = (TimerQueue::default(), origin());
            queue.start(origin);
            let (mut now, mut handles) = (0, Vec::new());
            let mut model: BTreeSet<(u64, CallKey)> = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Set { after_ms } => {
                        let key = keys.insert(());
                        let wake = Wake::Call(key, CallTimer::Session);
                        handles.push((queue.set(origin + Duration::from_millis(now + after_ms), wake), now + after_ms, key));
                        model.insert((now + after_ms, key));
                    }
                    Step::Cancel { nth } => {
                        if let Some(&(handle, at, key)) = handles.get(nth) {
                            queue.cancel(handle);
                            model.remove(&(at, key));
                        }
                    }
                    Step::Pass { ms } => {
                        let end = now + ms;
                        // Goes from one deadline to the next, as a simulation does.
                        while let Some(at) = queue.next() {
                            let at = at.saturating_duration_since(origin).as_millis() as u64;
                            if at > end {
                                break;
                            }
                            now = now.max(at);
                            while let Some(wake) = queue.pop_due(origin + Duration::from_millis(now)) {
                                let Wake::Call(key, _) = wake else { unreachable!() };
                                prop_assert!(model.remove(&(now, key)), "woke at {now}");
                            }
                        }
                        now = end;
                        prop_assert_eq!(queue.pop_due(origin + Duration::from_millis(now)), None);
                        prop_assert!(model.first().is_none_or(|&(at, _)| at > now));
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }

    #[test]
    fn a_late_look_finds_everything_that_was_due() {
        let (mut queue, origin, mut keys) = (TimerQueue::default(), origin(), SlotMap::with_key());
        queue.start(origin);
        for ms in (0..200_000).step_by(777) {
            let key = keys.insert(());
            queue.set(origin + Duration::from_millis(ms), Wake::Call(key, CallTimer::Session));
        }
        let late = origin + Duration::from_secs(400);
        assert_eq!(std::iter::from_fn(|| queue.pop_due(late)).count(), keys.len());
        assert_eq!((queue.len(), queue.next()), (0, None));
    }
}
