//! Streams of messages over TCP or TLS: one connection that was opened, or those that were accepted.
//!
//! Nothing blocks once a connection is there: what the kernel does not take waits for the next turn.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::ServerConfig;
use socket2::{Domain, Type};

use crate::clock::now;
use crate::frame;
use crate::socket::{Arrival, Received};
use crate::tls::{Tls, accepted};

/// Most octets that are read from a connection before another one has its turn.
const READ: usize = 64 * 1024;

/// All connections of one place.
pub(crate) struct Streams {
    /// `None` where the one connection was opened.
    listener: Option<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    connections: Vec<Connection>,
    room: Vec<u8>,
}

impl Streams {
    /// Takes connections at `address`, over TLS where it is given.
    pub(crate) fn listen(address: SocketAddrV4, tls: Option<&Tls>) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self::new(Some(listener), tls.map(Tls::server), Vec::new()))
    }

    /// Opens a connection from a port of `from`, and the address that it has there. A handshake is over by then.
    pub(crate) fn connect(
        from: Ipv4Addr,
        target: SocketAddrV4,
        tls: Option<&Tls>,
    ) -> Result<(Self, SocketAddrV4)> {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddrV4::new(from, 0).into())?;
        socket.connect(&target.into())?;
        let mut socket = TcpStream::from(socket);
        let mut tls = tls.map(|tls| tls.client(target)).transpose()?;
        if let Some(tls) = &mut tls {
            tls.complete_io(&mut socket)?;
        }
        let local = four(socket.local_addr()?)?;
        let connection = Connection::new(socket, target, tls)?;
        Ok((Self::new(None, None, vec![connection]), local))
    }

    fn new(
        listener: Option<TcpListener>,
        tls: Option<Arc<ServerConfig>>,
        connections: Vec<Connection>,
    ) -> Self {
        Self { listener, tls, connections, room: vec![0; READ] }
    }

    /// Sends the messages in `text`: where each one ends, and where it goes. What goes to no open connection is lost.
    pub(crate) fn send(&mut self, text: &[u8], waiting: &[(usize, SocketAddrV4)]) {
        let mut start = 0;
        for &(end, to) in waiting {
            if let Some(connection) = self.connections.iter_mut().find(|connection| connection.far == to) {
                connection.put(&text[start..end]);
            }
            start = end;
        }
        self.connections.iter_mut().for_each(Connection::flush);
    }

    /// Takes what has come, from each connection at most [`READ`] octets.
    ///
    /// # Errors
    /// When what comes is no SIP.
    pub(crate) fn receive(&mut self, into: &mut Received) -> Result<()> {
        into.buffer.clear();
        into.arrivals.clear();
        self.accept()?;
        for connection in &mut self.connections {
            connection.receive(&mut self.room, into)?;
        }
        // Its calls fail, as those of a switch would.
        self.connections.retain(|connection| !connection.is_over);
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        loop {
            match listener.accept() {
                Ok((socket, far)) => {
                    let tls = self.tls.as_ref().map(accepted).transpose()?;
                    self.connections.push(Connection::new(socket, four(far)?, tls)?);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot accept a connection"),
            }
        }
    }
}

fn four(address: SocketAddr) -> Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => bail!("{address} is not of IPv4"),
    }
}

struct Connection {
    socket: TcpStream,
    far: SocketAddrV4,
    tls: Option<rustls::Connection>,
    /// What has come and is no whole message yet.
    incoming: Vec<u8>,
    /// What the kernel is to have; TLS keeps it itself.
    outgoing: Vec<u8>,
    is_over: bool,
}

impl Connection {
    fn new(socket: TcpStream, far: SocketAddrV4, tls: Option<rustls::Connection>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, far, tls, incoming: Vec::new(), outgoing: Vec::new(), is_over: false })
    }

    /// Queues a message; over TLS it is a record of its own, as a switch makes it.
    fn put(&mut self, message: &[u8]) {
        match &mut self.tls {
            // Without a limit its buffer takes everything.
            Some(tls) => drop(tls.writer().write_all(message)),
            None => self.outgoing.extend(message),
        }
    }

    fn flush(&mut self) {
        loop {
            let written = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.socket),
                None if !self.outgoing.is_empty() => self.socket.write(&self.outgoing),
                _ => return,
            };
            match written {
                Ok(count) if self.tls.is_none() => drop(self.outgoing.drain(..count)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_over |= error.kind() != io::ErrorKind::WouldBlock;
                    return;
                }
            }
        }
    }

    fn receive(&mut self, room: &mut [u8], into: &mut Received) -> Result<()> {
        // The messages of one turn were all there at its beginning, or came while it lasted.
        let Some(at) = self.read(room) else { return Ok(()) };
        let mut start = 0;
        loop {
            start += frame::gap(&self.incoming[start..]);
            let Some(len) = frame::length(&self.incoming[start..])? else { break };
            into.arrivals.push(Arrival { from: self.far, at, start: into.buffer.len(), len });
            into.buffer.extend(&self.incoming[start..start + len]);
            start += len;
        }
        self.incoming.drain(..start);
        Ok(())
    }

    /// Adds to `incoming` what has come; when that was, where anything has.
    fn read(&mut self, room: &mut [u8]) -> Option<i64> {
        let mut at = None;
        let mut taken = 0;
        while taken < READ {
            let count = match &mut self.tls {
                Some(tls) => tls.read_tls(&mut self.socket),
                None => self.socket.read(room),
            };
            match count {
                Ok(0) => {
                    self.is_over = true;
                    break;
                }
                Ok(count) => {
                    at.get_or_insert_with(now);
                    taken += count;
                    match &mut self.tls {
                        Some(tls) => {
                            if let Err(error) = tls.process_new_packets() {
                                say(format!("{} does not speak TLS as it should: {error}", self.far));
                                self.is_over = true;
                                break;
                            }
                            // Until it would block, or the far end has said that there is no more.
                            while let Ok(count @ 1..) = tls.reader().read(room) {
                                self.incoming.extend(&room[..count]);
                            }
                        }
                        None => self.incoming.extend(&room[..count]),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.is_over = true;
                    break;
                }
            }
        }
        at
    }
}

#[expect(clippy::print_stderr, reason = "the one who started us wants to know why calls fail")]
fn say(what: impl std::fmt::Display) {
    eprintln!("sipload: {what}");
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MESSAGES: usize = 2_000;

    fn tls(folder: &std::path::Path) -> Tls {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.join("authority.pem"), own.cert.pem()).unwrap();
        fs::write(folder.join("certificate.pem"), own.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
        Tls::read(folder).unwrap()
    }

    fn message(number: usize) -> Vec<u8> {
        let body = "x".repeat(number % 700);
        let len = body.len();
        format!("INFO sip:{number}@h SIP/2.0\r\nContent-Length: {len}\r\n\r\n{body}").into_bytes()
    }

    /// Takes turns of both ends until `there` has as many messages as it is to have.
    fn exchange(
        here: &mut Streams,
        there: &mut Streams,
        got: &mut Vec<(SocketAddrV4, Vec<u8>)>,
        count: usize,
    ) {
        let (started, mut received) = (now(), Received::default());
        while got.len() < count {
            here.send(&[], &[]);
            there.send(&[], &[]);
            there.receive(&mut received).unwrap();
            let octets = |arrival: &Arrival| (arrival.from, received.octets(arrival).to_vec());
            got.extend(received.arrivals.iter().map(octets));
            here.receive(&mut Received::default()).unwrap();
            assert!(now() - started < 20_000_000_000, "{} of {count} messages came", got.len());
        }
    }

    #[test]
    fn messages_cross_tcp_and_tls_whole_and_in_their_order_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let tls = tls(folder.path());
        for tls in [None, Some(&tls)] {
            let mut gateway = Streams::listen("127.0.0.1:0".parse().unwrap(), tls).unwrap();
            let target = four(gateway.listener.as_ref().unwrap().local_addr().unwrap()).unwrap();
            let (mut caller, caller_at) = std::thread::scope(|scope| {
                let opening = scope.spawn(|| Streams::connect(Ipv4Addr::LOCALHOST, target, tls).unwrap());
                while !opening.is_finished() {
                    gateway.receive(&mut Received::default()).unwrap();
                    gateway.send(&[], &[]);
                }
                opening.join().unwrap()
            });
            let mut text = Vec::new();
            let mut waiting = |to| -> (Vec<u8>, Vec<(usize, SocketAddrV4)>) {
                text.clear();
                let ends = (0..MESSAGES).map(|number| {
                    text.extend(message(number));
                    (text.len(), to)
                });
                let ends = ends.collect();
                (text.clone(), ends)
            };
            let (mut at_gateway, mut at_caller) = (Vec::new(), Vec::new());
            let (octets, ends) = waiting(target);
            caller.send(&octets, &ends);
            exchange(&mut caller, &mut gateway, &mut at_gateway, MESSAGES);
            let (octets, ends) = waiting(caller_at);
            gateway.send(&octets, &ends);
            exchange(&mut gateway, &mut caller, &mut at_caller, MESSAGES);
            for (got, from) in [(at_gateway, caller_at), (at_caller, target)] {
                assert_eq!(got.len(), MESSAGES);
                let in_order = got.into_iter().enumerate();
                in_order.for_each(|(number, got)| assert_eq!(got, (from, message(number)), "{number}"));
            }
        }
    }

    #[test]
    fn a_connection_that_speaks_no_tls_is_closed_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut gateway = Streams::listen("127.0.0.1:0".parse().unwrap(), Some(&tls(folder.path()))).unwrap();
        let target = four(gateway.listener.as_ref().unwrap().local_addr().unwrap()).unwrap();
        let (mut stranger, _) = Streams::connect(Ipv4Addr::LOCALHOST, target, None).unwrap();
        let octets = message(1);
        stranger.send(&octets, &[(octets.len(), target)]);
        let started = now();
        while !stranger.connections.is_empty() {
            gateway.receive(&mut Received::default()).unwrap();
            stranger.receive(&mut Received::default()).unwrap();
            assert!(now() - started < 20_000_000_000, "it is still open");
        }
        assert!(gateway.connections.is_empty());
    }
}
