//! A target as the columns of `endpoint` hold it: an address or a name, and what is known beside it.

use std::net::SocketAddr;

use sqlx::types::ipnet::IpNet;
use tandem_model::{Host, Target};

use crate::word;

/// The columns `target_address`, `target_name`, `target_port` and `target_transport`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetColumns {
    pub(crate) address: Option<IpNet>,
    pub(crate) name: Option<String>,
    pub(crate) port: Option<i32>,
    pub(crate) transport: Option<String>,
}

impl TargetColumns {
    pub(crate) fn of(target: &Target) -> Self {
        let (address, name) = match &target.host {
            Host::Address(ip) => (Some(IpNet::from(*ip)), None),
            Host::Name(name) => (None, Some(name.to_string())),
            Host::Registration => (None, None),
        };
        let transport = target.transport.map(|transport| transport.as_str().to_owned());
        Self { address, name, port: target.port.map(i32::from), transport }
    }

    /// The target; an error where the constraints of the schema were not kept.
    pub(crate) fn read(self) -> sqlx::Result<Target> {
        let port: Option<u16> = self.port.map(word::fits).transpose()?;
        let transport = self.transport.as_deref().map(word::read).transpose()?;
        match (self.address, self.name, port, transport) {
            (Some(address), None, Some(port), Some(transport)) => {
                Ok(Target::of(SocketAddr::new(address.addr(), port), transport))
            }
            (None, Some(name), port, transport) => {
                Ok(Target { host: Host::Name(name.into()), port, transport })
            }
            (None, None, None, None) => Ok(Target::registration()),
            _ => Err(sqlx::Error::Decode("a target is an address with port and transport, or a name".into())),
        }
    }
}
