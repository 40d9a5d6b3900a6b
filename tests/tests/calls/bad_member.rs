//! Members whose gateway is silent, full or slow: calls to others go on as before, and none of theirs is tried more
//! often than once.

use std::collections::{HashMap, HashSet};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tandem_tests::{Endpoint, Exchange, Hub, Plan, Switch, Traffic, now, peer_address};

/// Calls a second to each member.
const RATE: u32 = 20;

/// Calls to each member.
const CALLS: u32 = 3 * RATE;

/// How a gateway fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It says nothing.
    Silent,
    /// It answers every INVITE with 503.
    Full,
    /// It answers after five seconds, when nobody waits any more.
    Slow,
}

const FAULTS: [Fault; 3] = [Fault::Silent, Fault::Full, Fault::Slow];

fn respond(request: &str, status: &str) -> String {
    let kept = |line: &&str| ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
    let copied: String = request
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(kept)
        .map(|line| format!("{line}\r\n"))
        .collect();
    let to = request.lines().find(|line| line.starts_with("To:")).unwrap_or("To: <sip:x>");
    let tag = if to.contains(";tag=") { "" } else { ";tag=bad" };
    format!(
        "SIP/2.0 {status}\r\n{copied}{to}{tag}\r\nContact: <sip:x@127.0.0.1>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Answers as `fault` has it until `running` is over; gives how many INVITEs came, sent again or not, and for how
/// many attempts.
fn misbehave(socket: &UdpSocket, fault: Fault, running: &AtomicBool) -> (usize, usize) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket has timeouts");
    let mut buffer = [0; 4_096];
    let (mut invites, mut branches) = (0, HashSet::new());
    let mut late: HashMap<String, (Instant, String, std::net::SocketAddr)> = HashMap::new();
    while running.load(Ordering::Relaxed) {
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let request = String::from_utf8_lossy(&buffer[..len]).into_owned();
            let via = request.lines().find(|line| line.starts_with("Via:")).unwrap_or("").to_owned();
            let send = |text: String| drop(socket.send_to(text.as_bytes(), from));
            match (request.split(' ').next(), fault) {
                (Some("INVITE"), fault) => {
                    invites += 1;
                    let is_new = branches.insert(via.clone());
                    match fault {
                        Fault::Silent => {}
                        Fault::Full => send(respond(&request, "503 Full")),
                        Fault::Slow if is_new => {
                            late.insert(via, (now() + Duration::from_secs(5), request, from));
                        }
                        Fault::Slow => {}
                    }
                }
                (Some("ACK"), _) | (_, Fault::Silent) => {}
                _ => send(respond(&request, "200 OK")),
            }
        }
        let due: Vec<String> =
            late.iter().filter(|(_, (at, ..))| *at <= now()).map(|(via, _)| via.clone()).collect();
        for (_, request, from) in due.iter().filter_map(|via| late.remove(via)) {
            let _ = socket.send_to(respond(&request, "200 OK").as_bytes(), from);
        }
    }
    (invites, branches.len())
}

#[expect(clippy::print_stderr, reason = "the figures are the result")]
#[test]
fn calls_to_others_go_on_while_three_members_are_silent_full_and_slow() {
    let switch = || Switch::at(peer_address());
    let (good, called) = (switch(), switch());
    let bad: Vec<(Fault, Switch, UdpSocket)> = FAULTS
        .map(|fault| (fault, switch(), UdpSocket::bind((peer_address(), 0)).expect("loopback has room")))
        .into();
    let mut callers = vec![Endpoint::sender("acme-1", good.address().ip())];
    callers.extend(
        (2..)
            .zip(&bad)
            .map(|(n, (_, caller, _))| Endpoint::sender(&format!("acme-{n}"), caller.address().ip())),
    );
    let gateway = Endpoint::new("globex-1", called.address().ip(), &called.target());
    let mut exchange = Exchange::default()
        .member("acme", &callers, &[])
        .member("globex", &[gateway], &["+44207946"])
        .agreement("acme", "globex");
    for (n, (_, _, socket)) in bad.iter().enumerate() {
        let (name, at) = (format!("bad{n}"), socket.local_addr().expect("it is bound"));
        let gateway = Endpoint::new(&format!("{name}-1"), at.ip(), &format!("sip:{at};transport=udp"));
        exchange = exchange.member(&name, &[gateway], &[&format!("+4930{n}")]).agreement("acme", &name);
    }
    let hub = Hub::start(&exchange);
    let before = hub.at_rest();

    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        let mut tallies = Vec::new();
        let mut gateways = Vec::new();
        let plan = Plan::new(RATE, 2 * CALLS, Duration::from_secs(1));
        let traffic = Traffic::start(&plan, hub.sip, good, called);
        for (n, (fault, caller, socket)) in bad.into_iter().enumerate() {
            let running = &running;
            gateways.push((fault, scope.spawn(move || misbehave(&socket, fault, running))));
            let plan = Plan {
                called: format!("+4930{n}123"),
                calling: format!("+8820{n}"),
                ..Plan::new(RATE, CALLS, Duration::from_secs(1))
            };
            tallies.push(Traffic::start(&plan, hub.sip, caller, switch()));
        }
        let good = traffic.finish(Duration::from_secs(60));
        for tally in tallies.into_iter().map(|one| one.finish(Duration::from_secs(60))) {
            let statuses: HashSet<_> = tally.calling.values().map(|seen| seen.status).collect();
            assert!(statuses.iter().all(|status| status.is_some_and(|status| status >= 480)), "{statuses:?}");
        }
        // What is late comes late.
        hub.wait_until_as(&before, Duration::from_secs(90));
        running.store(false, Ordering::Relaxed);
        for (fault, gateway) in gateways {
            let (invites, attempts) = gateway.join().expect("a gateway does not panic");
            eprintln!("{fault:?}: {CALLS} calls, {attempts} attempts, {invites} INVITEs");
            assert_eq!(attempts, CALLS as usize, "{fault:?}: one attempt a call");
        }
        eprintln!("calls to others: set-up p99 {:?}", good.setup().1);
        good.assert_all_went_well(2 * CALLS);
    });
}
