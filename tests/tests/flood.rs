//! A flood of INVITEs from addresses that are nobody's: members' calls go on as if there were none.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tandem_tests::{Endpoint, Exchange, Hub, Plan, Switch, Traffic, lasting, long, peer_address};

/// Calls a second.
const RATE: u32 = 100;

/// Sources of the flood.
const STRANGERS: u8 = 250;

/// Most memory, in kilobytes, that the flood may cost.
const MEMORY_KB: u64 = 64 << 10;

/// What every stranger sends.
fn payload(hub: SocketAddr) -> Vec<u8> {
    format!(
        "INVITE sip:+442079460000@{hub} SIP/2.0\r\nVia: SIP/2.0/UDP 127.1.0.1:5060;rport;branch=z9hG4bKflood\r\n\
         Max-Forwards: 70\r\nFrom: <sip:flood@127.1.0.1>;tag=f\r\nTo: <sip:+442079460000@{hub}>\r\n\
         Call-ID: flood\r\nCSeq: 1 INVITE\r\nContact: <sip:flood@127.1.0.1>\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn members_calls_all_complete_under_a_flood_from_strangers_who_hear_nothing() {
    let lasts = lasting(5, 60);
    let calls = RATE * u32::try_from(lasts.as_secs()).expect("a minute is short");
    let (caller, called) = (Switch::at(peer_address()), Switch::at(peer_address()));
    let gateways = [Endpoint::new("globex-1", called.address().ip(), &called.target())];
    let hub = Hub::start(&Exchange::of_two(caller.address().ip(), &gateways));
    let strangers: Vec<UdpSocket> = (0..STRANGERS)
        .map(|last| {
            let [.., low] = std::process::id().to_be_bytes();
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, low, last), 0));
            let socket = socket.expect("the loopback network has all of 127.0.0.0/8");
            socket.connect(hub.sip).expect("a datagram socket connects at once");
            socket.set_nonblocking(true).expect("a socket can be told not to wait");
            socket
        })
        .collect();
    let strangers = Arc::new(strangers);
    let (before, memory) = (hub.at_rest(), hub.resident_kb());

    let (flooding, sent) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let flood = thread::spawn({
        let (strangers, flooding, sent, octets) =
            (strangers.clone(), flooding.clone(), sent.clone(), payload(hub.sip));
        move || {
            while flooding.load(Ordering::Relaxed) {
                if !long() {
                    // Beside other tests: 25,000 a second, and not all that one core can send.
                    thread::sleep(Duration::from_millis(10));
                }
                let taken = strangers.iter().filter(|socket| socket.send(&octets).is_ok()).count();
                sent.fetch_add(taken as u64, Ordering::Relaxed);
            }
        }
    });
    let plan = Plan::new(RATE, calls, Duration::from_secs(1));
    let tally = Traffic::start(&plan, hub.sip, caller, called).finish(lasts + Duration::from_secs(40));
    flooding.store(false, Ordering::Relaxed);
    flood.join().expect("the flood does not panic");
    let grown = hub.resident_kb().saturating_sub(memory);

    let sent = sent.load(Ordering::Relaxed);
    let dropped = hub.metrics().sum("tandem_drops_total", &["reason=\"unknown_source\""]);
    let (median, p99, longest) = tally.setup();
    #[expect(clippy::print_stderr, reason = "the figures are part of the result")]
    {
        eprintln!(
            "flood: {sent} datagrams sent, {dropped} dropped by the hub, memory +{grown} kB; \
             {calls} calls, set-up {median:?} at the median, {p99:?} at p99, {longest:?} at most"
        );
    }
    tally.assert_all_went_well(calls);
    assert!(sent > 10_000, "that was no flood");
    assert!(dropped > 0.0, "the flood never reached the hub");
    let bound = if long() { Duration::from_millis(20) } else { Duration::from_millis(400) };
    assert!(p99 <= bound, "set-up took {p99:?} at p99");
    assert!(grown <= MEMORY_KB, "memory grew by {grown} kB");
    let mut buffer = [0; 2_048];
    let answered = strangers.iter().filter(|socket| socket.recv(&mut buffer).is_ok()).count();
    assert_eq!(answered, 0, "strangers that got something back");
    hub.wait_for_cdrs(calls as usize, Duration::from_secs(20));
    hub.wait_until_as(&before, Duration::from_secs(60));
}
