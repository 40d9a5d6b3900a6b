//! Times reading and judging: `cargo run --release -p tandem-sip --example judge`.
//!
//! First what an ordinary message costs; then messages of 8, 16, 32 and 64 kB made of what a careless reader
//! reads again and again. One of 64 kB must be judged within 2 ms, and twice the octets take at most 2.5 times
//! as long; the run fails where that does not hold.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a stopwatch that prints what it measures"
)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tandem_sip::{Message, judge};

/// Most that judging any message may take.
const LIMIT: Duration = Duration::from_millis(2);

/// Most by which twice the octets may take longer.
const GROWTH: f64 = 2.5;

/// What is too short to be timed well is not held to [`GROWTH`].
const MEASURABLE: Duration = Duration::from_micros(20);

const INVITE: &[u8] = b"INVITE sip:+442079460000@192.0.2.10:5060;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bK-524287-1---a3c5;rport\r\n\
    Max-Forwards: 69\r\n\
    Contact: <sip:+14155550100@192.0.2.21:5060;transport=udp>\r\n\
    To: <sip:+442079460000@192.0.2.10;user=phone>\r\n\
    From: \"Alice, of Acme\" <sip:+14155550100@192.0.2.21;user=phone>;tag=a73kszlfl\r\n\
    Call-ID: 3848276298220188511@acme.example\r\n\
    CSeq: 101 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, PRACK, UPDATE\r\n\
    Supported: replaces, timer, 100rel\r\n\
    Session-Expires: 1800;refresher=uac\r\n\
    Min-SE: 90\r\n\
    P-Asserted-Identity: <sip:+14155550100@acme.example>\r\n\
    User-Agent: Acme Softswitch 4.2\r\n\
    X-Carrier: acme\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 133\r\n\r\n\
    v=0\r\no=acme 53655765 2353687637 IN IP4 192.0.2.21\r\ns=-\r\nc=IN IP4 192.0.2.21\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\n\r\n";

const OK: &[u8] = b"SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-9f3a1c77e5d20b46;rport=5060;received=192.0.2.10\r\n\
    From: \"Alice, of Acme\" <sip:+14155550100@192.0.2.10;user=phone>;tag=9f3a1c77e5d20b46\r\n\
    To: <sip:+442079460000@192.0.2.31;user=phone>;tag=2201SIPpTag011\r\n\
    Call-ID: 9f3a1c77e5d20b46@192.0.2.10\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:192.0.2.31:5060;transport=UDP>\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 133\r\n\r\n\
    v=0\r\no=acme 53655765 2353687637 IN IP4 192.0.2.21\r\ns=-\r\nc=IN IP4 192.0.2.21\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\n\r\n";

const BYE: &[u8] = b"BYE sip:192.0.2.10:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bK-524287-1---a3c6;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice, of Acme\" <sip:+14155550100@192.0.2.21;user=phone>;tag=a73kszlfl\r\n\
    To: <sip:+442079460000@192.0.2.10;user=phone>;tag=9f3a1c77e5d20b46\r\n\
    Call-ID: 3848276298220188511@acme.example\r\n\
    CSeq: 102 BYE\r\n\
    Content-Length: 0\r\n\r\n";

fn main() -> ExitCode {
    println!("{:28} {:>9} {:>9}", "ordinary message", "parse ns", "judge ns");
    for (name, octets) in [("INVITE with SDP", INVITE), ("200 with SDP", OK), ("BYE", BYE)] {
        let message = Message::parse(octets).expect("it is SIP");
        judge(&message).expect("it is right");
        let parse = fastest(20_000, || drop(black_box(Message::parse(black_box(octets)))));
        let judged = fastest(20_000, || {
            let _ = black_box(judge(black_box(&message)));
        });
        println!("{name:28} {:>9.0} {:>9.0}", nanos(parse), nanos(judged));
    }
    println!(
        "\n{:36} {:>9} {:>9} {:>9} {:>9} µs, parse and judge",
        "hostile message", "8 kB", "16 kB", "32 kB", "64 kB"
    );
    let mut good = true;
    let mut slowest = Duration::ZERO;
    for name in HEADERS {
        for unit in UNITS {
            let times = [8_000, 16_000, 32_000, 64_000].map(|len| time_of(name, unit, len));
            let grows = times
                .windows(2)
                .any(|pair| pair[0] > MEASURABLE && pair[1].as_secs_f64() > GROWTH * pair[0].as_secs_f64());
            let bad = grows || times[3] > LIMIT;
            if bad || times[3] > slowest {
                slowest = slowest.max(times[3]);
                let [a, b, c, d] = times.map(|time| nanos(time) / 1_000.0);
                let note = if bad { "  TOO SLOW" } else { "" };
                println!("{:36} {a:>9.1} {b:>9.1} {c:>9.1} {d:>9.1}{note}", format!("{name}: {unit:?}"));
            }
            good &= !bad;
        }
    }
    println!("\nthe slowest message of 64 kB takes {:.0} µs", nanos(slowest) / 1_000.0);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Header fields whose values are read, and one whose value is not.
const HEADERS: &[&str] = &[
    "Via",
    "From",
    "To",
    "Contact",
    "Route",
    "Record-Route",
    "Call-ID",
    "CSeq",
    "Max-Forwards",
    "Session-Expires",
    "RAck",
    "Content-Type",
    "Content-Length",
    "Require",
    "Subject",
];

/// What they are filled with.
const UNITS: &[&str] = &[
    ",",
    "\"",
    "\"\"",
    "\\\"",
    ";",
    ";a=b",
    "<",
    ">",
    "<>",
    "(",
    ")",
    "a,",
    "a ",
    "\r\n ",
    "\r\n\t\"",
    "<sip:h>,",
    "SIP/2.0/UDP h;branch=z9hG4bK1,",
    "=",
    " ",
    "\t",
    "[",
    "%",
    "%41",
    ":",
    "/",
    "@",
    "1",
    "\u{1}",
    "\"\u{1}\"",
    "SIP/",
    "SIP / ",
    "\r",
    "\n",
    "a\r\nVia: ",
    "SIP/2.0/UDP h;branch=z9hG4bK1\r\nVia: ",
];

fn time_of(name: &str, unit: &str, len: usize) -> Duration {
    let value = unit.repeat(len / unit.len());
    let text = format!(
        "INVITE sip:b@h SIP/2.0\r\nX: \u{1}\r\n{name}: {value}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"
    );
    // The control octet makes the head be looked through octet by octet; without it the values are reached.
    let [with, without] = [text.clone(), text.replacen('\u{1}', "1", 1)];
    [with, without]
        .iter()
        .map(|text| {
            fastest(7, || {
                if let Ok(message) = Message::parse(black_box(text.as_bytes())) {
                    let _ = black_box(judge(&message));
                }
            })
        })
        .max()
        .unwrap_or_default()
}

/// The fastest of several rounds: what the work takes when nothing else disturbs it.
fn fastest(rounds: usize, mut work: impl FnMut()) -> Duration {
    let time = |work: &mut dyn FnMut()| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    if rounds < 100 {
        return (0..rounds).map(|_| time(&mut work)).min().unwrap_or_default();
    }
    // Short work is timed a thousand at once.
    let batches = (0..rounds / 1_000).map(|_| time(&mut || (0..1_000).for_each(|_| work())));
    batches.min().unwrap_or_default() / 1_000
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
