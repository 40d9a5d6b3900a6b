//! Addresses on the loopback network that no other test has, and free ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};

static NEXT: AtomicU8 = AtomicU8::new(1);

/// An address in 127.0.0.0/8 for one peer: two octets from this process, one from a counter.
pub fn peer_address() -> IpAddr {
    let process = std::process::id();
    let peer = NEXT.fetch_add(1, Ordering::Relaxed);
    assert_ne!(peer, 255, "a test file has at most 254 peers");
    let [.., high, low] = (process % 64_768).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, high + 1, low, peer))
}

/// A port on `ip` that is free for UDP and for TCP.
pub fn free_port(ip: IpAddr) -> SocketAddr {
    for _ in 0..100 {
        let tcp = TcpListener::bind((ip, 0)).expect("the system gives a port");
        let address = tcp.local_addr().expect("a bound socket has an address");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port on {ip} is free for UDP and TCP");
}
