//! How the endpoints stand, for every worker of the node to read: a few atomics each, behind a map that is swapped
//! when the route table brings other endpoints. Nobody ever waits: calls load, and store when one got through or was asked
//! to wait; what follows from that is up to the [`watch`](crate::watch).

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use arc_swap::ArcSwap;
use tandem_model::EndpointId;

/// Calls that get through closer together than this leave one note of it: the note is for all workers to see.
const NOTE_EVERY_MS: u64 = 100;

/// The standings of all endpoints that are watched.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    of: ArcSwap<AHashMap<EndpointId, Arc<Standing>>>,
    /// Times below count from here.
    origin: OnceLock<Instant>,
}

/// How one endpoint stands.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Per cent of its calls that it takes.
    share: AtomicU8,
    /// Whether calls that get through are to be told to the watch at once.
    wants_good: AtomicBool,
    /// Whether one call may go to it though it is down, to see whether it is back.
    trial: AtomicBool,
    bad_in_a_row: AtomicU32,
    /// Until when it gets no new calls, in milliseconds.
    held_until: AtomicU64,
    /// When a call got through last, in milliseconds; 0 for never.
    good_at: AtomicU64,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            share: AtomicU8::new(100),
            wants_good: AtomicBool::new(true),
            trial: AtomicBool::new(false),
            bad_in_a_row: AtomicU32::new(0),
            held_until: AtomicU64::new(0),
            good_at: AtomicU64::new(0),
        }
    }
}

/// What an endpoint takes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    All,
    /// So many per cent of its calls.
    Some(u8),
    /// None, unless there is nobody else.
    LastResort,
    /// None.
    Nothing,
}

impl Standings {
    /// What an endpoint takes now; of one that is not watched yet nothing bad is known.
    pub(crate) fn takes(&self, endpoint: EndpointId, now: Instant) -> Takes {
        let all = self.of.load();
        let Some(standing) = all.get(&endpoint) else { return Takes::All };
        let held_until = standing.held_until.load(Relaxed);
        if held_until > 0 && self.millis(now) < held_until {
            return Takes::Nothing;
        }
        match standing.share.load(Relaxed) {
            100 => Takes::All,
            0 if standing.trial.load(Relaxed) && standing.trial.swap(false, Relaxed) => Takes::All,
            0 => Takes::LastResort,
            share => Takes::Some(share),
        }
    }

    /// By what endpoints that are down are told apart: the lower, the better the bet.
    pub(crate) fn badness(&self, endpoint: EndpointId) -> u32 {
        let all = self.of.load();
        all.get(&endpoint).map_or(0, |standing| match standing.share.load(Relaxed) {
            0 => standing.bad_in_a_row.load(Relaxed).saturating_add(100),
            share => 100 - u32::from(share),
        })
    }

    /// Notes that a call got through; whether the watch waits to hear of it.
    pub(crate) fn call_got_through(&self, endpoint: EndpointId, now: Instant) -> bool {
        let all = self.of.load();
        let Some(standing) = all.get(&endpoint) else { return false };
        let millis = self.millis(now);
        if millis >= standing.good_at.load(Relaxed) + NOTE_EVERY_MS {
            standing.good_at.store(millis, Relaxed);
        }
        standing.wants_good.load(Relaxed)
    }

    /// Puts other endpoints in the place of those that are watched.
    pub(crate) fn swap(&self, all: AHashMap<EndpointId, Arc<Standing>>, now: Instant) {
        self.origin.get_or_init(|| now);
        self.of.store(Arc::new(all));
    }

    /// When a call got through last.
    pub(crate) fn good_at(&self, standing: &Standing) -> Option<Instant> {
        let millis = standing.good_at.load(Relaxed);
        Some(*self.origin.get()? + Duration::from_millis(millis)).filter(|_| millis > 0)
    }

    /// Lets an endpoint have no new calls until then.
    pub(crate) fn hold(&self, endpoint: EndpointId, until: Instant) {
        if let Some(standing) = self.of.load().get(&endpoint) {
            standing.held_until.store(self.millis(until), Relaxed);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        self.origin.get().map_or(0, |origin| at.saturating_duration_since(*origin).as_millis() as u64)
    }
}

impl Standing {
    /// Makes known what the watch has concluded.
    pub(crate) fn set(&self, share: u8, wants_good: bool, bad_in_a_row: u32) {
        self.wants_good.store(wants_good, Relaxed);
        self.bad_in_a_row.store(bad_in_a_row, Relaxed);
        if share > 0 {
            self.trial.store(false, Relaxed);
        }
        self.share.store(share, Relaxed);
    }

    /// Lets one call through though the endpoint is down.
    pub(crate) fn offer_trial(&self) {
        self.trial.store(true, Relaxed);
    }
}
