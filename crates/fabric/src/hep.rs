//! Exports the messages of traced calls to a capture server such as Homer: HEP version 3, the Homer Encapsulation
//! Protocol, one datagram a message. What the server does not take is lost, and counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tandem_model::Transport;
use tandem_store::call_message::CallMessage;
use tokio::net::{UdpSocket, lookup_host};

use crate::metrics::Metrics;

/// Where packets go, and what they say of their sender.
#[derive(Clone)]
pub struct HepSettings {
    /// Host and port of the capture server.
    pub target: String,
    /// Which sender of packets this node is, to the server.
    pub capture_id: u32,
    /// What the server knows its senders by, where it asks for it.
    pub password: Option<String>,
    /// Whether every call is exported, or only those that are traced.
    pub is_all: bool,
}

impl std::fmt::Debug for HepSettings {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, capture_id, password: _, is_all } = self;
        f.debug_struct("HepSettings")
            .field("target", target)
            .field("capture_id", capture_id)
            .field("is_all", is_all)
            .finish_non_exhaustive()
    }
}

/// Time between two attempts to find the server, and between two looks at whether its name leads elsewhere.
const LOOK: Duration = Duration::from_secs(30);

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
    socket: Option<UdpSocket>,
    metrics: Metrics,
}

impl HepSender {
    pub(crate) fn new(settings: HepSettings, metrics: Metrics) -> Self {
        Self { settings, socket: None, metrics }
    }

    /// Sends a message if the server is known and the system takes it at once.
    pub(crate) fn send(&self, message: &CallMessage) {
        let sent = self.socket.as_ref().zip(packet(message, &self.settings)).map(|(socket, packet)| {
            // What an earlier packet met is told now; this one is tried once more.
            socket.try_send(&packet).or_else(|_| socket.try_send(&packet))
        });
        match sent {
            Some(Ok(_)) => self.metrics.hep_packets.inc(),
            Some(Err(_)) | None => self.metrics.hep_errors.inc(),
        }
    }

    /// Finds the server, or finds it again.
    pub(crate) async fn connect(&mut self) {
        match self.open().await {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => {
                tracing::warn!(target = self.settings.target, %error, "cannot find the HEP server yet");
            }
        }
    }

    async fn open(&self) -> std::io::Result<UdpSocket> {
        let target = lookup_host(&self.settings.target).await?.next().ok_or(std::io::ErrorKind::NotFound)?;
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

    /// Time until [`connect`](Self::connect) is to be called again.
    pub(crate) fn look_again_after() -> Duration {
        LOOK
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
        HepSettings { target, capture_id: 2001, password, is_all: false }
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
