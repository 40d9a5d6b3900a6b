//! What the whole-hub scenarios in `tests/` are written with: the hub as a program of its own, and real peers.
//!
//! A scenario declares an exchange, starts a [`Hub`] and peers ([`sipp`], [`baresip`], or a bare [`Socket`] where
//! the octets matter), and then looks at what the peers, the API and the metrics say. Peers have loopback
//! addresses of their own, so nothing collides and nothing leaves the machine. A failed expectation panics:
//! this crate is test code through and through.

pub mod address;
pub mod api;
pub mod baresip;
pub mod child;
pub mod cluster;
pub mod dns;
pub mod exchange;
pub mod gateway;
pub mod hub;
pub mod kamailio;
pub mod linphone;
pub mod pki;
pub mod proxy;
pub mod sipp;
pub mod socket;
pub mod tone;
pub mod traffic;
pub mod wait;

pub use address::peer_address;
pub use api::{Answer, Api};
pub use baresip::Baresip;
pub use cluster::Cluster;
pub use dns::{Dnsmasq, NameServer};
pub use exchange::{CALLED, Endpoint, Exchange, PREFIX};
pub use hub::{AtRest, Hub, Settings, may_mount};
pub use kamailio::Kamailio;
pub use linphone::Linphone;
pub use sipp::Sipp;
pub use socket::Socket;
pub use traffic::{Plan, Switch, Traffic};
pub use wait::{now, until};

use std::time::Duration;

/// Whether the scenarios run at the length of the acceptance test (`TANDEM_LONG=1`) or at that of every day.
pub fn long() -> bool {
    std::env::var_os("TANDEM_LONG").is_some_and(|value| value != "0")
}

/// How long load is kept up: `every_day` seconds, or `long` ones with `TANDEM_LONG=1`.
pub fn lasting(every_day: u64, at_length: u64) -> Duration {
    Duration::from_secs(if long() { at_length } else { every_day })
}

/// A length or a seed that `cargo xtask soak` sets; the name has no `TANDEM_` before it, which is the hub's.
pub fn told(name: &str) -> Option<f64> {
    std::env::var(name).ok()?.parse().ok()
}
