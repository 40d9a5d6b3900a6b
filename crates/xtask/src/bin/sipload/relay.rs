//! The floor below every proxy: a relay that copies datagrams and knows nothing of SIP.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};

/// Copies for ever: what comes from `gateway` goes to whoever was the last other one, and all else to `gateway`.
pub(crate) fn run(listen: SocketAddrV4, gateway: SocketAddrV4) -> io::Result<()> {
    let socket = UdpSocket::bind(listen)?;
    let gateway = gateway.into();
    let mut caller = gateway;
    let mut room = [0; 65_536];
    loop {
        let (len, from) = match socket.recv_from(&mut room) {
            Ok(received) => received,
            // The far end's port was closed for a moment.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let to = if from == gateway {
            caller
        } else {
            caller = from;
            gateway
        };
        // What cannot be sent is lost, as on a network.
        let _ = socket.send_to(&room[..len], to);
    }
}
