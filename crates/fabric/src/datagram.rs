//! Receives and sends datagrams in batches: one system call for many (`recvmmsg`, `sendmmsg`).
//!
//! It hands the kernel pointers into buffers that outlive the call, and reads back only what the kernel says it
//! wrote.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use smallvec::SmallVec;
use socket2::SockAddr;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::outbox::Octets;

/// Most datagrams of one system call.
pub(crate) const BATCH: usize = 64;

/// Room for one datagram; a longer one is cut, and then refused for its length.
const ROOM: usize = 65_536;

/// What `recvmmsg` fills: buffers for one batch, made once.
pub(crate) struct Received {
    buffers: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    count: usize,
}

impl Received {
    /// Empty buffers.
    pub(crate) fn new() -> Self {
        let mut buffers = vec![0; BATCH * ROOM].into_boxed_slice();
        // SAFETY: all zero is a valid sockaddr_storage.
        let mut names: Box<[libc::sockaddr_storage]> = vec![unsafe { std::mem::zeroed() }; BATCH].into();
        let mut vectors: Box<[libc::iovec]> = buffers
            .chunks_mut(ROOM)
            .map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: ROOM })
            .collect();
        // The pointers lead into boxes that live and stay where they are as long as `self`.
        let headers = names.iter_mut().zip(&mut vectors).map(|(name, vector)| {
            let mut header = empty_header();
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        let headers = headers.collect();
        Self { buffers, names, vectors, headers, count: 0 }
    }

    /// Fills the buffers with what has come to `socket`, and tells whether that is all: a batch is at most
    /// [`BATCH`] datagrams.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn fill(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        self.count = 0;
        let received = socket.try_io(Interest::READABLE, || {
            let count = self.receive(socket)?;
            // Fewer than there is room for: the socket is empty, and its readiness is void.
            if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match received {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        debug_assert!(self.vectors.len() == BATCH && self.names.len() == BATCH);
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        // SAFETY: `headers` names BATCH buffers of ROOM octets and as many names, all alive and ours until
        // the call returns.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        self.count = count as usize;
        Ok(self.count)
    }

    /// The datagrams of the last fill: source and octets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let rooms = self.buffers.chunks(ROOM);
        self.headers
            .iter()
            .zip(&self.names)
            .zip(rooms)
            .take(self.count)
            .map(|((header, name), room)| (source(name), &room[..header.msg_len as usize]))
    }
}

/// Octets of memory that wait in the socket to be received; 0 where the kernel does not say.
pub(crate) fn backlog(socket: &UdpSocket) -> u64 {
    /// Index of the memory of what waits to be received, in what `SO_MEMINFO` gives (linux/sock_diag.h).
    const SK_MEMINFO_RMEM_ALLOC: usize = 0;
    let mut memory = [0_u32; 16];
    let mut len = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets into `memory`, and how many into `len`; both are ours.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if outcome == 0 { memory[SK_MEMINFO_RMEM_ALLOC].into() } else { 0 }
}

/// The address in a name that the kernel wrote: a datagram on an IP socket has an IP source.
fn source(name: &libc::sockaddr_storage) -> SocketAddr {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET6 => {
            // SAFETY: the family says that it is this kind of name, and a storage has room for any.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let (port, scope) = (u16::from_be(name.sin6_port), name.sin6_scope_id);
            SocketAddrV6::new(name.sin6_addr.s6_addr.into(), port, 0, scope).into()
        }
        _ => {
            // SAFETY: as above; a name that was never written is all zero.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = u32::from_be(name.sin_addr.s_addr);
            SocketAddr::from((ip.to_be_bytes(), u16::from_be(name.sin_port)))
        }
    }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: all zero is a valid mmsghdr.
    unsafe { std::mem::zeroed() }
}

/// Datagrams to send by one socket, in order.
#[derive(Default)]
pub(crate) struct Outgoing {
    datagrams: Vec<(SockAddr, Octets)>,
}

impl Outgoing {
    /// Adds a datagram.
    pub(crate) fn push(&mut self, destination: SocketAddr, octets: Octets) {
        self.datagrams.push((destination.into(), octets));
    }

    /// Sends all of them, and tells how many the kernel did not take.
    ///
    /// A datagram that cannot be sent is like one that was lost: the transactions send it again.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> usize {
        let mut lost = 0;
        let mut left = self.datagrams.as_slice();
        while !left.is_empty() {
            match send_batch(socket, &left[..left.len().min(BATCH)]) {
                Ok(sent) => left = &left[sent.max(1)..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The first of the batch is refused, for its destination perhaps; the others have theirs.
                Err(_) => {
                    lost += 1;
                    left = &left[1..];
                }
            }
        }
        self.datagrams.clear();
        lost
    }
}

fn send_batch(socket: &UdpSocket, batch: &[(SockAddr, Octets)]) -> io::Result<usize> {
    let mut vectors: SmallVec<[libc::iovec; BATCH]> = batch
        .iter()
        .map(|(_, octets)| libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() })
        .collect();
    let mut headers: SmallVec<[libc::mmsghdr; BATCH]> = batch
        .iter()
        .zip(&mut vectors)
        .map(|((name, _), vector)| {
            let mut header = empty_header();
            header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = name.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    // SAFETY: `headers` names octets and addresses that are alive until the call returns; the kernel only
    // reads them.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_arrives_as_it_was_sent() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = receiver.local_addr().unwrap();
        let batch: Vec<_> = (0..100u8).map(|n| vec![n; usize::from(n) * 7]).collect();
        let mut outgoing = Outgoing::default();
        batch.iter().for_each(|octets| outgoing.push(to, octets.as_slice().into()));
        assert_eq!(outgoing.send(&sender), 0);
        let mut received = Received::new();
        let mut all = Vec::new();
        while all.len() < batch.len() {
            receiver.readable().await.unwrap();
            if received.fill(&receiver).is_ok() {
                all.extend(received.iter().map(|(source, octets)| (source, octets.to_vec())));
            }
        }
        let from = sender.local_addr().unwrap();
        for ((source, octets), sent) in all.iter().zip(&batch) {
            assert_eq!((*source, octets), (from, sent));
        }
    }

    #[tokio::test]
    async fn the_backlog_of_a_socket_grows_with_what_comes_and_is_none_once_all_is_received() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = receiver.local_addr().unwrap();
        assert_eq!(backlog(&receiver), 0);
        let mut outgoing = Outgoing::default();
        (0..10).for_each(|_| outgoing.push(to, Octets::from(&[0; 500][..])));
        assert_eq!(outgoing.send(&sender), 0);
        assert!(backlog(&receiver) >= 5_000, "{}", backlog(&receiver));
        receiver.readable().await.unwrap();
        assert!(Received::new().fill(&receiver).unwrap(), "that is all");
        assert_eq!(backlog(&receiver), 0);
    }

    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_does_not_hold_up_the_next() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = receiver.local_addr().unwrap();
        let nowhere = "[::1]:5060".parse().unwrap(); // Not from an IPv4 socket.
        let octets = Octets::from(&b"x"[..]);
        let mut outgoing = Outgoing::default();
        outgoing.push(nowhere, octets.clone());
        outgoing.push(to, octets);
        assert_eq!(outgoing.send(&sender), 1);
        let mut buffer = [0; 8];
        assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 1);
    }
}
