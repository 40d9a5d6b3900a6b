//! Addresses on the loopback network that no other test has, and free ports.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Whoever binds it at the last address of a block has the other 253.
const CLAIM_PORT: u16 = 20_000;

/// The last address of a block that a peer gets.
const LAST: u8 = 253;

/// Addresses of 127.0.0.0/8 with the same three octets.
struct Block {
    octets: [u8; 3],
    next: u8,
    /// No other process takes the block as long as this is bound.
    _claim: UdpSocket,
}

/// The blocks of this process, the one in use at the end.
static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());

impl Block {
    /// One that no process has. 127.0 is left to what people run.
    fn claim() -> Self {
        let first = std::process::id();
        let blocks = (0..65_024).map(|further| {
            let [.., high, low] = (first.wrapping_add(further) % 65_024).to_be_bytes();
            [127, high + 1, low]
        });
        let mut claimed = blocks.filter_map(|octets| {
            let [a, b, c] = octets;
            let claim = UdpSocket::bind((Ipv4Addr::new(a, b, c, LAST + 1), CLAIM_PORT)).ok()?;
            Some(Self { octets, next: 1, _claim: claim })
        });
        claimed.next().expect("the loopback network has all of 127.0.0.0/8, and a block of it is free")
    }
}

/// An address in 127.0.0.0/8 for one peer.
pub fn peer_address() -> IpAddr {
    let mut blocks = BLOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    if blocks.last().is_none_or(|block| block.next > LAST) {
        blocks.push(Block::claim());
    }
    let block = blocks.last_mut().expect("one was just claimed");
    let ([a, b, c], peer) = (block.octets, block.next);
    block.next += 1;
    IpAddr::V4(Ipv4Addr::new(a, b, c, peer))
}

/// A port on `ip` that is free for UDP and for TCP, and that nobody in this process was given before: until it is in use, the
/// system may give it again.
pub fn free_port(ip: IpAddr) -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    for _ in 0..100 {
        let tcp = TcpListener::bind((ip, 0)).expect("the system gives a port");
        let address = tcp.local_addr().expect("a bound socket has an address");
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if UdpSocket::bind(address).is_ok() && given.insert(address) {
            return address;
        }
    }
    panic!("no port on {ip} is free for UDP and TCP");
}
