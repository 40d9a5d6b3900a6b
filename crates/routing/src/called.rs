//! Which endpoints announcements name: those that a call may go to at all.

use std::sync::Arc;

use ahash::AHashMap;
use tandem_model::EndpointId;

use crate::cow_map::CowMap;
use crate::terms::{AnnouncedTerms, Shared};

/// How many announcements name each endpoint. `clone` copies two pointers.
#[derive(Clone)]
pub(crate) struct Called {
    counts: CowMap<EndpointId, u32>,
    /// Another one whenever an endpoint is named for the first time, or no more.
    of: Arc<()>,
}

/// Announcements that come or go, by what they have in common.
#[derive(Default)]
pub(crate) struct Tally(AHashMap<u128, (Box<[EndpointId]>, u32)>);

impl Tally {
    pub(crate) fn add(&mut self, terms: &Shared<AnnouncedTerms>) {
        let alike = self.0.entry(terms.digest()).or_insert_with(|| (terms.endpoints.clone(), 0));
        alike.1 += 1;
    }
}

impl Called {
    pub(crate) fn new() -> Self {
        Self { counts: CowMap::new(), of: Arc::default() }
    }

    pub(crate) fn change(&mut self, taken: Tally, put: Tally) {
        let before = self.counts.clone();
        let mut touched = Vec::new();
        for (tally, is_put) in [(put, true), (taken, false)] {
            for (endpoints, count) in tally.0.into_values() {
                for &endpoint in &endpoints {
                    self.counts.update(endpoint, |all| match is_put {
                        true => *all += count,
                        false => *all -= count,
                    });
                    touched.push(endpoint);
                }
            }
        }
        for endpoint in touched {
            if self.counts.get(&endpoint) == Some(&0) {
                self.counts.remove(&endpoint);
            }
            if before.get(&endpoint).is_some() != self.contains(endpoint) {
                self.of = Arc::default();
            }
        }
    }

    pub(crate) fn contains(&self, endpoint: EndpointId) -> bool {
        self.counts.get(&endpoint).is_some()
    }

    /// Whether the same endpoints are named.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.of, &other.of)
    }

    /// Heap bytes, an estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.counts.bytes()
    }
}
