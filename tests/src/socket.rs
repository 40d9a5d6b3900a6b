//! A bare UDP socket that speaks SIP as text: for scenarios in which the octets matter.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::address::peer_address;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A socket at an address of its own.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
}

/// A response as it came.
#[derive(Clone, Debug)]
pub struct Response {
    /// Of its first line.
    pub status: u16,
    /// All of it.
    pub text: String,
}

impl Response {
    fn read(text: String) -> Self {
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, text }
    }

    /// Value of the first header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Socket {
    /// At a new address.
    pub fn new() -> Self {
        Self::at(peer_address())
    }

    /// At this address.
    pub fn at(ip: IpAddr) -> Self {
        Self { socket: UdpSocket::bind((ip, 0)).expect("the loopback network has all of 127.0.0.0/8") }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Sends octets as they are.
    pub fn send(&self, to: SocketAddr, octets: &[u8]) {
        self.socket.send_to(octets, to).expect("loopback takes it");
    }

    /// The next datagram, or `None` when none came in time.
    pub fn receive(&self, within: Duration) -> Option<String> {
        self.receive_from(within).map(|(text, _)| text)
    }

    /// The next datagram and who sent it, or `None` when none came in time.
    pub fn receive_from(&self, within: Duration) -> Option<(String, SocketAddr)> {
        self.socket.set_read_timeout(Some(within)).expect("a socket has timeouts");
        let mut buffer = [0; 65_535];
        let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
        Some((String::from_utf8_lossy(&buffer[..length]).into_owned(), from))
    }

    /// An INVITE to a number, of a call of its own.
    pub fn invite(&self, hub: SocketAddr, called: &str) -> String {
        self.request("INVITE", hub, called)
    }

    /// A request outside a dialog, with an offer where it is an INVITE.
    pub fn request(&self, method: &str, hub: SocketAddr, called: &str) -> String {
        let local = self.address();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let call = format!("{}-{number}", std::process::id());
        let ip = local.ip();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
        );
        let body = if method == "INVITE" { sdp.as_str() } else { "" };
        let kind = if method == "INVITE" { "Content-Type: application/sdp\r\n" } else { "" };
        format!(
            "{method} sip:{called}@{hub} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};rport;branch=z9hG4bK{call}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:+88200{number}@{ip}>;tag=t{call}\r\n\
             To: <sip:{called}@{hub}>\r\n\
             Call-ID: {call}@{ip}\r\n\
             CSeq: 1 {method}\r\n\
             Contact: <sip:test@{local}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Sends a request and waits for its final response; a failed INVITE is acknowledged.
    pub fn ask(&self, hub: SocketAddr, request: &str) -> Response {
        self.send(hub, request.as_bytes());
        self.final_response(hub, request)
    }

    /// Waits for the final response to a request that was sent; a failed INVITE is acknowledged.
    pub fn final_response(&self, hub: SocketAddr, request: &str) -> Response {
        loop {
            let text = self.receive(ANSWER_WITHIN).unwrap_or_else(|| panic!("no answer to\n{request}"));
            let response = Response::read(text);
            if response.status >= 200 {
                if response.status >= 300 && request.starts_with("INVITE") {
                    self.acknowledge(hub, request, &response);
                }
                return response;
            }
        }
    }

    /// Whether a call to this number finds a route now: it is placed, and cancelled where it does.
    pub fn would_be_routed(&self, hub: SocketAddr, called: &str) -> bool {
        let invite = self.invite(hub, called);
        self.send(hub, invite.as_bytes());
        let mut cancelled = false;
        loop {
            let text = self.receive(ANSWER_WITHIN).unwrap_or_else(|| panic!("no answer to\n{invite}"));
            let response = Response::read(text);
            if !response.header("CSeq").is_some_and(|cseq| cseq.ends_with("INVITE")) {
                continue;
            }
            match response.status {
                // A 100 comes before the number is looked up: the first attempt decides.
                100 if !cancelled => {
                    let cancel = invite.replace("INVITE", "CANCEL");
                    let head = cancel.split("Content-Type").next().expect("there is always a first part");
                    self.send(hub, format!("{head}Content-Length: 0\r\n\r\n").as_bytes());
                    cancelled = true;
                }
                100..200 => {}
                _ => {
                    self.acknowledge(hub, &invite, &response);
                    let refused = ["no_route", "no_agreement", "agreement_suspended"];
                    return !refused.iter().any(|code| response.text.contains(code));
                }
            }
        }
    }

    /// A response to a request that came here, with the status and nothing else.
    pub fn response(&self, request: &str, status: u16) -> String {
        let kept = request.lines().skip(1).take_while(|line| !line.is_empty()).filter_map(|line| {
            let name = line.split(':').next().unwrap_or("");
            match name.to_ascii_lowercase().as_str() {
                "via" | "from" | "call-id" | "cseq" => Some(line.to_owned()),
                "to" if line.contains(";tag=") => Some(line.to_owned()),
                "to" => Some(format!("{line};tag=socket")),
                _ => None,
            }
        });
        let head = kept.collect::<Vec<_>>().join("\r\n");
        format!("SIP/2.0 {status} Test\r\n{head}\r\nContent-Length: 0\r\n\r\n")
    }

    /// ACK of a failure: same branch, the To of the response (RFC 3261 §17.1.1.3).
    fn acknowledge(&self, hub: SocketAddr, invite: &str, response: &Response) {
        let kept = invite.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
            let name = line.split(':').next().unwrap_or("");
            match name {
                "Via" | "Max-Forwards" | "From" | "Call-ID" => Some(line.to_owned()),
                "To" => Some(format!("To: {}", response.header("To").unwrap_or(""))),
                "CSeq" => Some(line.replace("INVITE", "ACK")),
                _ if line.starts_with("INVITE ") => Some(line.replacen("INVITE", "ACK", 1)),
                _ => None,
            }
        });
        let ack = kept.collect::<Vec<_>>().join("\r\n") + "\r\nContent-Length: 0\r\n\r\n";
        self.send(hub, ack.as_bytes());
    }
}

impl Default for Socket {
    fn default() -> Self {
        Self::new()
    }
}
