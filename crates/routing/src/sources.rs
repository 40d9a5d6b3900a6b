//! Which endpoint a message comes from: the first question about every datagram, so asked of a hash.
//!
//! A source is an address block of some length, with a port or without. The index knows which lengths occur
//! at all, mostly just single hosts, and probes for each of them the block that the address lies in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use smallvec::SmallVec;
use tandem_model::{Endpoint, EndpointId, Source};

use crate::cow_map::CowMap;

/// A block in the form by which it is compared: host bits 0, IPv4 addresses mapped into IPv6 as IPv4.
pub(crate) fn canonical(net: IpNet) -> IpNet {
    const MAPPED_LEN: u8 = 96;
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= MAPPED_LEN => match v6.addr().to_ipv4_mapped() {
            Some(v4) => {
                Ipv4Net::new(v4, v6.prefix_len() - MAPPED_LEN).expect("at most 128 - 96").trunc().into()
            }
            None => v6.trunc().into(),
        },
        _ => net.trunc(),
    }
}

/// A kind of source that occurs. They are sorted in the order of probing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Width {
    is_v6: bool,
    /// 32 or 128 less the block's length: single hosts come first.
    host_bits: u8,
    any_port: bool,
}

/// The index of all endpoints' sources. `clone` copies two pointers.
#[derive(Clone)]
pub(crate) struct Sources {
    /// Disabled endpoints too; more than one where their marks tell them apart, or facts are bad.
    endpoints: CowMap<(IpNet, Option<u16>), SmallVec<[EndpointId; 1]>>,
    /// By the block alone, one for each of an endpoint's ports.
    blocks: CowMap<IpNet, SmallVec<[EndpointId; 1]>>,
    /// Which widths occur, and how often.
    widths: Arc<Vec<(Width, u32)>>,
}

impl Sources {
    pub(crate) fn new() -> Self {
        Self { endpoints: CowMap::new(), blocks: CowMap::new(), widths: Arc::default() }
    }

    /// Those that may send from the address: of the longest block that is one's source, with its port first.
    pub(crate) fn endpoints(&self, address: SocketAddr) -> impl Iterator<Item = EndpointId> {
        let ip = address.ip().to_canonical();
        let (bits, is_v6) = match ip {
            IpAddr::V4(_) => (32, false),
            IpAddr::V6(_) => (128, true),
        };
        let widths = self.widths.iter().map(|(width, _)| width).filter(move |width| width.is_v6 == is_v6);
        widths.flat_map(move |width| {
            let net = IpNet::new_assert(ip, bits - width.host_bits).trunc();
            let port = (!width.any_port).then_some(address.port());
            self.endpoints.get(&(net, port)).into_iter().flatten().copied()
        })
    }

    /// Those that may send from the address by some port: of each block around it that is one's source, the smallest
    /// first.
    pub(crate) fn endpoints_at(&self, ip: IpAddr) -> impl Iterator<Item = &[EndpointId]> {
        let ip = ip.to_canonical();
        let bits = if ip.is_ipv6() { 128 } else { 32 };
        let widths = self.widths.iter().map(|(width, _)| (width.is_v6, width.host_bits));
        // The two kinds of one length stand side by side.
        let mut last = None;
        let lengths = widths.filter(move |length| last.replace(*length) != Some(*length));
        lengths.filter(move |(is_v6, _)| *is_v6 == ip.is_ipv6()).filter_map(move |(_, host_bits)| {
            self.blocks.get(&IpNet::new_assert(ip, bits - host_bits).trunc()).map(SmallVec::as_slice)
        })
    }

    pub(crate) fn add(&mut self, endpoint: &Endpoint) {
        for source in distinct(endpoint) {
            self.blocks.update(source.0, |ids| ids.push(endpoint.endpoint_id));
            self.endpoints.update(source, |ids| {
                let at = ids.partition_point(|id| *id < endpoint.endpoint_id);
                ids.insert(at, endpoint.endpoint_id);
            });
            let widths = Arc::make_mut(&mut self.widths);
            match widths.binary_search_by_key(&width(source), |(width, _)| *width) {
                Ok(at) => widths[at].1 += 1,
                Err(at) => widths.insert(at, (width(source), 1)),
            }
        }
    }

    /// Takes out what `add` put in for the same value.
    pub(crate) fn remove(&mut self, endpoint: &Endpoint) {
        for source in distinct(endpoint) {
            self.blocks.update(source.0, |ids| ids.retain(|id| *id != endpoint.endpoint_id));
            self.endpoints.update(source, |ids| ids.retain(|id| *id != endpoint.endpoint_id));
            let widths = Arc::make_mut(&mut self.widths);
            if let Ok(at) = widths.binary_search_by_key(&width(source), |(width, _)| *width) {
                widths[at].1 -= 1;
                if widths[at].1 == 0 {
                    widths.remove(at);
                }
            }
        }
    }

    /// Heap bytes, an estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.endpoints.bytes() + self.blocks.bytes()
    }
}

fn width((net, port): (IpNet, Option<u16>)) -> Width {
    Width {
        is_v6: matches!(net, IpNet::V6(_)),
        host_bits: net.max_prefix_len() - net.prefix_len(),
        any_port: port.is_none(),
    }
}

fn distinct(endpoint: &Endpoint) -> SmallVec<[(IpNet, Option<u16>); 4]> {
    let mut sources: SmallVec<[_; 4]> =
        endpoint.sources.iter().map(|&Source { net, port }| (canonical(net), port)).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

#[cfg(test)]
mod tests {
    use tandem_model::Facts;

    use super::*;
    use crate::RouteTable;
    use crate::exchange::{Exchange, exchange, id};

    /// Endpoints of one member, each with its sources: `one 192.0.2.0/24 192.0.2.7/32:5060`.
    fn endpoints(texts: &[&str]) -> Exchange {
        let routes: Vec<_> =
            texts.iter().map(|text| format!("+44 acme {}", text.split(' ').next().unwrap())).collect();
        let mut exchange = exchange(&routes.join(" | "));
        for text in texts {
            let mut words = text.split(' ');
            let endpoint = exchange.endpoint(words.next().unwrap());
            endpoint.sources = words
                .map(|word| match word.split_once('#') {
                    Some((net, port)) => {
                        Source { net: net.parse().unwrap(), port: Some(port.parse().unwrap()) }
                    }
                    None => Source { net: word.parse().unwrap(), port: None },
                })
                .collect();
        }
        exchange
    }

    fn from<'a>(table: &'a RouteTable, address: &str) -> Option<&'a str> {
        table.endpoint_from(address.parse().unwrap()).map(|endpoint| endpoint.name.as_str())
    }

    #[test]
    fn an_address_belongs_to_the_endpoint_with_the_smallest_block_around_it() {
        let table = endpoints(&["host 192.0.2.7/32", "net 192.0.2.0/24 10.0.0.0/8", "all 0.0.0.0/0"]).table();
        assert_eq!(from(&table, "192.0.2.7:5060"), Some("host"));
        assert_eq!(from(&table, "192.0.2.8:40000"), Some("net"));
        assert_eq!(from(&table, "10.255.0.1:5060"), Some("net"));
        assert_eq!(from(&table, "198.51.100.1:5060"), Some("all"));
        assert_eq!(from(&table, "[2001:db8::1]:5060"), None);
    }

    #[test]
    fn a_source_with_the_port_beats_one_without() {
        let table =
            endpoints(&["any 192.0.2.7/32", "sip 192.0.2.7/32#5060", "tls 192.0.2.0/24#5061"]).table();
        assert_eq!(from(&table, "192.0.2.7:5060"), Some("sip"));
        assert_eq!(from(&table, "192.0.2.7:5061"), Some("any"));
        assert_eq!(from(&table, "192.0.2.9:5061"), Some("tls"));
        assert_eq!(from(&table, "192.0.2.9:5060"), None);
    }

    #[test]
    fn version_6_and_version_4_mapped_into_it_are_found() {
        let table = endpoints(&["six 2001:db8:1::/48 2001:db8:2::5/128#5060", "four 192.0.2.0/24"]).table();
        assert_eq!(from(&table, "[2001:db8:1:ffff::9]:1024"), Some("six"));
        assert_eq!(from(&table, "[2001:db8:2::5]:5060"), Some("six"));
        assert_eq!(from(&table, "[2001:db8:2::5]:5061"), None);
        assert_eq!(from(&table, "[::ffff:192.0.2.1]:5060"), Some("four"));
        let table = endpoints(&["mapped ::ffff:192.0.2.0/120"]).table();
        assert_eq!(from(&table, "192.0.2.1:5060"), Some("mapped"));
    }

    #[test]
    fn host_bits_of_a_block_mean_nothing() {
        let table = endpoints(&["one 192.0.2.77/24"]).table();
        assert_eq!(from(&table, "192.0.2.1:5060"), Some("one"));
        assert_eq!(table.hash(), endpoints(&["one 192.0.2.0/24"]).table().hash());
    }

    #[test]
    fn a_disabled_endpoint_sends_nothing_and_does_not_hide_another() {
        let mut exchange = endpoints(&["one 192.0.2.7/32 192.0.2.7/32", "two 192.0.2.0/24"]);
        exchange.endpoint("one").enabled = false;
        assert_eq!(from(&exchange.table(), "192.0.2.7:5060"), Some("two"));
    }

    #[test]
    fn sources_follow_the_changes_of_their_endpoint() {
        let mut exchange = endpoints(&["one 192.0.2.7/32", "two 10.0.0.0/8"]);
        let table = exchange.table();
        exchange.endpoint("one").sources[0].net = "198.51.100.0/24".parse().unwrap();
        let changed =
            table.apply(Facts { endpoints: vec![exchange.endpoint("one").clone()], ..Facts::default() });
        assert_eq!(
            (from(&changed, "192.0.2.7:5060"), from(&changed, "198.51.100.3:5060")),
            (None, Some("one"))
        );
        let gone = changed
            .apply(Facts { gone: vec![tandem_model::ObjectId::Endpoint(id("one"))], ..Facts::default() });
        assert_eq!((from(&gone, "198.51.100.3:5060"), from(&gone, "10.1.1.1:5060")), (None, Some("two")));
        assert_eq!(from(&table, "192.0.2.7:5060"), Some("one"), "an earlier table does not change");
    }

    #[test]
    fn an_address_is_a_members_whatever_the_port_unless_two_share_the_smallest_block() {
        let mut exchange = endpoints(&["net 192.0.2.0/24", "host 192.0.2.7/32#5060", "v6 2001:db8::/32"]);
        let member = |exchange: &Exchange, ip: &str| exchange.table().member_at(ip.parse().unwrap());
        for address in ["192.0.2.1", "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"] {
            assert_eq!(member(&exchange, address), Some(id("acme")), "{address}");
        }
        for address in ["192.0.3.1", "2001:db9::1"] {
            assert_eq!(member(&exchange, address), None, "{address}");
        }
        exchange.endpoint("net").member_id = id("globex");
        assert_eq!(member(&exchange, "192.0.2.7"), Some(id("acme")));
        assert_eq!(member(&exchange, "192.0.2.8"), Some(id("globex")));
        let other = Source { net: "192.0.2.0/24".parse().unwrap(), port: Some(5080) };
        exchange.endpoint("v6").sources.push(other);
        assert_eq!(member(&exchange, "192.0.2.8"), None, "two members send from the block");
        exchange.endpoint("net").enabled = false;
        assert_eq!(member(&exchange, "192.0.2.8"), Some(id("acme")));
        exchange.endpoint("host").enabled = false;
        assert_eq!(member(&exchange, "192.0.2.7"), Some(id("acme")), "by the larger block");
    }

    #[test]
    fn a_removed_endpoint_leaves_no_block_behind() {
        let table = endpoints(&["net 192.0.2.0/24#5060 192.0.2.0/24#5080"]).table();
        assert_eq!(table.member_at("192.0.2.1".parse().unwrap()), Some(id("acme")));
        let gone = vec![tandem_model::ObjectId::Endpoint(id("net"))];
        let next = table.apply(Facts { gone, ..Facts::default() });
        assert_eq!(next.member_at("192.0.2.1".parse().unwrap()), None);
    }
}
