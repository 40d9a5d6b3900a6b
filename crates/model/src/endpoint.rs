//! One SIP address of a member: where it sends from, where it receives, and how much.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Access, CallLimits, CallMark, EndpointId, MemberId, Policy};

/// How SIP is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Datagrams (RFC 3261 §18).
    Udp,
    /// A stream, framed by Content-Length (RFC 3261 §18.3).
    Tcp,
    /// The same within TLS 1.2 or 1.3 (RFC 3261 §26.2.1).
    Tls,
}

impl Transport {
    /// Whether the transport itself resends what is lost, so that the transactions need not.
    pub fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls => true,
        }
    }

    /// As in a URI's `transport` parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// As in a Via header field.
    pub fn as_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The port where none is named (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
}

impl FromStr for Transport {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.eq_ignore_ascii_case("udp") {
            Ok(Self::Udp)
        } else if text.eq_ignore_ascii_case("tcp") {
            Ok(Self::Tcp)
        } else if text.eq_ignore_ascii_case("tls") {
            Ok(Self::Tls)
        } else {
            Err(TargetError::Transport(text.to_owned()))
        }
    }
}

/// From where an endpoint may send: an address block and, where given, one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The addresses, in CIDR form.
    pub net: IpNet,
    /// The only port it sends from; any port where there is none.
    pub port: Option<u16>,
}

impl Source {
    /// Whether a message from `address` is from this source.
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.net.contains(&address.ip()) && self.port.is_none_or(|port| port == address.port())
    }
}

/// The host of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A DNS name in lower case, without the dot at its end.
    Name(Box<str>),
    /// Wherever the endpoint has registered.
    Registration,
}

/// Text of the target of an endpoint that registers.
const REGISTRATION: &str = "registration";

/// Longest DNS name as text (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

impl FromStr for Host {
    type Err = TargetError;

    /// A literal address without brackets, or a name that DNS can hold (RFC 1123 §2.1).
    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Address(ip));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // What ends in digits is an address that is written wrong.
        let top = name.rsplit('.').next().unwrap_or_default();
        let is_name = name.len() <= MAX_NAME
            && name.split('.').all(is_label)
            && top.bytes().any(|octet| octet.is_ascii_alphabetic());
        match is_name {
            true => Ok(Self::Name(name.to_ascii_lowercase().into())),
            false => Err(TargetError::Host(text.to_owned())),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Address(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Registration => f.write_str(REGISTRATION),
        }
    }
}

/// Where the hub sends calls for an endpoint. Text form `sip:192.0.2.21:5060;transport=udp`, or with a name
/// `sip:sbc.acme.example;transport=tls`, or `registration`.
///
/// What a name leaves open, port and transport, DNS says (RFC 3263 §4). An address has both: UDP and the transport's
/// own port where the text names none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Address or name.
    pub host: Host,
    /// Port; never 0.
    pub port: Option<u16>,
    /// Transport.
    pub transport: Option<Transport>,
}

/// Why a text is not a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not begin with `sip:`.
    #[error(
        "a target begins with \"sip:\", such as sip:192.0.2.21:5060;transport=udp, or is the word registration"
    )]
    Scheme,
    /// The host is neither an IP address nor a DNS name.
    #[error(
        "{0:?} is no IP address and no DNS name; write sip:192.0.2.21:5060, sip:[2001:db8::1]:5060 or sip:sbc.example.net"
    )]
    Host(String),
    /// The port is no port.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// The transport is none that the hub speaks.
    #[error("{0:?} is not a transport; write transport=udp, transport=tcp or transport=tls")]
    Transport(String),
    /// A URI parameter that means nothing here.
    #[error("the parameter {0:?} is not known here; only transport is")]
    Parameter(String),
}

impl Target {
    /// An address with its transport.
    pub fn of(address: SocketAddr, transport: Transport) -> Self {
        Self { host: Host::Address(address.ip()), port: Some(address.port()), transport: Some(transport) }
    }

    /// Wherever the endpoint has registered.
    pub fn registration() -> Self {
        Self { host: Host::Registration, port: None, transport: None }
    }

    /// Whether calls go to wherever the endpoint has registered.
    pub fn is_registration(&self) -> bool {
        self.host == Host::Registration
    }

    /// Where messages go, when no DNS needs to be asked.
    pub fn literal(&self) -> Option<(SocketAddr, Transport)> {
        let Host::Address(ip) = self.host else { return None };
        let transport = self.transport.unwrap_or(Transport::Udp);
        Some((SocketAddr::new(ip, self.port.unwrap_or(transport.default_port())), transport))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text == REGISTRATION {
            return Ok(Self::registration());
        }
        let rest = text.strip_prefix("sip:").ok_or(TargetError::Scheme)?;
        let mut parts = rest.split(';');
        let host_port = parts.next().unwrap_or_default();
        let (host, port) = match host_port.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None => match host_port.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host_port, None),
            },
        };
        let host = host.parse()?;
        let port = match port {
            None => None,
            Some(text) => match text.parse() {
                Ok(port) if port != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Some(port),
                _ => return Err(TargetError::Port(text.to_owned())),
            },
        };
        let mut transport = None;
        for parameter in parts {
            match parameter.split_once('=') {
                Some((name, value)) if name.eq_ignore_ascii_case("transport") => {
                    transport = Some(value.parse()?);
                }
                _ => return Err(TargetError::Parameter(parameter.to_owned())),
            }
        }
        let target = Self { host, port, transport };
        Ok(target.literal().map_or(target, |(address, transport)| Self::of(address, transport)))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_registration() {
            return f.write_str(REGISTRATION);
        }
        write!(f, "sip:{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            Some(transport) => write!(f, ";transport={}", transport.as_str()),
            None => Ok(()),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What routing and the fabric know of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub endpoint_id: EndpointId,
    /// The member that it belongs to.
    pub member_id: MemberId,
    /// Its name, unique among its member's endpoints.
    pub name: String,
    /// Who may send as this endpoint. Sources of two endpoints overlap only where both have a mark.
    pub sources: Vec<Source>,
    /// What a call of this endpoint bears, so that it is told from those of others at the same source.
    #[serde(default)]
    pub call_mark: Option<CallMark>,
    /// The names in its TLS client certificate, any of which tells that it is this endpoint (RFC 5922 §7.1); in lower
    /// case. No two endpoints share one.
    pub certificate_names: Vec<String>,
    /// Where calls for it go.
    pub target: Target,
    /// Names of the sites where it meets the hub; anywhere where there is none.
    pub sites: Vec<String>,
    /// How else it is known and reached.
    #[serde(default)]
    pub access: Access,
    /// Lower is tried first (RFC 2782).
    pub priority: u16,
    /// Share of the calls among endpoints of the same priority (RFC 2782).
    pub weight: u16,
    /// Most calls up at once, in both directions together; no bound where there is none.
    pub max_calls: Option<u32>,
    /// Most new calls a second from it; no bound where there is none.
    pub max_calls_per_second: Option<u32>,
    /// Whether it takes part: a disabled endpoint neither sends nor receives.
    pub enabled: bool,
    /// How the hub speaks with it.
    pub policy: Policy,
}

impl Endpoint {
    /// Whether it meets the hub at a site: at one of its own, or anywhere.
    pub fn is_at(&self, site: &str) -> bool {
        self.sites.is_empty() || self.sites.iter().any(|own| own == site)
    }

    /// What it may carry.
    pub fn limits(&self) -> CallLimits {
        CallLimits { max_calls: self.max_calls, max_calls_per_second: self.max_calls_per_second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_and_written_alike() {
        for text in ["sip:192.0.2.21:5060;transport=udp", "sip:[2001:db8::1]:5070;transport=tcp"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["sip:sbc.acme.example;transport=tls", "sip:acme.example", "sip:sbc.acme.example:5080"] {
            let target = text.parse::<Target>().unwrap();
            assert_eq!((target.to_string().as_str(), target.literal()), (text, None));
        }
        assert_eq!("registration".parse::<Target>(), Ok(Target::registration()));
        assert_eq!(Target::registration().to_string(), "registration");
        assert_eq!(Target::registration().literal(), None);
        assert_eq!("sip:SBC.Acme.example.".parse::<Target>(), "sip:sbc.acme.example".parse());
        assert_eq!("sip:192.0.2.21".parse::<Target>(), "sip:192.0.2.21:5060;transport=udp".parse());
        assert_eq!(
            "sip:192.0.2.21;transport=tls".parse::<Target>(),
            "sip:192.0.2.21:5061;transport=tls".parse()
        );
        assert_eq!("sip:[::1]".parse::<Target>(), "sip:[::1]:5060".parse());
    }

    #[test]
    fn a_text_that_is_no_target_says_what_to_write() {
        let table = [
            ("192.0.2.21:5060", TargetError::Scheme),
            ("sip:sbc_1.example", TargetError::Host("sbc_1.example".into())),
            ("sip:192.0.2.256", TargetError::Host("192.0.2.256".into())),
            ("sip:-sbc.example", TargetError::Host("-sbc.example".into())),
            ("sip:acme..example", TargetError::Host("acme..example".into())),
            ("sip:", TargetError::Host(String::new())),
            ("sip:192.0.2.21:0", TargetError::Port("0".into())),
            ("sip:192.0.2.21:+5", TargetError::Port("+5".into())),
            ("sip:192.0.2.21:65536", TargetError::Port("65536".into())),
            ("sip:192.0.2.21;transport=sctp", TargetError::Transport("sctp".into())),
            ("sip:192.0.2.21;lr", TargetError::Parameter("lr".into())),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_source_with_a_port_takes_no_other_port() {
        let source = Source { net: "192.0.2.0/24".parse().unwrap(), port: Some(5060) };
        assert!(source.contains("192.0.2.7:5060".parse().unwrap()));
        assert!(!source.contains("192.0.2.7:5061".parse().unwrap()));
        assert!(!source.contains("192.0.3.7:5060".parse().unwrap()));
    }
}
