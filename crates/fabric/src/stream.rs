//! One stream connection while it lives, over TCP or TLS: cuts what comes into messages, and writes what goes.
//!
//! The two directions end together. What must be done in time has a deadline here, so that a peer that drips octets,
//! or takes none, does not hold a connection.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tandem_sip::{Frame, Framer, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::connection::Event;
use crate::outbox::{Flow, Octets};

/// Silence after which the system asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long a stream that cannot be read stays open for the answers to what came before.
const LINGER: Duration = Duration::from_millis(200);

/// How long what may take.
#[derive(Clone, Copy)]
pub(crate) struct Deadlines {
    /// From when a peer has connected to its first whole message.
    pub(crate) first_message: Duration,
    /// From the first octet of a message to its last.
    pub(crate) message: Duration,
    /// From one octet to the next. Longer than members keep silence, since a call may be up all that time.
    pub(crate) idle: Duration,
    /// Opening a connection.
    pub(crate) connect: Duration,
    /// Until the peer has accepted the octets of a message.
    pub(crate) write: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first_message: Duration::from_secs(10),
            message: Duration::from_secs(10),
            idle: Duration::from_secs(2 * 3_600),
            connect: Duration::from_secs(2),
            write: Duration::from_secs(10),
        }
    }
}

/// Why the hub closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// No whole message came in time.
    FirstMessage,
    /// A message began and did not end in time.
    Incomplete,
    /// Nothing came for long.
    Idle,
    /// What came is no stream of SIP messages, or one was too long.
    Unreadable,
    /// The peer did not take what was sent.
    Unwritable,
}

impl Cut {
    /// All of them, for the metrics.
    pub(crate) const ALL: [Self; 5] =
        [Self::FirstMessage, Self::Incomplete, Self::Idle, Self::Unreadable, Self::Unwritable];

    /// As a metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::FirstMessage => "first_message",
            Self::Incomplete => "incomplete",
            Self::Idle => "idle",
            Self::Unreadable => "unreadable",
            Self::Unwritable => "unwritable",
        }
    }
}

/// How the hub wants a TCP connection to behave.
pub(crate) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    // A peer that is gone without a word is found out.
    let _ = SockRef::from(stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE));
}

/// Runs a connection until either direction ends. Until `first_message` a whole message must have come.
pub(crate) async fn serve(
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    flow: Flow,
    mut outgoing: mpsc::Receiver<Octets>,
    events: mpsc::Sender<Event>,
    deadlines: Deadlines,
    first_message: Option<Instant>,
) {
    let (pong, mut pongs) = mpsc::channel(4);
    let mut framer = Framer::new();
    let cut = tokio::select! {
        cut = read(reader, &mut framer, flow, pong, &events, deadlines, first_message) => cut,
        cut = write(&mut writer, &mut outgoing, &mut pongs, deadlines.write) => cut,
    };
    if cut == Some(Cut::Unreadable) {
        // What came before is answered first.
        let answers = write(&mut writer, &mut outgoing, &mut pongs, deadlines.write);
        let _ = tokio::time::timeout(LINGER, answers).await;
        let _ = tokio::time::timeout(deadlines.write, writer.write_all(&refusal(&framer, flow))).await;
    }
    // Over TLS the peer is told that this is the end, and not an attack (RFC 8446 §6.1).
    let _ = tokio::time::timeout(LINGER, writer.shutdown()).await;
    if let Some(id) = flow.connection {
        let _ = events.send(Event::Closed { id, cut }).await;
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    framer: &mut Framer,
    flow: Flow,
    pong: mpsc::Sender<()>,
    events: &mpsc::Sender<Event>,
    deadlines: Deadlines,
    mut first_message: Option<Instant>,
) -> Option<Cut> {
    let mut buffer = vec![0; 16 * 1024];
    let mut incomplete_since: Option<Instant> = None;
    loop {
        let (deadline, cut) = match (first_message, incomplete_since) {
            (Some(deadline), _) => (deadline, Cut::FirstMessage),
            (None, Some(since)) => (since + deadlines.message, Cut::Incomplete),
            (None, None) => (now() + deadlines.idle, Cut::Idle),
        };
        let Ok(count) = tokio::time::timeout_at(deadline, reader.read(&mut buffer)).await else {
            return Some(cut);
        };
        let Ok(count @ 1..) = count else { return None };
        framer.push(&buffer[..count]);
        let mut whole = false;
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(octets))) => {
                    whole = true;
                    first_message = None;
                    if events.send(Event::Message { flow, octets: octets.to_vec() }).await.is_err() {
                        return None;
                    }
                }
                Ok(Some(Frame::Ping)) => drop(pong.try_send(())),
                Ok(None) => break,
                // Never resynchronised: what follows cannot be trusted.
                Err(_) => return Some(Cut::Unreadable),
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
pub(crate) fn now() -> Instant {
    Instant::now()
}

async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    outgoing: &mut mpsc::Receiver<Octets>,
    pongs: &mut mpsc::Receiver<()>,
    timeout: Duration,
) -> Option<Cut> {
    loop {
        let octets = tokio::select! {
            octets = outgoing.recv() => match octets {
                Some(octets) => octets,
                None => return None,
            },
            Some(()) = pongs.recv() => Octets::from(frame::PONG),
        };
        let written = async {
            writer.write_all(&octets).await?;
            writer.flush().await
        };
        match tokio::time::timeout(timeout, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            Err(_) => return Some(Cut::Unwritable),
        }
    }
}
