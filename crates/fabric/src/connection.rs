//! Stream connections: accepts and opens them, cuts what comes into messages, and writes what goes.
//!
//! Each connection has two tasks, one a direction; they and the worker's loop speak through bounded queues.
//! A message for a connection that is gone goes by a new one to the same address (RFC 3261 §18.2.2).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tandem_model::Transport;
use tandem_sip::{Frame, Framer, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::outbox::{ConnectionId, Flow, Octets};

/// Most connections at once.
const MAX_CONNECTIONS: usize = 4_096;

/// Most connections from one address at once.
const MAX_PER_ADDRESS: usize = 128;

/// Messages that may wait to be written on one connection; a peer that does not read loses it.
const MAX_WAITING: usize = 1_024;

/// How long a message may be incomplete before its connection is closed.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a broken stream stays open for the answers to what came before.
const LINGER: Duration = Duration::from_millis(200);

/// How long the peer may take to accept octets.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection's tasks tell the loop.
pub(crate) enum Event {
    /// A peer connected.
    Accepted { listener: u8, stream: TcpStream, remote: SocketAddr },
    /// One message came.
    Message { flow: Flow, octets: Vec<u8> },
    /// The connection is over.
    Closed { id: ConnectionId },
    /// A connection that was to be opened could not be.
    Unreachable { id: ConnectionId, flow: Flow },
}

struct Connection {
    remote: SocketAddr,
    outgoing: mpsc::Sender<Octets>,
}

/// The open connections.
pub(crate) struct Connections {
    open: HashMap<ConnectionId, Connection>,
    /// The connection by which messages to an address go.
    by_remote: HashMap<SocketAddr, ConnectionId>,
    per_address: HashMap<IpAddr, usize>,
    last: u64,
    events: mpsc::Sender<Event>,
}

impl Connections {
    /// None yet; what happens on them is told to `events`.
    pub(crate) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { open: HashMap::new(), by_remote: HashMap::new(), per_address: HashMap::new(), last: 0, events }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Accepts for ever on a listener, in a task of its own.
    pub(crate) fn listen(&self, listener: u8, socket: TcpListener) {
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            loop {
                match socket.accept().await {
                    Ok((stream, remote)) => {
                        if events.send(Event::Accepted { listener, stream, remote }).await.is_err() {
                            return;
                        }
                    }
                    // Out of file descriptors, for instance: not in a busy loop.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
    }

    /// Takes a connection that was accepted from a known address. False when there are too many.
    pub(crate) fn accept(&mut self, listener: u8, stream: TcpStream, remote: SocketAddr) -> bool {
        let same_address = self.per_address.get(&remote.ip()).copied().unwrap_or(0);
        if self.open.len() >= MAX_CONNECTIONS || same_address >= MAX_PER_ADDRESS {
            return false;
        }
        let (id, incoming) = self.add(remote);
        let flow = Flow { listener, transport: Transport::Tcp, remote, connection: Some(id) };
        let events = self.events.clone();
        tokio::task::spawn_local(async move { serve(stream, flow, incoming, events).await });
        true
    }

    /// Sends a message on its connection, or opens one. False when it cannot even be queued.
    pub(crate) fn send(&mut self, flow: Flow, local: IpAddr, octets: Octets) -> bool {
        let known = flow
            .connection
            .filter(|id| self.open.contains_key(id))
            .or_else(|| self.by_remote.get(&flow.remote).copied());
        let id = match known {
            Some(id) => id,
            None if self.open.len() >= MAX_CONNECTIONS => return false,
            None => {
                let (id, incoming) = self.add(flow.remote);
                let flow = Flow { connection: Some(id), ..flow };
                let events = self.events.clone();
                tokio::task::spawn_local(async move {
                    match tokio::time::timeout(CONNECT_TIMEOUT, connect(local, flow.remote)).await {
                        Ok(Ok(stream)) => serve(stream, flow, incoming, events).await,
                        _ => drop(events.send(Event::Unreachable { id, flow }).await),
                    }
                });
                id
            }
        };
        self.open[&id].outgoing.try_send(octets).is_ok()
    }

    fn add(&mut self, remote: SocketAddr) -> (ConnectionId, mpsc::Receiver<Octets>) {
        self.last += 1;
        let id = ConnectionId(self.last);
        let (outgoing, incoming) = mpsc::channel(MAX_WAITING);
        self.open.insert(id, Connection { remote, outgoing });
        self.by_remote.insert(remote, id);
        *self.per_address.entry(remote.ip()).or_insert(0) += 1;
        (id, incoming)
    }

    /// Forgets a connection that is over.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        let Some(connection) = self.open.remove(&id) else { return };
        if self.by_remote.get(&connection.remote) == Some(&id) {
            self.by_remote.remove(&connection.remote);
        }
        if let Some(count) = self.per_address.get_mut(&connection.remote.ip()) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&connection.remote.ip());
            }
        }
    }
}

async fn connect(local: IpAddr, remote: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // From the listener's address: the peer knows the hub by it.
    socket.bind(SocketAddr::new(local, 0))?;
    socket.connect(remote).await
}

/// Runs a connection until either direction ends.
async fn serve(
    stream: TcpStream,
    flow: Flow,
    mut outgoing: mpsc::Receiver<Octets>,
    events: mpsc::Sender<Event>,
) {
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let (pong, mut pongs) = mpsc::channel(4);
    let end = tokio::select! {
        end = read(reader, flow, pong, &events) => end,
        () = write(&mut writer, &mut outgoing, &mut pongs) => End::Gone,
    };
    if let End::Broken { refusal } = end {
        // What came before is answered first.
        let _ = tokio::time::timeout(LINGER, write(&mut writer, &mut outgoing, &mut pongs)).await;
        let _ = tokio::time::timeout(WRITE_TIMEOUT, writer.write_all(&refusal)).await;
    }
    if let Some(id) = flow.connection {
        let _ = events.send(Event::Closed { id }).await;
    }
}

/// Why nothing more is read of a stream.
enum End {
    /// The peer closed it, was silent for too long, or there is nobody left to read for.
    Gone,
    /// What came is no SIP, or has no length. The answer to it is empty where it has none.
    Broken { refusal: Vec<u8> },
}

/// Reads until the stream ends or breaks.
async fn read(
    mut reader: OwnedReadHalf,
    flow: Flow,
    pong: mpsc::Sender<()>,
    events: &mpsc::Sender<Event>,
) -> End {
    let mut framer = Framer::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut incomplete_since: Option<tokio::time::Instant> = None;
    loop {
        let count = match incomplete_since {
            None => reader.read(&mut buffer).await,
            Some(since) => {
                match tokio::time::timeout_at(since + MESSAGE_TIMEOUT, reader.read(&mut buffer)).await {
                    Ok(count) => count,
                    Err(_) => return End::Gone,
                }
            }
        };
        let Ok(count @ 1..) = count else { return End::Gone };
        framer.push(&buffer[..count]);
        let mut whole = false;
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(octets))) => {
                    whole = true;
                    if events.send(Event::Message { flow, octets: octets.to_vec() }).await.is_err() {
                        return End::Gone;
                    }
                }
                Ok(Some(Frame::Ping)) => drop(pong.try_send(())),
                Ok(None) => break,
                // Never resynchronised: what follows cannot be trusted.
                Err(_) => return End::Broken { refusal: refusal(&framer, flow) },
            }
        }
        if framer.pending() == 0 {
            incomplete_since = None;
        } else if incomplete_since.is_none() || whole {
            incomplete_since = Some(now());
        }
    }
}

/// The answer to a request whose length cannot be trusted (RFC 3261 §18.3).
fn refusal(framer: &Framer, flow: Flow) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some((fault, request)) = framer.broken() {
        tandem_sip::refuse(&mut out, &request, flow.remote, fault, b"malformed", |_| {});
    }
    out
}

#[allow(clippy::disallowed_methods)] // A deadline of the runtime's own clock, which tests can pause.
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

async fn write(
    writer: &mut OwnedWriteHalf,
    outgoing: &mut mpsc::Receiver<Octets>,
    pongs: &mut mpsc::Receiver<()>,
) {
    loop {
        let octets = tokio::select! {
            octets = outgoing.recv() => match octets {
                Some(octets) => octets,
                None => return,
            },
            Some(()) = pongs.recv() => Octets::from(frame::PONG),
        };
        match tokio::time::timeout(WRITE_TIMEOUT, writer.write_all(&octets)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}
