//! What a DNS name of an endpoint leads to: servers with addresses, and the order in which a call tries them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ahash::AHashMap;
use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tandem_model::{Reason, Target, Transport};
use tandem_routing::{Weighted, order};

/// Most addresses of one endpoint to which one call is sent.
pub(crate) const MAX_ADDRESSES: usize = 4;

/// One server: a host of an SRV record, or the name itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Lower is tried first (RFC 2782).
    pub(crate) priority: u16,
    /// Share of the calls among servers of the same priority (RFC 2782).
    pub(crate) weight: u16,
    /// Where it is; at least one, those of IPv6 first (RFC 7984 §4.1, by the default table of RFC 6724 §2.1).
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The servers of one name, all by one transport; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerSet {
    pub(crate) transport: Transport,
    pub(crate) servers: Vec<Server>,
}

impl ServerSet {
    /// The addresses that one call tries, in that order: servers by priority and a draw by weight, and the
    /// addresses of a server from a random one on, so that each gets its part of the calls.
    pub(crate) fn order(&self, draw: u64) -> SmallVec<[SocketAddr; MAX_ADDRESSES]> {
        let mut servers: SmallVec<[Weighted<&Server, usize>; 8]> = self
            .servers
            .iter()
            .enumerate()
            .map(|(tie, server)| Weighted {
                priority: server.priority.into(),
                weight: server.weight,
                tie,
                item: server,
            })
            .collect();
        order(&mut servers, draw);
        let mut ordered = SmallVec::new();
        for family in servers.iter().flat_map(|server| server.item.addresses.chunk_by(is_same_family)) {
            let first = (draw >> 32) as usize % family.len();
            for &address in family[first..].iter().chain(&family[..first]) {
                if ordered.len() == MAX_ADDRESSES {
                    return ordered;
                }
                if !ordered.contains(&address) {
                    ordered.push(address);
                }
            }
        }
        ordered
    }

    /// The addresses of all servers.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.servers.iter().flat_map(|server| &server.addresses).map(SocketAddr::ip)
    }
}

impl fmt::Display for ServerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.transport.as_str())?;
        self.servers
            .iter()
            .flat_map(|server| &server.addresses)
            .try_for_each(|address| write!(f, " {address}"))
    }
}

/// What every DNS name that an endpoint has for its target leads to, as calls read it: immutable, and swapped for the
/// next one by the [`Resolver`](crate::resolver).
#[derive(Debug, Default)]
pub(crate) struct ServerSets {
    of: AHashMap<Target, Result<Arc<ServerSet>, Reason>>,
}

/// Where workers read and the resolver writes.
pub(crate) type SharedServerSets = ArcSwap<ServerSets>;

impl ServerSets {
    pub(crate) fn new(of: AHashMap<Target, Result<Arc<ServerSet>, Reason>>) -> Self {
        Self { of }
    }

    /// The servers of a target, or why there are none.
    pub(crate) fn get(&self, target: &Target) -> Result<&Arc<ServerSet>, Reason> {
        self.of.get(target).map_or(Err(Reason::TargetUnresolved), |set| set.as_ref().map_err(|why| *why))
    }
}

fn is_same_family(one: &SocketAddr, other: &SocketAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn set(servers: &[(u16, u16, &[&str])]) -> ServerSet {
        let server = |&(priority, weight, addresses): &(u16, u16, &[&str])| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            Server { priority, weight, addresses }
        };
        ServerSet { transport: Transport::Udp, servers: servers.iter().map(server).collect() }
    }

    /// How often each address comes at `place`.
    fn counts(set: &ServerSet, place: usize) -> BTreeMap<String, u32> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut counts = BTreeMap::new();
        for _ in 0..30_000 {
            *counts.entry(set.order(rng.next_u64())[place].to_string()).or_default() += 1;
        }
        counts
    }

    /// Asserts that counts are within the 99.9 % quantile of chi-square for the odds of each.
    fn assert_split(counts: &BTreeMap<String, u32>, odds: &[u32]) {
        const QUANTILES: [f64; 3] = [10.83, 13.82, 16.27];
        assert_eq!(counts.len(), odds.len(), "{counts:?}");
        let (sum, total) = (odds.iter().sum::<u32>(), counts.values().sum::<u32>());
        let chi_square: f64 = counts
            .values()
            .zip(odds)
            .map(|(&count, &odds)| {
                let expected = f64::from(total) * f64::from(odds) / f64::from(sum);
                (f64::from(count) - expected).powi(2) / expected
            })
            .sum();
        assert!(chi_square < QUANTILES[odds.len() - 2], "{counts:?} for {odds:?}: {chi_square}");
    }

    #[test]
    fn calls_split_by_weight_and_a_higher_priority_number_waits() {
        let set = set(&[
            (20, 60_000, &["192.0.2.9:5060"]),
            (10, 60, &["192.0.2.1:5060"]),
            (10, 30, &["192.0.2.2:5060"]),
            (10, 10, &["192.0.2.3:5060"]),
        ]);
        assert_split(&counts(&set, 0), &[60, 30, 10]);
        assert_eq!(counts(&set, 3).into_keys().collect::<Vec<_>>(), ["192.0.2.9:5060"]);
    }

    #[test]
    fn addresses_of_one_server_share_its_calls() {
        let set = set(&[(0, 0, &["192.0.2.1:5060", "192.0.2.2:5060", "192.0.2.3:5060"])]);
        assert_split(&counts(&set, 0), &[1, 1, 1]);
    }

    #[test]
    fn both_draws_are_independent_of_each_other() {
        let one: &[&str] = &["192.0.2.1:5060", "192.0.2.2:5060"];
        let other: &[&str] = &["192.0.2.3:5060", "192.0.2.4:5060"];
        assert_split(&counts(&set(&[(0, 1, one), (0, 1, other)]), 0), &[1, 1, 1, 1]);
    }

    #[test]
    fn a_server_of_both_families_is_tried_by_ipv6_first() {
        let set = set(&[(0, 0, &["[2001:db8::1]:5060", "192.0.2.1:5060", "192.0.2.2:5060"])]);
        assert_eq!(counts(&set, 0).into_keys().collect::<Vec<_>>(), ["[2001:db8::1]:5060"]);
        assert_split(&counts(&set, 1), &[1, 1]);
    }

    proptest! {
        #[test]
        fn each_address_is_tried_once_by_priority_and_only_so_many(
            servers in prop::collection::vec((0..4u16, 0..5u16, prop::collection::vec(0..20u8, 1..6)), 1..10),
            draw: u64,
        ) {
            let servers = servers.into_iter().map(|(priority, weight, hosts)| {
                let addresses = hosts.iter().map(|host| SocketAddr::from(([192, 0, 2, *host], 5060))).collect();
                Server { priority, weight, addresses }
            });
            let set = ServerSet { transport: Transport::Udp, servers: servers.collect() };
            let ordered = set.order(draw);
            let mut distinct: Vec<_> = set.ips().collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(ordered.len(), distinct.len().min(MAX_ADDRESSES));
            let best = |address: &SocketAddr| {
                let at = set.servers.iter().filter(|server| server.addresses.contains(address));
                at.map(|server| server.priority).min().unwrap()
            };
            prop_assert!(ordered.is_sorted_by_key(best), "{:?}", ordered);
            let mut once = ordered.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), ordered.len());
        }
    }
}
