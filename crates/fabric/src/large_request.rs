//! Requests too large for a datagram go by TCP, which slows down where the way is crowded, and as a datagram after all
//! where the far side takes no connection (RFC 3261 §18.1.1).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use tandem_model::{Endpoint, Transport};
use tandem_sip::Method;

use crate::outbox::{Flow, Octets};
use crate::transaction::{Outgoing, TransactionKey, User};
use crate::worker::{Now, Worker};

/// How long a place that took no connection is spared further ones.
const SPARED: Duration = Duration::from_secs(600);

/// Most places of which this is known.
const MAX_PLACES: usize = 4_096;

/// Places that took no TCP connection, each with when it is asked for one again.
#[derive(Default)]
pub(crate) struct UdpOnly(AHashMap<SocketAddr, Instant>);

impl UdpOnly {
    /// Notes that a place took none.
    pub(crate) fn add(&mut self, now: Instant, place: SocketAddr) {
        if self.0.len() >= MAX_PLACES {
            self.0.retain(|_, until| *until > now);
        }
        if self.0.len() < MAX_PLACES {
            self.0.insert(place, now + SPARED);
        }
    }

    fn has(&self, now: Instant, place: SocketAddr) -> bool {
        self.0.get(&place).is_some_and(|until| *until > now)
    }
}

impl Worker {
    /// Begins the client transaction of a request that has what a member sent in it, its routes among that, however large
    /// it is.
    pub(crate) fn open_client(
        &mut self,
        now: Now,
        endpoint: Option<&Endpoint>,
        method: Method<'_>,
        request: Outgoing,
        user: User,
    ) -> TransactionKey {
        let by_tcp = self.by_tcp(now, endpoint, request.flow, &request.octets);
        let (transactions, wire) = (&mut self.transactions, &mut self.wire);
        let Some((flow, octets)) = by_tcp else {
            return transactions.open_client(wire, now.instant, method, request, user);
        };
        let by_tcp = Outgoing { branch: request.branch, flow, octets };
        let client = transactions.open_client(wire, now.instant, method, by_tcp, user);
        transactions.keep_datagram(client, request.flow, request.octets);
        client
    }

    /// A request that was written for a datagram, and is larger than the endpoint's policy wants one to be, as it goes by
    /// TCP: the same but for its Via. Not where that place took no connection lately, nor where the endpoint registers:
    /// the way that it opened is the only one to it (RFC 5626 §5.3).
    pub(crate) fn by_tcp(
        &self,
        now: Now,
        endpoint: Option<&Endpoint>,
        flow: Flow,
        octets: &Octets,
    ) -> Option<(Flow, Octets)> {
        let endpoint = endpoint.filter(|it| it.policy.size.wants_tcp(octets.len()))?;
        if flow.transport != Transport::Udp
            || endpoint.target.is_registration()
            || self.udp_only.has(now.instant, flow.remote)
        {
            return None;
        }
        let listener = self.listener_toward(endpoint, Transport::Tcp, flow.remote)?;
        let [old, new] = [flow.listener, listener].map(|listener| &self.locals[usize::from(listener)]);
        let [old, new] =
            [old, new].map(|local| format!("SIP/2.0/{} {};", local.transport.as_via(), local.host));
        let at = octets.windows(old.len()).position(|octets| octets == old.as_bytes())?;
        let octets = [&octets[..at], new.as_bytes(), &octets[at + old.len()..]].concat();
        Some((Flow::new(listener, Transport::Tcp, flow.remote), octets.into()))
    }
}
