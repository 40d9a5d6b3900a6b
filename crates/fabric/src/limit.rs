//! How much an endpoint may send and carry: concurrent calls and calls per second.
//!
//! A place among the concurrent calls is a [`Lease`], a value owned by the call: however the call ends, the
//! place is free again when the value is dropped.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use ahash::AHashMap;
use tandem_model::{Endpoint, EndpointId, Reason};

/// A place among an endpoint's concurrent calls.
#[derive(Debug)]
pub(crate) struct Lease {
    taken: Rc<Cell<u32>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.taken.set(self.taken.get() - 1);
    }
}

/// A bucket that fills with `rate` tokens a second and holds one second's worth.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn take(&mut self, rate: u32, now: Instant) -> bool {
        let rate = f64::from(rate);
        let elapsed_s = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed_s * rate).min(rate);
        self.filled_at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[derive(Debug)]
struct Load {
    taken: Rc<Cell<u32>>,
    bucket: Bucket,
}

/// The load of every endpoint that has sent or taken a call.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    loads: AHashMap<EndpointId, Load>,
}

impl Limits {
    fn load(&mut self, endpoint: &Endpoint, now: Instant) -> &mut Load {
        self.loads.entry(endpoint.endpoint_id).or_insert_with(|| Load {
            taken: Rc::default(),
            bucket: Bucket { tokens: f64::from(endpoint.max_calls_per_second.unwrap_or(0)), filled_at: now },
        })
    }

    /// Admits a call that `endpoint` sends.
    ///
    /// # Errors
    /// The reason to refuse it with, when the endpoint is at one of its limits.
    pub(crate) fn admit(&mut self, endpoint: &Endpoint, now: Instant) -> Result<Lease, Reason> {
        let load = self.load(endpoint, now);
        if endpoint.max_calls.is_some_and(|max| load.taken.get() >= max) {
            return Err(Reason::CallsExceeded);
        }
        if endpoint.max_calls_per_second.is_some_and(|rate| !load.bucket.take(rate, now)) {
            return Err(Reason::CallRateExceeded);
        }
        Ok(Self::lease(load))
    }

    /// Takes a place for a call that goes to `endpoint`, if one is free.
    pub(crate) fn reserve(&mut self, endpoint: &Endpoint, now: Instant) -> Option<Lease> {
        let load = self.load(endpoint, now);
        if endpoint.max_calls.is_some_and(|max| load.taken.get() >= max) {
            return None;
        }
        Some(Self::lease(load))
    }

    /// Takes a place for a call that was up before the node restarted, whatever the limit says now.
    pub(crate) fn resume(&mut self, endpoint: EndpointId, now: Instant) -> Lease {
        let load = self
            .loads
            .entry(endpoint)
            .or_insert_with(|| Load { taken: Rc::default(), bucket: Bucket { tokens: 0.0, filled_at: now } });
        Self::lease(load)
    }

    fn lease(load: &Load) -> Lease {
        load.taken.set(load.taken.get() + 1);
        Lease { taken: load.taken.clone() }
    }

    /// Leases that are out, over all endpoints.
    #[cfg(test)]
    pub(crate) fn leased(&self) -> u32 {
        self.loads.values().map(|load| load.taken.get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tandem_model::{MemberId, Target};
    use uuid::Uuid;

    use super::*;

    fn endpoint(max_calls: Option<u32>, max_calls_per_second: Option<u32>) -> Endpoint {
        Endpoint {
            endpoint_id: EndpointId(Uuid::from_u128(1)),
            member_id: MemberId(Uuid::from_u128(2)),
            name: "acme-1".into(),
            sources: vec![],
            target: "sip:192.0.2.1".parse::<Target>().unwrap(),
            priority: 1,
            weight: 1,
            max_calls,
            max_calls_per_second,
            enabled: true,
        }
    }

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_place_is_free_again_when_its_call_is_gone() {
        let (mut limits, now, endpoint) = (Limits::default(), origin(), endpoint(Some(2), None));
        let first = limits.admit(&endpoint, now).unwrap();
        let _second = limits.reserve(&endpoint, now).unwrap();
        assert_eq!(limits.admit(&endpoint, now).unwrap_err(), Reason::CallsExceeded);
        assert!(limits.reserve(&endpoint, now).is_none());
        drop(first);
        assert!(limits.admit(&endpoint, now).is_ok());
    }

    #[test]
    fn calls_beyond_the_rate_are_refused_until_time_has_passed() {
        let (mut limits, now, endpoint) = (Limits::default(), origin(), endpoint(None, Some(10)));
        let admitted =
            |limits: &mut Limits, at| (0..100).filter(|_| limits.admit(&endpoint, at).is_ok()).count();
        assert_eq!(admitted(&mut limits, now), 10);
        assert_eq!(admitted(&mut limits, now + Duration::from_millis(500)), 5);
        assert_eq!(admitted(&mut limits, now + Duration::from_secs(60)), 10);
    }
}
