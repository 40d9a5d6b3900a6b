//! How much members, endpoints, agreements and prefixes may carry: concurrent calls and calls per second.
//!
//! A leg's place among the concurrent calls of each of them is a [`Lease`], a value owned by the leg: however the
//! call ends, the places are free again when the value is dropped.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use smallvec::SmallVec;
use tandem_model::{AgreementId, CallLimits, Endpoint, EndpointId, MemberId, Prefix, Reason};
use tandem_routing::{Candidate, RouteTable};

use crate::record::LegRecord;

/// Refused calls a second of one member or endpoint that get a CDR. What it sends beyond is refused without a
/// transaction and without a CDR, so that a flood of one costs the others nothing.
const MAX_RECORDED_REFUSALS_PER_SECOND: u32 = 50;

/// Holders below which sweeping is not worth it.
const SWEEP_MIN: usize = 4_096;

/// Who or what has limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Endpoint(EndpointId),
    Member(MemberId),
    Agreement(AgreementId),
    /// A prefix that the member announces; it has one announcement of it at a time.
    Prefix(MemberId, Prefix),
}

/// The places of one leg, one for each holder that it counts for.
#[derive(Debug)]
pub(crate) struct Lease {
    taken: SmallVec<[Arc<AtomicU32>; 4]>,
}

impl Lease {
    fn take(places: impl Iterator<Item = Arc<AtomicU32>>) -> Self {
        let taken = places.inspect(|taken| {
            taken.fetch_add(1, Ordering::Relaxed);
        });
        Self { taken: taken.collect() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for taken in &self.taken {
            taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Tokens that fill at some number a second, up to one second's worth. What has not been asked for longer than
/// that is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        Self { tokens: f64::from(rate), filled_at: now }
    }

    /// Whether there is a token.
    pub(crate) fn has(&mut self, rate: u32, now: Instant) -> bool {
        let rate = f64::from(rate);
        let elapsed_s = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed_s * rate).min(rate);
        self.filled_at = now;
        self.tokens >= 1.0
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, rate: u32, now: Instant) -> bool {
        let has = self.has(rate, now);
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

#[derive(Debug)]
struct Load {
    /// Calls that hold a place.
    taken: Arc<AtomicU32>,
    /// New calls; `None` until a rate is asked about.
    calls: Option<Bucket>,
    /// Refusals that get a CDR.
    refusals: Option<Bucket>,
    used_at: Instant,
}

impl Load {
    fn new(now: Instant) -> Self {
        Self { taken: Arc::default(), calls: None, refusals: None, used_at: now }
    }

    fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    fn calls(&mut self, rate: u32, now: Instant) -> &mut Bucket {
        self.calls.get_or_insert_with(|| Bucket::new(rate, now))
    }

    fn may_record_refusal(&mut self, now: Instant) -> bool {
        let rate = MAX_RECORDED_REFUSALS_PER_SECOND;
        self.refusals.get_or_insert_with(|| Bucket::new(rate, now)).take(rate, now)
    }
}

/// One thing that a leg needs a place with, and the reasons when there is none.
struct Need {
    holder: Holder,
    limits: CallLimits,
    full: Reason,
    /// `None` where the rate does not count for this leg.
    too_fast: Option<Reason>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// The reason to refuse the call with, or to leave the candidate out for.
    pub(crate) reason: Reason,
    /// Whether the refusal is to have a CDR: false once refusals come in a flood.
    pub(crate) is_recorded: bool,
}

/// The load of everyone and everything that has sent or taken a call, over all workers of the node.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    loads: Mutex<Loads>,
}

#[derive(Debug, Default)]
struct Loads {
    of: AHashMap<Holder, Load>,
    /// At how many loads those that say nothing any more are swept out.
    sweep_at: usize,
}

impl Limits {
    /// Admits a call that `endpoint` sends.
    ///
    /// # Errors
    /// When the endpoint or its member is at one of its limits.
    pub(crate) fn admit(&self, table: &RouteTable, endpoint: &Endpoint, now: Instant) -> Result<Lease, Full> {
        self.take(
            &[
                Need {
                    holder: Holder::Endpoint(endpoint.endpoint_id),
                    limits: endpoint.limits(),
                    full: Reason::CallsExceeded,
                    too_fast: Some(Reason::CallRateExceeded),
                },
                Need {
                    holder: Holder::Member(endpoint.member_id),
                    limits: member_limits(table, endpoint.member_id),
                    full: Reason::MemberCallsExceeded,
                    too_fast: Some(Reason::MemberCallRateExceeded),
                },
            ],
            now,
        )
    }

    /// Takes a place for an INVITE that goes to `endpoint` because of `candidate`.
    ///
    /// # Errors
    /// When the endpoint, its member, the agreement or the prefix is at one of its limits.
    pub(crate) fn reserve(
        &self,
        table: &RouteTable,
        endpoint: &Endpoint,
        candidate: &Candidate,
        now: Instant,
    ) -> Result<Lease, Full> {
        self.take(
            &[
                Need {
                    holder: Holder::Endpoint(endpoint.endpoint_id),
                    limits: endpoint.limits(),
                    full: Reason::EndpointFull,
                    too_fast: None,
                },
                Need {
                    holder: Holder::Member(endpoint.member_id),
                    limits: member_limits(table, endpoint.member_id),
                    full: Reason::MemberFull,
                    too_fast: None,
                },
                Need {
                    holder: Holder::Agreement(candidate.agreement),
                    limits: table.agreement_limits(candidate.agreement),
                    full: Reason::AgreementFull,
                    too_fast: Some(Reason::AgreementRateExceeded),
                },
                Need {
                    holder: Holder::Prefix(candidate.member, candidate.prefix),
                    limits: table.announcement_limits(candidate.prefix, candidate.announcement),
                    full: Reason::PrefixFull,
                    too_fast: Some(Reason::PrefixRateExceeded),
                },
            ],
            now,
        )
    }

    /// Takes the places of a leg that was up before the node restarted, whatever the limits say now. The egress
    /// leg counts for the agreement and the prefix of its `candidate` too.
    pub(crate) fn resume(&self, leg: &LegRecord<'_>, candidate: Option<&Candidate>, now: Instant) -> Lease {
        let holders = [
            Some(Holder::Endpoint(leg.endpoint)),
            Some(Holder::Member(leg.member)),
            candidate.map(|candidate| Holder::Agreement(candidate.agreement)),
            candidate.map(|candidate| Holder::Prefix(candidate.member, candidate.prefix)),
        ];
        let mut loads = self.lock();
        Lease::take(holders.into_iter().flatten().map(|holder| loads.load(holder, now).taken.clone()))
    }

    /// All places, or none.
    fn take(&self, needs: &[Need], now: Instant) -> Result<Lease, Full> {
        let mut loads = self.lock();
        for need in needs {
            let load = loads.load(need.holder, now);
            let reason = match (need.limits, need.too_fast) {
                (CallLimits { max_calls: Some(max), .. }, _) if load.taken() >= max => need.full,
                (CallLimits { max_calls_per_second: Some(rate), .. }, Some(too_fast))
                    if !load.calls(rate, now).has(rate, now) =>
                {
                    too_fast
                }
                _ => continue,
            };
            return Err(Full { reason, is_recorded: load.may_record_refusal(now) });
        }
        for need in needs {
            if let (Some(rate), Some(_)) = (need.limits.max_calls_per_second, need.too_fast) {
                loads.load(need.holder, now).calls(rate, now).take(rate, now);
            }
        }
        Ok(Lease::take(needs.iter().map(|need| loads.of[&need.holder].taken.clone())))
    }

    fn lock(&self) -> MutexGuard<'_, Loads> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places that are out.
    #[cfg(test)]
    pub(crate) fn leased(&self) -> u32 {
        self.leased_by_kind().iter().sum()
    }

    /// Places that are out with endpoints, members, agreements and prefixes.
    #[cfg(test)]
    pub(crate) fn leased_by_kind(&self) -> [u32; 4] {
        let mut leased = [0; 4];
        for (holder, load) in &self.lock().of {
            let kind = match holder {
                Holder::Endpoint(_) => 0,
                Holder::Member(_) => 1,
                Holder::Agreement(_) => 2,
                Holder::Prefix(..) => 3,
            };
            leased[kind] += load.taken();
        }
        leased
    }
}

impl Loads {
    fn load(&mut self, holder: Holder, now: Instant) -> &mut Load {
        if self.of.len() >= self.sweep_at.max(SWEEP_MIN) && !self.of.contains_key(&holder) {
            // Without a place out and with full buckets it is as if it had never been there.
            let idle = Duration::from_secs(1);
            self.of.retain(|_, load| load.taken() > 0 || now.saturating_duration_since(load.used_at) < idle);
            self.sweep_at = 2 * self.of.len();
        }
        let load = self.of.entry(holder).or_insert_with(|| Load::new(now));
        load.used_at = now;
        load
    }
}

fn member_limits(table: &RouteTable, member: MemberId) -> CallLimits {
    table.member(member).map_or(CallLimits::NONE, |member| member.limits)
}

#[cfg(test)]
mod tests {
    use tandem_model::{
        Agreement, AgreementDirection, AgreementState, Announcement, AnnouncementId, Facts, Member,
        MemberState, Policy, RangeId, Target, Validity,
    };
    use uuid::Uuid;

    use super::*;

    fn id<T: From<Uuid>>(n: u128) -> T {
        T::from(Uuid::from_u128(n))
    }

    fn limits(max_calls: Option<u32>, max_calls_per_second: Option<u32>) -> CallLimits {
        CallLimits { max_calls, max_calls_per_second }
    }

    fn endpoint(n: u128, limits: CallLimits) -> Endpoint {
        Endpoint {
            endpoint_id: id(n),
            member_id: id(2),
            name: "acme-1".into(),
            sources: vec![],
            call_mark: None,
            certificate_names: Vec::new(),
            target: "sip:192.0.2.1".parse::<Target>().unwrap(),
            access: tandem_model::Access::default(),
            priority: 1,
            weight: 1,
            max_calls: limits.max_calls,
            max_calls_per_second: limits.max_calls_per_second,
            enabled: true,
            policy: Policy::default(),
            sites: Vec::new(),
        }
    }

    /// Limits of the member 2, its agreement 5 with the member 3, and its announcement 4 of +44.
    fn table(member: CallLimits, agreement: CallLimits, announcement: CallLimits) -> RouteTable {
        let validity = Validity { from: chrono::DateTime::UNIX_EPOCH, until: None };
        RouteTable::from_facts(Facts {
            members: vec![Member {
                member_id: id(2),
                name: "acme".into(),
                state: MemberState::Approved,
                limits: member,
            }],
            agreements: vec![Agreement {
                agreement_id: id(5),
                proposing_member: id(3),
                accepting_member: id(2),
                direction: AgreementDirection::Both,
                state: AgreementState::Accepted,
                validity: Some(validity),
                limits: agreement,
                advance_on: None,
                terms: None,
            }],
            announcements: vec![Announcement {
                announcement_id: id::<AnnouncementId>(4),
                member_id: id(2),
                prefix: "+44".parse().unwrap(),
                endpoints: vec![id(1)],
                validity,
                limits: announcement,
                tags: Vec::new(),
            }],
            ..Facts::default()
        })
    }

    fn candidate(endpoint: &Endpoint) -> Candidate {
        Candidate {
            member: id(2),
            endpoint: endpoint.endpoint_id,
            announcement: id(4),
            agreement: id(5),
            prefix: "+44".parse().unwrap(),
            range: Some(id::<RangeId>(6)),
            rate: None,
        }
    }

    const NONE: CallLimits = CallLimits::NONE;

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_place_is_free_again_when_its_call_is_gone() {
        let (load, now, table) = (Limits::default(), origin(), table(NONE, NONE, NONE));
        let endpoint = endpoint(1, limits(Some(2), None));
        let candidate = candidate(&endpoint);
        let first = load.admit(&table, &endpoint, now).unwrap();
        let _second = load.reserve(&table, &endpoint, &candidate, now).unwrap();
        assert_eq!(load.admit(&table, &endpoint, now).unwrap_err().reason, Reason::CallsExceeded);
        let full = load.reserve(&table, &endpoint, &candidate, now).unwrap_err();
        assert_eq!(full.reason, Reason::EndpointFull);
        assert_eq!(load.leased_by_kind(), [2, 2, 1, 1]);
        drop(first);
        assert!(load.admit(&table, &endpoint, now).is_ok());
    }

    #[test]
    fn calls_beyond_the_rate_are_refused_until_time_has_passed() {
        let (load, now, table) = (Limits::default(), origin(), table(NONE, NONE, NONE));
        let endpoint = endpoint(1, limits(None, Some(10)));
        let admitted = |at| (0..100).filter(|_| load.admit(&table, &endpoint, at).is_ok()).count();
        assert_eq!(admitted(now), 10);
        assert_eq!(admitted(now + Duration::from_millis(500)), 5);
        assert_eq!(admitted(now + Duration::from_secs(60)), 10);
    }

    #[test]
    fn each_limit_that_is_reached_names_itself() {
        let one = limits(Some(1), None);
        let slow = limits(None, Some(1));
        let rows = [
            (table(one, NONE, NONE), Reason::MemberCallsExceeded, Reason::MemberFull),
            (table(slow, NONE, NONE), Reason::MemberCallRateExceeded, Reason::OwnNumber),
            (table(NONE, one, NONE), Reason::OwnNumber, Reason::AgreementFull),
            (table(NONE, slow, NONE), Reason::OwnNumber, Reason::AgreementRateExceeded),
            (table(NONE, NONE, one), Reason::OwnNumber, Reason::PrefixFull),
            (table(NONE, NONE, slow), Reason::OwnNumber, Reason::PrefixRateExceeded),
        ];
        for (table, originating, terminating) in rows {
            let now = origin();
            // Two endpoints, so that it is not theirs that is full. `OwnNumber` stands for no refusal.
            let (first, second) = (endpoint(1, NONE), endpoint(7, NONE));
            let load = Limits::default();
            let _lease = load.admit(&table, &first, now).unwrap();
            let refused =
                load.admit(&table, &second, now).err().map_or(Reason::OwnNumber, |full| full.reason);
            assert_eq!(refused, originating);
            let load = Limits::default();
            let _lease = load.reserve(&table, &first, &candidate(&first), now).unwrap();
            let full = load.reserve(&table, &second, &candidate(&second), now).err();
            assert_eq!(full.map_or(Reason::OwnNumber, |full| full.reason), terminating);
        }
    }

    #[test]
    fn a_candidate_that_one_limit_leaves_out_uses_up_no_other() {
        let now = origin();
        let table = table(NONE, limits(None, Some(10)), limits(Some(1), None));
        let endpoint = endpoint(1, NONE);
        let load = Limits::default();
        let lease = load.reserve(&table, &endpoint, &candidate(&endpoint), now).unwrap();
        for _ in 0..100 {
            let full = load.reserve(&table, &endpoint, &candidate(&endpoint), now).unwrap_err();
            assert_eq!(full.reason, Reason::PrefixFull);
        }
        assert_eq!(load.leased_by_kind(), [1; 4]);
        drop(lease);
        assert_eq!(load.leased_by_kind(), [0; 4]);
        for _ in 0..9 {
            load.reserve(&table, &endpoint, &candidate(&endpoint), now).unwrap();
        }
        let full = load.reserve(&table, &endpoint, &candidate(&endpoint), now).unwrap_err();
        assert_eq!(full.reason, Reason::AgreementRateExceeded);
    }

    #[test]
    fn a_flood_of_refusals_is_recorded_only_in_part() {
        let (load, now, table) = (Limits::default(), origin(), table(NONE, NONE, NONE));
        let endpoint = endpoint(1, limits(None, Some(10)));
        let recorded = |at| {
            let refused = (0..1_000).filter_map(|_| load.admit(&table, &endpoint, at).err());
            refused.filter(|full| full.is_recorded).count() as u32
        };
        assert_eq!(recorded(now), MAX_RECORDED_REFUSALS_PER_SECOND);
        assert_eq!(recorded(now + Duration::from_millis(100)), MAX_RECORDED_REFUSALS_PER_SECOND / 10);
    }

    #[test]
    fn what_carries_nothing_any_more_is_forgotten() {
        let (load, now, table) = (Limits::default(), origin(), table(NONE, NONE, NONE));
        let kept = load.admit(&table, &endpoint(1, NONE), now).unwrap();
        for n in 0..4 * SWEEP_MIN as u128 {
            load.admit(&table, &endpoint(10 + n, NONE), now + Duration::from_millis(n as u64)).unwrap();
        }
        assert!(load.lock().of.len() <= SWEEP_MIN + 1, "{}", load.lock().of.len());
        assert_eq!(load.leased_by_kind(), [1, 1, 0, 0]);
        drop(kept);
        assert_eq!(load.leased_by_kind(), [0; 4]);
    }
}
