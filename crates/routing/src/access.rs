//! By what else than its source address an endpoint is known: its user name, and where it has registered.
//!
//! Registrations come in two ways: from the feed, and at once from the node that took the REGISTER
//! ([`register`]), whether the database is there or not. Of two for one endpoint the later one counts, so a
//! table that was built meanwhile does not undo one ([`replace`]). They are no part of a table's hash: each
//! node knows of one a moment earlier or later than the others.

use std::net::SocketAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use smallvec::SmallVec;
use tandem_model::{Endpoint, EndpointId, Registration, Transport};

use crate::cow_map::CowMap;
use crate::{PortedNumbers, RouteTable, SharedTable};

/// The index of user names, realms and registered addresses. `clone` copies some pointers.
#[derive(Clone)]
pub(crate) struct AccessIndex {
    /// By realm and user name.
    usernames: CowMap<(String, String), EndpointId>,
    /// How many endpoints have a credential in a realm.
    realms: CowMap<String, u32>,
    /// Where the hub is to register, sorted.
    registering: Arc<Vec<EndpointId>>,
    /// Who has registered from an address; expired ones too.
    registered: CowMap<SocketAddr, SmallVec<[EndpointId; 1]>>,
}

impl AccessIndex {
    pub(crate) fn new() -> Self {
        Self {
            usernames: CowMap::new(),
            realms: CowMap::new(),
            registering: Arc::default(),
            registered: CowMap::new(),
        }
    }

    pub(crate) fn add(&mut self, endpoint: &Endpoint) {
        if let Some(credential) = &endpoint.access.inbound {
            self.usernames
                .insert((credential.realm.clone(), credential.username.clone()), endpoint.endpoint_id);
            self.realms.update(credential.realm.clone(), |count| *count += 1);
        }
        if registers(endpoint)
            && let Err(at) = self.registering.binary_search(&endpoint.endpoint_id)
        {
            Arc::make_mut(&mut self.registering).insert(at, endpoint.endpoint_id);
        }
        if let Some(registration) = &endpoint.access.registration {
            self.registered.update(canonical(registration.source), |ids| ids.push(endpoint.endpoint_id));
        }
    }

    /// Takes out what `add` put in for the same value.
    pub(crate) fn remove(&mut self, endpoint: &Endpoint) {
        if let Some(credential) = &endpoint.access.inbound {
            let key = (credential.realm.clone(), credential.username.clone());
            if self.usernames.get(&key) == Some(&endpoint.endpoint_id) {
                self.usernames.remove(&key);
            }
            self.realms.update(credential.realm.clone(), |count| *count = count.saturating_sub(1));
        }
        if registers(endpoint)
            && let Ok(at) = self.registering.binary_search(&endpoint.endpoint_id)
        {
            Arc::make_mut(&mut self.registering).remove(at);
        }
        if let Some(registration) = &endpoint.access.registration {
            let source = canonical(registration.source);
            self.registered.update(source, |ids| ids.retain(|id| *id != endpoint.endpoint_id));
        }
    }

    /// Heap bytes, an estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.usernames.bytes() + self.realms.bytes() + self.registered.bytes()
    }
}

/// Whether the hub is to register there.
fn registers(endpoint: &Endpoint) -> bool {
    endpoint.access.outbound.as_ref().is_some_and(|outbound| outbound.registers)
}

/// An IPv4 address mapped into IPv6 is the IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl RouteTable {
    /// Whether any endpoint is known by a user name.
    pub fn has_usernames(&self) -> bool {
        self.access.usernames.len() > 0
    }

    /// The endpoints at which the hub is to register, enabled or not.
    pub fn registering(&self) -> impl Iterator<Item = EndpointId> {
        self.access.registering.iter().copied()
    }

    /// Whether the exchange has user names in this realm; letters of either case are the same, as in host names.
    pub fn is_realm(&self, text: &[u8]) -> bool {
        let text = std::str::from_utf8(text).ok();
        text.is_some_and(|text| self.access.realms.get(&text.to_ascii_lowercase()).is_some())
    }

    /// The enabled endpoint that has a user name in a realm.
    pub fn endpoint_named(&self, realm: &[u8], username: &[u8]) -> Option<&Endpoint> {
        let text = |octets| std::str::from_utf8(octets).ok().map(str::to_owned);
        let id = self.access.usernames.get(&(text(realm)?, text(username)?))?;
        self.endpoint(*id).filter(|endpoint| endpoint.enabled)
    }

    /// The enabled endpoint whose registration from this address holds; none where several registered from there,
    /// who can be told apart only by their user names.
    pub fn endpoint_registered_at(
        &self,
        source: SocketAddr,
        transport: Transport,
        now: DateTime<Utc>,
    ) -> Option<&Endpoint> {
        let ids = self.access.registered.get(&canonical(source))?;
        let is_there = |endpoint: &&Endpoint| {
            let binding = endpoint.access.binding(now);
            endpoint.enabled && binding.is_some_and(|binding| binding.transport == transport)
        };
        let mut all = ids.iter().filter_map(|id| self.endpoint(*id)).filter(is_there);
        all.next().filter(|_| all.next().is_none())
    }

    /// The next table, in which an endpoint has registered; `None` where it is unknown or has registered later.
    fn with_registration(&self, id: EndpointId, registration: &Registration) -> Option<Self> {
        let endpoint = self.endpoint(id)?;
        let known = endpoint.access.registration.as_ref();
        if known.is_some_and(|known| known.registered_at >= registration.registered_at) {
            return None;
        }
        let mut endpoint = endpoint.clone();
        endpoint.access.registration = Some(registration.clone());
        let mut next = self.clone();
        next.put_endpoint(endpoint);
        Some(next)
    }

    /// The table with those registrations of another one that are later than its own.
    #[must_use]
    pub fn with_registrations_of(mut self, other: &Self) -> Self {
        for endpoint in other.endpoints() {
            if let Some(registration) = &endpoint.access.registration
                && let Some(next) = self.with_registration(endpoint.endpoint_id, registration)
            {
                self = next;
            }
        }
        self
    }
}

/// Puts a registration into the table that is in use.
pub fn register(table: &SharedTable, id: EndpointId, registration: &Registration) {
    let mut current = table.load_full();
    while let Some(next) = current.with_registration(id, registration) {
        let found = table.compare_and_swap(&current, Arc::new(next));
        if Arc::ptr_eq(&found, &current) {
            return;
        }
        current = Arc::clone(&found);
    }
}

/// Puts ported numbers into the table that is in use, in the place of those that it has.
pub fn port(table: &SharedTable, ported: &PortedNumbers) {
    table.rcu(|current| RouteTable::clone(current).with_ported(ported));
}

/// Puts `next` in the place of the table that it was made from, and gives that back. What was registered in between
/// is in `next` too, then, and the ported numbers are those of the table that it takes the place of.
pub fn replace(table: &SharedTable, from: Arc<RouteTable>, next: RouteTable) -> Arc<RouteTable> {
    let mut next = Arc::new(next.with_ported(from.ported()));
    let mut current = from;
    loop {
        let found = table.compare_and_swap(&current, Arc::clone(&next));
        if Arc::ptr_eq(&found, &current) {
            return current;
        }
        current = Arc::clone(&found);
        let registered = RouteTable::clone(&next).with_registrations_of(&current);
        next = Arc::new(registered.with_ported(current.ported()));
    }
}
