//! Who may speak to the hub: which endpoint a message comes from, before anything of it is read.

use std::net::IpAddr;

use ahash::AHashMap;

/// Addresses to which a leg of a call leads: they may speak even when no endpoint sends from them, so that a
/// call outlives a change of its endpoint, and an endpoint may answer from its target.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    legs: AHashMap<IpAddr, u32>,
}

impl Neighbours {
    /// A leg leads to `ip`.
    pub(crate) fn add(&mut self, ip: IpAddr) {
        *self.legs.entry(ip).or_insert(0) += 1;
    }

    /// A leg to `ip` is gone.
    pub(crate) fn remove(&mut self, ip: IpAddr) {
        if let Some(legs) = self.legs.get_mut(&ip) {
            *legs -= 1;
            if *legs == 0 {
                self.legs.remove(&ip);
            }
        }
    }

    /// Whether any leg leads to `ip`.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.legs.contains_key(&ip)
    }
}
