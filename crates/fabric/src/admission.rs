//! Who may speak to the hub: which endpoint a message comes from, before anything of it is read.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use ahash::AHashMap;

use crate::outbox::ConnectionId;
use crate::tls::PeerCertificate;

/// Addresses at which a leg of a call lives or its endpoint takes calls: they may speak even when no endpoint sends
/// from them, so that a call outlives a change of its endpoint, and an endpoint may answer from its target. All
/// workers of the node have the same ones.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    legs: RwLock<AHashMap<IpAddr, u32>>,
}

impl Neighbours {
    /// A leg leads to `ip`.
    pub(crate) fn add(&self, ip: IpAddr) {
        *self.legs.write().unwrap_or_else(PoisonError::into_inner).entry(ip).or_insert(0) += 1;
    }

    /// A leg to `ip` is gone.
    pub(crate) fn remove(&self, ip: IpAddr) {
        let mut all = self.legs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(legs) = all.get_mut(&ip) {
            *legs -= 1;
            if *legs == 0 {
                all.remove(&ip);
            }
        }
    }

    /// Whether any leg leads to `ip`.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.legs.read().unwrap_or_else(PoisonError::into_inner).contains_key(&ip)
    }
}

/// The certificates that peers showed on the TLS connections that are open, as far as they still count.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    open: RwLock<AHashMap<ConnectionId, Arc<PeerCertificate>>>,
}

impl Certificates {
    /// What the peer of a connection showed.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<PeerCertificate>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// A connection is open.
    pub(crate) fn add(&self, id: ConnectionId, certificate: PeerCertificate) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(certificate));
    }

    /// A connection is over.
    pub(crate) fn remove(&self, id: ConnectionId) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Lets go of those that `counts` does not hold for, and says how many there were.
    pub(crate) fn withdraw(&self, counts: impl Fn(&PeerCertificate) -> bool) -> usize {
        let all: Vec<_> = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            open.iter().map(|(id, certificate)| (*id, certificate.clone())).collect()
        };
        // Outside the lock: this takes signatures to check.
        let gone: Vec<_> = all.into_iter().filter(|(_, certificate)| !counts(certificate)).collect();
        for (id, _) in &gone {
            self.remove(*id);
        }
        gone.len()
    }
}
