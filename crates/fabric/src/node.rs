//! A running node: a thread with the worker, its sockets, its clock and its journal.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::Registry;
use socket2::{Domain, Protocol, Socket, Type};
use tandem_model::{Clock, NodeId, Transport};
use tandem_routing::SharedTable;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use crate::connection::{self, Connections, Event};
use crate::datagram::{self, Received};
use crate::flusher::{Awaiting, Flusher};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::outbox::Flow;
use crate::overload::EmergencyNumbers;
use crate::record::UpRecord;
use crate::shipper::Shipper;
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
}

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Its id, the same after each restart.
    pub node_id: NodeId,
    /// Where it receives; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// Folder of its journal. No two nodes share one.
    pub data_dir: PathBuf,
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
    /// Time between two flushes of the journal to the disk, for which answers wait; `None` where they do not
    /// wait, and the last of them are lost with the machine's power.
    pub flush_interval: Option<Duration>,
}

impl NodeSettings {
    /// The usual limits, for a node with these listeners.
    pub fn new(node_id: NodeId, listeners: Vec<ListenerSettings>, data_dir: PathBuf) -> Self {
        Self {
            node_id,
            listeners,
            data_dir,
            max_calls: 50_000,
            source_messages_per_second: 100_000,
            emergency_numbers: ["112", "911", "999"].map(String::from).to_vec(),
            attempt_timeout: Duration::from_secs(3),
            ring_timeout: Duration::from_secs(180),
            setup_timeout: Duration::from_secs(300),
            max_duration: Duration::from_secs(12 * 3600),
            flush_interval: Some(Duration::from_millis(20)),
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
    /// There is no listener, or more than 255.
    #[error("a node has from 1 to 255 listeners, not {0}")]
    Listeners(usize),
    /// The listener's address stands for every address, so members could not be told where to answer.
    #[error("the listener on {0} needs \"advertised\": the address that members see")]
    Unspecified(SocketAddr),
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

/// What the node is asked to do.
enum Command {
    /// Take no new calls.
    Drain,
    /// End every call, then stop.
    Stop,
}

/// What others may see of the node while it runs.
#[derive(Default)]
struct Status {
    active_calls: AtomicU32,
    stopped: AtomicBool,
}

/// A running node.
pub struct Node {
    node_id: NodeId,
    listeners: Vec<(ListenerSettings, SocketAddr)>,
    journal_dir: PathBuf,
    metrics: Metrics,
    commands: mpsc::UnboundedSender<Command>,
    status: Arc<Status>,
    thread: Option<JoinHandle<()>>,
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
        let metrics = Metrics::register(registry)?;
        let mut sockets = Vec::new();
        let mut listeners = Vec::new();
        let mut locals = Vec::new();
        for listener in &settings.listeners {
            let error = |error| StartError::Listen {
                address: listener.address,
                transport: listener.transport,
                error,
            };
            let socket = bind(listener.address, listener.transport).map_err(error)?;
            let bound =
                socket.local_addr().and_then(|a| a.as_socket().ok_or_else(|| io::ErrorKind::Other.into()));
            let bound = bound.map_err(error)?;
            let advertised = listener.advertised.unwrap_or(bound);
            if advertised.ip().is_unspecified() {
                return Err(StartError::Unspecified(listener.address));
            }
            locals.push(Local::new(listener.transport, advertised));
            listeners.push((listener.clone(), bound));
            sockets.push((listener.transport, bound, socket));
        }
        let journal_dir = settings.data_dir.join("journal");
        let (journal, up) = Journal::open(&journal_dir)
            .map_err(|error| StartError::Journal { path: journal_dir.clone(), error })?;
        let backlog = Shipper::new(settings.node_id, journal_dir.clone(), metrics.clone()).backlog();
        let backlog = backlog.map_err(|error| StartError::Journal { path: journal_dir.clone(), error })?;
        metrics.journal_backlog.set(backlog as i64);
        let (commands, received_commands) = mpsc::unbounded_channel();
        let status = Arc::new(Status::default());
        let flusher = settings.flush_interval.map(Flusher::start).transpose().map_err(StartError::Thread)?;
        let thread = std::thread::Builder::new().name("tandem-fabric".into());
        let worker_settings = WorkerSettings {
            node_id: settings.node_id,
            max_calls: settings.max_calls,
            source_messages_per_second: settings.source_messages_per_second,
            emergency_numbers: EmergencyNumbers::new(&settings.emergency_numbers),
            attempt_timeout: settings.attempt_timeout,
            ring_timeout: settings.ring_timeout,
            setup_timeout: settings.setup_timeout,
            max_duration: settings.max_duration,
        };
        let thread = thread
            .spawn({
                let (metrics, status) = (metrics.clone(), status.clone());
                move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .expect("a runtime needs only what the process has already");
                    let worker = Worker::new(worker_settings, locals, table, journal, metrics, seed);
                    let tasks = tokio::task::LocalSet::new();
                    let served = serve(worker, up, sockets, flusher, clock, received_commands, &status);
                    tasks.block_on(&runtime, served);
                    status.stopped.store(true, Ordering::Release);
                }
            })
            .map_err(StartError::Thread)?;
        Ok(Self {
            node_id: settings.node_id,
            listeners,
            journal_dir,
            metrics,
            commands,
            status,
            thread: Some(thread),
        })
    }

    /// Calls being set up or up.
    pub fn active_calls(&self) -> u32 {
        self.status.active_calls.load(Ordering::Relaxed)
    }

    /// Journal records not yet in Postgres.
    pub fn journal_backlog(&self) -> u64 {
        self.metrics.journal_backlog.get().max(0) as u64
    }

    /// The listeners with the addresses that they are bound to.
    pub fn listeners(&self) -> &[(ListenerSettings, SocketAddr)] {
        &self.listeners
    }

    /// Whether the node's thread has ended: after [`stop`](Self::stop), or because it failed.
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The shipper of the node's journal; run one.
    pub fn shipper(&self) -> Shipper {
        Shipper::new(self.node_id, self.journal_dir.clone(), self.metrics.clone())
    }

    /// Takes no new calls: INVITE and OPTIONS are answered with 503.
    pub fn drain(&self) {
        let _ = self.commands.send(Command::Drain);
    }

    /// Ends the calls that are left with BYE, and the node with them.
    pub fn stop(mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the node's thread had panicked");
        }
    }
}

fn bind(address: SocketAddr, transport: Transport) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
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
            socket.bind(&address.into())?;
        }
        Transport::Tcp => {
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(1024)?;
        }
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How long a stopping node waits for its last messages to be acknowledged.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The node's loop: waits for messages, deadlines and commands, and lets the worker handle each batch.
async fn serve(
    mut worker: Worker,
    up: Vec<UpRecord<'static>>,
    sockets: Vec<(Transport, SocketAddr, Socket)>,
    flusher: Option<Flusher>,
    clock: Arc<dyn Clock>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    status: &Status,
) {
    let now = || Now { instant: clock.instant(), utc: clock.now() };
    let (event_sender, mut events) = mpsc::channel(1_024);
    let mut connections = Connections::new(event_sender);
    let mut datagrams: Vec<(u8, UdpSocket)> = Vec::new();
    let mut addresses = Vec::new();
    for (index, (transport, address, socket)) in sockets.into_iter().enumerate() {
        addresses.push(address);
        match transport {
            Transport::Udp => {
                let socket = UdpSocket::from_std(socket.into()).expect("a bound socket that does not block");
                datagrams.push((index as u8, socket));
            }
            Transport::Tcp => {
                let socket =
                    TcpListener::from_std(socket.into()).expect("a bound socket that does not block");
                connections.listen(index as u8, socket);
            }
        }
    }
    let resumed = up.len();
    worker.resume(up, now());
    worker.commit();
    if resumed > 0 {
        tracing::info!(calls = resumed, "took up the calls that were up before the restart");
    }
    let mut received = Received::new();
    let mut batches: Vec<datagram::Outgoing> = datagrams.iter().map(|_| Default::default()).collect();
    let mut awaiting = Awaiting::default();
    let mut stop_at = None;
    loop {
        let deadline = match (worker.next_deadline(), stop_at) {
            (Some(timer), Some(stop)) => Some(timer.min(stop)),
            (timer, stop) => timer.or(stop),
        };
        let mut sleep = std::pin::pin!(async {
            match deadline {
                Some(at) => tokio::time::sleep_until(tokio::time::Instant::from_std(at)).await,
                None => std::future::pending().await,
            }
        });
        let flushing = flusher.as_ref().filter(|_| !awaiting.is_empty());
        let mut flush = std::pin::pin!(async {
            match flushing {
                Some(flusher) => flusher.done().await,
                None => std::future::pending().await,
            }
        });
        let mut event = None;
        let mut command = None;
        poll_fn(|context| {
            let mut woken = false;
            for (_, socket) in &datagrams {
                woken |= socket.poll_recv_ready(context).is_ready();
            }
            if let Poll::Ready(Some(ready)) = events.poll_recv(context) {
                event = Some(ready);
                woken = true;
            }
            if let Poll::Ready(ready) = commands.poll_recv(context) {
                // A node whose handle is gone stops, too.
                command = Some(ready.unwrap_or(Command::Stop));
                woken = true;
            }
            woken |= sleep.as_mut().poll(context).is_ready();
            woken |= flush.as_mut().poll(context).is_ready();
            if woken { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;

        worker.refresh_table();
        let moment = now();
        match command {
            Some(Command::Drain) => worker.draining = true,
            Some(Command::Stop) => {
                worker.draining = true;
                worker.hang_up_all(moment);
                stop_at.get_or_insert(moment.instant + LAST_WORDS);
                commands.close();
            }
            None => {}
        }
        let mut is_drained = true;
        for (listener, socket) in &datagrams {
            if let Ok(is_all) = received.fill(socket) {
                is_drained &= is_all;
                for (remote, octets) in received.iter() {
                    let flow =
                        Flow { listener: *listener, transport: Transport::Udp, remote, connection: None };
                    worker.receive(moment, flow, octets);
                }
            }
        }
        let mut taken = 0;
        while let Some(ready) = event.take().or_else(|| events.try_recv().ok()) {
            on_event(&mut worker, &mut connections, moment, ready);
            taken += 1;
            if taken == datagram::BATCH {
                break;
            }
        }
        worker.fire_due(moment);
        worker.observe_load(moment, is_drained && taken < datagram::BATCH, || {
            datagrams.iter().map(|(_, socket)| datagram::backlog(socket)).sum()
        });
        worker.commit();
        await_disk(&mut worker, flusher.as_ref(), &mut awaiting);
        send(&mut worker, &mut connections, &datagrams, &addresses, &mut batches);
        let metrics = &worker.wire.metrics;
        metrics.connections.set(connections.len() as i64);
        metrics.transactions.set(worker.transactions.len() as i64);
        metrics.dialogs.set(worker.tags.len() as i64);
        metrics.timers.set(worker.wire.timers.len() as i64);
        status.active_calls.store(worker.calls.len() as u32, Ordering::Relaxed);
        if stop_at.is_some_and(|at| moment.instant >= at) {
            return;
        }
    }
}

fn on_event(worker: &mut Worker, connections: &mut Connections, now: Now, event: Event) {
    match event {
        Event::Accepted { listener, stream, remote } => {
            let member = worker.table.endpoint_from(remote).map(|endpoint| endpoint.member_id);
            if member.is_none() && !worker.neighbours.contains(remote.ip()) {
                worker.wire.metrics.connections_of_strangers.inc();
                connection::reset(stream);
            } else if let Err(too_many) = connections.accept(listener, stream, remote, member) {
                worker.wire.metrics.count_too_many(too_many);
            }
        }
        Event::Message { flow, octets } => worker.receive(now, flow, &octets),
        Event::Closed { id, cut } => {
            connections.remove(id);
            if let Some(cut) = cut {
                worker.wire.metrics.count_cut(cut);
            }
        }
        Event::CannotAccept => worker.wire.metrics.accept_errors.inc(),
        Event::Unreachable { id, flow } => {
            connections.remove(id);
            worker.unreachable(now, flow);
        }
    }
}

/// Keeps what must wait for the disk, and adds to the outbox what has waited long enough.
fn await_disk(worker: &mut Worker, flusher: Option<&Flusher>, awaiting: &mut Awaiting) {
    let Worker { wire, journal, .. } = worker;
    // A disk that refuses the record keeps the answer: nobody is told of a call that could be forgotten.
    awaiting.keep(wire.outbox.drain_durable(), journal.end_mark());
    let safe = match flusher {
        Some(flusher) => {
            if awaiting.needs_flush(journal.written_mark()) {
                let (files, mark) = journal.take_files();
                flusher.ask(files, mark);
            }
            journal.set_flush_failing(flusher.is_failing());
            flusher.flushed()
        }
        None => journal.written_mark(),
    };
    for (flow, octets) in awaiting.release(safe) {
        wire.outbox.push(flow, octets);
    }
}

/// Empties the outbox onto the sockets.
fn send(
    worker: &mut Worker,
    connections: &mut Connections,
    datagrams: &[(u8, UdpSocket)],
    addresses: &[SocketAddr],
    batches: &mut [datagram::Outgoing],
) {
    let metrics = worker.wire.metrics.clone();
    let mut lost = 0;
    for (flow, octets) in worker.wire.outbox.drain() {
        metrics.messages_out.inc();
        match flow.transport {
            Transport::Udp => {
                let socket = datagrams.iter().position(|(listener, _)| *listener == flow.listener);
                match socket {
                    Some(socket) => batches[socket].push(flow.remote, octets),
                    None => lost += 1,
                }
            }
            Transport::Tcp => {
                let local = addresses[usize::from(flow.listener)].ip();
                lost += usize::from(!connections.send(flow, local, octets));
            }
        }
    }
    for ((_, socket), batch) in datagrams.iter().zip(batches) {
        lost += batch.send(socket);
    }
    metrics.send_errors.inc_by(lost as u64);
}
