//! The first worker's watch over the endpoints that calls may go to: which is to be probed when, what its health is
//! after each sign, and who must hear of it. [`probe`](crate::probe) sends the probes.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use chrono::{DateTime, Utc};
use rand::Rng;
use slotmap::SlotMap;
use tandem_model::{
    Endpoint, EndpointId, EndpointState, HealthSign, Host, MemberState, ProbePolicy, Reason, Target,
};
use tandem_routing::RouteTable;
use tandem_sip::{Message, Name};

use crate::call::CallKey;
use crate::health::Health;
use crate::outbox::Parcel;
use crate::server_set::ServerSets;
use crate::standing::{Standing, Takes};
use crate::transaction::TransactionKey;
use crate::worker::{Now, Worker};

slotmap::new_key_type! {
    /// Names an endpoint that is watched; a key is never used again.
    pub(crate) struct WatchKey;
}

/// Probes that may be under way at once.
const MAX_PROBES: usize = 256;

/// How long a probe for which there is no place is put off.
const PUT_OFF: Duration = Duration::from_millis(250);

/// How often the time of the last probe is reported where nothing changes.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Reports that may wait to be taken.
const MAX_REPORTS: usize = 4_096;

/// What the node has to tell of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Which.
    pub endpoint_id: EndpointId,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// How it stands; `None` for one that is not watched any more.
    pub standing: Option<EndpointStanding>,
    /// What has just happened to it; `None` where it is only still as it was.
    pub change: Option<HealthSign>,
}

/// How an endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStanding {
    /// Its state.
    pub state: EndpointState,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The sign after which it was so.
    pub sign: Option<HealthSign>,
    /// Until when it gets no new calls because it asked for that.
    pub held_until: Option<DateTime<Utc>>,
    /// When the last probe was sent.
    pub probed_at: Option<DateTime<Utc>>,
    /// How long its answer took; `None` where it had none.
    pub rtt: Option<Duration>,
    /// What its DNS name leads to; `None` where its target is no name.
    pub name: Option<NameStanding>,
}

/// What a DNS name leads to: servers as text, such as `udp 192.0.2.21:5060`, in the order of their priority, or why there
/// are none.
pub type NameStanding = Result<Vec<String>, Reason>;

/// A probe under way.
#[derive(Debug)]
pub(crate) struct Underway {
    pub(crate) client: TransactionKey,
    pub(crate) sent: Now,
    pub(crate) ip: IpAddr,
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) endpoint: EndpointId,
    target: Target,
    pub(crate) policy: ProbePolicy,
    pub(crate) health: Health,
    standing: Arc<Standing>,
    pub(crate) probe: Option<Underway>,
    /// When it is probed next or, while a probe is under way, when that has waited long enough.
    pub(crate) probe_at: Option<Instant>,
    /// When the present step of its ramp is over.
    step_at: Option<Instant>,
    /// The time that it has in the order of deadlines.
    due: Option<Instant>,
    shown: EndpointStanding,
    reported_at: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) of: SlotMap<WatchKey, Watched>,
    by_id: AHashMap<EndpointId, WatchKey>,
    due: BTreeSet<(Instant, WatchKey)>,
    pub(crate) probes: usize,
    reports: VecDeque<HealthReport>,
    /// The outcomes of names that these have.
    server_sets: Option<Arc<ServerSets>>,
    /// The table whose endpoints these are.
    table: Option<Arc<RouteTable>>,
}

impl Watch {
    /// When there is something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<WatchKey> {
        let (_, key) = self.due.first().filter(|(at, _)| *at <= now).copied()?;
        self.due.pop_first();
        self.of[key].due = None;
        Some(key)
    }

    /// Puts an endpoint where its next deadline belongs.
    fn schedule(&mut self, key: WatchKey) {
        let watched = &mut self.of[key];
        let due = [watched.probe_at, watched.step_at].into_iter().flatten().min();
        if due != watched.due {
            if let Some(old) = watched.due {
                self.due.remove(&(old, key));
            }
            self.due.extend(due.map(|at| (at, key)));
            watched.due = due;
        }
    }

    /// Takes out the next report.
    pub(crate) fn pop_report(&mut self) -> Option<HealthReport> {
        self.reports.pop_front()
    }

    fn report(&mut self, now: Now, key: WatchKey, change: Option<HealthSign>) {
        let watched = &mut self.of[key];
        watched.reported_at = Some(now.instant);
        let standing = Some(watched.shown.clone());
        let report = HealthReport { endpoint_id: watched.endpoint, at: now.utc, standing, change };
        self.push_report(report);
    }

    fn push_report(&mut self, report: HealthReport) {
        if self.reports.len() < MAX_REPORTS {
            self.reports.push_back(report);
        }
    }
}

/// Whether calls may go to an endpoint at all. The others are let alone: nobody is to be probed because a stranger
/// named an address, and one that only sends need not answer.
fn is_watched(table: &RouteTable, endpoint: &Endpoint) -> bool {
    let member = table.member(endpoint.member_id);
    endpoint.enabled
        && table.is_called(endpoint.endpoint_id)
        && member.is_some_and(|member| member.state == MemberState::Approved)
}

fn name_standing(sets: &ServerSets, target: &Target) -> Option<NameStanding> {
    let Host::Name(_) = target.host else { return None };
    let servers = sets.get(target).map(|set| {
        let mut servers: Vec<_> = set.servers.iter().collect();
        servers.sort_by_key(|server| server.priority);
        let addresses = servers.iter().flat_map(|server| &server.addresses);
        addresses.map(|address| format!("{} {address}", set.transport.as_str())).collect()
    });
    Some(servers)
}

impl Worker {
    /// Tells where the names of watched endpoints lead, when that has changed.
    fn watch_names(&mut self, now: Now) {
        let Some(watch) = self.watch.as_mut() else { return };
        let sets = self.share.common.server_sets.load();
        if watch.server_sets.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &sets)) {
            return;
        }
        watch.server_sets = Some(Arc::clone(&sets));
        let keys: Vec<WatchKey> = watch.of.keys().collect();
        for key in keys {
            let watched = &mut watch.of[key];
            let name = name_standing(&sets, &watched.target);
            if watched.shown.name != name {
                watched.shown.name = name;
                watch.report(now, key, None);
            }
        }
    }

    /// Watches the endpoints that the route table has now. Call it after the table was read anew.
    pub(crate) fn watch_table(&mut self, now: Now) {
        self.watch_names(now);
        let Some(watch) = self.watch.as_mut() else { return };
        let table = self.table.clone();
        match watch.table.replace(table.clone()) {
            Some(old) if Arc::ptr_eq(&old, &table) || old.has_endpoints_of(&table) => return,
            Some(_) | None => {}
        }
        // Another address is another thing to watch, though it has the same name.
        let is_same = |watched: &Watched| {
            let endpoint = table.endpoint(watched.endpoint).filter(|endpoint| is_watched(&table, endpoint));
            endpoint.is_some_and(|endpoint| endpoint.target == watched.target)
        };
        let gone: Vec<WatchKey> =
            watch.of.iter().filter(|(_, watched)| !is_same(watched)).map(|(key, _)| key).collect();
        for key in gone {
            self.forget_watched(now, key);
        }
        for endpoint in table.endpoints().filter(|endpoint| is_watched(&table, endpoint)) {
            self.watch_endpoint(now, endpoint);
        }
        if let Some(watch) = &self.watch {
            let standings = watch.of.values().map(|watched| (watched.endpoint, watched.standing.clone()));
            self.share.common.standings.swap(standings.collect(), now.instant);
        }
    }

    fn watch_endpoint(&mut self, now: Now, endpoint: &Endpoint) {
        let Some(watch) = self.watch.as_mut() else { return };
        let mut policy = endpoint.policy.probe;
        policy.enabled &= self.settings.probes;
        if let Some(&key) = watch.by_id.get(&endpoint.endpoint_id) {
            let known = &mut watch.of[key];
            if known.policy != policy {
                known.policy = policy;
                known.probe_at.get_or_insert(now.instant);
                watch.schedule(key);
            }
            return;
        }
        // The probes of a node that starts are spread over the interval.
        let wait = Duration::from_secs(policy.interval_s.into()) * (self.rng.next_u32() % 1_024) / 1_024;
        let key = watch.of.insert(Watched {
            endpoint: endpoint.endpoint_id,
            target: endpoint.target.clone(),
            policy,
            health: Health::new(),
            standing: Arc::default(),
            probe: None,
            probe_at: policy.enabled.then_some(now.instant + wait),
            step_at: None,
            due: None,
            shown: EndpointStanding {
                state: EndpointState::Unknown,
                since: now.utc,
                sign: None,
                held_until: None,
                probed_at: None,
                rtt: None,
                name: name_standing(&self.share.common.server_sets.load(), &endpoint.target),
            },
            reported_at: None,
        });
        watch.by_id.insert(endpoint.endpoint_id, key);
        watch.schedule(key);
        // Its name may have been resolved before.
        if watch.of[key].shown.name.is_some() {
            watch.report(now, key, None);
        }
        self.wire.metrics.endpoints_in(EndpointState::Unknown).inc();
    }

    fn forget_watched(&mut self, now: Now, key: WatchKey) {
        self.end_probe(key);
        let Some(watch) = self.watch.as_mut() else { return };
        let Some(watched) = watch.of.remove(key) else { return };
        if let Some(at) = watched.due {
            watch.due.remove(&(at, key));
        }
        watch.by_id.remove(&watched.endpoint);
        self.wire.metrics.endpoints_in(watched.shown.state).dec();
        let endpoint_id = watched.endpoint;
        watch.push_report(HealthReport { endpoint_id, at: now.utc, standing: None, change: None });
    }

    /// Does what the watch has to do by now.
    pub(crate) fn fire_watch(&mut self, now: Now) {
        while let Some(key) = self.watch.as_mut().and_then(|watch| watch.pop_due(now.instant)) {
            self.look_at(now, key);
            if let Some(watch) = self.watch.as_mut() {
                watch.schedule(key);
            }
        }
    }

    fn look_at(&mut self, now: Now, key: WatchKey) {
        let Some(watch) = self.watch.as_mut() else { return };
        let watched = &mut watch.of[key];
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if is_due(watched.step_at) {
            watched.step_at = None;
            return self.note_sign(now, key, HealthSign::TimePassed, now.instant);
        }
        if !is_due(watched.probe_at) {
            return;
        }
        if watched.probe.is_some() {
            return self.probe_unanswered(now, key);
        }
        if let Some(at) = self.share.common.standings.good_at(&watched.standing) {
            watched.health.call_got_through(at);
        }
        let (policy, draw) = (watched.policy, self.rng.next_u32());
        let wait = watched.health.until_next_probe(&policy, draw);
        watched.probe_at = Some(now.instant + wait);
        let is_down = watched.health.state().share() == 0;
        if is_down && !(policy.enabled && watched.health.answers_probes()) {
            watched.standing.offer_trial();
        }
        if !policy.enabled {
            watched.probe_at = watched.probe_at.filter(|_| is_down);
            return;
        }
        let next = watched.health.good_at().map(|good_at| good_at + wait);
        if watched.health.state().is_steady() && next.is_some_and(|next| next > now.instant) {
            watched.probe_at = next; // A call that got through has told as much.
        } else if watch.probes >= MAX_PROBES {
            watched.probe_at = Some(now.instant + PUT_OFF + PUT_OFF * (draw % 1_024) / 1_024);
        } else if !self.draining {
            self.send_probe(now, key);
        }
    }

    /// Takes a sign of an endpoint; `since` is when what failed began.
    pub(crate) fn note_sign(&mut self, now: Now, key: WatchKey, sign: HealthSign, since: Instant) {
        let Some(watch) = self.watch.as_mut() else { return };
        let Some(watched) = watch.of.get_mut(key) else { return };
        if let Some(at) = self.share.common.standings.good_at(&watched.standing) {
            watched.health.call_got_through(at);
        }
        let before = watched.health.state();
        watched.health.note(now.instant, sign, since, &watched.policy);
        let after = watched.health.state();
        watched.standing.set(after.share(), !after.is_steady(), watched.health.bad_in_a_row());
        if after.share() != before.share() {
            watched.step_at = watched.health.step_lasts(&watched.policy).map(|lasts| now.instant + lasts);
        }
        if watched.probe.is_none() && sign != HealthSign::TimePassed {
            let next = now.instant + watched.health.until_next_probe(&watched.policy, self.rng.next_u32());
            watched.probe_at = match watched.probe_at {
                Some(at) if at < next && !after.is_steady() => Some(at),
                // Without probes it must be looked at for as long as it is down.
                _ => Some(next).filter(|_| watched.policy.enabled || after.share() == 0),
            };
        }
        if after.shown() != before.shown() {
            watched.shown.state = after.shown();
            watched.shown.since = now.utc;
            watched.shown.sign = Some(sign);
            let (endpoint, state) = (watched.endpoint, after.shown());
            self.wire.metrics.endpoints_in(before.shown()).dec();
            self.wire.metrics.endpoints_in(state).inc();
            self.wire.metrics.count_transition(state);
            tracing::info!(%endpoint, state = state.as_str(), sign = sign.as_str(), "the state of an endpoint changed");
            watch.report(now, key, Some(sign));
        }
        watch.schedule(key);
    }

    /// Keeps what a probe has shown, for the portal.
    pub(crate) fn note_probe(&mut self, now: Now, key: WatchKey, sent: Now, is_answered: bool) {
        let Some(watch) = self.watch.as_mut() else { return };
        let Some(watched) = watch.of.get_mut(key) else { return };
        watched.shown.probed_at = Some(sent.utc);
        watched.shown.rtt = is_answered.then(|| now.instant.saturating_duration_since(sent.instant));
        if watched.reported_at.is_none_or(|at| now.instant >= at + REPORT_EVERY) {
            watch.report(now, key, None);
        }
    }

    /// An endpoint asked to be left alone until then; calls know it already.
    fn note_hold(&mut self, now: Now, endpoint: EndpointId, until: Instant) {
        let Some(watch) = self.watch.as_mut() else { return };
        let Some(&key) = watch.by_id.get(&endpoint) else { return };
        let held_until = now.utc + until.saturating_duration_since(now.instant);
        let held_before = watch.of[key].shown.held_until.replace(held_until);
        if held_before.is_none_or(|before| before < now.utc) {
            watch.report(now, key, Some(HealthSign::RetryAfter));
        }
    }

    /// Takes a sign that a worker has seen.
    pub(crate) fn hear_sign(&mut self, now: Now, endpoint: EndpointId, sign: HealthSign, since: Instant) {
        let Some(watch) = &self.watch else {
            return self.wire.outbox.hand_over(0, Parcel::Sign { endpoint, sign, since });
        };
        if let Some(&key) = watch.by_id.get(&endpoint) {
            self.note_sign(now, key, sign, since);
        }
    }

    /// Holds new calls back from an endpoint that asked for it, on every worker of the node from now on.
    pub(crate) fn hear_retry_after(&mut self, now: Now, endpoint: EndpointId, response: &Message<'_>) {
        let Some(policy) = self.table.endpoint(endpoint).map(|endpoint| endpoint.policy.probe) else {
            return;
        };
        let asked_s = response.header(Name::RetryAfter).map_or(0, leading_number);
        let wait_s = asked_s.min(policy.max_retry_after_s.into());
        if wait_s == 0 {
            return;
        }
        let until = now.instant + Duration::from_secs(wait_s.into());
        self.share.common.standings.hold(endpoint, until);
        self.take_hold(now, endpoint, until);
    }

    /// Lets the watch know of a hold.
    pub(crate) fn take_hold(&mut self, now: Now, endpoint: EndpointId, until: Instant) {
        match self.watch {
            Some(_) => self.note_hold(now, endpoint, until),
            None => self.wire.outbox.hand_over(0, Parcel::Hold { endpoint, until }),
        }
    }

    /// Judges the endpoint that is being tried by its response to the INVITE. 100 says nothing: whoever sends it may be
    /// about to send 503.
    pub(crate) fn hear_response(&mut self, now: Now, key: CallKey, response: &Message<'_>, status: u16) {
        let Some(endpoint) = self.calls[key].egress.as_ref().map(|leg| leg.endpoint) else { return };
        match status {
            ..=100 => {}
            408 | 503 => {
                if status == 503 {
                    self.hear_retry_after(now, endpoint, response);
                }
                self.hear_failed(now, key, HealthSign::CallRefused);
            }
            500..=599 => {
                let table = &self.table;
                if table.endpoint(endpoint).is_some_and(|endpoint| endpoint.policy.probe.server_errors) {
                    self.hear_failed(now, key, HealthSign::CallRefused);
                }
            }
            _ => {
                if self.share.common.standings.call_got_through(endpoint, now.instant) {
                    self.hear_sign(now, endpoint, HealthSign::CallTaken, now.instant);
                }
            }
        }
    }

    /// The attempt under way failed.
    pub(crate) fn hear_failed(&mut self, now: Now, key: CallKey, sign: HealthSign) {
        let call = &self.calls[key];
        let (Some(leg), Some(attempt)) = (&call.egress, call.cdr.attempts.last()) else { return };
        let lasted = (now.utc - attempt.attempted_at).to_std().unwrap_or_default();
        let since = now.instant.checked_sub(lasted).unwrap_or(now.instant);
        self.hear_sign(now, leg.endpoint, sign, since);
    }

    /// Whether a call may go to an endpoint now.
    ///
    /// # Errors
    /// The reason to leave it out.
    pub(crate) fn admit_to(&mut self, now: Now, key: CallKey, endpoint: EndpointId) -> Result<(), Reason> {
        let takes = self.share.common.standings.takes(endpoint, now.instant);
        match takes {
            Takes::All => Ok(()),
            Takes::Some(share) if self.rng.next_u32() % 100 < share.into() => Ok(()),
            // An emergency call tries what may be of help.
            Takes::Some(_) | Takes::Nothing if self.is_emergency(key) => Ok(()),
            Takes::Some(_) => Err(Reason::EndpointRecovering),
            Takes::Nothing => Err(Reason::EndpointHeld),
            Takes::LastResort => Err(Reason::EndpointDown),
        }
    }

    fn is_emergency(&self, key: CallKey) -> bool {
        let Some(invite) = &self.calls[key].invite else { return false };
        let request = Message::parse(&invite.request).expect("it was read before");
        self.settings.emergency_numbers.are_called_by(&request)
    }
}

/// The number with which a header field begins, such as the seconds of Retry-After; 0 where there is none.
fn leading_number(value: &[u8]) -> u32 {
    let digits = value.trim_ascii_start().iter().take_while(|octet| octet.is_ascii_digit());
    digits.fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seconds_of_retry_after_are_what_it_begins_with() {
        for (value, seconds) in [
            ("120", 120),
            (" 18000;duration=3600", 18_000),
            ("5 (In a meeting)", 5),
            ("99999999999999", u32::MAX),
            ("", 0),
            ("soon", 0),
            ("-5", 0),
        ] {
            assert_eq!(leading_number(value.as_bytes()), seconds, "{value}");
        }
    }
}
