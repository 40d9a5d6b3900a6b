//! One place of the load, the caller's or a gateway's: the messages that wait to be sent from it, and those that have
//! come to it, by whatever transport.

use std::net::SocketAddrV4;

use anyhow::{Context, Result};

use crate::datagram::Datagrams;
use crate::stream::Streams;
use crate::tls::Tls;
use crate::transport::Transport;

/// A message that came.
pub(crate) struct Arrival {
    pub(crate) from: SocketAddrV4,
    /// When it was there, in nanoseconds since 1970: a datagram when the kernel had it, a message of a stream when its
    /// end was read.
    pub(crate) at: i64,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// What has come: one batch.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) buffer: Vec<u8>,
    pub(crate) arrivals: Vec<Arrival>,
}

impl Received {
    pub(crate) fn octets(&self, arrival: &Arrival) -> &[u8] {
        &self.buffer[arrival.start..arrival.start + arrival.len]
    }
}

/// A place with the messages that wait to be sent from it.
pub(crate) struct Socket {
    /// Its address, as its messages name it.
    pub(crate) name: String,
    way: Way,
    /// The waiting messages, one after the other.
    text: Vec<u8>,
    /// Where each one ends, and where it goes.
    waiting: Vec<(usize, SocketAddrV4)>,
}

enum Way {
    Datagrams(Datagrams),
    Streams(Streams),
}

impl Socket {
    /// Where calls are answered: in streams, on the connections that come to `address`.
    pub(crate) fn gateway(address: SocketAddrV4, transport: Transport, tls: Option<&Tls>) -> Result<Self> {
        let cannot = || format!("cannot listen at {address}");
        let way = match transport {
            Transport::Udp => Way::Datagrams(Datagrams::bind(address).with_context(cannot)?),
            Transport::Tcp | Transport::Tls => {
                Way::Streams(Streams::listen(address, tls).with_context(cannot)?)
            }
        };
        Ok(Self::new(address, way))
    }

    /// Where calls come from: in streams, by one connection to `target`, from `address` with a port of the system's.
    pub(crate) fn caller(
        address: SocketAddrV4,
        target: SocketAddrV4,
        transport: Transport,
        tls: Option<&Tls>,
    ) -> Result<Self> {
        Ok(match transport {
            Transport::Udp => Self::new(address, Way::Datagrams(Datagrams::bind(address)?)),
            Transport::Tcp | Transport::Tls => {
                let connected = Streams::connect(*address.ip(), target, tls);
                let (streams, address) = connected.with_context(|| format!("cannot connect to {target}"))?;
                Self::new(address, Way::Streams(streams))
            }
        })
    }

    fn new(address: SocketAddrV4, way: Way) -> Self {
        Self { name: address.to_string(), way, text: Vec::new(), waiting: Vec::new() }
    }

    /// Where the next message is written; [`Socket::put`] ends it.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Queues what was written since the last call.
    pub(crate) fn put(&mut self, to: SocketAddrV4) {
        self.waiting.push((self.text.len(), to));
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) {
        match &mut self.way {
            Way::Datagrams(datagrams) => datagrams.send(&self.text, &self.waiting),
            Way::Streams(streams) => streams.send(&self.text, &self.waiting),
        }
        self.text.clear();
        self.waiting.clear();
    }

    /// Takes the next batch of what has come, which may be nothing.
    pub(crate) fn receive(&mut self, into: &mut Received) -> Result<()> {
        match &mut self.way {
            Way::Datagrams(datagrams) => Ok(datagrams.receive(into)?),
            Way::Streams(streams) => streams.receive(into),
        }
    }
}
