//! Mutated messages over real sockets from a member's address: no panic, no mute worker, nothing malformed sent,
//! nothing to a third party, nothing left.
//!
//! `FUZZ_DATAGRAMS` says how many (a tenth of it goes over TCP, cut at random), `FUZZ_SEED` from
//! which seed on; a seed lasts for a tenth of the length, and is printed.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use tandem_sip::{Fault, Framer, Message, judge, witness};
use tandem_tests::{
    CALLED, Endpoint, Exchange, Hub, Plan, Socket, Switch, Traffic, long, now, peer_address, told,
};

/// Most memory, in kilobytes, that is not given back when all is quiet.
const MEMORY_KB: u64 = 20 << 10;

/// Datagrams between two looks at what came back.
const BURST: usize = 50;

/// A small generator with a good spread (SplitMix64), so that a seed gives the same octets everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Octets that readers have tripped over.
const DICTIONARY: [&[u8]; 34] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\n\r\n",
    b"\r\n ",
    b"\t",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"@",
    b"%",
    b"[::1]",
    b"4294967296",
    b"-1",
    b"99999",
    b"18446744073709551616",
    b"SIP/2.0",
    b";tag=",
    b";branch=z9hG4bK",
    b";maddr=",
    b";received=",
    b"Content-Length: 0",
    b"l: 5",
    b"v: ",
    b"\xff\xfe",
    b"\xe2\x80\xa8",
    b"%00",
    b"INVITE ",
    b";lr",
];

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(octets.len() + 1);
        let to = (at + random.below(40)).min(octets.len());
        match random.below(11) {
            0 => octets.truncate(at),
            1 => drop(octets.drain(at..to)),
            2 => octets.insert(at, (random.next() & 0xff) as u8),
            3 => {
                let word = DICTIONARY[random.below(DICTIONARY.len())];
                octets.splice(at..at, word.iter().copied());
            }
            4 => {
                let word = DICTIONARY[random.below(DICTIONARY.len())];
                octets.splice(at..to, word.iter().copied());
            }
            5 => {
                let part = octets[at..to].to_vec();
                for _ in 0..random.below(200) {
                    octets.splice(at..at, part.iter().copied());
                }
            }
            6 => {
                // The tail of another message.
                let other = &seeds[random.below(seeds.len())];
                octets.truncate(at);
                octets.extend_from_slice(&other[random.below(other.len())..]);
            }
            7 => {
                // A line is said twice, or moved.
                let lines: Vec<Vec<u8>> = octets.split(|&octet| octet == b'\n').map(<[u8]>::to_vec).collect();
                let line = lines[random.below(lines.len())].clone();
                let mut lines = lines;
                let place = random.below(lines.len() + 1);
                lines.insert(place, line);
                octets = lines.join(&b'\n');
            }
            8 => {
                if let Some(digit) = octets.iter().position(u8::is_ascii_digit) {
                    let word = DICTIONARY[17 + random.below(4)];
                    octets.splice(digit..=digit, word.iter().copied());
                }
            }
            _ => {
                if let Some(octet) = octets.get_mut(at) {
                    *octet ^= 1 << random.below(8);
                }
            }
        }
        octets.truncate(60_000);
    }
    octets
}

/// The torture messages of RFC 4475 and RFC 5118, and ordinary ones.
fn seeds(local: SocketAddr, hub: SocketAddr, trap: SocketAddr, member: &Socket) -> Vec<Vec<u8>> {
    let torture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/sip/tests/torture");
    let mut seeds: Vec<Vec<u8>> = ["rfc4475", "rfc5118"]
        .iter()
        .flat_map(|rfc| fs::read_dir(torture.join(rfc)).expect("the torture messages are there"))
        .map(|entry| fs::read(entry.expect("a folder can be read").path()).expect("a file can be read"))
        .collect();
    assert!(seeds.len() > 50, "{} torture messages", seeds.len());
    for method in
        ["INVITE", "OPTIONS", "BYE", "ACK", "CANCEL", "UPDATE", "INFO", "PRACK", "REGISTER", "MESSAGE"]
    {
        let request =
            member.request(method, hub, CALLED).replace(&member.address().to_string(), &local.to_string());
        seeds.push(request.clone().into_bytes());
        // Whatever becomes of it, the trap must get nothing.
        let routed = format!("Route: <sip:{trap};lr>\r\nRecord-Route: <sip:{trap};lr>\r\nMax-Forwards");
        let routed =
            request.replace("Max-Forwards", &routed).replace("sip:test@", &format!("sip:{trap};maddr="));
        seeds.push(routed.into_bytes());
        seeds.push(
            request.replace(";rport;", &format!(";maddr={};received={};", trap.ip(), trap.ip())).into_bytes(),
        );
    }
    for status in [100, 180, 200, 302, 407, 487, 503, 699] {
        let request = member.request("INVITE", hub, CALLED);
        seeds.push(member.response(&request, status).into_bytes());
    }
    seeds
}

/// What is wrong with a message that the hub sent; `None` where nothing is.
fn fault(octets: &[u8]) -> Option<String> {
    let message = match Message::parse(octets) {
        Ok(message) => message,
        Err(error) => return Some(format!("it cannot be read: {error:?}")),
    };
    if let Err(fault) = judge(&message) {
        // A refusal of what cannot be judged says the sender's own words back, as a response must (RFC 3261
        // §8.2.6.2); but lines must be lines.
        // A known gap: of control octets, only CR, LF and NUL are kept out of what is said back.
        let unsound = matches!(fault, Fault::StartLine | Fault::StatusCode | Fault::HeaderLine);
        if unsound || !matches!(message.status(), Some(400 | 413 | 416 | 505 | 513)) {
            return Some(format!("{fault:?}"));
        }
    }
    let head_end = octets.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(octets.len());
    if message.content_length().map(|length| length as usize) != octets.len().checked_sub(head_end + 4) {
        return Some("its Content-Length is not that of its body".into());
    }
    let head = &octets[..head_end];
    let bare = head.iter().enumerate().any(|(at, &octet)| {
        (octet == b'\n' && at.checked_sub(1).and_then(|at| head.get(at)) != Some(&b'\r'))
            || (octet == b'\r' && head.get(at + 1).is_some_and(|&next| next != b'\n'))
            || octet == 0
    });
    bare.then(|| "a bare CR or LF, or a NUL".into())
}

/// Reads everything that came to a socket and judges it.
struct Listener {
    received: u64,
    by_witness: u64,
    faults: Vec<String>,
}

impl Listener {
    fn hear(&mut self, octets: &[u8]) {
        self.received += 1;
        if let Some(fault) = fault(octets) {
            self.faults.push(format!("{fault}:\n{}", String::from_utf8_lossy(octets)));
        }
        // Another author's reader, as far as it goes.
        if let (Ok(reading), Ok(message)) = (witness::read(octets), Message::parse(octets))
            && reading.status == message.status()
        {
            self.by_witness += 1;
            let call_id = message.call_id().map(|id| String::from_utf8_lossy(id).into_owned());
            if call_id.as_deref() != Ok(reading.call_id.as_str()) {
                self.faults
                    .push(format!("two Call-IDs for two readers:\n{}", String::from_utf8_lossy(octets)));
            }
        }
    }

    fn drain(&mut self, socket: &UdpSocket) {
        let mut buffer = [0; 65_535];
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            self.hear(&buffer[..length]);
        }
    }
}

fn datagram_socket(ip: IpAddr) -> UdpSocket {
    datagram_socket_at(SocketAddr::new(ip, 0))
}

fn datagram_socket_at(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("the loopback network has all of 127.0.0.0/8");
    socket.set_nonblocking(true).expect("a socket can be told not to wait");
    socket
}

/// One connection: some messages in random pieces; what comes back is cut into messages again.
fn fuzz_stream(
    random: &mut Random,
    from: IpAddr,
    hub: SocketAddr,
    seeds: &[Vec<u8>],
    listener: &mut Listener,
) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("the system gives a socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("the loopback network has all of 127.0.0.0/8");
    socket.connect(&hub.into()).expect("the hub listens");
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("a stream has this option");
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket has timeouts");
    let mut octets = Vec::new();
    for _ in 0..10 {
        octets.extend(if random.below(3) == 0 {
            mutate(random, seeds)
        } else {
            // Whole and sound, so that the stream gets beyond its first message.
            seeds[seeds.len() - 1 - random.below(8)].clone()
        });
    }
    let mut rest = &octets[..];
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(1 + random.below(rest.len().min(900)));
        if stream.write_all(piece).is_err() {
            break;
        }
        rest = later;
    }
    let mut framer = Framer::new();
    let mut buffer = [0; 16_384];
    if random.below(3) > 0 {
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            framer.push(&buffer[..count]);
        }
        loop {
            match framer.next() {
                Ok(Some(tandem_sip::Frame::Message(octets))) => listener.hear(octets),
                Ok(Some(tandem_sip::Frame::Ping)) => {}
                Ok(None) => break,
                Err(error) => {
                    listener.faults.push(format!("what came by a stream cannot be cut: {error:?}"));
                    break;
                }
            }
        }
    }
    if random.below(2) == 0 {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket has this option");
    }
}

#[test]
fn mutated_messages_from_a_member_harm_nothing() {
    let datagrams = told("FUZZ_DATAGRAMS").map(|count| count as usize).unwrap_or(if long() {
        10_000_000
    } else {
        12_000
    });
    let first_seed = told("FUZZ_SEED").unwrap_or(1.0) as u64;
    let rounds = if datagrams > 100_000 { 20 } else { 2 };

    let (fuzzing, streaming, alive) = (peer_address(), peer_address(), Socket::new());
    let (trap, stranger) = (datagram_socket(peer_address()), datagram_socket(peer_address()));
    let sink = datagram_socket(peer_address());
    let (sink_address, trap_address) =
        (sink.local_addr().expect("it is bound"), trap.local_addr().expect("it is bound"));
    let (caller, called) = (Switch::at(peer_address()), Switch::at(peer_address()));
    let target = format!("sip:{sink_address};transport=udp");
    let exchange = Exchange::default()
        .member(
            "acme",
            &[
                Endpoint::sender("acme-1", fuzzing),
                Endpoint::sender("acme-2", streaming),
                Endpoint::sender("acme-3", alive.address().ip()),
                Endpoint::sender("acme-4", caller.address().ip()),
            ],
            &[],
        )
        .member(
            "globex",
            &[Endpoint::new("globex-1", called.address().ip(), &called.target())],
            &["+44207946"],
        )
        .member("initech", &[Endpoint::new("initech-1", sink_address.ip(), &target)], &["+4930"])
        .agreement("acme", "globex")
        .agreement("acme", "initech");
    let hub = Hub::start(&exchange);
    // Most Vias of the torture messages have no port, and answers to them go here.
    let udp = datagram_socket_at(SocketAddr::new(fuzzing, 5060));
    let local = udp.local_addr().expect("it is bound");
    let seeds = seeds(local, hub.sip, trap_address, &alive);

    // Calls go through all the time: they are how liveness is judged.
    let plan = Plan { rate: 20, calls: u32::MAX, ..Plan::new(20, 1, Duration::from_millis(500)) };
    let traffic = Traffic::start(&plan, hub.sip, caller, called);
    tandem_tests::until("the first call", Duration::from_secs(5), || (traffic.placed() > 1).then_some(()));
    let (before, memory) = (hub.at_rest(), hub.resident_kb());
    let mut listener = Listener { received: 0, by_witness: 0, faults: Vec::new() };
    let (began, mut streams, mut sent) = (now(), 0_u64, 0_u64);
    for round in 0..rounds {
        let seed = first_seed + round as u64;
        let mut random = Random(seed);
        #[expect(clippy::print_stderr, reason = "a failing seed must be known")]
        {
            eprintln!("socket fuzz: seed {seed}, {} datagrams", datagrams / rounds);
        }
        for burst in 0..datagrams / rounds / BURST {
            for _ in 0..BURST {
                let octets = mutate(&mut random, &seeds);
                // What the socket does not take is lost, as datagrams are.
                sent += u64::from(udp.send_to(&octets, hub.sip).is_ok());
                if random.below(10) == 0 {
                    let _ = stranger.send_to(&octets, hub.sip);
                }
            }
            listener.drain(&udp);
            listener.drain(&sink);
            if burst % 2 == 0 {
                fuzz_stream(&mut random, streaming, hub.sip, &seeds, &mut listener);
                streams += 1;
            }
            if burst % 20 == 0 {
                // Answered, so the worker's loop has read all before it.
                let options = alive.request("OPTIONS", hub.sip, "ping");
                let answer = alive.ask(hub.sip, &options);
                assert!(matches!(answer.status, 200 | 503), "seed {seed}: {}", answer.text);
            }
            assert!(listener.faults.is_empty(), "seed {seed}: {}", listener.faults[0]);
        }
    }
    let took = began.elapsed();
    traffic.place_no_more();
    let tally = traffic.finish(Duration::from_secs(60));
    let calls = u32::try_from(tally.calling.len()).expect("not that many");
    // The last timers are those of 64·T1.
    let quiet = Duration::from_secs(if long() { 150 } else { 45 });
    let held = hub.at_rest();
    let most = hub.resident_kb().saturating_sub(memory);
    let (_, p99, longest) = tally.setup();
    #[expect(clippy::print_stderr, reason = "the figures are part of the result")]
    {
        eprintln!(
            "socket fuzz: {sent} datagrams and {streams} streams in {took:?}; {} messages came back, {} of them read \
             by another author's reader too; {calls} calls meanwhile, set-up {p99:?} at p99, {longest:?} at most; \
             memory +{most} kB at the end; held then: {:?}",
            listener.received,
            listener.by_witness,
            held.beyond(&before)
        );
    }
    tally.assert_all_went_well(calls);
    assert!(calls > 10, "calls were placed meanwhile");
    assert!(listener.received > 100, "the hub answers what it can read");
    let logged = hub.logged();
    assert!(
        !logged.contains("panicked"),
        "{}",
        logged.lines().find(|line| line.contains("panicked")).unwrap_or("")
    );
    let mut buffer = [0; 65_535];
    let to_trap =
        trap.recv(&mut buffer).ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
    assert_eq!(to_trap, None, "a third party got something");
    assert!(stranger.recv(&mut buffer).is_err(), "a stranger got something");
    if long() {
        hub.wait_until_as(&before, quiet);
        let grown = hub.resident_kb().saturating_sub(memory);
        assert!(grown <= MEMORY_KB, "{grown} kB are not given back");
    }
}
