//! What the worker wants sent: filled while a batch is handled, emptied onto the sockets after the journal
//! has been written.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use tandem_model::{E164, EndpointId, HealthSign, Transport};
use tandem_routing::Dip;
use tandem_store::range_challenge::ChallengeOrder;

use crate::call::CallKey;

/// Octets of a message that may have to be sent again.
pub(crate) type Octets = Arc<[u8]>;

/// A stream connection of this node, numbered in the order of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) NonZeroU64);

/// Between which addresses a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    /// Index of the listener that it came to, or that it leaves from.
    pub(crate) listener: u8,
    /// Its transport.
    pub(crate) transport: Transport,
    /// The member's side.
    pub(crate) remote: SocketAddr,
    /// The connection it came by, for a stream. A message for a connection that is gone is sent on a new
    /// one to `remote`.
    pub(crate) connection: Option<ConnectionId>,
    /// Over TLS, what stands for the endpoint whose name the far side must prove; 0 elsewhere.
    pub(crate) peer: u32,
}

impl Flow {
    /// By no connection in particular, to nobody in particular.
    pub(crate) fn new(listener: u8, transport: Transport, remote: SocketAddr) -> Self {
        Self { listener, transport, remote, connection: None, peer: 0 }
    }

    /// The same toward an endpoint.
    #[must_use]
    pub(crate) fn toward(self, endpoint: EndpointId) -> Self {
        match self.transport {
            Transport::Tls => Self { peer: peer_number(endpoint), ..self },
            Transport::Udp | Transport::Tcp => self,
        }
    }
}

/// A short number that stands for an endpoint; never 0. Two may share one, and then either's names do.
pub(crate) fn peer_number(endpoint: EndpointId) -> u32 {
    let (high, low) = endpoint.0.as_u64_pair();
    // The last bits of an id of version 7 are random (RFC 9562 §5.7).
    ((high ^ low) as u32).max(1)
}

/// Something for another worker of the node.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A message that came to this worker and is the other's; whether its source is one of nobody, and whether it kept
    /// within its rate.
    Message { flow: Flow, octets: Octets, is_stranger: bool, is_within_rate: bool },
    /// A message to send by a stream: the connections are the first worker's.
    Send(Flow, Octets),
    /// The transport could not bring messages there.
    Unreachable(Flow),
    /// What a call has shown of an endpoint, for the first worker's watch; when that which failed began.
    Sign { endpoint: EndpointId, sign: HealthSign, since: Instant },
    /// An endpoint asked to be left alone until then; it is the watch that reports it.
    Hold { endpoint: EndpointId, until: Instant },
    /// What the service for ported numbers says of the number that a call waits for.
    Dipped { call: CallKey, number: E164, dip: Dip },
    /// A number that the hub is to call.
    Challenge(ChallengeOrder),
}

/// Messages to send, in order.
#[derive(Default)]
pub(crate) struct Outbox {
    messages: Vec<(Flow, Octets)>,
    /// For the other workers, with the number of each.
    parcels: Vec<(u8, Parcel)>,
    /// Those that must not leave before the journal is on the disk.
    durable: Vec<(Flow, Octets)>,
    holding: bool,
}

impl Outbox {
    /// Adds a message.
    pub(crate) fn push(&mut self, flow: Flow, octets: Octets) {
        match self.holding {
            true => self.durable.push((flow, octets)),
            false => self.messages.push((flow, octets)),
        }
    }

    /// Whether what is pushed from now on waits until the records of this batch are on the disk: it tells a
    /// member of an answer, which must not be forgotten.
    pub(crate) fn hold(&mut self, holding: bool) {
        self.holding = holding;
    }

    /// Adds something for another worker.
    pub(crate) fn hand_over(&mut self, worker: u8, parcel: Parcel) {
        self.parcels.push((worker, parcel));
    }

    /// Takes out what is for other workers.
    pub(crate) fn drain_parcels(&mut self) -> std::vec::Drain<'_, (u8, Parcel)> {
        self.parcels.drain(..)
    }

    /// Takes out what is to be sent.
    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, (Flow, Octets)> {
        self.messages.drain(..)
    }

    /// What is to be sent.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &(Flow, Octets)> {
        self.messages.iter()
    }

    /// Takes out what waits for the disk.
    pub(crate) fn drain_durable(&mut self) -> std::vec::Drain<'_, (Flow, Octets)> {
        self.durable.drain(..)
    }
}
