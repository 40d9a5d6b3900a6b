//! Stream connections: accepts and opens them, and knows by which of them a message goes.
//!
//! Each connection has a task (`stream`); it and the worker's loop speak through bounded queues. Those of TLS run on a
//! runtime of their own, so that no call waits for cryptography.
//! A message for a connection that is gone goes by a new one to the same address (RFC 3261 §18.2.2).

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Duration;

use socket2::SockRef;
use tandem_model::{MemberId, Transport};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::acceptor::Acceptor;
use crate::outbox::{ConnectionId, Flow, Octets};
use crate::secure::Secure;
use crate::stream::{self, Cut, Deadlines};
use crate::tls::PeerCertificate;

/// Most connections at once.
const MAX_CONNECTIONS: usize = 4_096;

/// Most connections from one address at once.
const MAX_PER_ADDRESS: usize = 128;

/// Most connections of one member at once, from all its addresses.
const MAX_PER_MEMBER: usize = 1_024;

/// Messages that may wait to be written on one connection; a peer that does not read loses it.
const MAX_WAITING: usize = 1_024;

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// There are [`MAX_CONNECTIONS`].
    All,
    /// The address has [`MAX_PER_ADDRESS`].
    OfAddress,
    /// The member has [`MAX_PER_MEMBER`].
    OfMember,
}

impl TooMany {
    /// All of them, for the metrics.
    pub(crate) const ALL: [Self; 3] = [Self::All, Self::OfAddress, Self::OfMember];

    /// As a metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::OfAddress => "of_address",
            Self::OfMember => "of_member",
        }
    }
}

/// What a connection's tasks tell the loop.
pub(crate) enum Event {
    /// A peer connected.
    Accepted { listener: u8, stream: TcpStream, remote: SocketAddr },
    /// One message came.
    Message { flow: Flow, octets: Vec<u8> },
    /// The connection is over; `cut` where it was the hub that ended it.
    Closed { id: ConnectionId, cut: Option<Cut> },
    /// A peer connected over TLS, and the handshake is done. The connection is served once `opened` is answered, and
    /// closed when it is dropped.
    Secured {
        listener: u8,
        remote: SocketAddr,
        certificate: Option<PeerCertificate>,
        opened: oneshot::Sender<(Flow, mpsc::Receiver<Octets>)>,
    },
    /// A connection could not be accepted.
    CannotAccept,
    /// A connection that was to be opened could not be.
    Unreachable { id: ConnectionId, flow: Flow },
}

struct Connection {
    place: Place,
    member: Option<MemberId>,
    outgoing: mpsc::Sender<Octets>,
}

/// Where a connection leads: over TLS each endpoint has its own, since another's certificate proves nothing of it.
type Place = (Transport, SocketAddr, u32);

fn place(flow: Flow) -> Place {
    (flow.transport, flow.remote, flow.peer)
}

/// The open connections.
pub(crate) struct Connections {
    open: HashMap<ConnectionId, Connection>,
    /// The connection by which messages to a place go.
    by_place: HashMap<Place, ConnectionId>,
    per_address: HashMap<IpAddr, usize>,
    per_member: HashMap<MemberId, usize>,
    last: NonZeroU64,
    events: mpsc::Sender<Event>,
    deadlines: Deadlines,
    /// `None` where the node does not speak TLS.
    secure: Option<Secure>,
}

impl Connections {
    /// None yet; what happens on them is told to `events`.
    pub(crate) fn new(events: mpsc::Sender<Event>, secure: Option<Secure>) -> Self {
        Self {
            open: HashMap::new(),
            by_place: HashMap::new(),
            per_address: HashMap::new(),
            per_member: HashMap::new(),
            last: NonZeroU64::MIN,
            events,
            deadlines: Deadlines::default(),
            secure,
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Accepts for ever on a listener of TLS.
    pub(crate) fn listen_securely(&self, listener: u8, socket: std::net::TcpListener) {
        if let Some(secure) = &self.secure {
            secure.listen(listener, socket, self.events.clone(), self.deadlines);
        }
    }

    /// Accepts for ever on a listener, in a task of its own.
    pub(crate) fn listen(&self, listener: u8, socket: TcpListener) {
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            let mut acceptor = Acceptor::new(socket, events.clone());
            while let Some((stream, remote)) = acceptor.next().await {
                if events.send(Event::Accepted { listener, stream, remote }).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Takes a connection that was accepted from a known address, of that member where an endpoint sends from it.
    ///
    /// # Errors
    /// When there are too many, and then it is closed.
    pub(crate) fn accept(
        &mut self,
        listener: u8,
        stream: TcpStream,
        remote: SocketAddr,
        member: Option<MemberId>,
    ) -> Result<(), TooMany> {
        let flow = Flow::new(listener, Transport::Tcp, remote);
        let (flow, incoming) = match self.admit(flow, member) {
            Ok(admitted) => admitted,
            Err(too_many) => {
                reset(stream);
                return Err(too_many);
            }
        };
        let (events, deadlines) = (self.events.clone(), self.deadlines);
        tokio::task::spawn_local(async move {
            let first = Some(stream::now() + deadlines.first_message);
            stream::prepare(&stream);
            let (reader, writer) = stream.into_split();
            stream::serve(reader, writer, flow, incoming, events, deadlines, first).await;
        });
        Ok(())
    }

    /// Makes room for a connection that a peer opened: the flow that names it, and what is to be written to it.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn admit(
        &mut self,
        flow: Flow,
        member: Option<MemberId>,
    ) -> Result<(Flow, mpsc::Receiver<Octets>), TooMany> {
        let of_address = self.per_address.get(&flow.remote.ip()).copied().unwrap_or(0);
        let of_member = member.and_then(|member| self.per_member.get(&member)).copied().unwrap_or(0);
        if self.open.len() >= MAX_CONNECTIONS {
            Err(TooMany::All)
        } else if of_address >= MAX_PER_ADDRESS {
            Err(TooMany::OfAddress)
        } else if of_member >= MAX_PER_MEMBER {
            Err(TooMany::OfMember)
        } else {
            Ok(self.add(flow, member))
        }
    }

    /// Sends a message on its connection, or opens one. False when it cannot even be queued.
    pub(crate) fn send(&mut self, flow: Flow, local: IpAddr, octets: Octets) -> bool {
        let known = flow
            .connection
            .filter(|id| self.open.contains_key(id))
            .or_else(|| self.by_place.get(&place(flow)).copied());
        let id = match known {
            Some(id) => id,
            None if self.open.len() >= MAX_CONNECTIONS => return false,
            None => match self.open(flow, local) {
                Some(id) => id,
                None => return false,
            },
        };
        self.open[&id].outgoing.try_send(octets).is_ok()
    }

    /// Opens a connection; what is sent by it waits until it is there. `None` without TLS where that is wanted.
    fn open(&mut self, flow: Flow, local: IpAddr) -> Option<ConnectionId> {
        let secure = match flow.transport {
            Transport::Tls => Some(self.secure.clone()?),
            Transport::Tcp | Transport::Udp => None,
        };
        let (flow, incoming) = self.add(flow, None);
        let id = flow.connection?;
        let (events, deadlines) = (self.events.clone(), self.deadlines);
        match secure {
            Some(secure) => secure.open(flow, local, incoming, events, deadlines),
            None => drop(tokio::task::spawn_local(async move {
                match tokio::time::timeout(deadlines.connect, connect(local, flow.remote)).await {
                    Ok(Ok(stream)) => {
                        stream::prepare(&stream);
                        let (reader, writer) = stream.into_split();
                        stream::serve(reader, writer, flow, incoming, events, deadlines, None).await;
                    }
                    _ => drop(events.send(Event::Unreachable { id, flow }).await),
                }
            })),
        }
        Some(id)
    }

    fn add(&mut self, flow: Flow, member: Option<MemberId>) -> (Flow, mpsc::Receiver<Octets>) {
        self.last = self.last.checked_add(1).expect("nobody opens 2^64 connections");
        let id = ConnectionId(self.last);
        let (outgoing, incoming) = mpsc::channel(MAX_WAITING);
        self.open.insert(id, Connection { place: place(flow), member, outgoing });
        self.by_place.insert(place(flow), id);
        *self.per_address.entry(flow.remote.ip()).or_insert(0) += 1;
        if let Some(member) = member {
            *self.per_member.entry(member).or_insert(0) += 1;
        }
        (Flow { connection: Some(id), ..flow }, incoming)
    }

    /// Forgets a connection that is over.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        let Some(connection) = self.open.remove(&id) else { return };
        if self.by_place.get(&connection.place) == Some(&id) {
            self.by_place.remove(&connection.place);
        }
        let (_, remote, _) = connection.place;
        forget_one(&mut self.per_address, remote.ip());
        if let Some(member) = connection.member {
            forget_one(&mut self.per_member, member);
        }
    }
}

fn forget_one<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Closes a connection at once: the peer gets a reset, and nothing of it stays in the system.
pub(crate) fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Connects from the listener's address: the peer knows the hub by it.
pub(crate) async fn connect(local: IpAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(local, 0))?;
    socket.connect(remote).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS sip:h SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    /// Connections with short deadlines, and one of them with its far end.
    struct Bench {
        connections: Connections,
        events: mpsc::Receiver<Event>,
        listener: std::net::SocketAddr,
    }

    impl Bench {
        async fn new() -> Self {
            let (sender, events) = mpsc::channel(16);
            let mut connections = Connections::new(sender, None);
            let short = Duration::from_millis(200);
            connections.deadlines = Deadlines {
                first_message: short,
                message: short,
                idle: 4 * short,
                connect: short,
                write: short,
            };
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let listener = socket.local_addr().unwrap();
            connections.listen(0, socket);
            Self { connections, events, listener }
        }

        async fn connect(&mut self, member: Option<u128>) -> (TcpStream, Result<(), TooMany>) {
            let far = TcpStream::connect(self.listener).await.unwrap();
            let member = member.map(|n| MemberId(uuid::Uuid::from_u128(n)));
            loop {
                if let Event::Accepted { listener, stream, remote } = self.events.recv().await.unwrap() {
                    return (far, self.connections.accept(listener, stream, remote, member));
                }
            }
        }

        async fn messages_until_closed(&mut self) -> (usize, Option<Cut>) {
            let mut messages = 0;
            loop {
                match self.events.recv().await.unwrap() {
                    Event::Message { .. } => messages += 1,
                    Event::Closed { id, cut } => {
                        self.connections.remove(id);
                        return (messages, cut);
                    }
                    _ => {}
                }
            }
        }
    }

    async fn locally<T>(work: impl Future<Output = T>) -> T {
        let tasks = tokio::task::LocalSet::new();
        tokio::time::timeout(Duration::from_secs(10), tasks.run_until(work)).await.expect("it ends in time")
    }

    #[tokio::test]
    async fn a_peer_that_drips_octets_is_cut_when_its_first_message_is_late() {
        locally(async {
            let mut bench = Bench::new().await;
            let (mut far, taken) = bench.connect(None).await;
            taken.unwrap();
            let drip = tokio::task::spawn_local(async move {
                for octet in OPTIONS.iter().cycle() {
                    if far.write_all(&[*octet]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
            assert_eq!(bench.messages_until_closed().await, (0, Some(Cut::FirstMessage)));
            assert_eq!((bench.connections.len(), bench.connections.per_address.len()), (0, 0));
            drip.await.unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_no_message_or_too_long_or_never_ends_is_cut() {
        let endless = [b"OPTIONS sip:h SIP/2.0\r\nX: ".to_vec(), vec![b'x'; 64 * 1024]].concat();
        type Row<'o> = (&'o [u8], (usize, Option<Cut>));
        let rows: [Row<'_>; 5] = [
            (b"GET / HTTP/1.1\r\n\r\n", (0, Some(Cut::Unreadable))),
            (b"OPTIONS sip:h SIP/2.0\r\nContent-Length: 2147483648\r\n\r\n", (0, Some(Cut::Unreadable))),
            (&endless, (0, Some(Cut::Unreadable))),
            (&[OPTIONS, b"OPTIONS"].concat(), (1, Some(Cut::Incomplete))),
            (OPTIONS, (1, Some(Cut::Idle))),
        ];
        for (octets, expected) in rows {
            locally(async {
                let mut bench = Bench::new().await;
                let (mut far, taken) = bench.connect(Some(1)).await;
                taken.unwrap();
                // It may be cut before it has written everything.
                let _ = far.write_all(octets).await;
                let ended = bench.messages_until_closed().await;
                assert_eq!(ended, expected, "{:?}", octets.escape_ascii().to_string().get(..60));
                assert!(bench.connections.per_member.is_empty());
            })
            .await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_resets_in_mid_message_leaves_nothing() {
        locally(async {
            let mut bench = Bench::new().await;
            for _ in 0..300 {
                let (mut far, taken) = bench.connect(Some(1)).await;
                taken.unwrap();
                far.write_all(b"OPTIONS sip:h SIP/2.0\r\nContent-Le").await.unwrap();
                reset(far);
                bench.messages_until_closed().await;
            }
            let Connections { open, by_place, per_address, per_member, .. } = &bench.connections;
            assert_eq!((open.len(), by_place.len(), per_address.len(), per_member.len()), (0, 0, 0, 0));
        })
        .await;
    }

    #[tokio::test]
    async fn one_address_cannot_have_more_than_its_share_of_connections() {
        locally(async {
            let mut bench = Bench::new().await;
            bench.connections.deadlines = Deadlines::default();
            let mut far_ends = Vec::new();
            for _ in 0..MAX_PER_ADDRESS {
                let (far, taken) = bench.connect(Some(1)).await;
                taken.unwrap();
                far_ends.push(far);
            }
            let (mut far, refused) = bench.connect(Some(1)).await;
            assert_eq!(refused, Err(TooMany::OfAddress));
            let error = far.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "closed at once");
            // One that ends makes room.
            drop(far_ends.pop());
            bench.messages_until_closed().await;
            bench.connect(Some(1)).await.1.unwrap();
        })
        .await;
    }
}
