//! Who may speak to the hub: which endpoint a message comes from, before anything of it is read.

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use ahash::AHashMap;

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
