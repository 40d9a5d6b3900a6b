//! Calls to ported numbers (RFC 4694): by whose word they are routed, and what the member that gets them is told.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Dnsmasq, Endpoint, Exchange, Hub, PREFIX, Settings, Sipp, peer_address, until};

const SOON: Duration = Duration::from_secs(60);

/// What the member announces that ported numbers went to.
const PORTED_TO: &str = "+4416179";

/// The routing number that the scenario's ported number has.
const RN: &str = "+441617900";

/// A gateway that takes calls whose INVITE has this in its Request-URI, and no others.
fn gateway_told(uri: &str) -> Sipp {
    let told = format!(
        r#"<recv request="INVITE"><action>
<ereg regexp=".*" search_in="hdr" header="From:" assign_to="them"/>
<ereg regexp=".*" search_in="hdr" header="To:" assign_to="us"/>
<ereg regexp="^INVITE {uri}" search_in="msg" check_it="true" assign_to="told"/>
</action></recv>
<Reference variables="them,us,told"/>"#
    );
    let steps = [&told, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    Sipp::takes_calls(peer_address(), Transport::Udp, &steps)
}

fn call(acme: IpAddr, hub: &Hub, called: &str) {
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let numbers = Numbers { calling: "+88201", called };
    let load = Load::one(Duration::from_millis(200));
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, numbers).finish(SOON).assert_all_went_well(1);
}

/// acme calls; globex announces [`PREFIX`], and initech, to whom numbers are ported, [`PORTED_TO`] and is told so.
fn exchange(acme: &Endpoint, globex: &Sipp, initech: &Sipp) -> Exchange {
    let endpoint = |name: &str, gateway: &Sipp, more: &str| Endpoint {
        more: more.to_owned(),
        ..Endpoint::new(name, gateway.address.ip(), &gateway.target(Transport::Udp))
    };
    let told = "policy = { overrides = { numbers = { write_routing_number = true } } }";
    Exchange::default()
        .member("acme", std::slice::from_ref(acme), &[])
        .member("globex", &[endpoint("globex-1", globex, "")], &[PREFIX])
        .member("initech", &[endpoint("initech-1", initech, told)], &[PORTED_TO])
        .agreement("acme", "globex")
        .agreement("acme", "initech")
}

/// What the CDRs say of the look-up, by the endpoint that got the call.
fn dips(hub: &Hub, count: usize) -> Vec<(String, Value)> {
    let member = hub.api.member_id("acme");
    let of = |cdr: &Value| {
        let id = cdr["call_id"].as_str().expect("a call has an id");
        let detail = hub.api.get(&format!("/members/{member}/calls/{id}")).good();
        let to = cdr["terminating_member"]["name"].as_str().unwrap_or("nobody").to_owned();
        (to, detail["selection"]["dip"].clone())
    };
    let mut dips: Vec<_> = hub.wait_for_cdrs(count, SOON).iter().map(of).collect();
    dips.sort_by_key(|(member, _)| member.clone());
    dips
}

#[test]
fn the_routing_number_of_a_trusted_endpoint_decides_and_a_forged_one_does_not() {
    let (trusted, forger) = (peer_address(), peer_address());
    let globex = gateway_told(&format!(r"sip:\{CALLED}@"));
    let initech = gateway_told(&format!(r"sip:\{CALLED};npdi;rn=\{RN}@"));
    let trust = Endpoint {
        more: "policy = { overrides = { numbers = { routing_number = true } } }".to_owned(),
        ..Endpoint::sender("acme-1", trusted)
    };
    let exchange = exchange(&trust, &globex, &initech)
        .member("umbrella", &[Endpoint::sender("umbrella-1", forger)], &[])
        .agreement("umbrella", "globex")
        .agreement("umbrella", "initech");
    let hub = Hub::with(&Settings::default(), &exchange);
    let called = format!("{CALLED};npdi;rn={RN}");
    call(trusted, &hub, &called);
    call(forger, &hub, &called);
    globex.finish(SOON).assert_all_went_well(1);
    initech.finish(SOON).assert_all_went_well(1);
    let metrics = hub.metrics();
    for outcome in ["believed", "distrusted"] {
        let counted = metrics.sum("tandem_routing_numbers_total", &[&format!("outcome=\"{outcome}\"")]);
        assert_eq!(counted, 1.0, "{outcome}");
    }
    let cdrs = hub.wait_for_cdrs(2, SOON);
    assert!(cdrs.iter().all(|cdr| cdr["called"] == CALLED[1..]), "{cdrs:?}");
    let id = hub.api.member_id("acme");
    let own = cdrs.iter().find(|cdr| cdr["originating_member"]["member_id"] == id.as_str());
    let call_id = own.expect("the call of acme")["call_id"].as_str().expect("a call has an id");
    let detail = hub.api.get(&format!("/members/{id}/calls/{call_id}")).good();
    assert_eq!(detail["selection"]["dip"], json!({ "routing_number": RN, "source": "call" }));
}

#[test]
fn a_node_reads_ported_numbers_from_files_and_routes_by_what_they_say_now() {
    let acme = peer_address();
    let (globex, initech) =
        (gateway_told(&format!(r"sip:\{CALLED}@")), gateway_told(&format!(r"sip:\{CALLED};npdi;rn=\{RN}@")));
    let folder = tempfile::TempDir::with_prefix("tandem-ported-").expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = Settings {
        more: format!("[portability]\nfile = \"{}\"\ndeltas = \"{}\"", path("numbers.base"), path("")),
        ..Settings::default()
    };
    let hub = Hub::with(&settings, &exchange(&Endpoint::sender("acme-1", acme), &globex, &initech));
    let node = || hub.api.get("/nodes").good()["items"][0].clone();
    let until_node =
        |what: &str, is: &dyn Fn(&Value) -> bool| until(what, SOON, || is(&node()).then_some(()));
    until_node("the missing file to be told", &|node| {
        node["ported_fault"]["code"] == "ported_file_unreadable"
    });

    let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("the folder is ours");
    write("numbers.csv", "number,routing_number\n+441632960001,+441617901\n");
    hub.tandem(&["portability", "build", &path("numbers.csv"), "--out", &path("numbers.base")]);
    until_node("the base", &|node| node["ported_serial"] == 1 && node["ported_numbers"] == 1);
    call(acme, &hub, CALLED);

    write("changes.csv", &format!("add,{CALLED},{RN}\nremove,+441632960001,\n"));
    hub.tandem(&["portability", "delta", &path("changes.csv"), "--serial", "2", "--out", &path("")]);
    until_node("the delta", &|node| node["ported_serial"] == 2 && node["ported_fault"].is_null());
    call(acme, &hub, CALLED);
    globex.finish(SOON).assert_all_went_well(1);
    initech.finish(SOON).assert_all_went_well(1);
    let by_node = |rn: Option<&str>| json!({ "routing_number": rn, "source": "node" });
    assert_eq!(
        dips(&hub, 2),
        [("globex".to_owned(), by_node(None)), ("initech".to_owned(), by_node(Some(RN)))]
    );

    // Whoever asks is told the same.
    let member = hub.api.member_id("acme");
    let looked_up = hub.api.get(&format!("/members/{member}/lookup?called=%2B{}", &CALLED[1..])).good();
    assert_eq!(looked_up["dip"], by_node(Some(RN)));
    let said = hub.tandem(&["lookup", "--from", "acme", CALLED]);
    assert!(
        said.contains(&format!("It was ported: it is routed by {RN}, say the ported numbers.")),
        "{said}"
    );

    // A delta that is cut short changes nothing.
    write("3.delta", &format!("tandem-ported 1 delta 3\nremove {CALLED}\n"));
    until_node("the fault", &|node| {
        node["ported_fault"]["code"] == "ported_file_malformed" && node["ported_serial"] == 2
    });
    assert_eq!(hub.metrics().sum("tandem_ported_numbers_fault", &["reason=\"ported_file_malformed\""]), 1.0);
    assert_eq!(hub.metrics().sum("tandem_ported_numbers", &[]), 1.0);
}

/// An HTTP server that knows one ported number, answers others with 404, and one not at all.
fn number_server() -> std::net::SocketAddr {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind((peer_address(), 0)).expect("a port of the system's");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
                let asked = lines.next().and_then(Result::ok).unwrap_or_default();
                while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
                if asked.contains(&SILENT[1..]) {
                    // Until the other side hangs up.
                    lines.for_each(drop);
                    return;
                }
                let (status, body) = match asked.contains(&CALLED[1..]) {
                    true => ("200 OK", format!("{{\"routing_number\": \"{RN}\"}}")),
                    false => ("404 Not Found", String::new()),
                };
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            });
        }
    });
    address
}

/// A number of globex about which the server says nothing.
const SILENT: &str = "+442079460099";

#[test]
fn a_node_without_files_asks_an_http_service_and_goes_on_where_that_is_silent() {
    let acme = peer_address();
    let (globex, initech) = (gateway_told("sip:"), gateway_told(&format!(r"sip:\{CALLED};npdi;rn=\{RN}@")));
    let settings = Settings {
        more: format!("[portability]\ndip = \"http://{}/numbers/{{number}}\"", number_server()),
        ..Settings::default()
    };
    let hub = Hub::with(&settings, &exchange(&Endpoint::sender("acme-1", acme), &globex, &initech));
    for called in [CALLED, CALLED, SILENT, "+442079460001"] {
        call(acme, &hub, called);
    }
    globex.finish(SOON).assert_all_went_well(2);
    initech.finish(SOON).assert_all_went_well(2);
    let dip = |rn: Option<&str>, source: &str| json!({ "routing_number": rn, "source": source });
    let mut said: Vec<String> = dips(&hub, 4).iter().map(|(to, dip)| format!("{to} {dip}")).collect();
    said.sort();
    assert_eq!(
        said,
        [
            format!("globex {}", dip(None, "service")),
            format!("globex {}", dip(None, "unanswered")),
            format!("initech {}", dip(Some(RN), "service")),
            format!("initech {}", dip(Some(RN), "service")),
        ]
    );
    let count = |outcome: &str| hub.metrics().sum("tandem_dips_total", &[&format!("outcome=\"{outcome}\"")]);
    assert_eq!(["ported", "remembered", "not_ported", "late"].map(count), [1.0; 4]);
}

#[test]
fn a_node_without_files_asks_by_enum() {
    let acme = peer_address();
    let (globex, initech) = (gateway_told("sip:"), gateway_told(&format!(r"sip:\{CALLED};npdi;rn=\{RN}@")));
    let name: String = CALLED[1..].chars().rev().flat_map(|digit| [digit, '.']).collect();
    let record =
        format!("naptr-record={name}e164.test,10,10,u,E2U+pstn:tel,!^.*$!tel:{CALLED};npdi;rn={RN}!");
    let dns = Dnsmasq::start(60, &[record]);
    let settings = Settings {
        more: format!("[portability]\ndip = \"enum://{}/e164.test\"", dns.address),
        ..Settings::default()
    };
    let hub = Hub::with(&settings, &exchange(&Endpoint::sender("acme-1", acme), &globex, &initech));
    call(acme, &hub, CALLED);
    call(acme, &hub, "+442079460001");
    globex.finish(SOON).assert_all_went_well(1);
    initech.finish(SOON).assert_all_went_well(1);
    let by = |rn: Option<&str>| json!({ "routing_number": rn, "source": "service" });
    assert_eq!(dips(&hub, 2), [("globex".to_owned(), by(None)), ("initech".to_owned(), by(Some(RN)))]);
}
