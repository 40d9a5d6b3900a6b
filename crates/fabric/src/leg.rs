//! One side of a call: the dialog between the hub and one member, and the way to it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use chrono::{DateTime, Utc};
use smallvec::SmallVec;
use tandem_model::{Endpoint, EndpointId, MemberId, Transport};
use tandem_sip::{Dialog, NameAddr, Scheme, Uri};

use crate::limit::Lease;
use crate::outbox::Flow;
use crate::record::LegRecord;
use crate::session::Session;
use crate::worker::Now;

/// Which leg of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// Facing the originating member.
    Ingress,
    /// Facing the terminating member.
    Egress,
}

impl Side {
    /// The opposite leg.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// Addresses at which an endpoint takes calls; nearly always one.
pub(crate) type Targets = SmallVec<[IpAddr; 1]>;

/// A leg.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) endpoint: EndpointId,
    pub(crate) member: MemberId,
    /// Where the leg lives: messages of its dialog come from this address and go to it.
    pub(crate) flow: Flow,
    /// Where the endpoint takes calls: other addresses that may speak for it. Those that its DNS name led to when the
    /// leg began, however often that changes while the call is up.
    pub(crate) targets: Targets,
    /// The tag by which the hub is known in the dialog.
    pub(crate) tag: u64,
    /// The dialog, once it is confirmed.
    pub(crate) dialog: Option<Dialog>,
    /// Its session timer.
    pub(crate) session: Session,
    /// When that asks for something: to refresh the leg, or to give it up.
    pub(crate) session_due: Instant,
    /// When the member was last heard from on the leg, once the call is up.
    pub(crate) heard_at: DateTime<Utc>,
    /// Its place among the endpoint's concurrent calls.
    pub(crate) lease: Option<Lease>,
}

impl Leg {
    /// Every address at which the leg lives or its endpoint takes calls, the leg's own first.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        let own = self.flow.remote.ip();
        std::iter::once(own).chain(self.targets.iter().copied().filter(move |target| *target != own))
    }

    /// Whether a message from `source` may speak for this leg: it comes from the leg's own address, from the
    /// endpoint's targets, or from an address that is the same endpoint's; over TLS where the leg is, and not
    /// elsewhere. What comes by TCP in a leg by UDP was too large for that (RFC 3261 §18.1.1).
    pub(crate) fn lives_at(&self, source: Flow, endpoint_there: Option<&Endpoint>) -> bool {
        (source.transport == Transport::Tls) == (self.flow.transport == Transport::Tls)
            && (self.ips().any(|own| own == source.remote.ip())
                || endpoint_there.is_some_and(|endpoint| endpoint.endpoint_id == self.endpoint))
    }

    /// Where a request in the dialog goes: to its first route or its target when that is an address of the
    /// endpoint, and otherwise to where the leg lives. Never to an address that only a header names, nor for an
    /// endpoint that registers.
    pub(crate) fn next_hop(&self, dialog: &Dialog, endpoint: Option<&Endpoint>) -> Flow {
        if let Some(endpoint) = endpoint.filter(|endpoint| endpoint.target.is_registration()) {
            // Its Contact may lead nowhere; it is where it was spoken to, or where it has moved since.
            return match &endpoint.access.registration {
                Some(registration)
                    if registration.transport == self.flow.transport
                        && registration.source.ip() != self.flow.remote.ip() =>
                {
                    Flow { remote: registration.source, connection: None, ..self.flow }
                }
                _ => self.flow,
            };
        }
        let (request_uri, routes) = dialog.request_target();
        let hop = match routes.first() {
            Some(route) => NameAddr::parse(route).ok().and_then(|route| address(route.uri)),
            None => address(request_uri),
        };
        let is_own = |ip: IpAddr| {
            self.ips().any(|own| own == ip)
                || endpoint
                    .is_some_and(|endpoint| endpoint.sources.iter().any(|source| source.net.contains(&ip)))
        };
        match hop {
            Some(hop) if is_own(hop.ip()) => Flow { remote: hop, ..self.flow },
            _ => self.flow,
        }
    }

    /// The leg as the journal keeps it. Only a leg with a dialog is kept.
    pub(crate) fn record(&self) -> Option<LegRecord<'_>> {
        let dialog = self.dialog.as_ref()?;
        let mut route_set = Vec::new();
        for route in &dialog.route_set {
            route_set.extend(route.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')));
            route_set.push(b'\n');
        }
        Some(LegRecord {
            endpoint: self.endpoint,
            member: self.member,
            transport: self.flow.transport,
            remote: self.flow.remote,
            targets: Cow::Borrowed(&self.targets),
            tag: self.tag,
            call_id: Cow::Borrowed(&dialog.call_id),
            remote_tag: Cow::Borrowed(&dialog.remote_tag),
            local_uri: Cow::Borrowed(&dialog.local_uri),
            remote_uri: Cow::Borrowed(&dialog.remote_uri),
            remote_target: Cow::Borrowed(&dialog.remote_target),
            route_set: Cow::Owned(route_set),
            local_cseq: dialog.local_cseq,
            remote_cseq: dialog.remote_cseq,
            session: self.session,
            heard_at: self.heard_at,
        })
    }

    /// The leg of a call that was up before the node restarted.
    ///
    /// What its session timer asks for next is to be said by [`resume_session`](crate::worker::Worker::resume_session).
    pub(crate) fn from_record(record: LegRecord<'_>, listener: u8, lease: Lease, now: Now) -> Self {
        let route_set = record.route_set.split(|&octet| octet == b'\n').filter(|route| !route.is_empty());
        Self {
            endpoint: record.endpoint,
            member: record.member,
            flow: Flow::new(listener, record.transport, record.remote).toward(record.endpoint),
            targets: record.targets.iter().copied().collect(),
            tag: record.tag,
            dialog: Some(Dialog {
                call_id: (*record.call_id).into(),
                local_tag: format_tag(record.tag).into_bytes().into(),
                remote_tag: (*record.remote_tag).into(),
                local_uri: (*record.local_uri).into(),
                remote_uri: (*record.remote_uri).into(),
                remote_target: (*record.remote_target).into(),
                route_set: route_set.map(Box::from).collect(),
                // Requests sent after the last record took numbers too; the next one must be above them all.
                local_cseq: record.local_cseq.saturating_add(CSEQ_GAP),
                remote_cseq: record.remote_cseq,
            }),
            session: record.session,
            session_due: now.instant,
            heard_at: record.heard_at,
            lease: Some(lease),
        }
    }
}

/// How far CSeq jumps in a dialog in which numbers may have been used that are not known any more.
pub(crate) const CSEQ_GAP: u32 = 1_000;

/// A tag of this hub as text.
pub(crate) fn format_tag(tag: u64) -> String {
    format!("{tag:016x}")
}

/// Address and port of a SIP URI whose host is a literal address.
fn address(uri: &[u8]) -> Option<SocketAddr> {
    let uri = Uri::parse(uri).ok()?;
    if !matches!(uri.scheme, Scheme::Sip) {
        return None;
    }
    let ip: IpAddr = std::str::from_utf8(uri.host).ok()?.parse().ok()?;
    Some(SocketAddr::new(ip, uri.port.unwrap_or(tandem_sip::via::DEFAULT_PORT)))
}
