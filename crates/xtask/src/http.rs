//! Questions to a local HTTP server: is it ready, and what its API answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

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

/// An API, and the token to ask it with.
pub(crate) struct Api {
    pub(crate) server: SocketAddr,
    pub(crate) token: String,
}

impl Api {
    /// What is answered to a request, where that is a success.
    pub(crate) fn ask(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> Result<Value> {
        let Self { server, token } = self;
        let mut stream = TcpStream::connect(server)?;
        let size = body.len();
        write!(
            stream,
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: {media_type}\r\nContent-Length: {size}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (head, text) = response.split_once("\r\n\r\n").context("the API hung up")?;
        if !head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            bail!("{method} {path}: {text}");
        }
        Ok(serde_json::from_str(text)?)
    }
}
