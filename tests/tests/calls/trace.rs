//! Traced calls: the ladder that each member sees, what is exported, and that no secret is in any of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use tandem_tests::address::free_port;
use tandem_tests::child::{Child, Signal};
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Cluster, Endpoint, Exchange, Hub, Settings, Sipp, peer_address, until};

const SOON: Duration = Duration::from_secs(60);

const NUMBERS: Numbers<'_> = Numbers { calling: "+88201", called: CALLED };

/// Begins every secret that the callers below send.
const CANARY: &str = "CANARY";

/// A pressed digit, and its 200.
const INFO: &str = r#"
<send retrans="500"><![CDATA[
INFO [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: [cseq] INFO
Content-Type: application/dtmf-relay
Content-Length: [len]

Signal=CANARYdigit
Duration=160
]]></send>
<recv response="200"/>"#;

const INFO_COMES: &str = r#"
<recv request="INFO"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>"#;

/// An INVITE with every kind of secret in it.
fn telling_invite() -> String {
    let head = "Max-Forwards: 70\nX-Api-Token: CANARYtoken\nAuthorization: Digest username=\"acme\", realm=\"hub\", \
                nonce=\"1\", uri=\"sip:hub\", response=\"CANARYresponse\", cnonce=\"CANARYcnonce\"";
    let keys =
        "a=ptime:20\na=ice-pwd:CANARYpassword\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:CANARYkey|2^20|1:4";
    let invite = caller::INVITE.replacen("Max-Forwards: 70", head, 1).replacen("a=ptime:20", keys, 1);
    let invite = invite.replacen("<sip:caller@", "<sip:caller:CANARYword@", 1);
    assert_eq!(invite.matches(CANARY).count(), 6, "all are planted");
    invite
}

/// What a settings file has under `[trace]`.
fn traced(more: &str) -> Settings {
    Settings { trace: format!("sample = 1.0\n{more}"), ..Settings::default() }
}

/// An exchange whose globex answers calls at a sipp, and that sipp.
fn exchange(acme: std::net::IpAddr, steps: &[&str]) -> (Exchange, Sipp) {
    let called = Sipp::takes_calls(peer_address(), Transport::Udp, steps);
    let gateways = [Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Udp))];
    (Exchange::of_two(acme, &gateways), called)
}

/// One call with a pressed digit, from the INVITE to the CDR; its id.
fn telling_call(hub: &Hub, acme: std::net::IpAddr, called: Sipp) -> String {
    let invite = telling_invite();
    let steps = [&*invite, caller::ANSWERED, caller::ACK, INFO, caller::HOLD, caller::BYE];
    let load = Load::one(Duration::from_millis(300));
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS).finish(SOON).assert_all_went_well(1);
    called.finish(SOON).assert_all_went_well(1);
    let cdrs = hub.wait_for_cdrs(1, SOON);
    cdrs[0]["call_id"].as_str().expect("a call has an id").to_owned()
}

const CALLED_STEPS: [&str; 5] =
    [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, INFO_COMES, gateway::BYE_COMES];

/// Each message of a ladder: `originating received INVITE`, `terminating sent 200 INVITE`.
fn rungs(ladder: &Value) -> Vec<String> {
    let messages = ladder["messages"].as_array().expect("a ladder has messages");
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    // On a busy machine a message may be sent twice.
    let first = messages.iter().filter(|message| message["again"] == false);
    let rung = |message: &Value| {
        let mut words = vec![word(&message["leg"]), word(&message["direction"])];
        words.extend(message["status"].as_u64().map(|status| status.to_string()));
        words.push(word(&message["method"]));
        words.join(" ")
    };
    first.map(rung).collect()
}

/// The messages of a call of [`telling_call`].
const RUNGS: [&str; 17] = [
    "originating received INVITE",
    "originating sent 100 INVITE",
    "terminating sent INVITE",
    "terminating received 180 INVITE",
    "originating sent 180 INVITE",
    "terminating received 200 INVITE",
    "originating sent 200 INVITE",
    "originating received ACK",
    "terminating sent ACK",
    "originating received INFO",
    "terminating sent INFO",
    "terminating received 200 INFO",
    "originating sent 200 INFO",
    "originating received BYE",
    "originating sent 200 BYE",
    "terminating sent BYE",
    "terminating received 200 BYE",
];

fn whole_ladder(api: &tandem_tests::Api, path: &str) -> Value {
    until("the ladder to be whole", SOON, || {
        let ladder = api.get(path).good();
        (rungs(&ladder).len() >= RUNGS.len()).then_some(ladder)
    })
}

#[test]
fn both_members_see_every_message_of_a_sampled_call_in_order_and_no_secret() {
    let acme = peer_address();
    let (exchange, called) = exchange(acme, &CALLED_STEPS);
    let globex = called.address.ip();
    let hub = Hub::with(&traced(""), &exchange);
    let call = telling_call(&hub, acme, called);

    let (acme_ip, globex_ip) = (acme.to_string(), globex.to_string());
    for (member, own, other) in [("acme", &acme_ip, &globex_ip), ("globex", &globex_ip, &acme_ip)] {
        let path = format!("/members/{}/calls/{call}/ladder", hub.api.member_id(member));
        let ladder = whole_ladder(&hub.api_of(member), &path);
        assert_eq!(rungs(&ladder), RUNGS, "{member}");
        assert_eq!((&ladder["traced"], &ladder["dropped"]), (&json!(true), &json!(0)));
        let text = ladder.to_string();
        // Where media goes crosses in SDP; where the other one's switch is does not.
        for hidden in [CANARY.to_owned(), format!("{other}:"), format!("@{other}")] {
            assert!(!text.contains(&hidden), "{member} sees {hidden} in {text}");
        }
        assert!(text.contains(own.as_str()), "{member} sees its own address in {text}");
        for message in ladder["messages"].as_array().expect("messages") {
            let is_own = message["member"]["name"] == member;
            assert_eq!(message["whole"], is_own, "{message}");
            let text = message["text"].as_str().expect("a text");
            assert_eq!(text.contains("Call-ID: "), is_own, "{message}");
        }
    }
    let ladder = whole_ladder(&hub.api, &format!("/calls/{call}/ladder"));
    assert_eq!(rungs(&ladder), RUNGS);
    let text = ladder.to_string();
    assert!(text.contains(&acme_ip) && text.contains(&globex_ip) && !text.contains(CANARY), "{text}");
    assert!(text.contains("response=****************"), "{text}");
    assert_eq!(hub.metrics().sum("tandem_trace_messages_dropped_total", &[]), 0.0);
}

#[test]
fn a_member_selects_its_calls_to_a_number_and_no_others_are_kept() {
    let acme = peer_address();
    let (exchange, called) =
        exchange(acme, &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES]);
    let hub = Hub::start(&exchange);
    let api = hub.api_of("globex");
    let traces = format!("/members/{}/traces", hub.api.member_id("globex"));
    let selection = json!({ "prefix": "+442079460000", "minutes": 5, "max_calls": 1 });
    api.post(&traces, &selection).good();
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let place = |called| {
        let load = Load::one(Duration::from_millis(100));
        let numbers = Numbers { called, ..NUMBERS };
        Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, numbers)
            .finish(SOON)
            .assert_all_went_well(1);
    };
    let kept = || {
        let calls = hub.calls();
        let ids = calls.iter().map(|call| call["call_id"].as_str().expect("an id").to_owned());
        let is_kept = |id: &String| hub.api.get(&format!("/calls/{id}/ladder")).good()["traced"] == true;
        ids.filter(is_kept).count()
    };
    // A node hears of the selection within a second or so: calls are placed until one is kept.
    let mut placed = 0;
    until("a call to be kept", SOON, || {
        place("+442079460001");
        place(CALLED);
        placed += 2;
        hub.wait_for_cdrs(placed, SOON);
        (kept() == 1).then_some(())
    });
    place(CALLED);
    hub.wait_for_cdrs(placed + 1, SOON);
    assert_eq!(kept(), 1, "it was for one call");
    let listed = api.get(&traces).good();
    assert_eq!(listed["items"][0]["calls"], 1, "{listed}");
    called.finish(SOON).assert_all_went_well(u32::try_from(placed).expect("a few") + 1);
}

#[test]
fn while_postgres_is_away_calls_go_on_and_what_finds_no_room_is_dropped_and_counted() {
    const RATE: u32 = 25;
    const CALLS: u32 = 750;
    let cluster = Cluster::start();
    let acme = peer_address();
    let (exchange, called) =
        exchange(acme, &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES]);
    let settings = Settings { database_url: Some(cluster.url()), ..traced("") };
    let hub = Hub::with(&settings, &exchange);
    let before = hub.at_rest();
    cluster.stop();
    let resident_kb = hub.resident_kb();
    // Ten times the octets of an ordinary call.
    let large = caller::INVITE.replacen(
        "Max-Forwards: 70",
        &format!("Max-Forwards: 70\nX-Large: {}", "x".repeat(13_000)),
        1,
    );
    let steps = [&*large, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let load = Load { rate: RATE, calls: CALLS, hold: Duration::from_millis(200) };
    let calling = Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS);
    calling.finish(Duration::from_secs(120)).assert_all_went_well(CALLS);
    called.finish(SOON).assert_all_went_well(CALLS);
    let dropped = hub.metrics().sum("tandem_trace_messages_dropped_total", &[]);
    assert!(dropped > 0.0, "there was not room for all");
    let grown_kb = hub.resident_kb().saturating_sub(resident_kb);
    assert!(grown_kb < 120 << 10, "memory stays bounded: {grown_kb} kB more");
    cluster.start_again();
    hub.wait_for_cdrs(CALLS as usize, SOON);
    until("what was held to be kept", SOON, || {
        (hub.metrics().sum("tandem_trace_messages_kept_total", &[]) > 1_000.0).then_some(())
    });
    hub.wait_until_as(&before, Duration::from_secs(40));
}

/// What a stand-in for a collector has got, request by request.
struct Collector {
    address: SocketAddr,
    requests: mpsc::Receiver<Vec<u8>>,
}

impl Collector {
    /// Takes OTLP by HTTP on a port of its own, as an OpenTelemetry collector does.
    fn start() -> Self {
        let listener = TcpListener::bind((peer_address(), 0)).expect("a port of loopback");
        let address = listener.local_addr().expect("it is bound");
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.expect("a connection"), sender.clone());
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, requests }
    }

    /// Every span of the next requests until there is one of each of these names.
    fn spans(&self, names: &[&str]) -> (Vec<Span>, Vec<u8>) {
        let (mut spans, mut octets) = (Vec::new(), Vec::new());
        while !names.iter().all(|name| spans.iter().any(|span: &Span| span.name == *name)) {
            let body = self.requests.recv_timeout(SOON).expect("the hub exports spans");
            let request = ExportTraceServiceRequest::decode(&*body).expect("it is OTLP");
            octets.extend_from_slice(&body);
            for resource in request.resource_spans {
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        (spans, octets)
    }
}

/// Answers the requests of one connection, and hands over their bodies.
fn serve(stream: TcpStream, sender: &mpsc::Sender<Vec<u8>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut len) = (String::new(), 0);
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("a header field");
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                len = value.parse().expect("a length");
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body).expect("the body is whole");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        reader.get_mut().write_all(answer).expect("the hub takes the answer");
        let _ = sender.send(body);
    }
}

#[test]
fn a_traced_call_is_one_opentelemetry_trace_from_its_invite_to_its_cdr() {
    let acme = peer_address();
    let collector = Collector::start();
    let (exchange, called) = exchange(acme, &CALLED_STEPS);
    let globex = called.address.ip();
    let hub = Hub::with(&traced(&format!("otlp = \"http://{}\"", collector.address)), &exchange);
    let call = telling_call(&hub, acme, called);

    let names = ["call", "selection", "attempt", "journal flush", "answer", "ship"];
    let (spans, octets) = collector.spans(&names);
    assert_eq!(spans.len(), names.len(), "one of each");
    let root = spans.iter().find(|span| span.name == "call").expect("it is there");
    assert!(root.parent_span_id.is_empty());
    let id: String = root.trace_id.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(id, call.replace('-', ""), "the trace has the id of the call");
    for span in &spans {
        assert_eq!(span.trace_id, root.trace_id);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        assert!(root.start_time_unix_nano <= span.start_time_unix_nano, "{span:?}");
        assert!(span.end_time_unix_nano <= root.end_time_unix_nano, "{span:?}");
        assert!(span.name == "call" || span.parent_span_id == root.span_id, "{span:?}");
    }
    let of = |name: &str| spans.iter().find(|span| span.name == name).expect("it is there");
    assert!(of("attempt").end_time_unix_nano <= of("answer").start_time_unix_nano);
    assert!(of("answer").end_time_unix_nano <= of("ship").start_time_unix_nano);
    let text = String::from_utf8_lossy(&octets);
    for hidden in [CANARY, CALLED, &CALLED[1..], &acme.to_string(), &globex.to_string()] {
        assert!(!text.contains(hidden), "{hidden} is exported");
    }
    assert!(text.contains("tandem.outcome") && text.contains("answered"));
    until("the exports to be counted", SOON, || {
        (hub.metrics().sum("tandem_spans_exported_total", &[]) >= 6.0).then_some(())
    });
}

#[test]
fn a_capture_server_decodes_what_is_exported_and_finds_each_message_and_no_secret() {
    exports_whole_calls(|server| format!("hep = \"{server}\""));
}

#[test]
fn what_goes_to_a_capture_server_by_tcp_is_the_same() {
    exports_whole_calls(|server| format!("hep = \"{}\"\nhep_transport = \"tcp\"", relay(server)));
}

/// Takes HEP by TCP, and sends each packet on by UDP: sngrep reads no other.
fn relay(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((peer_address(), 0)).expect("a port of loopback");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let socket = UdpSocket::bind((address.ip(), 0)).expect("a port of loopback");
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 6];
            while stream.read_exact(&mut head).is_ok() {
                assert_eq!(&head[..4], b"HEP3");
                let mut packet = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]]))];
                packet[..head.len()].copy_from_slice(&head);
                stream.read_exact(&mut packet[head.len()..]).expect("a packet is whole");
                socket.send_to(&packet, server).expect("loopback takes it");
            }
        }
    });
    address
}

/// One call, read by sngrep and tshark; `settings` say how the hub exports it to a server.
fn exports_whole_calls(settings: impl Fn(SocketAddr) -> String) {
    let acme = peer_address();
    let (exchange, called) = exchange(acme, &CALLED_STEPS);
    let globex = called.address;
    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("capture.pcap");
    let server = free_port(peer_address());
    let mut sngrep = Command::new("sngrep");
    sngrep.args(["-F", "-N", "-q", "-L", &format!("udp:{server}"), "-O"]).arg(&capture);
    let mut sngrep = Child::start("sngrep", &mut sngrep, &folder.path().join("sngrep.log"));
    until("sngrep to listen", SOON, || UdpSocket::bind(server).is_err().then_some(()));
    let hub = Hub::with(&traced(&settings(server)), &exchange);
    let call = telling_call(&hub, acme, called);
    whole_ladder(&hub.api, &format!("/calls/{call}/ladder"));
    let metrics = hub.metrics();
    assert!(metrics.sum("tandem_hep_packets_total", &[]) >= RUNGS.len() as f64);
    assert_eq!(metrics.sum("tandem_hep_errors_total", &[]), 0.0);

    let fields = [
        "ip.src",
        "udp.srcport",
        "ip.dst",
        "udp.dstport",
        "sip.Method",
        "sip.Status-Code",
        "sip.CSeq.method",
    ];
    let decode = || {
        let mut tshark = Command::new("tshark");
        let sip = |port: u16| format!("udp.port=={port},sip");
        tshark.arg("-r").arg(&capture).args(["-d", &sip(hub.sip.port()), "-d", &sip(globex.port())]);
        tshark.args(["-T", "fields", "-E", "separator=|"]);
        fields.iter().for_each(|field| {
            tshark.args(["-e", field]);
        });
        let output = tshark.output().expect("tshark runs");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // It writes what it has decoded now and then.
    let lines = until("every message to be decoded", SOON, || {
        let lines = decode();
        (lines.len() >= RUNGS.len()).then_some(lines)
    });
    let hub_sip = hub.sip;
    let seen = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        let [source, source_port, destination, destination_port, method, status, cseq] = fields[..] else {
            panic!("no seven fields: {line}")
        };
        let (source, destination) =
            (format!("{source}:{source_port}"), format!("{destination}:{destination_port}"));
        let is_received = destination == hub_sip.to_string();
        assert_eq!(source == hub_sip.to_string(), !is_received, "{line}");
        let member = if is_received { source } else { destination };
        let leg = if member.starts_with(&format!("{acme}:")) { "originating" } else { "terminating" };
        assert!(leg == "originating" || member == globex.to_string(), "{line}");
        let direction = if is_received { "received" } else { "sent" };
        let what = if status.is_empty() { method.to_owned() } else { format!("{status} {cseq}") };
        format!("{leg} {direction} {what}")
    };
    let mut seen: Vec<String> = lines.iter().map(|line| seen(line)).collect();
    seen.dedup();
    let mut wanted: Vec<String> = RUNGS.map(str::to_owned).to_vec();
    // By chance the machine lets one be sent again; each must be there.
    seen.sort();
    wanted.sort();
    seen.dedup();
    wanted.dedup();
    assert_eq!(seen, wanted);
    let octets = std::fs::read(&capture).expect("the capture is there");
    assert!(!String::from_utf8_lossy(&octets).contains(CANARY));
    sngrep.signal(Signal::Terminate);
    sngrep.wait(SOON);
}
