//! Receives and sends datagrams in batches: one system call for many (`recvmmsg`, `sendmmsg`).
//!
//! The only module of the crate with `unsafe`: it hands the kernel pointers into buffers that outlive the
//! call, and reads back only what the kernel says it wrote.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::{SockAddr, SockAddrStorage};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::outbox::Octets;

/// Most datagrams of one system call.
pub(crate) const BATCH: usize = 64;

/// Room for one datagram; a longer one is cut, and then refused for its length.
const ROOM: usize = 65_536;

/// Buffers for one batch of received datagrams.
pub(crate) struct Received {
    buffers: Box<[u8]>,
    entries: Vec<(SocketAddr, usize)>,
}

impl Received {
    /// Empty buffers.
    pub(crate) fn new() -> Self {
        Self { buffers: vec![0; BATCH * ROOM].into(), entries: Vec::with_capacity(BATCH) }
    }

    /// Fills the buffers with what has come to `socket`, at most [`BATCH`] datagrams.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come, or what the kernel said.
    pub(crate) fn fill(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.entries.clear();
        socket.try_io(Interest::READABLE, || self.receive(socket))
    }

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut names: [SockAddrStorage; BATCH] = std::array::from_fn(|_| SockAddrStorage::zeroed());
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|index| libc::iovec {
            iov_base: self.buffers[index * ROOM..].as_mut_ptr().cast(),
            iov_len: ROOM,
        });
        let mut headers: [libc::mmsghdr; BATCH] = std::array::from_fn(|index| {
            // SAFETY: all zero is a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = (&raw mut names[index]).cast();
            header.msg_hdr.msg_namelen = size_of::<SockAddrStorage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        // SAFETY: `headers` names BATCH buffers of ROOM octets and as many names, all alive and ours until
        // the call returns.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        for (header, name) in headers.iter().zip(names).take(count as usize) {
            // SAFETY: the kernel wrote a socket address of this length into the name.
            let name = unsafe { SockAddr::new(name, header.msg_hdr.msg_namelen) };
            // A datagram on an IP socket has an IP source.
            let source = name.as_socket().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
            self.entries.push((source, header.msg_len as usize));
        }
        Ok(count as usize)
    }

    /// The datagrams of the last fill: source and octets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.entries
            .iter()
            .zip(self.buffers.chunks(ROOM))
            .map(|(&(source, len), room)| (source, &room[..len]))
    }
}

/// Sends datagrams in order, and tells how many the kernel did not take.
///
/// A datagram that cannot be sent is like one that was lost: the transactions send it again.
pub(crate) fn send(socket: &UdpSocket, mut datagrams: &[(SocketAddr, Octets)]) -> usize {
    let mut lost = 0;
    while !datagrams.is_empty() {
        let batch = &datagrams[..datagrams.len().min(BATCH)];
        match send_batch(socket, batch) {
            Ok(sent) => datagrams = &datagrams[sent.max(1)..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The first of the batch is refused, for its destination perhaps; the others have theirs.
            Err(_) => {
                lost += 1;
                datagrams = &datagrams[1..];
            }
        }
    }
    lost
}

fn send_batch(socket: &UdpSocket, batch: &[(SocketAddr, Octets)]) -> io::Result<usize> {
    let names: Vec<SockAddr> = batch.iter().map(|(destination, _)| SockAddr::from(*destination)).collect();
    let mut vectors: Vec<libc::iovec> = batch
        .iter()
        .map(|(_, octets)| libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = names
        .iter()
        .zip(&mut vectors)
        .map(|(name, vector)| {
            // SAFETY: all zero is a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
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
        let batch: Vec<_> =
            (0..100u8).map(|n| (to, Octets::from(vec![n; usize::from(n) * 7].as_slice()))).collect();
        assert_eq!(send(&sender, &batch), 0);
        let mut received = Received::new();
        let mut all = Vec::new();
        while all.len() < batch.len() {
            receiver.readable().await.unwrap();
            if received.fill(&receiver).is_ok() {
                all.extend(received.iter().map(|(source, octets)| (source, octets.to_vec())));
            }
        }
        let from = sender.local_addr().unwrap();
        for ((source, octets), (_, sent)) in all.iter().zip(&batch) {
            assert_eq!((*source, &octets[..]), (from, &sent[..]));
        }
    }

    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_does_not_hold_up_the_next() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = receiver.local_addr().unwrap();
        let nowhere = "[::1]:5060".parse().unwrap(); // Not from an IPv4 socket.
        let octets = Octets::from(&b"x"[..]);
        assert_eq!(send(&sender, &[(nowhere, octets.clone()), (to, octets)]), 1);
        let mut buffer = [0; 8];
        assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 1);
    }
}
