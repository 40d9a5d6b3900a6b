//! Each kind of switch gets a call as its profile says; the configurations that the portal prints are used as they are.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tandem_tests::address::free_port;
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{Baresip, Endpoint, Exchange, Hub, Kamailio, Sipp, peer_address};

const SOON: Duration = Duration::from_secs(30);

/// What a switch of this profile gets of a caller who withholds the number, called by way of somebody who was busy:
/// the start of the Request-URI, whether it says `user=phone`, and the fields that are there. `HUB` is the hub's
/// address. Regular expressions, but for the `+`.
#[expect(clippy::type_complexity, reason = "a table reads best as one")]
const PROFILES: &[(&str, &str, bool, &[(&str, &str)])] = &[
    (
        "neutral",
        "+",
        true,
        &[
            ("P-Asserted-Identity", "\"Ann\" <sip:+33199001234@HUB>"),
            ("Diversion", "<sip:+442079460999@HUB>;reason=user-busy"),
        ],
    ),
    (
        "asterisk",
        "+",
        true,
        &[
            ("P-Asserted-Identity", "\"Ann\" <sip:+33199001234@HUB;user=phone>"),
            ("Diversion", "<sip:+442079460999@HUB;user=phone>;reason=user-busy;counter=1;privacy=off"),
        ],
    ),
    (
        "freeswitch",
        "+",
        true,
        &[
            (
                "Remote-Party-ID",
                "\"Ann\" <sip:+33199001234@HUB;user=phone>;party=calling;privacy=full;screen=yes",
            ),
            ("Diversion", "<sip:+442079460999@HUB;user=phone>;reason=user-busy;counter=1;privacy=off"),
        ],
    ),
    (
        "kamailio",
        "+",
        true,
        &[
            ("P-Asserted-Identity", "\"Ann\" <sip:+33199001234@HUB;user=phone>"),
            ("Diversion", "<sip:+442079460999@HUB;user=phone>;reason=user-busy;counter=1;privacy=off"),
        ],
    ),
    (
        "opensips",
        "+",
        true,
        &[
            ("P-Asserted-Identity", "\"Ann\" <sip:+33199001234@HUB;user=phone>"),
            ("Diversion", "<sip:+442079460999@HUB;user=phone>;reason=user-busy;counter=1;privacy=off"),
        ],
    ),
    (
        "cisco-cube",
        "",
        false,
        &[
            ("Remote-Party-ID", "\"Ann\" <sip:33199001234@HUB>;party=calling;privacy=full;screen=yes"),
            ("Diversion", "<sip:442079460999@HUB>;reason=user-busy;counter=1;privacy=off"),
        ],
    ),
    (
        "teams",
        "+",
        true,
        &[
            ("P-Asserted-Identity", "\"Ann\" <sip:+33199001234@HUB;user=phone>"),
            (
                "History-Info",
                "<sip:+442079460999@HUB;user=phone>;index=1, <sip:CALLED@HUB;user=phone;cause=486>;index=1.1;mp=1",
            ),
        ],
    ),
    (
        "sipconnect",
        "+",
        true,
        &[
            ("P-Asserted-Identity", "\"Ann\" <sip:+33199001234@HUB;user=phone>"),
            ("Diversion", "<sip:+442079460999@HUB;user=phone>;reason=user-busy;counter=1;privacy=off"),
            (
                "History-Info",
                "<sip:+442079460999@HUB;user=phone>;index=1, <sip:CALLED@HUB;user=phone;cause=486>;index=1.1;mp=1",
            ),
        ],
    ),
];

const FIELDS: [&str; 4] = ["P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info"];

/// The call comes, and sipp fails it when it is not as the profile says.
fn invite_comes(
    called: &str,
    plus: &str,
    is_phone: bool,
    fields: &[(&str, &str)],
    hub: SocketAddr,
) -> String {
    let number = called.trim_start_matches('+');
    let quoted = |text: &str| {
        let text = text.replace("HUB", &hub.to_string()).replace("CALLED", called);
        text.replace('.', "[.]")
            .replace('+', "[+]")
            .replace('"', "&quot;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let mut checks = String::new();
    let mut check = |search: &str, regexp: &str, inverse: &str| {
        checks += &format!(
            "<ereg regexp=\"{regexp}\" {search} check_it{inverse}=\"true\" assign_to=\"checked\"/>\n"
        );
    };
    let phone = if is_phone { ";user=phone" } else { "" };
    check(
        "search_in=\"msg\"",
        &format!("^INVITE sip:{}{number}@[0-9.:]+{phone} SIP/2[.]0", quoted(plus)),
        "",
    );
    check("search_in=\"hdr\" header=\"Privacy:\"", "^ *id", "");
    for name in FIELDS {
        let search = format!("search_in=\"hdr\" header=\"{name}:\"");
        match fields.iter().find(|(field, _)| *field == name) {
            Some((_, value)) => check(&search, &format!("^ *{}$", quoted(value)), ""),
            None => check("search_in=\"msg\"", &format!("{name}:"), "_inverse"),
        }
    }
    let comes = gateway::INVITE_COMES.replace("<action>", &format!("<action>\n{checks}"));
    comes.replace("variables=\"them,us\"", "variables=\"them,us,checked\"")
}

#[test]
fn each_profile_tells_its_switch_who_calls_and_who_diverted_in_the_fields_that_it_reads() {
    // The hub's address is in what the switches look for, and theirs in what the hub is told.
    let hub = Hub::start(&Exchange::default());
    let acme = peer_address();
    let mut exchange = Exchange::default().member("acme", &[Endpoint::sender("acme-1", acme)], &[]);
    let mut switches = Vec::new();
    for (at, (profile, plus, is_phone, fields)) in PROFILES.iter().enumerate() {
        let called = format!("+4420794600{at}0");
        let comes = invite_comes(&called, plus, *is_phone, fields, hub.sip);
        let steps = [&*comes, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
        let switch = Sipp::takes_calls(peer_address(), Transport::Udp, &steps);
        let endpoint = Endpoint {
            more: format!("[member.endpoint.policy]\nprofile = \"{profile}\""),
            ..Endpoint::new("switch", switch.address.ip(), &switch.target(Transport::Udp))
        };
        exchange = exchange.member(profile, &[endpoint], &[&called]).agreement("acme", profile);
        switches.push((called, switch));
    }
    hub.apply(&exchange);

    let invite = caller::INVITE.replace(
        "Max-Forwards: 70\n",
        "Max-Forwards: 70\nP-Asserted-Identity: \"Ann\" <sip:+33199001234@pbx.acme.example>\nPrivacy: id\n\
         Diversion: <sip:+442079460999@pbx.acme.example>;reason=user-busy\n",
    );
    for ((called, switch), (profile, ..)) in switches.into_iter().zip(PROFILES) {
        let steps = [&*invite, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
        let numbers = Numbers { calling: "+88201", called: &called };
        let load = Load::one(Duration::from_millis(200));
        let calling = Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, numbers);
        let (asked, got) = (calling.finish(SOON), switch.finish(SOON));
        assert_eq!((asked.successful, got.successful), (1, 1), "{profile}: {}\n{}", asked.errors, got.errors);
    }
    assert_eq!(hub.wait_for_cdrs(PROFILES.len(), SOON).len(), PROFILES.len());
}

/// The files that the portal prints for a switch, by name.
fn configuration(hub: &Hub, member: &str, query: &str) -> impl Fn(&str) -> String {
    let member = hub.api.member_id(member);
    let endpoints = hub.api.all(&format!("/members/{member}/endpoints"));
    let endpoint = endpoints[0]["endpoint_id"].as_str().expect("the member has one").to_owned();
    let path = format!("/members/{member}/endpoints/{endpoint}/configuration?{query}");
    let printed = hub.api.get(&path).good();
    move |name| {
        let files = printed["files"].as_array().expect("there are files");
        let file = files.iter().find(|file| file["name"] == name);
        file.and_then(|file| file["text"].as_str()).expect("the file is there").to_owned()
    }
}

#[test]
fn kamailio_and_baresip_call_each_other_with_the_configurations_that_the_portal_prints() {
    let (phone_ip, proxy_ip) = (peer_address(), peer_address());
    let proxy = free_port(proxy_ip);
    let office = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    );
    let phone = Endpoint::new("phone", phone_ip, &format!("sip:{phone_ip}:5060;transport=udp"));
    let kamailio = Endpoint {
        more: "[member.endpoint.policy]\nprofile = \"kamailio\"".to_owned(),
        ..Endpoint::new("proxy", proxy_ip, &format!("sip:{proxy};transport=udp"))
    };
    let office_endpoint = Endpoint::new("office", office.address.ip(), &office.target(Transport::Udp));
    let exchange = Exchange::default()
        .member("acme", &[phone], &[])
        .member("globex", &[kamailio], &["+442079460"])
        .member("initech", &[office_endpoint], &["+33199"])
        .agreement("acme", "globex")
        .agreement("globex", "initech");
    let hub = Hub::start(&exchange);

    let file = configuration(&hub, "globex", "switch=kamailio");
    let _proxy = Kamailio::start(&file("kamailio.cfg"), proxy);
    // The switch behind the proxy is where the configuration says.
    let inside_address = SocketAddr::new(proxy_ip, 5080);
    let caller_is = "<ereg regexp=\"sip:[+]33199001234@\" search_in=\"hdr\" header=\"From:\" check_it=\"true\" \
                     assign_to=\"checked\"/>";
    let comes = gateway::INVITE_COMES
        .replace("<action>", &format!("<action>\n{caller_is}"))
        .replace("them,us", "them,us,checked");
    let steps = [&*comes, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    let inside = Sipp::takes_calls_at(inside_address, Transport::Udp, &steps);

    let file = configuration(&hub, "acme", "switch=baresip&number=%2B33199001234");
    let files = (&*file("accounts"), &*file("config"));
    let talk = Duration::from_secs(4);
    let mut phone = Baresip::configured(phone_ip, 440.0, files, "+442079460000", talk);
    phone.wait(SOON);
    let report = inside.finish(SOON);
    assert_eq!(report.successful, 1, "{}\n{}", report.errors, phone.printed());

    // And outward: the switch behind the proxy calls initech.
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let numbers = Numbers { calling: "+44207946000", called: "+33199000000" };
    let load = Load::one(Duration::from_millis(300));
    Sipp::calls(proxy_ip, proxy, Transport::Udp, &steps, load, numbers).finish(SOON).assert_all_went_well(1);
    office.finish(SOON).assert_all_went_well(1);
    let cdrs = hub.wait_for_cdrs(2, SOON);
    assert!(cdrs.iter().all(|cdr| cdr["outcome"] == "answered"), "{cdrs:#?}");
}

#[test]
fn the_api_says_what_is_wrong_with_a_policy_and_shows_what_a_profile_sets() {
    let ip = peer_address();
    let hub = Hub::start(&Exchange::of_two(ip, &[]));
    let profiles = hub.api.get("/profiles").good();
    let names: Vec<&str> =
        profiles.as_array().expect("a list").iter().filter_map(|it| it["profile"].as_str()).collect();
    assert_eq!(names, PROFILES.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    assert_eq!(profiles[5]["settings"]["numbers"]["form"], "plain");

    let member = hub.api.member_id("acme");
    let path = format!("/members/{member}/endpoints");
    let with = |policy: Value| json!({"name": "new", "target": "sip:192.0.2.21", "policy": policy});
    for (policy, field, message) in [
        (
            json!({"profile": "asterisk", "overrides": {"numbers": {"country": "044"}}}),
            "policy.overrides.numbers.country",
            "a country code has one to three digits and does not begin with 0, such as 44",
        ),
        (
            json!({"overrides": {"headers": {"sent": {"rules": {"Via": "drop"}}}}}),
            "policy.overrides.headers.sent.rules.Via",
            "the hub makes its own of it, since it makes dialogs or says what a message is",
        ),
        (
            json!({"overrides": {"headers": {"sent": {"rules": {"X-A": {"set": "a\r\nVia: b"}}}}}}),
            "policy.overrides.headers.sent.rules.X-A.set",
            "a value is printable ASCII on one line, from 1 to 256 characters",
        ),
    ] {
        let refused = hub.api.post(&path, &with(policy));
        assert_eq!(refused.status, 422, "{}", refused.body);
        let error = &refused.body["errors"][0];
        assert_eq!((error["field"].as_str(), error["message"].as_str()), (Some(field), Some(message)));
    }
    let policy = json!({"profile": "teams", "overrides": {"codecs": {"allow": ["PCMA"]}}});
    let made = hub.api.post(&path, &with(policy.clone())).good();
    assert_eq!(made["policy"], policy);
}
