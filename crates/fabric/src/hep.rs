//! Exports the messages of traced calls to a capture server such as Homer: HEP version 3, the Homer Encapsulation
//! Protocol, over UDP a datagram a message, over TCP one after the other. What the server does not take is lost, and
//! counted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tandem_model::Transport;
use tandem_store::call_message::CallMessage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::metrics::Metrics;

/// Where packets go, and what they say of their sender.
#[derive(Clone)]
pub struct HepSettings {
    /// Host and port of the capture server.
    pub target: String,
    /// How they go there.
    pub transport: HepTransport,
    /// Which sender of packets this node is, to the server.
    pub capture_id: u32,
    /// What the server knows its senders by, where it asks for it.
    pub password: Option<String>,
    /// Whether every call is exported, or only those that are traced.
    pub is_all: bool,
}

/// How packets are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HepTransport {
    /// As datagrams: none waits, and a large one may be cut on its way and lost.
    Udp,
    /// As a stream: those of any size arrive, in order, for as long as the connection holds.
    Tcp,
}

impl std::fmt::Debug for HepSettings {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, transport, capture_id, password: _, is_all } = self;
        f.debug_struct("HepSettings")
            .field("target", target)
            .field("transport", transport)
            .field("capture_id", capture_id)
            .field("is_all", is_all)
            .finish_non_exhaustive()
    }
}

/// Time between two attempts to find the server, and between two looks at whether its name leads elsewhere.
const LOOK: Duration = Duration::from_secs(30);

/// Packets that may wait for a stream.
const MAX_WAITING: usize = 1_024;

/// Most packets that are written at once.
const BATCH: usize = 64;

/// How long a server may take to accept a connection, or a batch on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Kinds of chunks, of the vendor "none".
mod chunk {
    pub(super) const IP_FAMILY: u16 = 1;
    pub(super) const IP_PROTOCOL: u16 = 2;
    pub(super) const SOURCE_V4: u16 = 3;
    pub(super) const DESTINATION_V4: u16 = 4;
    pub(super) const SOURCE_V6: u16 = 5;
    pub(super) const DESTINATION_V6: u16 = 6;
    pub(super) const SOURCE_PORT: u16 = 7;
    pub(super) const DESTINATION_PORT: u16 = 8;
    pub(super) const SECONDS: u16 = 9;
    pub(super) const MICROSECONDS: u16 = 10;
    pub(super) const PROTOCOL: u16 = 11;
    pub(super) const CAPTURE_ID: u16 = 12;
    pub(super) const PASSWORD: u16 = 14;
    pub(super) const PAYLOAD: u16 = 15;
    pub(super) const CORRELATION: u16 = 17;
}

/// Octets before the value of a chunk: vendor, kind and length.
const CHUNK_HEAD: usize = 6;

/// The protocol of the payload: SIP.
const SIP: u8 = 1;

/// Families of addresses, as the protocol counts them.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;

/// IP protocols (IANA).
const UDP: u8 = 17;
const TCP: u8 = 6;

/// A message as a packet; `None` where it is too large for one.
fn packet(message: &CallMessage, settings: &HepSettings) -> Option<Vec<u8>> {
    let (source, destination) = match message.is_received {
        true => (message.member_address, message.hub_address),
        false => (message.hub_address, message.member_address),
    };
    let mut out = Vec::with_capacity(message.octets.len() + 256);
    out.extend_from_slice(b"HEP3\0\0");
    let mut add = |kind: u16, value: &[u8]| {
        let len = u16::try_from(CHUNK_HEAD + value.len()).ok()?;
        out.extend_from_slice(&0_u16.to_be_bytes());
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(value);
        Some(())
    };
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            add(chunk::IP_FAMILY, &[FAMILY_V4])?;
            add(chunk::SOURCE_V4, &source.octets())?;
            add(chunk::DESTINATION_V4, &destination.octets())?;
        }
        (source, destination) => {
            let octets = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            add(chunk::IP_FAMILY, &[FAMILY_V6])?;
            add(chunk::SOURCE_V6, &octets(source))?;
            add(chunk::DESTINATION_V6, &octets(destination))?;
        }
    }
    add(chunk::IP_PROTOCOL, &[if message.transport == Transport::Udp { UDP } else { TCP }])?;
    add(chunk::SOURCE_PORT, &source.port().to_be_bytes())?;
    add(chunk::DESTINATION_PORT, &destination.port().to_be_bytes())?;
    let seconds = u32::try_from(message.at.timestamp()).unwrap_or(0);
    add(chunk::SECONDS, &seconds.to_be_bytes())?;
    add(chunk::MICROSECONDS, &message.at.timestamp_subsec_micros().to_be_bytes())?;
    add(chunk::PROTOCOL, &[SIP])?;
    add(chunk::CAPTURE_ID, &settings.capture_id.to_be_bytes())?;
    if let Some(password) = &settings.password {
        add(chunk::PASSWORD, password.as_bytes())?;
    }
    // Both legs of a call have Call-IDs of their own; by this the server knows that they belong together.
    add(chunk::CORRELATION, message.call_id.to_string().as_bytes())?;
    add(chunk::PAYLOAD, &message.octets)?;
    let len = u16::try_from(out.len()).ok()?;
    out[4..6].copy_from_slice(&len.to_be_bytes());
    Some(out)
}

/// Sends packets to one server.
pub(crate) struct HepSender {
    settings: HepSettings,
    link: Link,
    metrics: Metrics,
}

/// How packets leave.
enum Link {
    /// By a socket, once the server is found.
    Datagrams(Option<UdpSocket>),
    /// By a task that keeps a connection.
    Stream(mpsc::Sender<Vec<u8>>),
}

impl HepSender {
    /// Within a runtime, on which a stream has its task.
    pub(crate) fn new(settings: HepSettings, metrics: Metrics) -> Self {
        let link = match settings.transport {
            HepTransport::Udp => Link::Datagrams(None),
            HepTransport::Tcp => {
                let (sender, waiting) = mpsc::channel(MAX_WAITING);
                tokio::spawn(keep_stream(settings.target.clone(), waiting, metrics.clone()));
                Link::Stream(sender)
            }
        };
        Self { settings, link, metrics }
    }

    /// Sends a message if the server is known and there is room for it at once.
    pub(crate) fn send(&self, message: &CallMessage) {
        let Some(packet) = packet(message, &self.settings) else { return self.metrics.hep_errors.inc() };
        let is_lost = match &self.link {
            Link::Datagrams(None) => true,
            Link::Datagrams(Some(socket)) => {
                // What an earlier packet met is told now; this one is tried once more.
                let sent = socket.try_send(&packet).or_else(|_| socket.try_send(&packet));
                sent.inspect(|_| self.metrics.hep_packets.inc()).is_err()
            }
            // Whether it arrives is seen by the task.
            Link::Stream(waiting) => waiting.try_send(packet).is_err(),
        };
        if is_lost {
            self.metrics.hep_errors.inc();
        }
    }

    /// Finds the server of datagrams, or finds it again.
    pub(crate) async fn connect(&mut self) {
        let Link::Datagrams(socket) = &mut self.link else { return };
        match open_datagrams(&self.settings.target).await {
            Ok(opened) => *socket = Some(opened),
            Err(error) => {
                tracing::warn!(target = self.settings.target, %error, "cannot find the HEP server yet");
            }
        }
    }

    /// Time until [`connect`](Self::connect) is to be called again.
    pub(crate) fn look_again_after() -> Duration {
        LOOK
    }
}

async fn find(target: &str) -> io::Result<SocketAddr> {
    Ok(lookup_host(target).await?.next().ok_or(io::ErrorKind::NotFound)?)
}

async fn open_datagrams(target: &str) -> io::Result<UdpSocket> {
    let target = find(target).await?;
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    // Ready from the start, or the first packet would find it not to be.
    socket.writable().await?;
    Ok(socket)
}

/// Writes what is `waiting` to the server until nobody sends any more, by one connection after the other.
async fn keep_stream(target: String, mut waiting: mpsc::Receiver<Vec<u8>>, metrics: Metrics) {
    let mut is_away = false;
    while !waiting.is_closed() || !waiting.is_empty() {
        let connected = timeout(PATIENCE, async { TcpStream::connect(find(&target).await?).await }).await;
        let error = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                if std::mem::take(&mut is_away) {
                    tracing::info!(target, "the HEP server takes packets again");
                }
                match write_all(stream, &mut waiting, &metrics).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // Once, however long it is away.
        if !std::mem::replace(&mut is_away, true) {
            tracing::warn!(target, %error, "the HEP server takes no packets; trying again until it does");
        }
        sleep(RETRY).await;
    }
}

/// Writes to one connection for as long as it holds.
async fn write_all(
    mut stream: TcpStream,
    waiting: &mut mpsc::Receiver<Vec<u8>>,
    metrics: &Metrics,
) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let mut packets = Vec::with_capacity(BATCH);
    let mut ignored = [0; 512];
    loop {
        tokio::select! {
            count = waiting.recv_many(&mut packets, BATCH) => {
                if count == 0 {
                    return Ok(());
                }
            }
            // It has nothing to say; that it hangs up is to be known before the next packet.
            read = reader.read(&mut ignored) => match read? {
                0 => return Err(io::ErrorKind::ConnectionReset.into()),
                _ => continue,
            },
        }
        let written = timeout(PATIENCE, writer.write_all(&packets.concat())).await;
        let written = written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let counter = if written.is_ok() { &metrics.hep_packets } else { &metrics.hep_errors };
        counter.inc_by(packets.drain(..).len() as u64);
        written?;
    }
}

#[cfg(test)]
mod tests {
    use tandem_model::{CallId, MemberId};
    use uuid::Uuid;

    use super::*;

    fn message(hub: &str, member: &str, octets: Vec<u8>) -> CallMessage {
        CallMessage {
            call_id: CallId(Uuid::from_u128(7)),
            position: 1,
            at: chrono::DateTime::from_timestamp_micros(1_800_000_000_000_042).unwrap(),
            member_id: MemberId(Uuid::nil()),
            attempt: None,
            is_received: true,
            is_again: false,
            transport: Transport::Udp,
            hub_address: hub.parse().unwrap(),
            member_address: member.parse().unwrap(),
            method: "OPTIONS".to_owned(),
            status: None,
            has_session: false,
            outline: String::new(),
            octets,
        }
    }

    fn settings(password: Option<&str>) -> HepSettings {
        let (target, password) = ("h:1".to_owned(), password.map(str::to_owned));
        HepSettings { target, transport: HepTransport::Udp, capture_id: 2001, password, is_all: false }
    }

    /// Kind and value of each chunk of a packet whose lengths are right.
    fn chunks(packet: &[u8]) -> Vec<(u16, Vec<u8>)> {
        assert_eq!(&packet[..4], b"HEP3");
        assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len());
        let (mut rest, mut chunks) = (&packet[6..], Vec::new());
        while let [0, 0, kind, kind_low, len, len_low, ..] = *rest {
            let len = usize::from(u16::from_be_bytes([len, len_low]));
            chunks.push((u16::from_be_bytes([kind, kind_low]), rest[6..len].to_vec()));
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
        chunks
    }

    #[test]
    fn a_packet_says_who_sent_what_to_whom_and_when() {
        let message = message("192.0.2.100:5060", "198.51.100.7:5070", b"OPTIONS".to_vec());
        assert_eq!(
            chunks(&packet(&message, &settings(Some("word"))).unwrap()),
            [
                (1, vec![2]),
                (3, vec![198, 51, 100, 7]),
                (4, vec![192, 0, 2, 100]),
                (2, vec![17]),
                (7, vec![0x13, 0xce]),
                (8, vec![0x13, 0xc4]),
                (9, 1_800_000_000_u32.to_be_bytes().to_vec()),
                (10, 42_u32.to_be_bytes().to_vec()),
                (11, vec![1]),
                (12, 2001_u32.to_be_bytes().to_vec()),
                (14, b"word".to_vec()),
                (17, b"00000000-0000-0000-0000-000000000007".to_vec()),
                (15, b"OPTIONS".to_vec()),
            ]
        );
    }

    #[test]
    fn what_the_hub_sends_by_ipv6_has_the_hub_as_its_source() {
        let mut message = message("[2001:db8::1]:5060", "[2001:db8::2]:5060", Vec::new());
        message.is_received = false;
        let chunks = chunks(&packet(&message, &settings(None)).unwrap());
        let value = |kind| chunks.iter().find(|(found, _)| *found == kind).map(|(_, value)| value.clone());
        assert_eq!(value(1), Some(vec![10]));
        assert_eq!(value(5).unwrap().last(), Some(&1));
        assert_eq!(value(6).unwrap().last(), Some(&2));
        assert_eq!(value(14), None);
    }

    #[test]
    fn a_message_too_large_for_a_packet_is_none() {
        let message = message("192.0.2.100:5060", "198.51.100.7:5070", vec![b'x'; 65_500]);
        assert_eq!(packet(&message, &settings(None)), None);
    }
}
