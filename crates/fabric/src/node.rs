//! A running node: its workers, each a thread with sockets, a clock and a journal of its own.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::Registry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, Protocol, Socket, Type};
use tandem_model::{Clock, NodeId, Transport};
use tandem_routing::SharedTable;
use tokio::sync::mpsc;

use crate::challenge::Challenger;
use crate::dipper::{DipSettings, DipThread, Dipper};
use crate::driver::{Command, Driver, Listening};
use crate::enum_server::{EnumServer, EnumSettings};
use crate::flusher::Flusher;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::overload::EmergencyNumbers;
use crate::record::{Record, UpRecord};
use crate::recorder::{Recorder, TraceSettings};
use crate::registrar::{Registered, RegistrationWriter};
use crate::resolution::Reach;
use crate::resolver::{DnsSettings, Resolver, ResolverSettings};
use crate::saved_names::SavedNames;
use crate::secure::Secure;
use crate::share::{Common, MAX_WORKERS, Share};
use crate::shipper::Shipper;
use crate::tap::Tap;
use crate::tls::{Tls, TlsError, TlsSettings};
use crate::tracer::Tracer;
use crate::watch::HealthReport;
use crate::worker::{Local, Now, Worker, WorkerSettings};

/// An address on which the node receives SIP.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The interconnection point that it belongs to.
    pub site: String,
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Its transport.
    pub transport: Transport,
    /// The address that members see, where it is another than `address`.
    pub advertised: Option<SocketAddr>,
    /// A DNS name that leads there, for endpoints that want to be told a name.
    pub public_name: Option<String>,
}

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Its id, the same after each restart.
    pub node_id: NodeId,
    /// Where it receives; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// The certificate for listeners of TLS, and for connections that the hub opens over it.
    pub tls: Option<TlsSettings>,
    /// Folder of its journals. No two nodes share one.
    pub data_dir: PathBuf,
    /// Threads that handle calls, from 1 to 64; each takes a core when there is much to do.
    pub workers: usize,
    /// Most calls at once.
    pub max_calls: usize,
    /// Most messages a second of one known source; above it its new calls are refused.
    pub source_messages_per_second: u32,
    /// Called numbers that are never refused for overload: whole short numbers, or with `+` the first digits.
    pub emergency_numbers: Vec<String>,
    /// How long a candidate may be silent before the next one is tried.
    pub attempt_timeout: Duration,
    /// How long a candidate may ring after its last provisional response (RFC 3261 §16.6: Timer C).
    pub ring_timeout: Duration,
    /// How long a call may be set up, over all its candidates.
    pub setup_timeout: Duration,
    /// How long a call may be up.
    pub max_duration: Duration,
    /// Which calls are traced, and for how long traces are kept.
    pub trace: TraceSettings,
    /// Time between two flushes of the journal to the disk, for which answers wait; `None` where they do not
    /// wait, and the last of them are lost with the machine's power.
    pub flush_interval: Option<Duration>,
    /// How the DNS names of endpoints are resolved.
    pub dns: DnsSettings,
    /// Where it answers questions about numbers by ENUM, if it does.
    pub enum_listener: Option<EnumSettings>,
    /// The service that says which numbers are ported, if one is asked.
    pub dip: Option<DipSettings>,
    /// Whether it probes the endpoints whose policy says so; what calls show of them counts in any case.
    pub probes: bool,
    /// Takes what the node finds out about the health of endpoints; what there is no room for waits in the node.
    pub health_reports: Option<mpsc::Sender<HealthReport>>,
}

impl NodeSettings {
    /// The usual limits, for a node with these listeners.
    pub fn new(node_id: NodeId, listeners: Vec<ListenerSettings>, data_dir: PathBuf) -> Self {
        Self {
            node_id,
            listeners,
            tls: None,
            data_dir,
            workers: 1,
            max_calls: 50_000,
            source_messages_per_second: 100_000,
            emergency_numbers: ["112", "911", "999"].map(String::from).to_vec(),
            attempt_timeout: Duration::from_secs(3),
            ring_timeout: Duration::from_secs(180),
            setup_timeout: Duration::from_secs(300),
            max_duration: Duration::from_secs(12 * 3600),
            trace: TraceSettings::default(),
            flush_interval: Some(Duration::from_millis(20)),
            dns: DnsSettings::default(),
            enum_listener: None,
            dip: None,
            probes: true,
            health_reports: None,
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address could not be bound.
    #[error("cannot listen on {address} over {}: {error}", transport.as_str())]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The transport.
        transport: Transport,
        /// What the system said.
        error: io::Error,
    },
    /// There is no worker, or more than 64.
    #[error("a node has from 1 to {MAX_WORKERS} workers, not {0}")]
    Workers(usize),
    /// There is no listener, or more than 255.
    #[error("a node has from 1 to 255 listeners, not {0}")]
    Listeners(usize),
    /// A listener speaks TLS, and there is no certificate.
    #[error("the listener on {0} speaks TLS; name tls.certificate, tls.key and tls.trust in the settings")]
    NoCertificate(SocketAddr),
    /// The certificate cannot be used.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] TlsError),
    /// A listener of TLS has a name that the certificate does not have: whoever is told it would not believe it.
    #[error("the TLS certificate is not for {name}; get one that is, or change public_name of the listener")]
    NotNamed {
        /// The public name of the listener.
        name: String,
    },
    /// The listener's address stands for every address, so members could not be told where to answer.
    #[error("the listener on {0} needs \"advertised\": the address that members see")]
    Unspecified(SocketAddr),
    /// Numbers cannot be asked for under it.
    #[error("enum.suffix is {0:?}; write a domain such as e164.arpa")]
    EnumSuffix(String),
    /// The journal could not be opened.
    #[error("cannot open the journal in {}: {error}", path.display())]
    Journal {
        /// Its folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The metrics are registered already.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The thread could not be made.
    #[error("cannot start the node's thread: {0}")]
    Thread(io::Error),
}

/// A running node.
pub struct Node {
    node_id: NodeId,
    listeners: Vec<(ListenerSettings, SocketAddr)>,
    journal_dirs: Vec<PathBuf>,
    metrics: Metrics,
    common: Arc<Common>,
    /// Ends with the node.
    _resolver: Resolver,
    /// Ends with the node.
    _enum_server: Option<EnumServer>,
    /// Ends with the workers.
    _dip_thread: Option<DipThread>,
    tap: Arc<Tap>,
    /// Until somebody runs it.
    recorder: Mutex<Option<Recorder>>,
    /// Until somebody runs it.
    challenger: Mutex<Option<Challenger>>,
    workers: Vec<(mpsc::UnboundedSender<Command>, JoinHandle<()>)>,
    /// Where TLS connections live, if the node speaks TLS.
    secure: Option<tokio::runtime::Runtime>,
}

/// Octets that the kernel may hold for a socket, in each direction: a second of a busy node's traffic.
const SOCKET_BUFFER: usize = 8 << 20;

impl Node {
    /// Binds the listeners, takes up the calls in the journal, and begins to serve.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(
        settings: NodeSettings,
        table: SharedTable,
        clock: Arc<dyn Clock>,
        seed: [u8; 32],
        registry: &Registry,
    ) -> Result<Self, StartError> {
        if !(1..=255).contains(&settings.listeners.len()) {
            return Err(StartError::Listeners(settings.listeners.len()));
        }
        if !(1..=MAX_WORKERS).contains(&settings.workers) {
            return Err(StartError::Workers(settings.workers));
        }
        let secured = settings.listeners.iter().find(|listener| listener.transport == Transport::Tls);
        let tls = match (secured, settings.tls.clone()) {
            (None, _) => None,
            (Some(listener), None) => return Err(StartError::NoCertificate(listener.address)),
            (Some(_), Some(files)) => Some(Arc::new(Tls::load(files)?)),
        };
        let metrics = Metrics::register(registry)?;
        registry.register(Box::new(Registered::new(table.clone(), clock.clone())?))?;
        let mut sockets: Vec<Vec<Listening>> = (0..settings.workers).map(|_| Vec::new()).collect();
        let mut listeners = Vec::new();
        let mut locals = Vec::new();
        for (index, listener) in settings.listeners.iter().enumerate() {
            let error = |error| StartError::Listen {
                address: listener.address,
                transport: listener.transport,
                error,
            };
            let (bound, all) = bind(listener.address, listener.transport, settings.workers).map_err(error)?;
            let advertised = listener.advertised.unwrap_or(bound);
            if advertised.ip().is_unspecified() {
                return Err(StartError::Unspecified(listener.address));
            }
            let local = Local::new(&listener.site, listener.transport, advertised);
            locals.push(match &listener.public_name {
                Some(name) => {
                    if let Some(tls) = tls.as_ref().filter(|_| listener.transport == Transport::Tls)
                        && !tls.is_named(name)
                    {
                        return Err(StartError::NotNamed { name: name.clone() });
                    }
                    local.with_name(name)
                }
                None => local,
            });
            listeners.push((listener.clone(), bound));
            for (own, socket) in sockets.iter_mut().zip(all) {
                own.push(Listening { listener: index as u8, transport: listener.transport, socket });
            }
        }
        let addresses: Vec<SocketAddr> = listeners.iter().map(|(_, bound)| *bound).collect();
        let journal_dirs = journal_dirs(&settings.data_dir, settings.workers);
        let shares = Share::all(settings.workers);
        let common = shares[0].common.clone();
        let worker_settings = WorkerSettings {
            node_id: settings.node_id,
            max_calls: settings.max_calls,
            source_messages_per_second: settings.source_messages_per_second,
            emergency_numbers: EmergencyNumbers::new(&settings.emergency_numbers),
            attempt_timeout: settings.attempt_timeout,
            ring_timeout: settings.ring_timeout,
            setup_timeout: settings.setup_timeout,
            max_duration: settings.max_duration,
            probes: settings.probes,
        };
        let mut seeds = StdRng::from_seed(seed);
        let advertised = locals.iter().map(|local| (local.transport, local.address));
        let bound = listeners.iter().map(|(listener, bound)| (listener.transport, *bound));
        let reach = Reach {
            listeners: advertised.chain(bound).collect(),
            private_addresses: settings.dns.private_addresses,
        };
        let resolver = Resolver::start(
            ResolverSettings {
                dns: settings.dns.clone(),
                reach,
                saved: SavedNames::within(&settings.data_dir),
            },
            table.clone(),
            common.clone(),
            clock.clone(),
            seeds.random(),
            registry,
        )?;
        let enum_server = settings.enum_listener.as_ref().map(|enum_listener| {
            let listeners = locals.iter().map(|local| (local.transport, local.address));
            let (table, clock) = (table.clone(), clock.clone());
            EnumServer::start(enum_listener, listeners, table, clock, seeds.random(), registry)
        });
        let enum_server = enum_server.transpose()?;
        let (tap, told) = Tap::new(&settings.trace, &metrics);
        let dipper = settings.dip.as_ref().map(|dip| Dipper::new(dip.deadline, registry)).transpose()?;
        let (dipper, questions) = dipper.unzip();
        let make = |share, journal| {
            let (settings, locals, table) = (worker_settings.clone(), locals.clone(), table.clone());
            let mut worker =
                Worker::new(settings, share, locals, table, journal, metrics.clone(), seeds.random());
            worker.tracer = Tracer::new(tap.clone());
            worker.dipper = dipper.clone();
            worker
        };
        let now = Now { instant: clock.instant(), utc: clock.now() };
        let mut workers = resume(&settings, shares, &journal_dirs, &metrics, now, make)?;

        let runtime = tls.as_ref().map(|_| secure_runtime()).transpose().map_err(StartError::Thread)?;
        let mut secure = tls.zip(runtime.as_ref()).map(|(tls, runtime)| Secure {
            tls,
            runtime: runtime.handle().clone(),
            table: table.clone(),
            common: common.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            handshakes: Arc::default(),
        });
        if let Some(secure) = &secure {
            secure.runtime.spawn(secure.clone().look_after());
        }
        let (parcels, mut mailboxes): (Vec<_>, Vec<_>) =
            (0..settings.workers).map(|_| mpsc::channel(crate::driver::MAILBOX)).unzip();
        let dip_thread = settings.dip.clone().zip(dipper.as_ref()).zip(questions).map(
            |((settings, dipper), questions)| {
                DipThread::start(settings, dipper, questions, parcels.clone(), clock.clone())
            },
        );
        let dip_thread = dip_thread.transpose().map_err(StartError::Thread)?;
        drop(dipper);
        let (challenge_reports, received_reports) = mpsc::unbounded_channel();
        workers[0].challenges.reports = Some(challenge_reports);
        let first = parcels[0].clone();
        let challenger = Challenger::new(settings.node_id, first, received_reports, clock.clone());
        let mut threads = Vec::new();
        for (index, (worker, sockets)) in workers.into_iter().zip(sockets).enumerate().rev() {
            let flusher = settings
                .flush_interval
                .map(|interval| Flusher::start(interval, metrics.flush_seconds.clone()));
            let flusher = flusher.transpose().map_err(StartError::Thread)?;
            let (commands, received_commands) = mpsc::unbounded_channel();
            let mailbox = mailboxes.pop().expect("each worker has one");
            let driver = Driver::new(
                worker,
                flusher,
                clock.clone(),
                addresses.clone(),
                parcels.clone(),
                mailbox,
                settings.health_reports.clone().filter(|_| index == 0),
            );
            let thread = std::thread::Builder::new().name(format!("tandem-sip-{index}"));
            // Streams are the first worker's.
            let secure = if index == 0 { secure.take() } else { None };
            let thread = thread
                .spawn(move || driver.run(sockets, secure, received_commands))
                .map_err(StartError::Thread)?;
            threads.push((commands, thread));
        }
        let node_id = settings.node_id;
        let recorder = Recorder {
            node_id,
            settings: settings.trace,
            tap: tap.clone(),
            told,
            clock,
            metrics: metrics.clone(),
        };
        let recorder = Mutex::new(Some(recorder));
        let challenger = Mutex::new(Some(challenger));
        Ok(Self {
            node_id,
            listeners,
            journal_dirs,
            metrics,
            common,
            _resolver: resolver,
            _enum_server: enum_server,
            _dip_thread: dip_thread,
            tap,
            recorder,
            challenger,
            workers: threads,
            secure: runtime,
        })
    }

    /// Calls being set up or up.
    pub fn active_calls(&self) -> u32 {
        self.common.active_calls.load(Ordering::Relaxed) as u32
    }

    /// Journal records not yet in Postgres.
    pub fn journal_backlog(&self) -> u64 {
        self.metrics.journal_backlog.get().max(0) as u64
    }

    /// The listeners with the addresses that they are bound to.
    pub fn listeners(&self) -> &[(ListenerSettings, SocketAddr)] {
        &self.listeners
    }

    /// Whether one of the node's threads has ended: after [`stop`](Self::stop), or because it failed.
    pub fn has_stopped(&self) -> bool {
        self.workers.iter().any(|(_, thread)| thread.is_finished())
    }

    /// The shippers of the node's journals; run each once.
    pub fn shippers(&self) -> Vec<Shipper> {
        let shipper = |dir: &PathBuf| {
            Shipper::new(self.node_id, dir.clone(), self.metrics.clone()).telling(self.tap.clone())
        };
        self.journal_dirs.iter().map(shipper).collect()
    }

    /// What keeps and exports the messages of traced calls; run it. `None` for who asks a second time.
    pub fn recorder(&self) -> Option<Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What brings the node the challenge calls that it is to place; run it. `None` for who asks a second time.
    pub fn challenger(&self) -> Option<Challenger> {
        self.challenger.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What brings the node's registrations to Postgres; run it once.
    pub fn registration_writer(&self) -> RegistrationWriter {
        RegistrationWriter::new(self.common.clone())
    }

    /// Takes no new calls: INVITE and OPTIONS are answered with 503.
    pub fn drain(&self) {
        for (commands, _) in &self.workers {
            let _ = commands.send(Command::Drain);
        }
    }

    /// Ends the calls that are left with BYE, and the node with them.
    pub fn stop(self) {
        for (commands, _) in &self.workers {
            let _ = commands.send(Command::Stop);
        }
        for (_, thread) in self.workers {
            if thread.join().is_err() {
                tracing::error!("a thread of the node had panicked");
            }
        }
        if let Some(secure) = self.secure {
            secure.shutdown_background();
        }
    }
}

/// One thread does the handshakes and the cryptography of all TLS connections.
fn secure_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("tandem-tls")
        .enable_all()
        .build()
}

/// The folders of the journals: one for each worker, then those of an earlier run with more workers.
fn journal_dirs(data_dir: &Path, workers: usize) -> Vec<PathBuf> {
    let dir = |index| match index {
        0 => data_dir.join("journal"),
        _ => data_dir.join(format!("journal-{index}")),
    };
    let left_over = (workers..MAX_WORKERS).map(dir).filter(|dir| dir.exists());
    (0..workers).map(dir).chain(left_over).collect()
}

/// Makes the workers, with the calls that were up before the restart.
///
/// A call may have been another worker's. No journal is let go before all calls stand in the new ones.
fn resume(
    settings: &NodeSettings,
    shares: Vec<Share>,
    journal_dirs: &[PathBuf],
    metrics: &Metrics,
    now: Now,
    mut make: impl FnMut(Share, Journal) -> Worker,
) -> Result<Vec<Worker>, StartError> {
    let mut journals = Vec::new();
    let mut up: Vec<Vec<UpRecord<'static>>> = shares.iter().map(|_| Vec::new()).collect();
    let mut known = std::collections::HashSet::new();
    for path in journal_dirs {
        let error = |error| StartError::Journal { path: path.clone(), error };
        let (journal, calls) = Journal::open(path).map_err(error)?;
        journals.push(journal);
        // A start that was cut short has left a call in two of them.
        for call in calls.into_iter().filter(|call| known.insert(call.cdr.call_id)) {
            up[usize::from(shares[0].owner_of(call.ingress.tag))].push(call);
        }
        let backlog = Shipper::new(settings.node_id, path.clone(), metrics.clone()).backlog();
        metrics.journal_backlog.add(backlog.map_err(error)? as i64);
    }
    if !known.is_empty() {
        tracing::info!(calls = known.len(), "took up the calls that were up before the restart");
    }
    let mut left_over = journals.split_off(shares.len());
    let mut workers: Vec<Worker> =
        shares.into_iter().zip(journals).map(|(share, journal)| make(share, journal)).collect();
    for (worker, up) in workers.iter_mut().zip(up) {
        worker.resume(up, now);
    }
    if let Err(error) = workers.iter_mut().try_for_each(|worker| worker.journal.sync()) {
        // Without a checkpoint the journals of before count, and new calls are refused until the disk works.
        tracing::error!(%error, "cannot begin the journals anew; those of before stay in use");
        return Ok(workers);
    }
    for worker in &mut workers {
        worker.seal();
        worker.commit();
    }
    for journal in &mut left_over {
        journal.append(&Record::Checkpoint);
        if let Err(error) = journal.commit() {
            tracing::error!(%error, "cannot close the journal of an earlier worker");
        }
    }
    metrics.journal_backlog.add(left_over.len() as i64);
    Ok(workers)
}

/// A listener's socket for each of `workers` workers, as far as they need one, and the address that it got.
fn bind(
    address: SocketAddr,
    transport: Transport,
    workers: usize,
) -> io::Result<(SocketAddr, Vec<Option<Socket>>)> {
    let first = bind_one(address, transport, false)?;
    let bound = first.local_addr()?.as_socket().ok_or(io::ErrorKind::Other)?;
    if transport.is_reliable() || workers == 1 {
        let others = (1..workers).map(|_| None);
        return Ok((bound, std::iter::once(Some(first)).chain(others).collect()));
    }
    // Nobody else listens there, or the first one would have failed.
    drop(first);
    let all: io::Result<_> = (0..workers).map(|_| bind_one(bound, transport, true).map(Some)).collect();
    Ok((bound, all?))
}

fn bind_one(address: SocketAddr, transport: Transport, is_shared: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        Transport::Tcp | Transport::Tls => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    match transport {
        Transport::Udp => {
            // The kernel gives what it may; less only means less room for a burst.
            let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
            let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
            socket.set_reuse_port(is_shared)?;
            socket.bind(&address.into())?;
        }
        Transport::Tcp | Transport::Tls => {
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(1024)?;
        }
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
