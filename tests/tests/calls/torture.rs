//! The torture messages of RFC 4475 and RFC 5118, sent to a hub as they are, over UDP and over TCP.
//!
//! Beside each request stand the statuses that its RFC, or RFC 3261 for an element that has no such user, lets the
//! hub answer with. Every answer must be clean SIP, and after all of them the hub must do its work.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tandem_sip::{Frame, Framer, MAX_MESSAGE, Message, Method, Name, judge};
use tandem_tests::{Endpoint, Exchange, Hub, Plan, Socket, Switch, Traffic, now, until};

/// After how long a request is sent again that is not answered: T1 (RFC 3261 §17.1.2.2). The hub answers only so many
/// malformed messages of a source in a second, and a quick machine has sent more of them by then.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long a message may stay without the answer that is due.
const PATIENCE: Duration = Duration::from_secs(10);

/// Folder, name without `.dat`, and the final statuses that are right; none where nothing may be answered.
const MESSAGES: &[(&str, &str, &[u16])] = &[
    // A To tag of no dialog.
    ("rfc4475", "wsinv", &[481]),
    ("rfc4475", "intmeth", &[501]),
    // Users that are no telephone numbers.
    ("rfc4475", "esc01", &[404, 484]),
    ("rfc4475", "escnull", &[405]),
    ("rfc4475", "esc02", &[501]),
    ("rfc4475", "lwsdisp", &[200]),
    ("rfc4475", "longreq", &[404, 484]),
    ("rfc4475", "dblreq", &[405]),
    ("rfc4475", "semiuri", &[200]),
    ("rfc4475", "transports", &[200]),
    ("rfc4475", "mpart01", &[405]),
    // Responses that answer nothing.
    ("rfc4475", "unreason", &[]),
    ("rfc4475", "noreason", &[]),
    ("rfc4475", "badinv01", &[400]),
    ("rfc4475", "clerr", &[400]),
    ("rfc4475", "ncl", &[400]),
    ("rfc4475", "scalar02", &[400]),
    ("rfc4475", "scalarlg", &[]),
    ("rfc4475", "quotbal", &[400]),
    ("rfc4475", "ltgtruri", &[400]),
    ("rfc4475", "lwsruri", &[400]),
    ("rfc4475", "lwsstart", &[400]),
    ("rfc4475", "trws", &[400]),
    ("rfc4475", "escruri", &[400]),
    ("rfc4475", "baddate", &[400, 404, 484]),
    ("rfc4475", "regbadct", &[400]),
    ("rfc4475", "badaspec", &[400]),
    ("rfc4475", "baddn", &[400]),
    ("rfc4475", "badvers", &[505]),
    ("rfc4475", "mismatch01", &[400]),
    ("rfc4475", "mismatch02", &[400]),
    ("rfc4475", "bigcode", &[]),
    ("rfc4475", "badbranch", &[400]),
    ("rfc4475", "insuf", &[400]),
    ("rfc4475", "unkscm", &[416]),
    ("rfc4475", "novelsc", &[416]),
    ("rfc4475", "unksm2", &[405]),
    ("rfc4475", "bext01", &[420]),
    ("rfc4475", "invut", &[404, 415, 484]),
    ("rfc4475", "regaut01", &[401, 405]),
    ("rfc4475", "multi01", &[400]),
    ("rfc4475", "mcl01", &[400]),
    ("rfc4475", "bcast", &[]),
    ("rfc4475", "zeromf", &[200, 483]),
    ("rfc4475", "cparam01", &[405]),
    ("rfc4475", "cparam02", &[405]),
    ("rfc4475", "regescrt", &[405]),
    ("rfc4475", "sdp01", &[404, 484]),
    // As RFC 2543 had it, without a Contact: there is nowhere to send a BYE (RFC 3261 §8.1.1.8).
    ("rfc4475", "inv2543", &[400]),
    ("rfc5118", "ipv6-good", &[405]),
    ("rfc5118", "ipv6-bad", &[400]),
    ("rfc5118", "port-ambiguous", &[405]),
    ("rfc5118", "port-unambiguous", &[405]),
    ("rfc5118", "via-received-param-with-delim", &[481]),
    ("rfc5118", "via-received-param-no-delim", &[200]),
    ("rfc5118", "ipv6-in-sdp", &[404, 484]),
    ("rfc5118", "mult-ip-in-header", &[481]),
    ("rfc5118", "mult-ip-in-sdp", &[404, 484]),
    ("rfc5118", "ipv4-mapped-ipv6", &[404, 484]),
    ("rfc5118", "ipv6-bug-abnf-3-colons", &[200]),
    ("rfc5118", "ipv6-correct-abnf-2-colons", &[200]),
];

/// What a stream cannot carry to its end: clerr promises octets that never come.
const NOT_OVER_TCP: &[&str] = &["clerr"];

/// What a stream must not carry: a message without Content-Length (RFC 3261 §18.3).
const UNFRAMED: &[&str] = &["inv2543"];

fn octets(folder: &str, name: &str, number: usize) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/sip/tests/torture")
        .join(folder)
        .join(format!("{name}.dat"));
    let octets = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // Some share a branch, and would be retransmissions of each other: it is made that of one message alone.
    let shared = [&b"z9hG4bKkdjuw"[..], b"z9hG4bKas3"]
        .into_iter()
        .find_map(|branch| octets.windows(branch.len()).position(|window| window == branch));
    match shared {
        Some(at) => {
            let (before, after) = octets.split_at(at + b"z9hG4bK".len());
            [before, number.to_string().as_bytes(), after].concat()
        }
        None => octets,
    }
}

/// The final status in `octets`, which must be clean SIP; `None` for a provisional response.
fn final_status(name: &str, octets: &[u8]) -> Option<u16> {
    let message = Message::parse(octets).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(judge(&message), Ok(()), "{name}: {}", octets.escape_ascii());
    message.status().filter(|status| *status >= 200)
}

fn check(answers: &BTreeMap<&str, Option<u16>>, over_tcp: bool) {
    let wrong: Vec<String> = MESSAGES
        .iter()
        .filter_map(|(_, name, expected)| {
            let answer = answers.get(name)?;
            let expected = if over_tcp && UNFRAMED.contains(name) { &[400] } else { *expected };
            let right = answer.map_or(expected.is_empty(), |status| expected.contains(&status));
            (!right).then(|| format!("{name}: {answer:?}, expected {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A member that holds every port to which a response may go: those of the messages' topmost Vias.
struct Member {
    sockets: Vec<UdpSocket>,
}

impl Member {
    fn at(ip: IpAddr) -> Self {
        let bind = |port: u16| {
            let socket = UdpSocket::bind((ip, port)).expect("the address is this test's own");
            socket.set_nonblocking(true).expect("a socket can be asked");
            socket
        };
        Self { sockets: [5060, 5061, 5050, 5070, 6050, 19823].map(bind).into() }
    }

    fn send(&self, hub: SocketAddr, octets: &[u8]) {
        self.sockets[0].send_to(octets, hub).expect("loopback takes it");
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        self.sockets.iter().find_map(|socket| {
            let (length, _) = socket.recv_from(&mut buffer).ok()?;
            Some(buffer[..length].to_vec())
        })
    }
}

/// An OPTIONS that comes after a message: when it is answered, the message before it has been dealt with.
fn options(ip: IpAddr, marker: &str) -> String {
    format!(
        "OPTIONS sip:hub SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:5060;branch=z9hG4bK{marker}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@{ip}>;tag=1\r\nTo: <sip:hub>\r\nCall-ID: {marker}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn each_torture_message_is_answered_over_udp_as_its_rfc_says() {
    let ip = tandem_tests::peer_address();
    let called = Switch::at(tandem_tests::peer_address());
    let gateway = Endpoint::new("globex-1", called.address().ip(), &called.target());
    let hub = Hub::start(&Exchange::of_two(ip, &[gateway]));
    let member = Member::at(ip);
    let mut answers = BTreeMap::new();
    for (number, (folder, name, expected)) in MESSAGES.iter().enumerate() {
        let (mut answer, mut marked, mut sent, mut times) = (None, false, None, 0);
        let mut marker = String::new();
        until(&format!("an answer to {name} and what follows it"), PATIENCE, || {
            let is_due = answer.is_none() && !(marked && expected.is_empty());
            if is_due && sent.is_none_or(|sent: Instant| sent.elapsed() >= AGAIN_AFTER) {
                // What comes of the message before it was sent again is there when the last marker is answered.
                times += 1;
                marker = format!("marker{number}-{times}");
                member.send(hub.sip, &octets(folder, name, number));
                member.send(hub.sip, options(ip, &marker).as_bytes());
                (marked, sent) = (false, Some(now()));
            }
            while let Some(received) = member.receive() {
                let message = Message::parse(&received).expect("the hub sends SIP");
                let status = final_status(name, &received);
                if message.call_id() == Ok(marker.as_bytes()) {
                    marked = true;
                } else if !message.call_id().is_ok_and(|id| id.starts_with(b"marker"))
                    && is_for(&received, folder, name, number)
                {
                    answer = answer.or(status);
                }
            }
            // A wrong silence ends here too: the hub works in order but for what needs a timer.
            (marked && (answer.is_some() || expected.is_empty())).then_some(())
        });
        acknowledge(&member, &hub, &octets(folder, name, number));
        answers.insert(*name, answer);
    }
    assert_eq!(answers.len(), 61);
    check(&answers, false);
    let plan = Plan::new(1, 1, Duration::from_millis(100));
    let call = Traffic::start(&plan, hub.sip, Switch::at(ip), called);
    call.finish(Duration::from_secs(20)).assert_all_went_well(1);
}

/// True for a response with the branch of that request: an INVITE's final response comes again until its ACK.
fn is_for(response: &[u8], folder: &str, name: &str, number: usize) -> bool {
    let request = octets(folder, name, number);
    let response = Message::parse(response).expect("it was read before");
    let request = Message::parse(&request).expect("each of them is read");
    let call_id = |message: &Message<'_>| message.header(Name::CallId).map(<[u8]>::to_vec);
    // What the hub could not repeat has a Call-ID of the hub's.
    call_id(&response) == call_id(&request) || judge(&request).is_err()
}

/// Ends the transaction of an INVITE that was refused.
fn acknowledge(member: &Member, hub: &Hub, request: &[u8]) {
    let message = Message::parse(request).expect("each of them is read");
    if message.request().is_some_and(|line| line.method == Method::Invite) && judge(&message).is_ok() {
        let text = String::from_utf8_lossy(request);
        let ack = text.replacen("INVITE ", "ACK ", 1).replacen(" INVITE\r\n", " ACK\r\n", 1);
        member.send(hub.sip, ack.as_bytes());
    }
}

#[test]
fn each_torture_message_is_answered_over_tcp_as_its_rfc_says() {
    let switch = Socket::new();
    let hub = Hub::start(&Exchange::of_two(switch.address().ip(), &[]));
    let mut answers = BTreeMap::new();
    for (number, (folder, name, expected)) in MESSAGES.iter().enumerate() {
        if !NOT_OVER_TCP.contains(name) {
            let octets = octets(folder, name, number);
            let (ip, silent, started) = (switch.address().ip(), expected.is_empty(), now());
            let mut answer = answer_over_tcp(ip, &hub, name, &octets, silent);
            while answer.is_none() && !silent && started.elapsed() < PATIENCE {
                answer = answer_over_tcp(ip, &hub, name, &octets, silent);
            }
            answers.insert(*name, answer);
        }
    }
    check(&answers, true);
    assert_eq!(switch.ask(hub.sip, &switch.request("OPTIONS", hub.sip, "ping")).status, 200);
}

/// The final status by which a message on a connection of its own is answered; where one is due, it is waited for as long as a
/// request waits to be sent again.
fn answer_over_tcp(ip: IpAddr, hub: &Hub, name: &str, octets: &[u8], silent: bool) -> Option<u16> {
    let mut stream = connect(ip, hub.sip);
    // In two pieces, the second of which begins in the middle of the head.
    let (first, second) = octets.split_at(octets.len() / 3);
    stream.write_all(first).expect("the hub reads");
    stream.write_all(second).expect("the hub reads");
    if silent {
        // A ping after it is answered when it has been dealt with, unless the stream was given up.
        let _ = stream.write_all(b"\r\n\r\n");
    }
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a stream can be asked");
    let mut framer = Framer::new();
    let mut buffer = [0; 16 * 1024];
    let (started, patience) = (now(), if silent { PATIENCE } else { AGAIN_AFTER });
    while started.elapsed() < patience {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) if silent && buffer.starts_with(b"\r\n") => break,
            Ok(count) => framer.push(&buffer[..count]),
            Err(_) => continue,
        }
        while let Some(frame) = framer.next().expect("the hub sends SIP") {
            if let Frame::Message(octets) = frame
                && let Some(status) = final_status(name, octets)
            {
                let _ = stream.shutdown(Shutdown::Both);
                return Some(status);
            }
        }
    }
    None
}

fn connect(ip: IpAddr, hub: SocketAddr) -> TcpStream {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are sockets");
    socket.bind(&SocketAddr::new(ip, 0).into()).expect("the address is the test's own");
    socket.connect(&hub.into()).expect("the hub listens");
    socket.into()
}
