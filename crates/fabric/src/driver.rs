//! Drives one worker: waits for messages, deadlines and commands, lets the worker handle each batch, writes its
//! journal, and sends what it wants sent.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::Socket;
use tandem_model::{Clock, Transport};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use crate::connection::{self, Connections, Event};
use crate::datagram::{self, Received};
use crate::flusher::{Awaiting, Flusher};
use crate::identity::endpoint_at;
use crate::metrics::Part;
use crate::outbox::{Flow, Parcel};
use crate::scheduling::{Priority, prefer_this_thread};
use crate::secure::{Handshake, Secure};
use crate::watch::HealthReport;
use crate::worker::{Now, Worker};

/// Most parcels that may wait for one worker; further ones are lost like datagrams.
pub(crate) const MAILBOX: usize = 16_384;

/// Connections at which no stranger gets one: members have the rest for themselves.
const MAX_WITH_STRANGERS: usize = 1_024;

/// How long a stopping node waits for its last messages to be acknowledged.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How soon the first worker sees at the latest that the route table wants something of it.
const LOOK_AT_TABLE: Duration = Duration::from_millis(500);

/// Deadlines of one batch whose handling may panic.
const MAX_PANICS: u32 = 1_000;

/// What the node is asked to do.
pub(crate) enum Command {
    /// Take no new calls.
    Drain,
    /// End every call, then stop.
    Stop,
}

/// One listener as a worker has it.
pub(crate) struct Listening {
    /// Its index.
    pub(crate) listener: u8,
    pub(crate) transport: Transport,
    /// `None` where another worker receives for all.
    pub(crate) socket: Option<Socket>,
}

/// See the module.
pub(crate) struct Driver {
    worker: Worker,
    flusher: Option<Flusher>,
    awaiting: Awaiting,
    clock: Arc<dyn Clock>,
    /// What each listener is bound to.
    addresses: Vec<SocketAddr>,
    /// To every worker of the node.
    parcels: Vec<mpsc::Sender<Parcel>>,
    mailbox: mpsc::Receiver<Parcel>,
    /// Takes what the watch over the endpoints has to tell.
    health_reports: Option<mpsc::Sender<HealthReport>>,
    stop_at: Option<Instant>,
}

/// What a thread of the node waits for, and sends by.
struct Wires {
    datagrams: Vec<(u8, UdpSocket)>,
    /// What is to be sent by each of `datagrams`.
    batches: Vec<datagram::Outgoing>,
    connections: Connections,
    events: mpsc::Receiver<Event>,
}

impl Driver {
    pub(crate) fn new(
        worker: Worker,
        flusher: Option<Flusher>,
        clock: Arc<dyn Clock>,
        addresses: Vec<SocketAddr>,
        parcels: Vec<mpsc::Sender<Parcel>>,
        mailbox: mpsc::Receiver<Parcel>,
        health_reports: Option<mpsc::Sender<HealthReport>>,
    ) -> Self {
        let awaiting = Awaiting::default();
        let stop_at = None;
        Self { worker, flusher, awaiting, clock, addresses, parcels, mailbox, health_reports, stop_at }
    }

    /// Serves until the node stops; the thread is the worker's own.
    pub(crate) fn run(
        self,
        sockets: Vec<Listening>,
        secure: Option<Secure>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) {
        prefer_this_thread(Priority::Worker);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only what the process has already");
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async move {
            let wires = Wires::new(sockets, secure);
            self.serve(wires, commands).await;
        });
    }

    fn now(&self) -> Now {
        Now { instant: self.clock.instant(), utc: self.clock.now() }
    }

    async fn serve(mut self, mut wires: Wires, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut received = Received::new();
        let metrics = &self.worker.wire.metrics;
        let mut connections = Part::of(&metrics.connections);
        let mut transactions = Part::of(&metrics.transactions);
        let mut dialogs = Part::of(&metrics.dialogs);
        let mut timers = Part::of(&metrics.timers);
        loop {
            let Woken { event, parcel, command } = self.wait(&mut wires, &mut commands).await;
            self.worker.refresh_table();
            let now = self.now();
            self.worker.contain(now, |worker| worker.watch_table(now));
            self.worker.watch_registrations(now);
            match command {
                Some(Command::Drain) => self.worker.draining = true,
                Some(Command::Stop) => {
                    self.worker.draining = true;
                    self.worker.hang_up_all(now);
                    self.stop_at.get_or_insert(now.instant + LAST_WORDS);
                    commands.close();
                }
                None => {}
            }
            let mut is_drained = true;
            for (listener, socket) in &wires.datagrams {
                if let Ok(is_all) = received.fill(socket) {
                    is_drained &= is_all;
                    for (remote, octets) in received.iter() {
                        let (listener, transport) = (*listener, Transport::Udp);
                        let flow = Flow::new(listener, transport, remote);
                        self.worker.contain(now, |worker| worker.receive(now, flow, octets));
                    }
                }
            }
            is_drained &= self.take_events(now, &mut wires, event);
            is_drained &= self.take_parcels(now, parcel);
            // A panic leaves deadlines that are due for the next try; a bug in all of them ends the node.
            for tries in 1.. {
                if self.worker.contain(now, |worker| worker.fire_due(now)) {
                    break;
                }
                assert!(tries < MAX_PANICS, "too many deadlines cannot be handled");
            }
            self.worker.observe_load(now, is_drained, || {
                wires.datagrams.iter().map(|(_, socket)| datagram::backlog(socket)).sum()
            });
            self.worker.commit();
            self.await_disk(now);
            self.worker.trace_sent(now);
            self.send(&mut wires);
            self.report_health();
            connections.set(wires.connections.len());
            transactions.set(self.worker.transactions.len());
            dialogs.set(self.worker.tags.len());
            timers.set(self.worker.wire.timers.len());
            if self.stop_at.is_some_and(|at| now.instant >= at) {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, wires: &mut Wires, commands: &mut mpsc::UnboundedReceiver<Command>) -> Woken {
        // A new table wakes nobody, and may want something of the first worker.
        let look_at = (self.worker.share.index == 0).then(|| self.clock.instant() + LOOK_AT_TABLE);
        let deadline = [self.worker.next_deadline(), self.stop_at, look_at].into_iter().flatten().min();
        let mut sleep = std::pin::pin!(async {
            match deadline {
                Some(at) => tokio::time::sleep_until(tokio::time::Instant::from_std(at)).await,
                None => std::future::pending().await,
            }
        });
        let flushing = self.flusher.as_ref().filter(|_| !self.awaiting.is_empty());
        let mut flush = std::pin::pin!(async {
            match flushing {
                Some(flusher) => flusher.done().await,
                None => std::future::pending().await,
            }
        });
        let mut woken = Woken::default();
        poll_fn(|context| {
            let mut is_woken = false;
            for (_, socket) in &wires.datagrams {
                is_woken |= socket.poll_recv_ready(context).is_ready();
            }
            if let Poll::Ready(Some(event)) = wires.events.poll_recv(context) {
                woken.event = Some(event);
                is_woken = true;
            }
            if let Poll::Ready(Some(parcel)) = self.mailbox.poll_recv(context) {
                woken.parcel = Some(parcel);
                is_woken = true;
            }
            if let Poll::Ready(command) = commands.poll_recv(context) {
                // A node whose handle is gone stops, too.
                woken.command = Some(command.unwrap_or(Command::Stop));
                is_woken = true;
            }
            is_woken |= sleep.as_mut().poll(context).is_ready();
            is_woken |= flush.as_mut().poll(context).is_ready();
            if is_woken { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        woken
    }

    /// Takes a batch of what the connections tell, and says whether that was all.
    fn take_events(&mut self, now: Now, wires: &mut Wires, first: Option<Event>) -> bool {
        let mut next = first;
        for _ in 0..datagram::BATCH {
            let Some(event) = next.or_else(|| wires.events.try_recv().ok()) else { return true };
            self.on_event(&mut wires.connections, now, event);
            next = None;
        }
        false
    }

    /// Takes a batch of what other workers handed over, and says whether that was all.
    fn take_parcels(&mut self, now: Now, first: Option<Parcel>) -> bool {
        let mut next = first;
        for _ in 0..datagram::BATCH {
            let Some(parcel) = next.or_else(|| self.mailbox.try_recv().ok()) else { return true };
            self.worker.contain(now, |worker| worker.receive_parcel(now, parcel));
            next = None;
        }
        false
    }

    fn on_event(&mut self, connections: &mut Connections, now: Now, event: Event) {
        let worker = &mut self.worker;
        match event {
            Event::Accepted { listener, stream, remote } => {
                let endpoint = endpoint_at(&worker.table, remote, Transport::Tcp, now.utc);
                let member = endpoint.map(|endpoint| endpoint.member_id);
                let common = &worker.share.common;
                let is_known = member.is_some()
                    || common.neighbours.contains(remote.ip())
                    || common.acquaintances.contains(remote.ip(), now.instant);
                // Whoever is known by a user name has no address beforehand.
                let may_be_known = worker.table.has_usernames() && connections.len() < MAX_WITH_STRANGERS;
                if !is_known && !may_be_known {
                    worker.wire.metrics.connections_of_strangers.inc();
                    connection::reset(stream);
                } else if let Err(too_many) = connections.accept(listener, stream, remote, member) {
                    worker.wire.metrics.count_too_many(too_many);
                }
            }
            Event::Message { flow, octets } => {
                worker.contain(now, |worker| worker.receive(now, flow, &octets));
            }
            Event::Secured { listener, remote, certificate, opened } => {
                let flow = Flow::new(listener, Transport::Tls, remote);
                let named =
                    certificate.as_ref().and_then(|it| worker.table.endpoint_by_certificate(&it.names));
                let endpoint = named.or_else(|| worker.table.endpoint_from(remote));
                if endpoint.is_none() && !worker.share.common.neighbours.contains(remote.ip()) {
                    return worker.wire.metrics.count_handshake(Handshake::Stranger);
                }
                match connections.admit(flow, endpoint.map(|endpoint| endpoint.member_id)) {
                    Ok((flow, incoming)) => {
                        if let (Some(id), Some(certificate)) = (flow.connection, certificate) {
                            worker.share.common.certificates.add(id, certificate);
                        }
                        // A peer that is gone already is told of by nobody else.
                        if let Err((Flow { connection: Some(id), .. }, _)) = opened.send((flow, incoming)) {
                            connections.remove(id);
                            worker.share.common.certificates.remove(id);
                        }
                    }
                    Err(too_many) => worker.wire.metrics.count_too_many(too_many),
                }
            }
            Event::Closed { id, cut } => {
                connections.remove(id);
                worker.share.common.certificates.remove(id);
                if let Some(cut) = cut {
                    worker.wire.metrics.count_cut(cut);
                }
            }
            Event::CannotAccept => worker.wire.metrics.accept_errors.inc(),
            Event::Unreachable { id, flow } => {
                connections.remove(id);
                worker.contain(now, |worker| worker.unreachable(now, flow));
                for other in 1..self.parcels.len() {
                    worker.wire.outbox.hand_over(other as u8, Parcel::Unreachable(flow));
                }
            }
        }
    }

    /// Keeps what must wait for the disk, and adds to the outbox what has waited long enough.
    fn await_disk(&mut self, now: Now) {
        if let Some(flusher) = &mut self.flusher
            && flusher.has_failed()
        {
            self.worker.wire.metrics.journal_errors.inc();
            self.worker.journal.distrust();
            self.awaiting.ask_again(flusher.flushed());
            self.worker.commit();
        }
        let Worker { wire, journal, .. } = &mut self.worker;
        // A disk that refuses the record keeps the answer: nobody is told of a call that could be forgotten.
        self.awaiting.keep(wire.outbox.drain_durable(), journal.end_mark());
        let safe = match &self.flusher {
            Some(flusher) => {
                if !journal.is_distrusted() && self.awaiting.needs_flush(journal.written_mark()) {
                    let (files, mark) = journal.take_files();
                    flusher.ask(files, mark);
                }
                journal.set_flush_failing(flusher.is_failing());
                flusher.flushed()
            }
            None => journal.written_mark(),
        };
        for (flow, octets) in self.awaiting.release(safe) {
            self.worker.answer_leaves(now, &octets);
            self.worker.wire.outbox.push(flow, octets);
        }
    }

    /// Passes on what the watch has to tell, as far as there is room for it.
    fn report_health(&mut self) {
        let Some(watch) = self.worker.watch.as_mut() else { return };
        match &self.health_reports {
            Some(reports) => {
                while let Ok(place) = reports.try_reserve() {
                    let Some(report) = watch.pop_report() else { return };
                    place.send(report);
                }
            }
            None => while watch.pop_report().is_some() {},
        }
    }

    /// Empties the outbox onto the sockets and to the other workers.
    fn send(&mut self, wires: &mut Wires) {
        let Worker { wire, share, .. } = &mut self.worker;
        let (mut sent, mut lost) = (0, 0);
        let mut for_first = Vec::new();
        for (flow, octets) in wire.outbox.drain() {
            if flow.transport.is_reliable() && share.index > 0 {
                for_first.push(Parcel::Send(flow, octets));
                continue;
            }
            sent += 1;
            match flow.transport {
                Transport::Udp => {
                    let socket = wires.datagrams.iter().position(|(listener, _)| *listener == flow.listener);
                    match socket {
                        Some(socket) => wires.batches[socket].push(flow.remote, octets),
                        None => lost += 1,
                    }
                }
                Transport::Tcp | Transport::Tls => {
                    let local = self.addresses[usize::from(flow.listener)].ip();
                    lost += usize::from(!wires.connections.send(flow, local, octets));
                }
            }
        }
        for ((_, socket), batch) in wires.datagrams.iter().zip(&mut wires.batches) {
            lost += batch.send(socket);
        }
        let for_first = for_first.into_iter().map(|parcel| (0, parcel));
        for (other, parcel) in wire.outbox.drain_parcels().chain(for_first) {
            if self.parcels[usize::from(other)].try_send(parcel).is_err() {
                wire.metrics.handover_errors.inc();
            }
        }
        wire.metrics.messages_out.inc_by(sent);
        wire.metrics.send_errors.inc_by(lost as u64);
    }
}

/// What a wait has taken already.
#[derive(Default)]
struct Woken {
    event: Option<Event>,
    parcel: Option<Parcel>,
    command: Option<Command>,
}

impl Wires {
    /// Call it within the thread's runtime.
    fn new(sockets: Vec<Listening>, secure: Option<Secure>) -> Self {
        let (event_sender, events) = mpsc::channel(1_024);
        let connections = Connections::new(event_sender, secure);
        let mut datagrams = Vec::new();
        for Listening { listener, transport, socket } in sockets {
            let Some(socket) = socket else { continue };
            match transport {
                Transport::Udp => {
                    let socket =
                        UdpSocket::from_std(socket.into()).expect("a bound socket that does not block");
                    datagrams.push((listener, socket));
                }
                Transport::Tls => connections.listen_securely(listener, socket.into()),
                Transport::Tcp => {
                    let socket =
                        TcpListener::from_std(socket.into()).expect("a bound socket that does not block");
                    connections.listen(listener, socket);
                }
            }
        }
        let batches = datagrams.iter().map(|_| datagram::Outgoing::default()).collect();
        Self { datagrams, batches, connections, events }
    }
}
