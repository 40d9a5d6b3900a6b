//! TLS connections: handshakes in both directions, and the end of trust in certificates that no longer hold.
//!
//! They run on a runtime of their own, off the workers' threads. Strangers get no further than a handshake, and
//! no further than a closed door where no endpoint is known by its certificate.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tandem_model::{Clock, Endpoint, Host};
use tandem_routing::SharedTable;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::acceptor::Acceptor;
use crate::connection::{Event, connect, reset};
use crate::metrics::Metrics;
use crate::outbox::{Flow, Octets, peer_number};
use crate::share::Common;
use crate::stream::{self, Deadlines};
use crate::tls::{PeerCertificate, Tls, server_name};

/// Most handshakes at once.
const MAX_HANDSHAKES: usize = 512;

/// Most handshakes with one address at once.
const MAX_HANDSHAKES_PER_ADDRESS: usize = 32;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Time between two looks at the files and at the certificates of open connections.
const LOOK: Duration = Duration::from_secs(5);

/// Before the end of its validity, when a certificate is spoken of.
pub(crate) const EXPIRES_SOON: TimeDelta = TimeDelta::days(30);

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// Both sides are content.
    Done,
    /// One side was not: a wrong certificate, no common version, octets that are no TLS.
    Failed,
    /// It took too long.
    TimedOut,
    /// There were too many at once.
    TooMany,
    /// The peer is no endpoint: neither its certificate nor its address is one's.
    Stranger,
}

impl Handshake {
    /// All of them, for the metrics.
    pub(crate) const ALL: [Self; 5] =
        [Self::Done, Self::Failed, Self::TimedOut, Self::TooMany, Self::Stranger];

    /// As a metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::TooMany => "too_many",
            Self::Stranger => "stranger",
        }
    }
}

/// What TLS connections need; a clone is the same.
#[derive(Clone)]
pub(crate) struct Secure {
    pub(crate) tls: Arc<Tls>,
    pub(crate) runtime: Handle,
    pub(crate) table: SharedTable,
    pub(crate) common: Arc<Common>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) handshakes: Arc<Handshakes>,
}

/// The handshakes under way.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place among the handshakes.
struct Place {
    handshakes: Arc<Handshakes>,
    address: IpAddr,
}

impl Handshakes {
    fn begin(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = all.get(&address).copied().unwrap_or(0);
        if of_address >= MAX_HANDSHAKES_PER_ADDRESS || all.values().sum::<usize>() >= MAX_HANDSHAKES {
            return None;
        }
        all.insert(address, of_address + 1);
        Some(Place { handshakes: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.handshakes.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

impl Secure {
    /// Accepts for ever.
    pub(crate) fn listen(
        &self,
        listener: u8,
        socket: std::net::TcpListener,
        events: mpsc::Sender<Event>,
        deadlines: Deadlines,
    ) {
        let secure = self.clone();
        self.runtime.spawn(async move {
            let socket = TcpListener::from_std(socket).expect("a bound socket that does not block");
            let mut acceptor = Acceptor::new(socket, events.clone());
            while let Some((tcp, remote)) = acceptor.next().await {
                if !secure.may_shake_hands(remote) {
                    secure.metrics.connections_of_strangers.inc();
                    reset(tcp);
                } else if let Some(place) = secure.handshakes.begin(remote.ip()) {
                    let (secure, events) = (secure.clone(), events.clone());
                    tokio::spawn(async move {
                        secure.accept(listener, tcp, remote, place, events, deadlines).await;
                    });
                } else {
                    secure.metrics.count_handshake(Handshake::TooMany);
                    reset(tcp);
                }
            }
        });
    }

    /// Whether an address may begin a handshake: it is known, or somebody is known by a certificate.
    fn may_shake_hands(&self, remote: SocketAddr) -> bool {
        let table = self.table.load();
        table.endpoint_from(remote).is_some()
            || self.common.neighbours.contains(remote.ip())
            || table.has_certificates()
    }

    async fn accept(
        &self,
        listener: u8,
        tcp: tokio::net::TcpStream,
        remote: SocketAddr,
        place: Place,
        events: mpsc::Sender<Event>,
        deadlines: Deadlines,
    ) {
        stream::prepare(&tcp);
        let shaken = tokio::time::timeout(HANDSHAKE, self.tls.acceptor().accept(tcp)).await;
        drop(place);
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%remote, %error, "a TLS handshake failed");
                return self.metrics.count_handshake(Handshake::Failed);
            }
            Err(_) => return self.metrics.count_handshake(Handshake::TimedOut),
        };
        let certificate = PeerCertificate::read(stream.get_ref().1.peer_certificates());
        if let Some(certificate) = &certificate {
            self.warn_of_end(remote, certificate);
        }
        let (opened, answer) = oneshot::channel();
        if events.send(Event::Secured { listener, remote, certificate, opened }).await.is_err() {
            return;
        }
        let Ok((flow, incoming)) = answer.await else { return };
        self.metrics.count_handshake(Handshake::Done);
        let first = Some(stream::now() + deadlines.first_message);
        let (reader, writer) = tokio::io::split(stream);
        stream::serve(reader, writer, flow, incoming, events, deadlines, first).await;
    }

    /// Opens a connection to an endpoint, which must prove to be it, and serves it.
    pub(crate) fn open(
        &self,
        flow: Flow,
        local: IpAddr,
        incoming: mpsc::Receiver<Octets>,
        events: mpsc::Sender<Event>,
        deadlines: Deadlines,
    ) {
        let secure = self.clone();
        self.runtime.spawn(async move {
            let Some(id) = flow.connection else { return };
            let names = secure.names_of(flow);
            let shaking = async {
                let tcp = connect(local, flow.remote).await?;
                stream::prepare(&tcp);
                let sni = names.first().and_then(server_name);
                let sni = sni.unwrap_or_else(|| rustls::pki_types::ServerName::IpAddress(flow.remote.ip().into()));
                secure.tls.connector(&names, flow.remote.ip()).connect(sni, tcp).await
            };
            match tokio::time::timeout(deadlines.connect, shaking).await {
                Ok(Ok(stream)) => {
                    secure.metrics.count_handshake(Handshake::Done);
                    let (reader, writer) = tokio::io::split(stream);
                    stream::serve(reader, writer, flow, incoming, events, deadlines, None).await;
                }
                outcome => {
                    match outcome {
                        Ok(Err(error)) => {
                            tracing::warn!(remote = %flow.remote, %error, "cannot connect to an endpoint over TLS");
                            secure.metrics.count_handshake(Handshake::Failed);
                        }
                        _ => secure.metrics.count_handshake(Handshake::TimedOut),
                    }
                    let _ = events.send(Event::Unreachable { id, flow }).await;
                }
            }
        });
    }

    /// What the far side of a flow must prove to be, any one of them: the name of the endpoint's target, which goes
    /// first, and the names in its certificate. None where only its address is known.
    fn names_of(&self, flow: Flow) -> Vec<Host> {
        let table = self.table.load();
        let is_meant = |endpoint: &&Endpoint| peer_number(endpoint.endpoint_id) == flow.peer;
        let names = table.endpoints().filter(is_meant).flat_map(|endpoint| {
            let target = match &endpoint.target.host {
                name @ Host::Name(_) => Some(name.clone()),
                Host::Address(_) | Host::Registration => None,
            };
            let certificate = endpoint.certificate_names.iter().map(|name| Host::Name(name.as_str().into()));
            target.into_iter().chain(certificate)
        });
        names.collect()
    }

    /// Looks at the files and at the certificates of open connections, for ever.
    pub(crate) async fn look_after(self) {
        let mut spoken_of: Option<DateTime<Utc>> = None;
        loop {
            let now = self.clock.now();
            match self.tls.reload() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(expires = %self.tls.expires(), "read the TLS certificate and whom to trust anew");
                }
                Err(error) => {
                    self.metrics.tls_reload_errors.inc();
                    tracing::error!(%error, "cannot read the TLS files anew; those of before stay in use");
                }
            }
            let expires = self.tls.expires();
            self.metrics.certificate_expires.set(expires.timestamp());
            if expires - now < EXPIRES_SOON && spoken_of != Some(expires) {
                spoken_of = Some(expires);
                tracing::warn!(%expires, "the TLS certificate of this node ends soon; put the next one in its place");
            }
            let withdrawn = self.common.certificates.withdraw(|one| self.tls.still_accepts(one, now));
            if withdrawn > 0 {
                tracing::warn!(withdrawn, "certificates of open connections are not accepted any more");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn warn_of_end(&self, remote: SocketAddr, certificate: &PeerCertificate) {
        let left = certificate.expires - self.clock.now();
        if left < EXPIRES_SOON {
            let names = certificate.names.join(", ");
            tracing::warn!(%remote, names, days = left.num_days(), "a member's TLS certificate ends soon");
        }
    }
}
