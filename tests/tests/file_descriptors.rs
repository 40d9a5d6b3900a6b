//! More TCP connections of members than the hub may have files open: it waits without spinning, calls over UDP go on,
//! and connections are accepted again once there is room.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use tandem_tests::{Endpoint, Exchange, Hub, Plan, Settings, Switch, Traffic, now, peer_address, until};

/// Most files that the hub may have open.
const MAX_FILES: u32 = 256;

/// Addresses of members, and connections from each: below what the hub allows an address.
const SOURCES: usize = 4;
const FROM_EACH: usize = 100;

/// Calls a second over UDP.
const RATE: u32 = 20;

/// How long the hub is watched while it does nothing but fail to accept.
const WATCHED: Duration = Duration::from_secs(4);

/// A connection on which an OPTIONS was sent: once that is read, silence is nothing to be cut off for.
fn connect(ip: IpAddr, hub: SocketAddr, number: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("the system gives a socket");
    socket.bind(&SocketAddr::new(ip, 0).into()).expect("the loopback network has all of 127.0.0.0/8");
    socket.connect(&hub.into()).expect("the system takes a connection before the hub does");
    let mut stream = TcpStream::from(socket);
    let local = stream.local_addr().expect("a connected socket has an address");
    let options = format!(
        "OPTIONS sip:hub SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch=z9hG4bKfd{number}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@{ip}>;tag=1\r\nTo: <sip:hub>\r\nCall-ID: fd{number}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    stream.write_all(options.as_bytes()).expect("the first octets are taken");
    stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a stream can be asked");
    stream
}

/// How many of these have something to read, which is the answer to their OPTIONS.
fn answered(streams: &[TcpStream]) -> usize {
    streams.iter().filter(|stream| matches!(stream.peek(&mut [0]), Ok(1))).count()
}

#[test]
fn a_hub_out_of_file_descriptors_neither_spins_nor_loses_calls_over_udp() {
    let (caller, called) = (Switch::at(peer_address()), Switch::at(peer_address()));
    let sources: Vec<IpAddr> = (0..SOURCES).map(|_| peer_address()).collect();
    let mut senders = vec![Endpoint::sender("acme-udp", caller.address().ip())];
    senders.extend(sources.iter().enumerate().map(|(n, ip)| Endpoint::sender(&format!("acme-{n}"), *ip)));
    let gateways = [Endpoint::new("globex-1", called.address().ip(), &called.target())];
    let exchange = Exchange::default()
        .member("acme", &senders, &[])
        .member("globex", &gateways, &["+44207946"])
        .agreement("acme", "globex");
    let settings = Settings { max_files: Some(MAX_FILES), ..Settings::default() };
    let hub = Hub::with(&settings, &exchange);
    // The connection on which the metrics are read stays open from here on.
    let before = hub.at_rest();
    let errors = || hub.metrics().sum("tandem_accept_errors_total", &[]);
    assert_eq!(errors(), 0.0);

    let streams: Vec<TcpStream> =
        (0..SOURCES * FROM_EACH).map(|number| connect(sources[number % SOURCES], hub.sip, number)).collect();
    until("the hub to be out of file descriptors", Duration::from_secs(10), || {
        (errors() > 0.0).then_some(())
    });
    until("what was accepted to be answered", Duration::from_secs(10), || {
        let connections = hub.metrics().sum("tandem_sip_connections", &[]);
        (connections > 0.0 && answered(&streams) as f64 >= connections).then_some(())
    });
    let accepted = answered(&streams);
    assert!(accepted < streams.len(), "all {accepted} were accepted");

    // What the failing costs, with nothing else to do.
    let (errors_before, spent_before, watched) = (errors(), hub.processor_time(), now());
    std::thread::sleep(WATCHED);
    let share = (hub.processor_time() - spent_before).as_secs_f64() / watched.elapsed().as_secs_f64();
    let failed = errors() - errors_before;
    let files = hub.open_files();

    let calls = 4 * RATE;
    let plan = Plan::new(RATE, calls, Duration::from_secs(1));
    let tally = Traffic::start(&plan, hub.sip, caller, called).finish(Duration::from_secs(40));
    let (median, p99, longest) = tally.setup();
    #[expect(clippy::print_stderr, reason = "the figures are part of the result")]
    {
        eprintln!(
            "file descriptors: {files} of {MAX_FILES} open, {accepted} of {} connections accepted, {failed} failures to \
             accept in {WATCHED:?} at {:.2} % of a processor; {calls} calls, set-up {median:?} at the median, {p99:?} \
             at p99, {longest:?} at most",
            streams.len(),
            100.0 * share
        );
    }
    tally.assert_all_went_well(calls);
    assert!(failed > 0.0, "the limit was not hit any more");
    assert!(share < 0.05, "{:.1} % of a processor for nothing", 100.0 * share);
    let lines = |hub: &Hub, text: &str| hub.logged().matches(text).count();
    let complaints = |hub: &Hub| lines(hub, "cannot accept connections");
    assert_eq!(complaints(&hub), 1, "lines in the log");

    // All are closed but one that had to wait in the system.
    let late = streams.into_iter().rfind(|stream| stream.peek(&mut [0]).is_err()).expect("some had to wait");
    until("a connection that had to wait to be served", Duration::from_secs(10), || {
        let mut buffer = [0; 12];
        (&late).read_exact(&mut buffer).is_ok().then(|| assert_eq!(&buffer, b"SIP/2.0 200 "))
    });
    // Those that waited may use the descriptors up once more before all that were closed have given theirs back.
    until("each trouble to be over, and said to be", Duration::from_secs(10), || {
        (lines(&hub, "connections can be accepted again") == complaints(&hub)).then_some(())
    });
    assert!(complaints(&hub) <= 3, "a line for each failure");
    drop(late);
    hub.wait_for_cdrs(calls as usize, Duration::from_secs(20));
    hub.wait_until_as(&before, Duration::from_secs(60));
}
