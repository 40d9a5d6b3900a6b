//! Where a request came from and its response goes: Via of RFC 3261 §18.2 and §20.42, `rport` of RFC 3581.

use std::net::{IpAddr, SocketAddr};

use crate::octets::{self, Params};
use crate::writer::{extend_clean, extend_text};
use crate::{Fault, Name};

/// Port where none is written, for UDP and TCP (RFC 3261 §19.1.2).
pub const DEFAULT_PORT: u16 = 5060;

/// Port where none is written, for TLS.
pub const DEFAULT_TLS_PORT: u16 = 5061;

/// The magic cookie that branches of RFC 3261 begin with (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, … as it was written; compared without case.
    pub transport: &'a [u8],
    /// Host of sent-by, IPv6 without its brackets.
    pub host: &'a [u8],
    /// Port of sent-by where it is written.
    pub port: Option<u16>,
    /// The branch, where it is there and not empty.
    pub branch: Option<&'a [u8]>,
    /// All parameters, without the `;` before the first.
    pub params: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads one value, such as `SIP/2.0/UDP host:5060;branch=z9hG4bK1`; white space may stand around `/` and `:`.
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, Fault> {
        let malformed = Fault::Malformed(Name::Via);
        let (protocol, rest) = token_before_slash(value).ok_or(malformed)?;
        let (version, _) = token_before_slash(rest).ok_or(malformed)?;
        if !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return Err(malformed);
        }
        Via::read(value).ok_or(malformed)
    }

    /// Reads one value of any protocol and version, for a response to it.
    pub(crate) fn read(value: &'a [u8]) -> Option<Via<'a>> {
        let (_, rest) = token_before_slash(value)?;
        let (_, rest) = token_before_slash(rest)?;
        let rest = octets::trim(rest);
        let end = rest.iter().position(|octet| octets::is_space(*octet))?;
        let (transport, sent_by) = (&rest[..end], octets::trim(&rest[end..]));
        let (host, port, params) = octets::host_port(sent_by)?;
        if !octets::is_token(transport) {
            return None;
        }
        let params = match octets::trim(params) {
            [] => &[][..],
            [b';', params @ ..] => params,
            _ => return None,
        };
        let branch = Params::find(params, b"branch").flatten().filter(|branch| !branch.is_empty());
        Some(Via { transport, host, port, branch, params })
    }

    /// The `received` parameter, where it is an address (brackets around IPv6 are tolerated).
    pub fn received(&self) -> Option<IpAddr> {
        address(Params::find(self.params, b"received")??)
    }

    /// `rport` of RFC 3581: `None` absent, `Some(None)` asked for, `Some(Some(port))` filled in.
    ///
    /// One that is no port counts as asked for.
    pub fn rport(&self) -> Option<Option<u16>> {
        let value = Params::find(self.params, b"rport")?;
        Some(value.and_then(|port| u16::try_from(octets::decimal(port, 65_535)?).ok()))
    }

    /// True when the branch begins with the magic cookie (RFC 3261 §17.2.3).
    pub fn has_magic_cookie(&self) -> bool {
        self.branch
            .is_some_and(|branch| branch.len() > MAGIC_COOKIE.len() && branch.starts_with(MAGIC_COOKIE))
    }

    /// The port of sent-by, or the transport's default.
    pub fn port_or_default(&self) -> u16 {
        let tls = self.transport.eq_ignore_ascii_case(b"TLS") || self.transport.eq_ignore_ascii_case(b"WSS");
        self.port.unwrap_or(if tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT })
    }
}

/// Where the response to a request goes, by its top Via and the source that was recorded when it came in.
///
/// RFC 3261 §18.2.2 and RFC 3581 §4. Over a reliable transport this is where to connect to when the
/// connection of the request is gone. `maddr` is not followed: a member could aim responses at others
/// with it. Nor are `received` and `rport` as the sender wrote them: `source` is what they must say.
pub fn response_target(via: &Via<'_>, source: SocketAddr) -> SocketAddr {
    match via.rport() {
        Some(_) => source,
        None => SocketAddr::new(source.ip(), via.port_or_default()),
    }
}

/// Appends a Via value as the server transport records it: `received` when sent-by is not the source address
/// or `rport` is asked for, `rport` filled in where it is asked for (RFC 3261 §18.2.1, RFC 3581 §4).
///
/// A `received` that the sender wrote is replaced. A value that cannot be read is copied as it is, in one line.
pub fn write_stamped_via(out: &mut Vec<u8>, value: &[u8], source: SocketAddr) {
    let Ok(via) = Via::parse(value) else {
        return extend_clean(out, value);
    };
    // `params` ends where the value ends, but for white space.
    let value = octets::trim(value);
    let head = match via.params.is_empty() {
        true => octets::trim(value),
        false => octets::trim(&value[..value.len().saturating_sub(via.params.len() + 1)]),
    };
    extend_clean(out, head.strip_suffix(b";").unwrap_or(head));
    write_stamp(out, &via, Params::new(via.params), source);
}

/// Appends the parameters of a Via, with `received` and `rport` as the server transport records them.
pub(crate) fn write_stamp<'a>(
    out: &mut Vec<u8>,
    via: &Via<'_>,
    params: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    source: SocketAddr,
) {
    let mut wants_rport = false;
    for (name, value) in params {
        if name.is_empty() || name.eq_ignore_ascii_case(b"received") {
            continue;
        }
        let is_rport = name.eq_ignore_ascii_case(b"rport");
        if is_rport && wants_rport {
            continue;
        }
        out.push(b';');
        extend_clean(out, name);
        if is_rport {
            wants_rport = true;
            extend_text(out, format_args!("={}", source.port()));
        } else if let Some(value) = value {
            out.push(b'=');
            extend_clean(out, value);
        }
    }
    let ip = source.ip().to_canonical();
    if wants_rport || address(via.host) != Some(ip) {
        extend_text(out, format_args!(";received={ip}"));
    }
}

fn address(host: &[u8]) -> Option<IpAddr> {
    let host = host.strip_prefix(b"[").and_then(|inside| inside.strip_suffix(b"]")).unwrap_or(host);
    let ip = match octets::ipv6(host) {
        Some(ip) => IpAddr::V6(ip),
        None => std::str::from_utf8(host).ok()?.parse().ok()?,
    };
    Some(ip.to_canonical())
}

fn token_before_slash(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = memchr::memchr(b'/', octets)?;
    let token = octets::trim(&octets[..slash]);
    octets::is_token(token).then_some((token, &octets[slash + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(value: &str) -> Via<'_> {
        Via::parse(value.as_bytes()).unwrap()
    }

    fn stamped(value: &str, source: &str) -> String {
        let mut out = Vec::new();
        write_stamped_via(&mut out, value.as_bytes(), source.parse().unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_via_is_cut_into_its_parts() {
        let via = via("SIP / 2.0\r\n / UDP  [2001:db8::9]:5070 ;branch=z9hG4bKa;rport;ttl=1");
        assert_eq!(via.transport, b"UDP");
        assert_eq!((via.host, via.port), (&b"2001:db8::9"[..], Some(5070)));
        assert_eq!(via.branch, Some(&b"z9hG4bKa"[..]));
        assert_eq!(via.rport(), Some(None));
        assert!(via.has_magic_cookie());
    }

    #[test]
    fn rport_and_received_are_read() {
        let via = via("SIP/2.0/UDP h;rport=4000;received=[2001:db8::1]");
        assert_eq!(via.rport(), Some(Some(4000)));
        assert_eq!(via.received(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!((via.branch, via.port), (None, None));
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for value in [
            "",
            "SIP/2.0",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP h",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP [::1",
        ] {
            assert_eq!(Via::parse(value.as_bytes()), Err(Fault::Malformed(Name::Via)), "{value:?}");
        }
    }

    #[test]
    fn received_is_added_where_sent_by_is_not_the_source() {
        assert_eq!(
            stamped("SIP/2.0/UDP h:5070;branch=z9hG4bKa", "192.0.2.1:5060"),
            "SIP/2.0/UDP h:5070;branch=z9hG4bKa;received=192.0.2.1"
        );
        assert_eq!(stamped("SIP/2.0/UDP 192.0.2.1", "192.0.2.1:5060"), "SIP/2.0/UDP 192.0.2.1");
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1", "192.0.2.2:5060"),
            "SIP/2.0/UDP 192.0.2.1;received=192.0.2.2"
        );
    }

    #[test]
    fn rport_is_filled_in_where_it_is_asked_for() {
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKa", "192.0.2.1:4321"),
            "SIP/2.0/UDP 192.0.2.1;rport=4321;branch=z9hG4bKa;received=192.0.2.1"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP [2001:db8::9]:5060;rport", "[2001:db8::1]:9"),
            "SIP/2.0/UDP [2001:db8::9]:5060;rport=9;received=2001:db8::1"
        );
    }

    #[test]
    fn a_forged_received_is_replaced() {
        assert_eq!(
            stamped("SIP/2.0/UDP h;received=203.0.113.66;branch=z9hG4bKa;rport=1", "192.0.2.1:9"),
            "SIP/2.0/UDP h;branch=z9hG4bKa;rport=9;received=192.0.2.1"
        );
    }

    #[test]
    fn a_stamped_via_has_no_folds() {
        assert_eq!(
            stamped("SIP/2.0/UDP h\r\n ;branch=a\r\n ;ttl=1", "192.0.2.1:9"),
            "SIP/2.0/UDP h;branch=a;ttl=1;received=192.0.2.1"
        );
    }

    #[test]
    fn a_response_goes_to_the_source_and_the_port_of_sent_by() {
        let source = "192.0.2.1:4321".parse().unwrap();
        let target = |value: &'static str| response_target(&via(value), source).to_string();
        assert_eq!(target("SIP/2.0/UDP h:5070"), "192.0.2.1:5070");
        assert_eq!(target("SIP/2.0/UDP h"), "192.0.2.1:5060");
        assert_eq!(target("SIP/2.0/TLS h"), "192.0.2.1:5061");
        assert_eq!(target("SIP/2.0/UDP h:5070;rport"), "192.0.2.1:4321");
        assert_eq!(target("SIP/2.0/UDP h:5070;received=203.0.113.66;maddr=203.0.113.66"), "192.0.2.1:5070");
    }
}
