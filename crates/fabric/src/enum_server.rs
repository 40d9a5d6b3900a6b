//! The listener of ENUM (RFC 6116): takes questions of members by UDP and TCP on a thread of its own.
//!
//! A member is known by its address, as for SIP, but whatever its port: a resolver asks from any. Whoever else asks
//! gets nothing back, not even a refusal: there is nothing here by which a forged source could hurt someone
//! else, and nothing that a scanner would find. No call ever waits for this thread.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::{IntCounterVec, Opts, Registry};
use tandem_model::{Clock, Transport};
use tandem_routing::SharedTable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::enum_answer::{Carrier, Outcome, Zone};
use crate::node::StartError;
use crate::source_guard::SourceGuard;

/// Name of the thread.
const THREAD: &str = "tandem-enum";

/// Most questions a second of one address; those beyond it are dropped.
const QUESTIONS_PER_SECOND: u32 = 2_000;

/// Most octets of a question: a name and EDNS are far shorter.
const MAX_QUESTION: usize = 1_024;

/// Most connections at once, and of one address.
const MAX_CONNECTIONS: usize = 128;
const MAX_CONNECTIONS_EACH: usize = 8;

/// How long a connection may be silent, or slow.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// Pause after a connection could not be taken, for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where and how numbers are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumSettings {
    /// Address and port to listen on, by UDP and TCP.
    pub address: SocketAddr,
    /// The domain under which numbers are asked for, such as `e164.arpa`.
    pub suffix: String,
    /// How long an answer may be remembered.
    pub ttl: Duration,
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct EnumServer {
    _stop: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
}

impl EnumServer {
    /// Starts it; answers lead to `listeners`.
    ///
    /// # Errors
    /// When the address is taken, the suffix is no domain, or the metrics are registered already.
    pub(crate) fn start(
        settings: &EnumSettings,
        listeners: impl Iterator<Item = (Transport, SocketAddr)>,
        table: SharedTable,
        clock: Arc<dyn Clock>,
        seeds: [u64; 4],
        registry: &Registry,
    ) -> Result<Self, StartError> {
        let suffix = || StartError::EnumSuffix(settings.suffix.clone());
        let zone = Zone::new(&settings.suffix, settings.ttl, listeners).ok_or_else(suffix)?;
        let address = settings.address;
        let failed = |transport| move |error| StartError::Listen { address, transport, error };
        let udp = std::net::UdpSocket::bind(address).map_err(failed(Transport::Udp))?;
        udp.set_nonblocking(true).map_err(failed(Transport::Udp))?;
        let tcp = std::net::TcpListener::bind(address).map_err(failed(Transport::Tcp))?;
        tcp.set_nonblocking(true).map_err(failed(Transport::Tcp))?;
        let questions = IntCounterVec::new(
            Opts::new(
                "tandem_enum_questions_total",
                "Questions to the ENUM listener, by what became of them.",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(questions.clone()))?;
        for outcome in Outcome::ALL {
            questions.with_label_values(&[outcome.as_str()]);
        }
        for outcome in [STRANGER, LIMITED] {
            questions.with_label_values(&[outcome]);
        }
        let guard = Mutex::new(SourceGuard::new(QUESTIONS_PER_SECOND, seeds));
        let desk = Arc::new(Desk { zone, table, clock, guard, questions, connected: Mutex::default() });
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs only what the process has already");
            runtime.block_on(async {
                let (udp, tcp) = (UdpSocket::from_std(udp), TcpListener::from_std(tcp));
                let (udp, tcp) = (udp.expect("it does not block"), tcp.expect("it does not block"));
                tokio::select! {
                    () = serve_udp(&desk, &udp) => {}
                    () = serve_tcp(&desk, &tcp) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { _stop: stop, _thread: thread.map_err(StartError::Thread)? })
    }
}

const STRANGER: &str = "stranger";
const LIMITED: &str = "limited";

/// What answers need.
struct Desk {
    zone: Zone,
    table: SharedTable,
    clock: Arc<dyn Clock>,
    guard: Mutex<SourceGuard>,
    questions: IntCounterVec,
    connected: Mutex<HashMap<IpAddr, usize>>,
}

impl Desk {
    /// The answer to a question from an address, if it gets one.
    fn answer(&self, source: IpAddr, question: &[u8], carrier: Carrier) -> Option<Vec<u8>> {
        let count = |outcome| self.questions.with_label_values(&[outcome]).inc();
        let table = self.table.load();
        let Some(member) = table.member_at(source) else {
            count(STRANGER);
            return None;
        };
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_within_rate = guard.is_within_rate(source, self.clock.instant());
        drop(guard);
        if !is_within_rate {
            count(LIMITED);
            return None;
        }
        let (octets, outcome) = self.zone.answer(&table, member, question, carrier, self.clock.now())?;
        count(outcome.as_str());
        Some(octets)
    }

    fn is_member(&self, source: IpAddr) -> bool {
        self.table.load().member_at(source).is_some()
    }
}

async fn serve_udp(desk: &Desk, socket: &UdpSocket) {
    let mut buffer = [0; MAX_QUESTION];
    loop {
        // What the system says of an answer that did not arrive concerns no other question.
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(answer) = desk.answer(source.ip(), &buffer[..length], Carrier::Udp) {
            // Whoever asked asks again.
            let _ = socket.try_send_to(&answer, source);
        }
    }
}

async fn serve_tcp(desk: &Arc<Desk>, listener: &TcpListener) {
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                is_failing = false;
                if let Some(place) = Connected::take(desk, source.ip()) {
                    tokio::spawn(async move {
                        // A connection that fails is closed; whoever asks makes another one.
                        let _ = converse(&place, stream, source.ip()).await;
                    });
                }
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, "cannot take connections for ENUM; trying again");
                }
                is_failing = true;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The place of one connection, until it is dropped.
struct Connected {
    desk: Arc<Desk>,
    source: IpAddr,
}

impl Connected {
    /// A place for a member's connection; none for a stranger, and none where there are too many.
    fn take(desk: &Arc<Desk>, source: IpAddr) -> Option<Self> {
        if !desk.is_member(source) {
            desk.questions.with_label_values(&[STRANGER]).inc();
            return None;
        }
        let mut connected = desk.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let own = connected.get(&source).copied().unwrap_or(0);
        if own >= MAX_CONNECTIONS_EACH || connected.values().sum::<usize>() >= MAX_CONNECTIONS {
            desk.questions.with_label_values(&[LIMITED]).inc();
            return None;
        }
        connected.insert(source, own + 1);
        Some(Self { desk: Arc::clone(desk), source })
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut connected = self.desk.connected.lock().unwrap_or_else(PoisonError::into_inner);
        match connected.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                connected.remove(&self.source);
            }
        }
    }
}

/// Answers the questions of one connection, each after its length (RFC 1035 §4.2.2), until one gets no answer.
async fn converse(place: &Connected, mut stream: TcpStream, source: IpAddr) -> io::Result<()> {
    let mut buffer = [0; MAX_QUESTION];
    loop {
        let read = async {
            let length = usize::from(stream.read_u16().await?);
            let question = buffer.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
            stream.read_exact(question).await?;
            Ok::<_, io::Error>(length)
        };
        let length = timeout(LONGEST_SILENCE, read).await??;
        let Some(answer) = place.desk.answer(source, &buffer[..length], Carrier::Tcp) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let octets = [&length.to_be_bytes(), &answer[..]].concat();
        timeout(LONGEST_SILENCE, stream.write_all(&octets)).await??;
    }
}
