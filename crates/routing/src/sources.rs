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
    /// Disabled endpoints too; more than one only where facts are bad.
    endpoints: CowMap<(IpNet, Option<u16>), SmallVec<[EndpointId; 1]>>,
    /// Which widths occur, and how often.
    widths: Arc<Vec<(Width, u32)>>,
}

impl Sources {
    pub(crate) fn new() -> Self {
        Self { endpoints: CowMap::new(), widths: Arc::default() }
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

    pub(crate) fn add(&mut self, endpoint: &Endpoint) {
        for source in distinct(endpoint) {
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
        self.endpoints.bytes()
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
