//! One question to a local HTTP server: is it ready?

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Status of `GET path`; `None` while nobody answers.
pub(crate) fn status(server: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    // What comes before a fault is enough: the status is in the first line.
    let _ = stream.read_to_string(&mut response);
    response.split(' ').nth(1)?.parse().ok()
}
