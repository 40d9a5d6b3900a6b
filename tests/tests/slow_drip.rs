//! Thousands of TCP clients that send next to nothing, and a few that never come to an end: shed, while members'
//! calls go on.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Plan, Sipp, Switch, Traffic, long, now, peer_address};

/// Connections that drip: half of strangers, half of members.
const DRIPPING: usize = 2_000;

/// Addresses of members from which connections drip.
const SOURCES: usize = 20;

/// Connections that are reset in mid-message.
const RESETS: usize = 300;

/// Most memory, in kilobytes, that all of it may cost.
const MEMORY_KB: u64 = 100 << 10;

/// What each drips: the first octets of an INVITE that would go on for ever.
const DRIP: &[u8] = b"INVITE sip:+442079460000@hub SIP/2.0\r\nVia: SIP/2.0/TCP drip";

/// A connection to the hub from `ip`, which will not wait for anything.
fn connect(ip: IpAddr, hub: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("the system gives a socket");
    socket.bind(&SocketAddr::new(ip, 0).into()).expect("the loopback network has all of 127.0.0.0/8");
    match socket.connect(&hub.into()) {
        Ok(()) => {}
        // A stranger's is reset at once, at times before this side knows that it was open.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the hub does not listen: {error}"),
    }
    socket.set_nonblocking(true).expect("a socket can be told not to wait");
    TcpStream::from(socket)
}

/// Lets this process, and the hub that it starts, open as many files as the system lets it.
fn open_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to its maximum a limit can be raised");
}

/// Whether the other side has closed it. What came is thrown away.
fn is_closed(mut stream: &TcpStream) -> bool {
    let mut buffer = [0; 4_096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Writes until the other side closes or does not read; how many octets it took.
fn pour(stream: &mut TcpStream, octets: &[u8], at_most: usize, deadline: Duration) -> (usize, bool) {
    let (began, mut taken) = (now(), 0);
    while taken < at_most && began.elapsed() < deadline {
        match stream.write(octets) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if is_closed(stream) {
                    return (taken, true);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return (taken, true),
        }
    }
    (taken, is_closed(stream))
}

#[test]
fn slow_endless_and_broken_streams_are_shed_while_calls_go_on() {
    open_many_files();
    let calls_for: u32 = if long() { 60 } else { 11 };
    let rate = 20;
    let (udp, tcp, tcp_caller) = (Switch::at(peer_address()), peer_address(), peer_address());
    let udp_caller = Switch::at(peer_address());
    let gateway = Sipp::takes_calls(
        tcp,
        Transport::Tcp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    );
    let sources: Vec<IpAddr> = (0..SOURCES).map(|_| peer_address()).collect();
    let mut senders = vec![
        Endpoint::sender("acme-udp", udp_caller.address().ip()),
        Endpoint::sender("acme-tcp", tcp_caller),
    ];
    senders.extend(sources.iter().enumerate().map(|(n, ip)| Endpoint::sender(&format!("acme-{n}"), *ip)));
    let exchange = Exchange::default()
        .member("acme", &senders, &[])
        .member("globex", &[Endpoint::new("globex-1", udp.address().ip(), &udp.target())], &["+44207946"])
        .member("umbrella", &[Endpoint::new("umbrella-1", tcp, &gateway.target(Transport::Tcp))], &["+4930"])
        .agreement("acme", "globex")
        .agreement("acme", "umbrella");
    let hub = Hub::start(&exchange);
    let (before, memory) = (hub.at_rest(), hub.resident_kb());
    let mut most = memory;

    let calls = rate * calls_for;
    let plan = Plan::new(rate, calls, Duration::from_secs(1));
    let over_udp = Traffic::start(&plan, hub.sip, udp_caller, udp);
    let over_tcp = Sipp::calls(
        tcp_caller,
        hub.sip,
        Transport::Tcp,
        &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE],
        Load { rate, calls, hold: Duration::from_secs(1) },
        Numbers { calling: "+88202", called: "+493012345678" },
    );

    let stranger = peer_address();
    let opened = now();
    let mut dripping: Vec<TcpStream> = (0..DRIPPING)
        .map(|n| connect(if n % 2 == 0 { stranger } else { sources[n / 2 % SOURCES] }, hub.sip))
        .collect();
    let took = opened.elapsed();

    // Resets in mid-message: with data unread or lingering for no time, closing is a reset.
    for n in 0..RESETS {
        let mut stream = connect(sources[n % SOURCES], hub.sip);
        let _ = stream.write(DRIP);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket has this option");
    }
    // A header that does not end, and a body longer than any that is read.
    let mut endless = connect(sources[0], hub.sip);
    endless.write_all(b"INVITE sip:x@y SIP/2.0\r\nSubject: ").expect("the first octets are taken");
    let (endless_took, endless_closed) = pour(&mut endless, &[b'a'; 8_192], 64 << 20, Duration::from_secs(8));
    let mut huge = connect(sources[1], hub.sip);
    let head = format!(
        "INVITE sip:{CALLED}@y SIP/2.0\r\nVia: SIP/2.0/TCP y;branch=z9hG4bKh\r\nContent-Length: 2147483648\r\n\r\n"
    );
    huge.write_all(head.as_bytes()).expect("the head is taken");
    let (huge_took, huge_closed) = pour(&mut huge, &[b'a'; 8_192], 64 << 20, Duration::from_secs(8));
    most = most.max(hub.resident_kb());

    // One octet a second each, until the hub has had enough of all of them.
    let mut shed_by_age: Option<Duration> = None;
    for octet in DRIP {
        let next: Instant = now() + Duration::from_secs(1);
        for stream in &mut dripping {
            let _ = stream.write(&[*octet]);
        }
        dripping.retain(|stream| !is_closed(stream));
        most = most.max(hub.resident_kb());
        if dripping.is_empty() {
            shed_by_age = Some(opened.elapsed());
            break;
        }
        if opened.elapsed() > Duration::from_secs(30) {
            break;
        }
        // Not waiting for a condition: this is how fast it drips.
        std::thread::sleep(next.saturating_duration_since(now()));
    }

    let deadline = Duration::from_secs(u64::from(calls_for) + 40);
    let tally = over_udp.finish(deadline);
    let (median, p99, longest) = tally.setup();
    let grown = most.saturating_sub(memory);
    #[expect(clippy::print_stderr, reason = "the figures are part of the result")]
    {
        eprintln!(
            "slow drip: {DRIPPING} connections opened in {took:?}, all shed after {shed_by_age:?}, {} left; endless \
             header closed after {endless_took} octets, 2 GB body after {huge_took}; memory +{grown} kB at most; \
             calls over UDP {median:?} at the median, {p99:?} at p99, {longest:?} at most",
            dripping.len()
        );
    }
    tally.assert_all_went_well(calls);
    over_tcp.finish(deadline).assert_all_went_well(calls);
    gateway.finish(deadline).assert_all_went_well(calls);
    assert!(endless_closed, "an endless header is cut off; {endless_took} octets were taken");
    assert!(huge_closed, "a body of 2 GB is cut off; {huge_took} octets were taken");
    assert!(endless_took < 8 << 20 && huge_took < 8 << 20, "{endless_took}, {huge_took}");
    assert!(dripping.is_empty(), "{} connections drip on", dripping.len());
    assert!(grown <= MEMORY_KB, "memory grew by {grown} kB");
    drop((endless, huge));
    hub.wait_for_cdrs(2 * calls as usize, Duration::from_secs(20));
    hub.wait_until_as(&before, Duration::from_secs(60));
}
