//! A UDP socket that receives and sends many datagrams with one system call, and knows when each one came.
//!
//! The only module of this program with `unsafe`: it hands the kernel pointers into buffers that outlive the call,
//! and reads back only what the kernel says it wrote.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use crate::socket::{Arrival, Received};

/// Most datagrams of one system call.
const BATCH: usize = 64;

/// Room for one datagram; no message of the bench is longer.
const ROOM: usize = 4096;

/// Octets that the kernel may queue for us, each way.
const QUEUE: libc::c_int = 4 << 20;

/// Room for the kernel's stamp in a received datagram's control data, aligned as the kernel wants it.
type Control = [u64; 8];

/// The socket.
pub(crate) struct Datagrams {
    socket: UdpSocket,
}

impl Datagrams {
    pub(crate) fn bind(address: SocketAddrV4) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        for (option, value) in [(libc::SO_RCVBUF, QUEUE), (libc::SO_SNDBUF, QUEUE), (libc::SO_TIMESTAMPNS, 1)]
        {
            // SAFETY: the option's value is an int that outlives the call, of the length that is given.
            let set = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const value).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                )
            };
            if set != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self { socket })
    }

    /// Sends the datagrams in `text`: where each one ends, and where it goes. What the kernel does not take is lost,
    /// as on a network.
    pub(crate) fn send(&self, text: &[u8], waiting: &[(usize, SocketAddrV4)]) {
        let mut start = 0;
        for batch in waiting.chunks(BATCH) {
            self.send_batch(text, start, batch);
            start = batch.last().map_or(start, |&(end, _)| end);
        }
    }

    fn send_batch(&self, text: &[u8], mut start: usize, batch: &[(usize, SocketAddrV4)]) {
        // SAFETY: all zero is a valid value of these plain structures.
        let (mut names, mut vectors, mut headers): (
            [libc::sockaddr_in; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        for (index, &(end, to)) in batch.iter().enumerate() {
            names[index] = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: to.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
                sin_zero: [0; 8],
            };
            vectors[index] =
                libc::iovec { iov_base: text[start..end].as_ptr().cast_mut().cast(), iov_len: end - start };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            start = end;
        }
        let mut first = 0;
        let mut refused = 0;
        while first < batch.len() {
            // SAFETY: the headers from `first` on name octets and addresses that are alive until the call returns;
            // the kernel only reads them.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    headers[first..].as_mut_ptr(),
                    (batch.len() - first) as libc::c_uint,
                    0,
                )
            };
            if sent > 0 {
                first += sent as usize;
            } else {
                refused += 1;
                if refused > 1000 {
                    return;
                }
            }
        }
    }

    /// Takes the next batch of what has come, which may be nothing.
    pub(crate) fn receive(&self, into: &mut Received) -> io::Result<()> {
        into.arrivals.clear();
        into.buffer.resize(BATCH * ROOM, 0);
        // SAFETY: all zero is a valid value of these plain structures.
        let (mut names, mut vectors, mut headers): (
            [libc::sockaddr_in; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut controls = [Control::default(); BATCH];
        for index in 0..BATCH {
            vectors[index] =
                libc::iovec { iov_base: into.buffer[index * ROOM..].as_mut_ptr().cast(), iov_len: ROOM };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[index]).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: each header names a buffer, an address and a piece of control data of the lengths it says, all
        // alive and ours until the call returns.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            // Refused: a datagram of ours came to a closed port, which its retransmission will show.
            let nothing = matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused
            );
            return if nothing { Ok(()) } else { Err(error) };
        }
        for index in 0..count as usize {
            let name = &names[index];
            let from = SocketAddrV4::new(
                Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)),
                u16::from_be(name.sin_port),
            );
            into.arrivals.push(Arrival {
                from,
                at: stamp(&headers[index].msg_hdr),
                start: index * ROOM,
                len: headers[index].msg_len as usize,
            });
        }
        Ok(())
    }
}

/// The kernel's stamp of a received datagram: it was asked for, so each has one.
fn stamp(header: &libc::msghdr) -> i64 {
    // SAFETY: the header is one that recvmmsg has filled, with its control data still alive; CMSG_FIRSTHDR returns
    // null or a whole control message in it.
    let control = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() };
    let Some(control) = control else { return 0 };
    if (control.cmsg_level, control.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
        return 0;
    }
    // SAFETY: the data of this kind of control message is a timespec.
    let time: libc::timespec = unsafe { libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned() };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Makes short naps short: by default the kernel adds up to 50 µs to each.
pub(crate) fn nap_precisely() {
    // SAFETY: prctl with this option is a plain system call.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000 as libc::c_ulong) };
}
