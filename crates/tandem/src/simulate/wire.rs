//! The sockets of the simulated switches: UDP, and TCP framed by Content-Length (RFC 3261 §18.3).

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tandem_model::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Messages that may wait before readers stop reading.
const QUEUE: usize = 10_000;

/// Largest message taken from a stream.
const MAX_MESSAGE: usize = 65_535;

/// Names a line: the index of its switch, and its index there.
pub(crate) type LineId = (usize, usize);

/// A message that came.
pub(crate) struct Inbound {
    /// To which line.
    pub(crate) line: LineId,
    /// From where.
    pub(crate) from: SocketAddr,
    /// What.
    pub(crate) octets: Vec<u8>,
}

enum Event {
    Inbound(Inbound),
    /// The hub opened a connection.
    Opened(LineId, SocketAddr, mpsc::Sender<Vec<u8>>),
    Closed(LineId, SocketAddr),
}

enum Socket {
    Udp(Arc<UdpSocket>),
    Tcp { local: SocketAddr, connections: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> },
}

/// Every socket of the simulation.
pub(crate) struct Wire {
    sockets: HashMap<LineId, Socket>,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
}

impl Wire {
    /// No socket yet.
    pub(crate) fn new() -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        Self { sockets: HashMap::new(), events, sender, tasks: JoinSet::new() }
    }

    /// Binds a line to a port that the system chooses.
    pub(crate) async fn bind(
        &mut self,
        line: LineId,
        ip: Ipv4Addr,
        transport: Transport,
    ) -> io::Result<SocketAddr> {
        match transport {
            Transport::Udp => {
                let socket = Arc::new(UdpSocket::bind((ip, 0)).await?);
                let address = socket.local_addr()?;
                self.tasks.spawn(read_datagrams(line, socket.clone(), self.sender.clone()));
                self.sockets.insert(line, Socket::Udp(socket));
                Ok(address)
            }
            Transport::Tcp => {
                let listener = TcpListener::bind((ip, 0)).await?;
                let local = listener.local_addr()?;
                self.tasks.spawn(accept(line, listener, self.sender.clone()));
                self.sockets.insert(line, Socket::Tcp { local, connections: HashMap::new() });
                Ok(local)
            }
            Transport::Tls => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "simulated switches speak UDP and TCP"))
            }
        }
    }

    /// The next message that comes.
    pub(crate) async fn receive(&mut self) -> Inbound {
        loop {
            match self.events.recv().await.expect("this value has a sender too") {
                Event::Inbound(inbound) => return inbound,
                Event::Opened(line, peer, sender) => {
                    if let Some(Socket::Tcp { connections, .. }) = self.sockets.get_mut(&line) {
                        connections.insert(peer, sender);
                    }
                }
                Event::Closed(line, peer) => {
                    if let Some(Socket::Tcp { connections, .. }) = self.sockets.get_mut(&line) {
                        connections.remove(&peer);
                    }
                }
            }
        }
    }

    /// Sends a message. What cannot be sent is lost, as on any network: the transaction notices.
    pub(crate) async fn send(&mut self, line: LineId, to: SocketAddr, octets: Vec<u8>) -> io::Result<()> {
        match self.sockets.get_mut(&line) {
            Some(Socket::Udp(socket)) => socket.send_to(&octets, to).await.map(|_| ()),
            Some(Socket::Tcp { local, connections }) => {
                if connections.get(&to).is_none_or(mpsc::Sender::is_closed) {
                    let (sender, queue) = mpsc::channel(QUEUE);
                    connections.insert(to, sender);
                    self.tasks.spawn(connect(line, *local, to, queue, self.sender.clone()));
                }
                let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
                connections[&to].send(octets).await.map_err(gone)
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

async fn read_datagrams(line: LineId, socket: Arc<UdpSocket>, events: mpsc::Sender<Event>) {
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, from)) => {
                let inbound = Inbound { line, from, octets: buffer[..len].to_vec() };
                if events.send(Event::Inbound(inbound)).await.is_err() {
                    return;
                }
            }
            // ICMP said that a port was closed: nothing for the reader.
            Err(error) => tracing::debug!(%error, "a datagram did not arrive"),
        }
    }
}

async fn accept(line: LineId, listener: TcpListener, events: mpsc::Sender<Event>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let (sender, queue) = mpsc::channel(QUEUE);
        if events.send(Event::Opened(line, peer, sender)).await.is_err() {
            return;
        }
        connections.spawn(carry(line, stream, peer, queue, events.clone()));
    }
}

async fn connect(
    line: LineId,
    local: SocketAddr,
    to: SocketAddr,
    queue: mpsc::Receiver<Vec<u8>>,
    events: mpsc::Sender<Event>,
) {
    let open = async {
        let socket = TcpSocket::new_v4()?;
        // The hub knows the member by this address; the port is any.
        socket.bind(SocketAddr::new(local.ip(), 0))?;
        socket.connect(to).await
    };
    match open.await {
        Ok(stream) => carry(line, stream, to, queue, events).await,
        Err(error) => {
            tracing::warn!(%error, %to, "cannot connect");
            // The receiver may be gone at the end of the simulation.
            _ = events.send(Event::Closed(line, to)).await;
        }
    }
}

/// Reads and writes one connection until either side closes it.
async fn carry(
    line: LineId,
    stream: TcpStream,
    peer: SocketAddr,
    mut queue: mpsc::Receiver<Vec<u8>>,
    events: mpsc::Sender<Event>,
) {
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            read = reader.read(&mut chunk) => match read {
                Ok(len) if len > 0 && buffer.len() + len <= 4 * MAX_MESSAGE => buffer.extend_from_slice(&chunk[..len]),
                _ => break,
            },
            next = queue.recv() => match next {
                Some(octets) if writer.write_all(&octets).await.is_ok() => {}
                _ => break,
            },
        }
        while let Some(octets) = next_message(&mut buffer) {
            if events.send(Event::Inbound(Inbound { line, from: peer, octets })).await.is_err() {
                return;
            }
        }
    }
    // As above.
    _ = events.send(Event::Closed(line, peer)).await;
}

/// Takes the first whole message out of `buffer`, and the empty lines before it.
fn next_message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let empty = buffer.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
    buffer.drain(..empty);
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]);
    let length = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim();
        let is_length = name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l");
        is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
    };
    let body = text.lines().find_map(length).unwrap_or(0);
    (buffer.len() >= head + body).then(|| buffer.drain(..head + body).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_out_of_a_stream_however_it_is_split() {
        let stream = b"\r\n\r\nBYE a\r\nContent-Length: 0\r\n\r\nINVITE b\r\nl : 3\r\n\r\nabcACK c\r\n\r\n";
        for size in [1, 7, 1000] {
            let (mut buffer, mut seen) = (Vec::new(), Vec::new());
            for part in stream.chunks(size) {
                buffer.extend_from_slice(part);
                while let Some(message) = next_message(&mut buffer) {
                    seen.push(message.len());
                }
            }
            assert_eq!((seen, buffer.len()), (vec![28, 22, 9], 0));
        }
    }
}
