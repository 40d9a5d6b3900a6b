//! Where a member's switch said that it is, by REGISTER (RFC 3261 §10).

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Credential, CredentialId, NodeId, OutboundCredential, Transport};

/// Everything by which an endpoint is known or reached other than fixed addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    /// By what the endpoint proves who it is.
    pub inbound: Option<Credential>,
    /// By what the hub proves to the endpoint who it is.
    pub outbound: Option<OutboundCredential>,
    /// Where it registered last, also when that is over.
    pub registration: Option<Registration>,
}

/// The binding of an endpoint. An endpoint is one SIP address, so it has one: a newer REGISTER replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// With which credential it was made; with another one it is void.
    pub credential_id: CredentialId,
    /// The Contact URI as it was given: the Request-URI of calls (RFC 3261 §16.5).
    pub contact: String,
    /// From where the REGISTER came. Calls go there, wherever the Contact leads: it may be behind a NAT.
    pub source: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// The listener that it came to, as members see it: calls leave from there.
    pub listener: SocketAddr,
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// Its CSeq number: with the same Call-ID only a higher one changes the binding.
    pub cseq: u32,
    /// When it came.
    pub registered_at: DateTime<Utc>,
    /// Until when it holds; what was taken back has ended when it came.
    pub expires_at: DateTime<Utc>,
    /// The node that took it.
    pub node_id: NodeId,
}

impl Access {
    /// Takes the registration of an earlier state over where it is the later one: it may be on its way to the
    /// database.
    pub fn keep_later(&mut self, earlier: &Self) {
        let registered_at = |access: &Self| access.registration.as_ref().map(|it| it.registered_at);
        if registered_at(earlier) > registered_at(self) {
            self.registration.clone_from(&earlier.registration);
        }
    }

    /// The binding that holds at `now`.
    pub fn binding(&self, now: DateTime<Utc>) -> Option<&Registration> {
        let credential = self.inbound.as_ref()?;
        self.registration
            .as_ref()
            .filter(|it| it.credential_id == credential.credential_id && now < it.expires_at)
    }
}
