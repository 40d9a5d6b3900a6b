//! Which server of an endpoint a call goes to: its address, or the servers of its name one after the other.

use std::net::SocketAddr;

use rand::Rng;
use tandem_model::{Endpoint, Host, Reason, Target, Transport};

use crate::call::CallKey;
use crate::invite::MAX_ATTEMPTS;
use crate::leg::Targets;
use crate::limit::Lease;
use crate::outbox::Flow;
use crate::worker::{Now, Worker};

impl Worker {
    /// Where a call to `endpoint` goes first, and the addresses to try after that, the next one last.
    ///
    /// One that registers has one address. The name of an endpoint was resolved before; where it was not, the endpoint is left out.
    pub(crate) fn destinations(
        &mut self,
        endpoint: &Endpoint,
        now: Now,
    ) -> Result<(Flow, Vec<SocketAddr>), Reason> {
        if endpoint.target.is_registration() {
            let registration = endpoint.access.binding(now.utc).ok_or(Reason::NotRegistered)?;
            let flow =
                self.registered_flow(registration).ok_or(Reason::NoListener)?.toward(endpoint.endpoint_id);
            return Ok((flow, Vec::new()));
        }
        let (transport, first, further) = match endpoint.target.literal() {
            Some((address, transport)) => (transport, address, Vec::new()),
            None => {
                let sets = self.share.common.server_sets.load();
                let servers = sets.get(&endpoint.target)?;
                let mut addresses = servers.order(self.rng.next_u64()).to_vec();
                addresses.reverse();
                let first = addresses.pop().ok_or(Reason::TargetUnresolved)?;
                (servers.transport, first, addresses)
            }
        };
        Ok((self.flow_to(endpoint, transport, first)?, further))
    }

    fn flow_to(&self, endpoint: &Endpoint, transport: Transport, remote: SocketAddr) -> Result<Flow, Reason> {
        let listener = self.listener_toward(endpoint, transport, remote).ok_or(Reason::NoListener)?;
        Ok(Flow::new(listener, transport, remote).toward(endpoint.endpoint_id))
    }

    /// The addresses at which an endpoint takes calls, as far as they are known.
    pub(crate) fn targets_of(&self, endpoint: &Endpoint, now: Now) -> Targets {
        if endpoint.target.is_registration() {
            let registration = endpoint.access.binding(now.utc);
            return registration.map(|it| it.source.ip()).into_iter().collect();
        }
        if let Some((address, _)) = endpoint.target.literal() {
            return Targets::from_elem(address.ip(), 1);
        }
        let sets = self.share.common.server_sets.load();
        let mut ips: Targets = sets.get(&endpoint.target).into_iter().flat_map(|set| set.ips()).collect();
        ips.sort_unstable();
        ips.dedup();
        ips
    }

    /// The transport and the places of an attempt that failed, where the server failed, so that another one of the same
    /// name may do better: the transport failed, nothing came back, or 503 (RFC 3263 §4.3).
    pub(crate) fn places_for_next_server(
        &mut self,
        key: CallKey,
        status: Option<u16>,
        reason: Option<Reason>,
    ) -> Option<(Transport, Lease)> {
        let is_of_server = match status {
            Some(status) => status == 503,
            None => reason == Some(Reason::EndpointUnreachable),
        };
        let call = &mut self.calls[key];
        let is_last = call.invite.as_ref().is_none_or(|invite| invite.addresses.is_empty());
        let leg = call.egress.as_mut().filter(|_| is_of_server && !is_last)?;
        Some((leg.flow.transport, leg.lease.take()?))
    }

    /// Sends the INVITE to the next address of the endpoint that was tried last, with the places of that attempt. False
    /// where that cannot be.
    pub(crate) fn try_next_server(
        &mut self,
        now: Now,
        key: CallKey,
        transport: Transport,
        lease: Lease,
    ) -> bool {
        let call = &self.calls[key];
        if now.instant >= self.setup_end(key) || call.cdr.attempts.len() >= MAX_ATTEMPTS.into() {
            return false;
        }
        let table = self.table.clone();
        let Some(index) = call.cdr.attempts.last().map(|attempt| attempt.candidate) else { return false };
        let candidate = call.cdr.candidate(index).expect("it was tried");
        let Some(endpoint) = table.endpoint(candidate.endpoint).filter(|endpoint| endpoint.enabled) else {
            return false;
        };
        let next = self.calls[key].invite.as_mut().and_then(|invite| invite.addresses.pop());
        let Some(address) = next else { return false };
        let Ok(flow) = self.flow_to(endpoint, transport, address) else { return false };
        self.send_invite(now, key, index, endpoint, flow, lease).is_ok()
    }
}

/// Host and port of an endpoint in a URI, and the transport parameter: as its target has them, since a name stands for
/// whichever of its servers takes the call.
pub(crate) fn place_of(target: &Target, flow: Flow) -> (String, String) {
    let parameter = |transport: Transport| format!(";transport={}", transport.as_str());
    match (&target.host, target.port) {
        (Host::Address(_), _) => {
            let transport = Some(flow.transport).filter(|transport| *transport != Transport::Udp);
            (flow.remote.to_string(), transport.map(parameter).unwrap_or_default())
        }
        (Host::Registration, _) => (flow.remote.to_string(), String::new()),
        (Host::Name(name), port) => {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            (format!("{name}{port}"), target.transport.map(parameter).unwrap_or_default())
        }
    }
}
