//! How far an IP address reaches: what keeps the hub from sending to itself or its surroundings because a member
//! says so.
//!
//! One answer for everything that a member names: the target of an endpoint, what a DNS name leads to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who is at an address, by the registries of special-purpose addresses (RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One host, wherever it is looked for.
    Public,
    /// A host of the network that the looker is in (RFC 1918, RFC 4193, RFC 6598, RFC 2544).
    Private,
    /// The looker itself.
    Loopback,
    /// A host on the looker's link.
    LinkLocal,
    /// Many hosts: multicast and broadcast.
    Many,
    /// No host.
    Nobody,
}

impl Scope {
    /// The scope of an address. One that carries an IPv4 address inside has the scope of that.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18..=19, ..] => {
                Self::Private
            }
            [169, 254, ..] => Self::LinkLocal,
            [224..=239, ..] | [255, 255, 255, 255] => Self::Many,
            // "This network", protocol assignments, the former relays of 6to4, and what is reserved.
            [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => Self::Nobody,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let inner = |high: u16, low: u16| {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // Mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052), 6to4 (RFC 3056).
            [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
            [0x2002, high, low, ..] => inner(high, low),
            // NAT64 of one network (RFC 8215).
            [0x64, 0xff9b, 1, ..] => Self::Private,
            [0xff00..=0xffff, ..] => Self::Many,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // Unique local addresses, and the site-local ones that they replaced (RFC 3879).
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            // Teredo carries an address that it hides (RFC 4380).
            [0x2001, 0, ..] => Self::Nobody,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_scope_however_it_is_wrapped() {
        use Scope::*;
        let table = [
            ("198.51.100.7", Public),
            ("2001:db8::7", Public),
            ("8.8.8.8", Public),
            ("10.0.0.1", Private),
            ("172.15.255.255", Public),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("100.128.0.1", Public),
            ("fd00::1", Private),
            ("fec0::1", Private),
            ("127.0.0.1", Loopback),
            ("127.255.0.9", Loopback),
            ("::1", Loopback),
            ("169.254.169.254", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("224.0.0.1", Many),
            ("255.255.255.255", Many),
            ("ff02::1", Many),
            ("0.0.0.0", Nobody),
            ("0.1.2.3", Nobody),
            ("250.0.0.1", Nobody),
            ("192.0.0.8", Nobody),
            ("::", Nobody),
            ("::7f00:1", Nobody),
            ("100::1", Nobody),
            ("2001:0:5ef5:79fd::1", Nobody),
            ("4000::1", Nobody),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:198.51.100.7", Public),
            ("64:ff9b::10.0.0.1", Private),
            ("64:ff9b::198.51.100.7", Public),
            ("64:ff9b:1::198.51.100.7", Private),
            ("2002:7f00:1::1", Loopback),
            ("2002:a9fe:a9fe::1", LinkLocal),
        ];
        for (text, scope) in table {
            assert_eq!(Scope::of(text.parse().unwrap()), scope, "{text}");
        }
    }
}
