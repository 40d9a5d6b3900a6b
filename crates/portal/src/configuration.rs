//! The configuration to paste into a member's switch, for one of its endpoints.
//!
//! One template a file, in the folder of its switch; what stands in double braces is put in. All that is put in is a
//! number, an address, or a word of the characters that names have, so that no template needs to quote.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tandem_model::{
    CallMark, E164, Endpoint, EndpointId, IdentityField, MemberId, NumberForm, Reason, Transport,
};
use tandem_store::listener::Listener;
use tandem_store::{endpoint, listener};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::problem::ApiError;
use crate::request::{Id, Query};
use crate::session::Session;

/// A kind of switch for which there is a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Switch {
    /// Asterisk with PJSIP.
    Asterisk,
    /// FreeSWITCH.
    Freeswitch,
    /// Kamailio 5, between the hub and the member's switch.
    Kamailio,
    /// OpenSIPS 3, between the hub and the member's switch.
    Opensips,
    /// baresip, a phone for tests.
    Baresip,
}

/// For which switch a configuration is.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigurationQuery {
    switch: Switch,
    /// The number of a phone; without it the phone has the endpoint's name.
    #[param(value_type = Option<String>, example = "+442079460000")]
    number: Option<E164>,
}

/// One file of a configuration.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ConfigurationFile {
    /// Its name.
    #[schema(example = "pjsip.conf")]
    name: &'static str,
    /// What is in it.
    text: String,
}

/// The configuration of a switch for an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigurationView {
    switch: Switch,
    files: Vec<ConfigurationFile>,
}

/// `GET /api/v1/members/{member_id}/endpoints/{endpoint_id}/configuration`: what to paste into the switch.
#[utoipa::path(get, path = "/members/{member_id}/endpoints/{endpoint_id}/configuration", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path), ConfigurationQuery),
    responses((status = 200, body = ConfigurationView)))]
pub(crate) async fn get_configuration(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, EndpointId)>,
    Query(query): Query<ConfigurationQuery>,
) -> Result<Json<ConfigurationView>, ApiError> {
    session.may_read(member)?;
    let found = endpoint::get(&app.db, member, id).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let listeners = listener::list(&app.db).await?;
    let files = files(query.switch, &found.endpoint, &listeners, query.number).ok_or_else(|| {
        let detail = "No node of the exchange has told where it receives SIP; try again when one is up.";
        ApiError::new(Reason::Conflict).detail(detail)
    })?;
    Ok(Json(ConfigurationView { switch: query.switch, files }))
}

/// The files of a switch; none while the hub has no listener.
fn files(
    switch: Switch,
    endpoint: &Endpoint,
    listeners: &[Listener],
    number: Option<E164>,
) -> Option<Vec<ConfigurationFile>> {
    let values = Values::of(endpoint, listeners, number)?;
    let file = |name, template| ConfigurationFile { name, text: values.fill(template) };
    Some(match switch {
        Switch::Asterisk => vec![
            file("pjsip.conf", include_str!("configuration/asterisk/pjsip.conf")),
            file("extensions.conf", include_str!("configuration/asterisk/extensions.conf")),
        ],
        Switch::Freeswitch => vec![
            file("gateway.xml", include_str!("configuration/freeswitch/gateway.xml")),
            file("acl.xml", include_str!("configuration/freeswitch/acl.xml")),
            file("public.xml", include_str!("configuration/freeswitch/public.xml")),
            file("dialplan.xml", include_str!("configuration/freeswitch/dialplan.xml")),
        ],
        Switch::Kamailio => {
            vec![file("kamailio.cfg", include_str!("configuration/kamailio/kamailio.cfg"))]
        }
        Switch::Opensips => {
            vec![file("opensips.cfg", include_str!("configuration/opensips/opensips.cfg"))]
        }
        Switch::Baresip => vec![
            file("accounts", include_str!("configuration/baresip/accounts")),
            file("config", include_str!("configuration/baresip/config")),
        ],
    })
}

/// What is put into the templates, by its name in them.
struct Values(Vec<(&'static str, String)>);

/// Where the switch behind a proxy is taken to be: on the proxy's own host.
const INSIDE_PORTS: [u16; 2] = [5080, 5090];

impl Values {
    fn of(endpoint: &Endpoint, listeners: &[Listener], number: Option<E164>) -> Option<Self> {
        let literal = endpoint.target.literal();
        let transport = literal.map(|(_, transport)| transport).or(endpoint.target.transport);
        let transport = transport.unwrap_or(Transport::Udp);
        let hub = listeners.iter().find(|it| it.transport == transport).or(listeners.first())?;
        // A switch with a name knows its address itself.
        let own = literal.map(|(address, _)| address).unwrap_or_else(|| {
            SocketAddr::new(
                Ipv4Addr::UNSPECIFIED.into(),
                endpoint.target.port.unwrap_or(transport.default_port()),
            )
        });
        let inside_ip = if own.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { own.ip() };
        let inside_port = INSIDE_PORTS.into_iter().find(|&port| port != own.port())?;
        let inside = SocketAddr::new(inside_ip, inside_port);
        let mut hosts: Vec<String> = listeners.iter().map(|it| it.address.ip().to_string()).collect();
        hosts.sort();
        hosts.dedup();
        let each = |separator: &str, line: &dyn Fn(&String) -> String| {
            hosts.iter().map(line).collect::<Vec<_>>().join(separator)
        };

        let (policy, mark) = (&endpoint.policy, endpoint.call_mark.as_ref());
        let writes_party =
            matches!(policy.identity.write, IdentityField::RemotePartyId | IdentityField::Both);
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let listed: Vec<&str> = match policy.codecs.allow.as_slice() {
            [] => vec!["PCMA", "PCMU"],
            allow => allow.iter().map(AsRef::as_ref).collect(),
        };
        let (pattern, expression) = match policy.numbers.form {
            NumberForm::E164 => ("_+X.", r"^(\+\d+)$"),
            _ => ("_X.", r"^(\d+)$"),
        };
        let example: E164 = "+442079460000".parse().expect("it is a number");
        let is_datagram = transport == Transport::Udp;
        Some(Self(vec![
            ("name", word(&endpoint.name)),
            ("user", number.map_or_else(|| word(&endpoint.name), |number| number.to_string())),
            ("transport", transport.as_str().to_owned()),
            ("own_address", own.to_string()),
            ("own_host", own.ip().to_string()),
            ("hub_address", hub.address.to_string()),
            ("hub_host", hub.address.ip().to_string()),
            ("inside_address", format!("sip:{inside}")),
            ("inside_host", inside.ip().to_string()),
            ("matches", each("\n", &|host| format!("match = {host}"))),
            ("nodes", each("\n", &|host| format!("  <node type=\"allow\" cidr=\"{}\"/>", block(host)))),
            ("networks", each("|", &|host| host.replace('.', "\\."))),
            ("is_hub", each(" || ", &|host| format!("$si == \"{host}\""))),
            ("trusted", yes(policy.identity.trusted)),
            ("sends_pai", yes(!writes_party)),
            ("sends_rpid", yes(writes_party)),
            ("cid_type", if writes_party { "rpid" } else { "pid" }.to_owned()),
            ("user_phone", yes(policy.numbers.user_phone)),
            (
                "asterisk_codecs",
                listed.iter().map(|codec| asterisk_codec(codec)).collect::<Vec<_>>().join(","),
            ),
            ("codecs", listed.join(",")),
            ("baresip_codecs", listed.join(",").to_ascii_lowercase()),
            ("pattern", pattern.to_owned()),
            ("expression", expression.to_owned()),
            ("example", policy.numbers.write(example)),
            ("tech_prefix", mark.and_then(|mark| mark.tech_prefix()).unwrap_or_default().to_owned()),
            (
                "proxy_mark",
                match mark {
                    Some(CallMark::TechPrefix(digits)) => format!("        $rU = \"{digits}\" + $rU;\n"),
                    Some(CallMark::RequestDomain(domain)) => format!("        $rd = \"{domain}\";\n"),
                    None => String::new(),
                },
            ),
            (
                "kamailio_inside",
                match transport {
                    Transport::Udp => String::new(),
                    Transport::Tcp => format!("listen = udp:{own}\n"),
                    Transport::Tls => format!("listen = udp:{own}\nenable_tls = yes\n"),
                },
            ),
            ("opensips_inside", if is_datagram { String::new() } else { format!("socket = udp:{own}\n") }),
            ("asterisk_tls", of_tls(transport, include_str!("configuration/asterisk/tls"))),
            ("kamailio_tls", of_tls(transport, include_str!("configuration/kamailio/tls"))),
            (
                "opensips_protocol",
                match transport {
                    Transport::Udp => String::new(),
                    Transport::Tcp => "loadmodule \"proto_tcp.so\"\n".to_owned(),
                    Transport::Tls => include_str!("configuration/opensips/tls").to_owned(),
                },
            ),
        ]))
    }

    /// A template with the values in the places of their names.
    fn fill(&self, template: &str) -> String {
        let mut out = String::with_capacity(template.len() * 2);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").expect("a template closes what it opens");
            let value = self.0.iter().find(|(known, _)| *known == name);
            let (_, value) = value.unwrap_or_else(|| panic!("a template names {name}, which there is not"));
            out.push_str(before);
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// Only what names are made of: nothing that any of the formats gives a meaning.
fn word(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect()
}

fn block(host: &str) -> String {
    if host.contains(':') { format!("{host}/128") } else { format!("{host}/32") }
}

fn of_tls(transport: Transport, lines: &str) -> String {
    if transport == Transport::Tls { lines.to_owned() } else { String::new() }
}

/// A codec as Asterisk names it.
fn asterisk_codec(name: &str) -> String {
    match name.to_ascii_uppercase().as_str() {
        "PCMA" => "alaw".to_owned(),
        "PCMU" => "ulaw".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_model::{ListenerId, Policy, SiteId, Source};
    use uuid::Uuid;

    fn endpoint(target: &str, policy: serde_json::Value) -> Endpoint {
        Endpoint {
            endpoint_id: EndpointId(Uuid::nil()),
            member_id: MemberId(Uuid::nil()),
            name: "acme-ams-1".into(),
            sources: vec![Source { net: "192.0.2.21/32".parse().unwrap(), port: None }],
            call_mark: None,
            certificate_names: Vec::new(),
            target: target.parse().unwrap(),
            sites: Vec::new(),
            access: tandem_model::Access::default(),
            priority: 1,
            weight: 100,
            max_calls: None,
            max_calls_per_second: None,
            enabled: true,
            policy: serde_json::from_value::<Policy>(policy).unwrap(),
        }
    }

    fn listeners() -> Vec<Listener> {
        let listener = |address: &str, transport| Listener {
            listener_id: ListenerId(Uuid::nil()),
            site_id: SiteId(Uuid::nil()),
            site: "ams".into(),
            address: address.parse().unwrap(),
            transport,
        };
        vec![
            listener("192.0.2.10:5060", Transport::Udp),
            listener("192.0.2.10:5060", Transport::Tcp),
            listener("[2001:db8::10]:5060", Transport::Udp),
            listener("192.0.2.10:5061", Transport::Tls),
        ]
    }

    fn text(switch: Switch, endpoint: &Endpoint) -> String {
        let files = files(switch, endpoint, &listeners(), Some("+442079460000".parse().unwrap())).unwrap();
        files.iter().map(|file| format!("==> {} <==\n{}\n", file.name, file.text)).collect()
    }

    /// `UPDATE_CONFIGURATIONS=1` writes the expected texts anew, for a reader to judge.
    #[test]
    fn each_switch_has_a_configuration_that_is_complete() {
        let udp = "sip:192.0.2.21:5060;transport=udp";
        for (switch, profile) in [
            (Switch::Asterisk, "asterisk"),
            (Switch::Freeswitch, "freeswitch"),
            (Switch::Kamailio, "kamailio"),
            (Switch::Opensips, "opensips"),
            (Switch::Baresip, "neutral"),
        ] {
            let text = text(switch, &endpoint(udp, serde_json::json!({"profile": profile})));
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/configuration/expected");
            let path = format!("{folder}/{}.txt", format!("{switch:?}").to_ascii_lowercase());
            if std::env::var_os("UPDATE_CONFIGURATIONS").is_some() {
                std::fs::write(&path, &text).expect("the folder is ours");
            }
            assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{path}");
        }
    }

    #[test]
    fn the_readme_has_what_is_printed_for_its_example() {
        let readme = include_str!("../../../README.md");
        let hub = &listeners()[..1];
        for (switch, profile) in [(Switch::Asterisk, "asterisk"), (Switch::Freeswitch, "freeswitch")] {
            let policy = serde_json::json!({"profile": profile});
            let mut endpoint = endpoint("sip:192.0.2.21:5060;transport=udp", policy);
            endpoint.name = "acme-1".into();
            for file in files(switch, &endpoint, hub, None).unwrap() {
                assert!(readme.contains(&file.text), "the README lacks this {}:\n{}", file.name, file.text);
            }
        }
    }

    #[test]
    fn what_the_policy_says_is_in_the_configuration() {
        let policy = serde_json::json!({"profile": "cisco-cube", "overrides": {
            "identity": {"trusted": false}, "codecs": {"allow": ["opus", "PCMA"]}}});
        let tls = endpoint("sip:sbc.acme.example;transport=tls", policy);
        let asterisk = text(Switch::Asterisk, &tls);
        for line in [
            "protocol = tls\n",
            "bind = 0.0.0.0:5061\n",
            "cert_file = ",
            "contact = sip:192.0.2.10:5061\\;transport=tls\n",
            "match = 192.0.2.10\nmatch = 2001:db8::10\n",
            "trust_id_outbound = no\n",
            "send_pai = no\nsend_rpid = yes\n",
            "allow = opus,alaw\n",
            "user_eq_phone = no\n",
            "exten => _X.,1,",
        ] {
            assert!(asterisk.contains(line), "no {line:?} in {asterisk}");
        }
        assert!(
            text(Switch::Kamailio, &tls).contains("listen = tls:0.0.0.0:5061\nlisten = udp:0.0.0.0:5061\n")
        );
        assert!(text(Switch::Opensips, &tls).contains("loadmodule \"proto_tls.so\"\n"));
        assert!(text(Switch::Freeswitch, &tls).contains("opus,PCMA"));
    }

    #[test]
    fn calls_to_the_hub_bear_the_mark_that_tells_them_from_those_of_others() {
        let marked = |mark: &str| Endpoint {
            call_mark: Some(mark.parse().unwrap()),
            ..endpoint("sip:192.0.2.21:5060;transport=udp", serde_json::json!({}))
        };
        let prefixed = marked("9911");
        for (switch, line) in [
            (Switch::Asterisk, "Dial(PJSIP/9911${EXTEN}@tandem,60)"),
            (Switch::Freeswitch, "data=\"sofia/gateway/tandem/9911$1\""),
            (Switch::Kamailio, "        $rU = \"9911\" + $rU;\n        $du = HUB;"),
            (Switch::Opensips, "        $rU = \"9911\" + $rU;\n        $du = "),
        ] {
            assert!(text(switch, &prefixed).contains(line), "no {line:?} in {}", text(switch, &prefixed));
        }
        let line = "        $rd = \"acme.example\";\n";
        for switch in [Switch::Kamailio, Switch::Opensips] {
            assert!(text(switch, &marked("acme.example")).contains(line), "{switch:?}");
        }
    }

    #[test]
    fn a_name_can_end_no_line_and_no_quote() {
        assert_eq!(word("a\r\n\"b<c>;{d}$e"), "abcde");
    }

    #[test]
    fn without_a_listener_there_is_nothing_to_point_at() {
        let endpoint = endpoint("sip:192.0.2.21", serde_json::json!({}));
        assert_eq!(files(Switch::Asterisk, &endpoint, &[], None), None);
    }
}
