//! Every operation of the OpenAPI document, as nobody, as a member on another member's objects, as the
//! member itself and as the operator.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tandem_model::{Clock, Transport};
use tandem_store::certificate::{self, NewCertificate};

use crate::calls::answered;
use crate::exchange::{Answer, Caller, Exchange, Member, PASSWORD, endpoint};

/// An operation, a body that it takes, and the status that it answers with to nobody, to another member, to
/// the member itself and to the operator. In an order in which the member can do all of it.
const OPERATIONS: &[(&str, &str, [u16; 4])] = &[
    ("list_reasons", "", [200, 200, 200, 200]),
    ("join", "join", [201, 201, 201, 201]),
    ("create_session", "session", [200, 200, 200, 200]),
    ("get_session", "", [401, 200, 200, 200]),
    ("list_members", "", [401, 200, 200, 200]),
    ("create_member", "member", [401, 403, 403, 201]),
    ("get_member", "", [401, 404, 200, 200]),
    ("update_member", "patch", [401, 404, 200, 200]),
    ("list_users", "", [401, 404, 200, 200]),
    ("create_user", "user", [401, 404, 201, 201]),
    ("list_tokens", "", [401, 200, 200, 200]),
    ("create_token", "token", [401, 404, 201, 201]),
    ("list_endpoints", "", [401, 404, 200, 200]),
    ("create_endpoint", "new_endpoint", [401, 404, 201, 201]),
    ("get_endpoint", "", [401, 404, 200, 200]),
    ("get_endpoint_health", "", [401, 404, 200, 200]),
    ("update_endpoint", "endpoint", [401, 404, 200, 200]),
    ("get_configuration", "?switch=asterisk", [401, 404, 200, 200]),
    ("list_profiles", "", [401, 200, 200, 200]),
    ("put_inbound_credential", "inbound", [401, 404, 200, 200]),
    ("put_outbound_credential", "outbound", [401, 404, 200, 200]),
    ("get_access", "", [401, 404, 200, 200]),
    ("delete_inbound_credential", "", [401, 404, 204, 204]),
    ("delete_outbound_credential", "", [401, 404, 204, 204]),
    ("list_ranges", "", [401, 404, 200, 200]),
    ("claim_range", "range", [401, 404, 201, 201]),
    ("list_all_ranges", "", [401, 403, 403, 200]),
    ("verify_range", "", [401, 403, 403, 200]),
    // It is verified by then only where the operator walks.
    ("renew_range", "renewal", [401, 404, 409, 200]),
    ("get_challenge", "", [401, 404, 200, 200]),
    // The exchange takes neither calls nor certificates as evidence.
    ("start_challenge", "", [401, 404, 409, 409]),
    ("answer_challenge", "code", [401, 404, 422, 422]),
    ("list_certificates", "", [401, 404, 200, 200]),
    ("bring_certificate", "chain", [401, 404, 409, 409]),
    ("prove_certificate", "proof", [401, 404, 422, 422]),
    ("delete_certificate", "", [401, 404, 204, 204]),
    ("refuse_range", "", [401, 403, 403, 200]),
    ("list_allocations", "", [401, 403, 403, 200]),
    ("put_allocations", "csv", [401, 403, 403, 200]),
    ("delete_allocations", "", [401, 403, 403, 204]),
    ("get_holder_names", "", [401, 404, 200, 200]),
    ("put_holder_names", "holder_names", [401, 403, 403, 200]),
    ("list_announcements", "", [401, 404, 200, 200]),
    ("create_announcement", "announcement", [401, 404, 201, 201]),
    ("get_announcement", "", [401, 404, 200, 200]),
    ("update_announcement", "same_announcement", [401, 404, 200, 200]),
    ("bulk_announcements", "bulk", [401, 404, 200, 200]),
    ("list_imports", "", [401, 404, 200, 200]),
    ("create_import", "import", [401, 404, 201, 201]),
    ("get_import", "", [401, 404, 200, 200]),
    ("put_import_content", "", [401, 404, 200, 200]),
    ("get_import_errors", "", [401, 404, 200, 200]),
    ("delete_import", "", [401, 404, 204, 204]),
    ("list_change_sets", "", [401, 404, 200, 200]),
    ("create_change_set", "change_set", [401, 404, 201, 201]),
    ("get_change_set", "", [401, 404, 200, 200]),
    ("plan_change_set", "", [401, 404, 200, 200]),
    // Only a person approves, and a token walks.
    ("approve_change_set", "", [401, 404, 403, 403]),
    ("apply_change_set", "apply", [401, 404, 200, 200]),
    ("roll_back_change_set", "", [401, 404, 200, 200]),
    ("cancel_change_set", "", [401, 404, 409, 409]),
    ("list_all_change_sets", "", [401, 403, 403, 200]),
    ("list_agreements", "", [401, 404, 200, 200]),
    ("propose_agreement", "agreement", [401, 404, 201, 201]),
    ("get_agreement", "", [401, 404, 200, 200]),
    ("list_agreement_history", "", [401, 404, 200, 200]),
    ("accept_agreement", "", [401, 404, 200, 200]),
    ("refuse_agreement", "", [401, 404, 409, 409]),
    ("counter_agreement", "counter", [401, 404, 409, 409]),
    ("suspend_agreement", "", [401, 404, 200, 200]),
    ("resume_agreement", "", [401, 404, 200, 200]),
    ("end_agreement", "", [401, 404, 200, 200]),
    ("list_all_clubs", "", [401, 403, 403, 200]),
    ("create_club", "club", [401, 403, 403, 201]),
    ("list_clubs", "", [401, 404, 200, 200]),
    ("join_club", "", [401, 404, 200, 200]),
    ("leave_club", "", [401, 404, 200, 200]),
    ("expel_from_club", "club_member", [401, 403, 403, 409]),
    ("readmit_to_club", "club_member", [401, 403, 403, 409]),
    ("create_rate_deck", "rate_deck", [401, 404, 201, 201]),
    ("load_rates", "rates", [401, 404, 200, 200]),
    ("list_rates", "", [401, 404, 200, 200]),
    ("list_rate_decks", "", [401, 404, 200, 200]),
    ("create_transit_offer", "transit_offer", [401, 404, 201, 201]),
    ("list_transit_offers", "", [401, 404, 200, 200]),
    ("update_transit_offer", "same_transit_offer", [401, 404, 200, 200]),
    ("list_all_transit_offers", "", [401, 403, 403, 200]),
    ("permit_transit_offer", "permission", [401, 403, 403, 200]),
    ("withdraw_transit_offer", "", [401, 404, 204, 204]),
    // An offer names it, or did.
    ("delete_rate_deck", "", [401, 404, 409, 409]),
    ("list_own_rate_decks", "", [401, 403, 403, 200]),
    ("create_own_rate_deck", "rate_deck", [401, 403, 403, 201]),
    // These are of a member's deck, which is none of the operator.
    ("load_own_rates", "rates", [401, 403, 403, 404]),
    ("list_own_rates", "", [401, 403, 403, 404]),
    ("delete_own_rate_deck", "", [401, 403, 403, 404]),
    ("get_currency", "", [401, 200, 200, 200]),
    // There are decks.
    ("put_currency", "currency", [401, 403, 403, 409]),
    ("put_block_list", "block_list", [401, 404, 200, 200]),
    ("get_block_list", "", [401, 404, 200, 200]),
    ("get_common_block_list", "", [401, 403, 403, 200]),
    ("put_common_block_list", "common_block_list", [401, 403, 403, 200]),
    ("list_calls", "", [401, 404, 200, 200]),
    ("get_call", "", [401, 404, 200, 200]),
    ("list_all_calls", "", [401, 403, 403, 200]),
    ("get_any_call", "", [401, 403, 403, 200]),
    ("verify_selection", "", [401, 404, 200, 200]),
    ("verify_any_selection", "", [401, 403, 403, 200]),
    ("get_ladder", "", [401, 404, 200, 200]),
    ("get_any_ladder", "", [401, 403, 403, 200]),
    ("list_traces", "", [401, 404, 200, 200]),
    ("create_trace", "trace", [401, 404, 201, 201]),
    ("lookup", "?called=442071234", [401, 404, 200, 200]),
    ("lookup_batch", "numbers", [401, 404, 200, 200]),
    ("follow_reachability", "", [401, 404, 200, 200]),
    ("look", "?of=44207", [401, 404, 200, 200]),
    ("look_at_all", "?of=44207&from=globex", [401, 403, 403, 200]),
    ("lookup_from", "?called=442071234&from=globex", [401, 403, 403, 200]),
    ("member_overview", "", [401, 404, 200, 200]),
    ("overview", "", [401, 403, 403, 200]),
    ("list_nodes", "", [401, 403, 403, 200]),
    ("list_audit", "", [401, 200, 200, 200]),
    ("connect", "", [401, 200, 200, 200]),
    ("end_trace", "", [401, 404, 204, 204]),
    ("withdraw_announcement", "", [401, 404, 204, 204]),
    ("withdraw_range", "", [401, 404, 204, 204]),
    ("delete_endpoint", "", [401, 404, 204, 204]),
    ("disable_user", "", [401, 404, 204, 204]),
    ("revoke_token", "", [401, 404, 204, 204]),
    ("delete_session", "", [401, 204, 204, 204]),
];

/// Two members with everything that a member can have, and one more to agree with.
struct Scene {
    exchange: Exchange,
    acme: Member,
    globex: Member,
    ids: Vec<(&'static str, String)>,
}

impl Scene {
    async fn new() -> Self {
        let exchange = Exchange::new().await;
        let listeners = [("192.0.2.200:5060".parse().unwrap(), Transport::Udp)];
        tandem_store::listener::register(exchange.database.pool(), "ams", &listeners).await.unwrap();
        let acme = exchange.provider("acme", 1, "+4420").await;
        let globex = exchange.provider("globex", 2, "+4930").await;
        let initech = exchange.provider("initech", 3, "+4940").await;
        let umbrella = exchange.member("umbrella").await;
        assert_eq!(umbrella.name, "umbrella");
        let endpoint_id = globex.endpoint("globex-secret", 77).await;
        let announcement = json!({ "prefix": "+49301", "endpoints": ["globex-1"] });
        let announcement =
            globex.post("announcements", announcement).await.expect(201).text("announcement_id");
        let claim = json!({ "prefix": "+49777", "evidence": "globex-evidence" });
        let range = globex.post("ranges", claim).await.expect(201).text("range_id");
        let user = json!({ "email": "noc@globex.example", "password": PASSWORD });
        globex.post("users", user).await.expect(201);
        let user = json!({ "email": "leaver@globex.example", "password": PASSWORD });
        let user = globex.post("users", user).await.expect(201).text("user_id");
        let proposal = json!({ "with": "globex", "direction": "both", "note": "globex-note" });
        let agreement = initech.post("agreements", proposal).await.expect(201).text("agreement_id");
        let club = json!({ "name": "peering", "display_name": "Peering" });
        let club = exchange.operator.post("/clubs", club).await.expect(201).text("club_id");
        let deck = json!({ "name": "globex-deck" });
        let deck = globex.post("rate-decks", deck).await.expect(201).text("rate_deck_id");
        let offer = json!({ "name": "globex-transit", "rate_deck_id": deck, "endpoints": ["globex-1"] });
        let offer = globex.post("transit-offers", offer).await.expect(201).text("transit_offer_id");
        let token = json!({ "name": "globex-token", "expires_at": "2030-02-01T00:00:00Z" });
        let token = globex.caller.post("/tokens", token).await.expect(201).text("api_token_id");
        let trace = json!({ "prefix": "+49301", "minutes": 5 });
        let trace = globex.post("traces", trace).await.expect(201).text("trace_selection_id");
        let set = json!({ "note": "globex-plans", "withdraw": ["+49309"] });
        let set = globex.post("change-sets", set).await.expect(201).text("change_set_id");
        let import = json!({ "format": "ndjson", "octets": 1000, "file_name": "globex-file" });
        let import = globex.post("imports", import).await.expect(201).text("import_id");
        let call = answered(&exchange, &globex, &initech, &initech, exchange.clock.now(), 1).await;
        let certificate = NewCertificate {
            subject: "globex-certificate".to_owned(),
            fingerprint: [7; 32],
            public_key: vec![4; 65],
            entries: Vec::new(),
            from: exchange.clock.now(),
            until: exchange.clock.now() + TimeDelta::days(300),
            challenge: "globex-challenge".to_owned(),
            challenge_ends_at: exchange.clock.now() + TimeDelta::days(300),
        };
        let (db, at) = (exchange.database.pool(), exchange.clock.now());
        let certificate = certificate::put(db, globex.member_id(), &certificate, at).await.unwrap();
        let ids = vec![
            ("member_id", globex.id.clone()),
            ("endpoint_id", endpoint_id),
            ("announcement_id", announcement),
            ("range_id", range),
            ("user_id", user),
            ("agreement_id", agreement),
            ("club_id", club),
            ("api_token_id", token),
            ("trace_selection_id", trace),
            ("call_id", call.call_id.to_string()),
            ("change_set_id", set),
            ("name", "a-list-of-allocations-with-this-name".to_owned()),
            ("import_id", import),
            ("rate_deck_id", deck),
            ("transit_offer_id", offer),
            ("certificate_id", certificate.to_string()),
        ];
        Self { exchange, acme, globex, ids }
    }

    fn id(&self, name: &str) -> &str {
        let found = self.ids.iter().find(|(known, _)| *known == name);
        &found.expect("the walk knows it").1
    }

    fn body(&self, kind: &str) -> Option<Value> {
        let described = |name: &str| json!({ "name": name, "display_name": name, "contact_email": format!("noc@{name}.example") });
        Some(match kind {
            "join" => {
                let mut body = described("hooli");
                body["password"] = json!(PASSWORD);
                body
            }
            "session" => json!({ "email": "noc@globex.example", "password": PASSWORD }),
            "member" => described("piedpiper"),
            "patch" => json!({ "display_name": "Globex changed" }),
            "user" => json!({ "email": "second@globex.example", "password": PASSWORD }),
            "token" => {
                json!({ "name": "more", "expires_at": "2030-02-01T00:00:00Z", "member_id": self.globex.id })
            }
            "new_endpoint" => endpoint("globex-3", 78),
            "endpoint" => endpoint("globex-changed", 77),
            "inbound" => json!({ "username": "globex-switch" }),
            "outbound" => {
                json!({ "username": "tandem", "realm": "sip.globex.example", "password": PASSWORD, "registers": true })
            }
            "range" => json!({ "prefix": "+49421", "evidence": "" }),
            "code" => json!({ "code": "123456" }),
            "chain" => json!({ "chain": "" }),
            "proof" => json!({ "jws": "a.b.c" }),
            "holder_names" => json!({ "names": ["Globex Ltd"] }),
            "renewal" => json!({ "evidence": "renewed", "valid_until": "2031-01-01T00:00:00Z" }),
            "announcement" => json!({ "prefix": "+49302", "endpoints": ["globex-1"] }),
            "same_announcement" => {
                json!({ "prefix": "+49301", "endpoints": ["globex-1"], "valid_until": "2031-01-01T00:00:00Z" })
            }
            "bulk" => json!({ "announcements": [{ "prefix": "+49303", "endpoints": ["globex-1"] }] }),
            "import" => json!({ "format": "csv", "octets": 30, "file_name": "globex-file" }),
            "change_set" => json!({
                "note": "globex-plans", "announcements": [{ "prefix": "+49304", "endpoints": ["globex-1"] }],
            }),
            "apply" => json!({ "at": null }),
            "numbers" => json!({ "called": ["+442071234567"] }),
            "trace" => json!({ "endpoint_id": null, "prefix": "+49302", "minutes": 10, "max_calls": 5 }),
            "agreement" => json!({ "with": "umbrella", "direction": "both" }),
            "club" => json!({ "name": "another", "display_name": "Another" }),
            "club_member" => json!({ "member": "globex" }),
            "rate_deck" => json!({ "name": "walked" }),
            "rates" => json!({ "rates": [{ "prefix": "+33", "per_minute": "0.0045" }] }),
            "transit_offer" => {
                json!({ "name": "walked", "rate_deck_id": self.id("rate_deck_id"), "endpoints": ["globex-1"] })
            }
            "same_transit_offer" => {
                json!({ "name": "globex-transit", "rate_deck_id": self.id("rate_deck_id"), "endpoints": ["globex-1"] })
            }
            "permission" => json!({ "permitted": true, "preference": 5 }),
            "currency" => json!({ "currency": "USD" }),
            "block_list" => json!({ "prefixes": ["+44909"] }),
            "common_block_list" => json!({ "prefixes": ["+882"] }),
            "counter" => json!({ "direction": "both" }),
            _ => return None,
        })
    }

    /// Sends an operation about globex.
    async fn send(&self, caller: &Caller, document: &Value, operation: &str, kind: &str) -> Answer {
        self.send_body(caller, document, operation, kind, self.body(kind)).await
    }

    /// The same with another body.
    async fn send_body(
        &self,
        caller: &Caller,
        document: &Value,
        operation: &str,
        kind: &str,
        body: Option<Value>,
    ) -> Answer {
        let (method, path) = find(document, operation);
        let mut path = path.strip_prefix("/api/v1").expect("operations lie under the base").to_owned();
        for (name, id) in &self.ids {
            path = path.replace(&format!("{{{name}}}"), id);
        }
        assert!(!path.contains('{'), "{operation} has a parameter that the walk does not know: {path}");
        if let Some(query) = kind.strip_prefix('?') {
            path = format!("{path}?{query}");
        }
        if operation == "follow_reachability" {
            return caller.glance("GET", &path).await;
        }
        if kind == "csv" {
            let file = b"prefix,holder\n4989,Globex Ltd\n".to_vec();
            return caller.send_octets(&method.to_uppercase(), &path, "text/csv", file).await;
        }
        caller.send(&method.to_uppercase(), &path, body).await
    }

    /// Everything that globex has, as it sees it.
    async fn possessions(&self) -> String {
        let mut all = self.globex.caller.get(&format!("/members/{}", self.globex.id)).await.expect(200).text;
        for list in [
            "users",
            "endpoints",
            "ranges",
            "announcements",
            "agreements",
            "traces",
            "change-sets",
            "imports",
            "rate-decks",
            "transit-offers",
            "certificates",
        ] {
            all += &self.globex.get(list).await.expect(200).text;
        }
        all + &self.globex.caller.get("/audit?limit=500").await.expect(200).text
    }
}

async fn document(exchange: &Exchange) -> Value {
    exchange.nobody().get("//api/openapi.json").await.expect(200).json
}

fn find<'a>(document: &'a Value, operation: &str) -> (&'a str, &'a str) {
    let paths = document["paths"].as_object().expect("a document has paths");
    let all = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().expect("methods").iter().map(move |(method, described)| (method, path, described))
    });
    let mut found = all.filter(|(_, _, described)| described["operationId"] == operation);
    let (method, path, _) = found.next().unwrap_or_else(|| panic!("there is no operation {operation}"));
    (method, path)
}

/// Words that only globex, who it deals with and the operator may read.
const SECRETS: &[&str] = &[
    "globex-secret",
    "globex-evidence",
    "globex-note",
    "globex-token",
    "globex-1",
    "192.0.2.2:",
    "192.0.2.77",
    "noc@globex",
    "leaver@globex",
    "+49301",
    "+49777",
    "ingress@",
    "egress-",
    "globex-changed",
    "globex-plans",
    "globex-file",
    "globex-deck",
    "globex-transit",
    "globex-certificate",
    "globex-challenge",
];

#[tokio::test]
async fn the_walk_knows_every_operation_of_the_document() {
    let exchange = Exchange::new().await;
    let document = document(&exchange).await;
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().expect("an operation has an id").to_owned())
        .collect();
    let known: BTreeSet<String> = OPERATIONS.iter().map(|(operation, ..)| (*operation).to_owned()).collect();
    assert_eq!(described, known);
}

#[tokio::test]
async fn nobody_is_answered_nothing() {
    let scene = Scene::new().await;
    let document = document(&scene.exchange).await;
    let before = scene.possessions().await;
    for (operation, kind, [status, ..]) in OPERATIONS {
        if matches!(*operation, "create_session" | "join") {
            continue;
        }
        let answer = scene.send(&scene.exchange.nobody(), &document, operation, kind).await;
        assert_eq!(answer.status, *status, "{operation}: {}", answer.text);
        if *status == 401 {
            assert_eq!(answer.problem(), (401, "unauthenticated"), "{operation}");
        }
        let forged = scene.exchange.nobody().with_token(&format!("tdm_{}", "0".repeat(64)));
        let answer = scene.send(&forged, &document, operation, kind).await;
        assert_eq!(answer.status, *status, "{operation}: {}", answer.text);
    }
    assert_eq!(scene.possessions().await, before);
}

#[tokio::test]
async fn another_members_objects_are_answered_like_missing_ones_and_stay_as_they_are() {
    let scene = Scene::new().await;
    let document = document(&scene.exchange).await;
    let before = scene.possessions().await;
    // Ids that name nothing at all.
    let missing = Scene {
        ids: scene.ids.iter().map(|(name, id)| (*name, format!("{}ffff", &id[..32]))).collect(),
        exchange: Exchange::new().await,
        acme: scene.acme.clone(),
        globex: scene.globex.clone(),
    };
    for (operation, kind, [_, status, ..]) in OPERATIONS {
        if *operation == "create_session" {
            continue;
        }
        let answer = scene.send(&scene.acme.caller, &document, operation, kind).await;
        assert_eq!(answer.status, *status, "{operation}: {}", answer.text);
        for secret in SECRETS {
            assert!(!answer.text.contains(secret), "{operation} tells {secret}: {}", answer.text);
        }
        if *status == 404 {
            assert_eq!(answer.problem(), (404, "not_found"), "{operation}");
            let other = missing.send(&scene.acme.caller, &document, operation, kind).await;
            assert_eq!(answer.text, other.text, "{operation} tells a foreign object from a missing one");
        }
    }
    assert_eq!(scene.possessions().await, before);
}

#[tokio::test]
async fn another_members_objects_are_not_reached_by_ones_own_path() {
    let scene = Scene::new().await;
    let document = document(&scene.exchange).await;
    let before = scene.possessions().await;
    let mixed = Scene {
        ids: scene
            .ids
            .iter()
            .map(|(name, id)| (*name, if *name == "member_id" { scene.acme.id.clone() } else { id.clone() }))
            .collect(),
        ..scene
    };
    let operations = [
        ("get_endpoint", ""),
        ("get_endpoint_health", ""),
        ("update_endpoint", "endpoint"),
        ("get_configuration", "?switch=asterisk"),
        ("delete_endpoint", ""),
        ("renew_range", "renewal"),
        ("withdraw_range", ""),
        ("get_announcement", ""),
        ("update_announcement", "same_announcement"),
        ("withdraw_announcement", ""),
        ("get_import", ""),
        ("put_import_content", ""),
        ("get_import_errors", ""),
        ("delete_import", ""),
        ("get_change_set", ""),
        ("plan_change_set", ""),
        ("apply_change_set", "apply"),
        ("roll_back_change_set", ""),
        ("cancel_change_set", ""),
        ("get_agreement", ""),
        ("accept_agreement", ""),
        ("list_agreement_history", ""),
        ("refuse_agreement", ""),
        ("counter_agreement", "counter"),
        ("suspend_agreement", ""),
        ("resume_agreement", ""),
        ("end_agreement", ""),
        ("get_call", ""),
        ("get_ladder", ""),
        ("end_trace", ""),
        ("disable_user", ""),
    ];
    for caller in [&mixed.acme.caller, &mixed.exchange.operator] {
        for (operation, kind) in operations {
            let answer = mixed.send(caller, &document, operation, kind).await;
            assert_eq!(answer.problem(), (404, "not_found"), "{operation}");
        }
    }
    // An endpoint of another member is no endpoint to announce on, by name or by id.
    let id = &mixed.ids.iter().find(|(name, _)| *name == "endpoint_id").unwrap().1;
    for name in ["globex-1", id] {
        let body = json!({ "prefix": "+44201", "endpoints": [name] });
        assert_eq!(mixed.acme.post("announcements", body).await.fields(), ["endpoints"]);
    }
    let mixed_again = Scene { ids: Vec::new(), ..mixed };
    assert_eq!(mixed_again.possessions().await, before);
}

#[tokio::test]
async fn a_member_does_all_of_its_own_and_nothing_of_the_operators() {
    let scene = Scene::new().await;
    let document = document(&scene.exchange).await;
    for (operation, kind, [_, _, status, _]) in OPERATIONS {
        let answer = scene.send(&scene.globex.caller, &document, operation, kind).await;
        assert_eq!(answer.status, *status, "{operation}: {}", answer.text);
        if *status == 403 {
            assert_eq!(answer.problem(), (403, "forbidden"), "{operation}");
        }
    }
}

#[tokio::test]
async fn the_operator_does_all_for_any_member() {
    let scene = Scene::new().await;
    let document = document(&scene.exchange).await;
    for (operation, kind, [_, _, _, status]) in OPERATIONS {
        let answer = scene.send(&scene.exchange.operator, &document, operation, kind).await;
        assert_eq!(answer.status, *status, "{operation}: {}", answer.text);
    }
}

/// Where the strings of a body stand, as JSON pointers; with those that the schema has and the body has not.
fn strings(body: &Value, schema: &Value) -> Vec<String> {
    fn walk(at: String, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(_) => found.push(at),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, item)| walk(format!("{at}/{n}"), item, found));
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| walk(format!("{at}/{name}"), value, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(String::new(), body, &mut found);
    for (name, property) in schema["properties"].as_object().expect("a body is an object") {
        let kind = &property["type"];
        let is_string =
            kind == "string" || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("string")));
        if is_string && body.get(name).is_none() {
            found.push(format!("/{name}"));
        }
    }
    found
}

/// Fields of several lines, and one that is never shown: a line break in them is no harm.
const LINES: [&str; 3] = ["/note", "/evidence", "/password"];

#[tokio::test]
async fn no_string_of_any_body_takes_a_line_break_a_nul_or_what_turns_text_around() {
    let scene = Scene::new().await;
    let document = document(&scene.exchange).await;
    let before = scene.possessions().await;
    let mut tried = 0;
    for (operation, kind, ..) in OPERATIONS {
        let Some(body) = scene.body(kind) else { continue };
        let (method, path) = find(&document, operation);
        let content = &document["paths"][path][method]["requestBody"]["content"]["application/json"];
        let schema = content["schema"]["$ref"].as_str().expect("a body has a schema of its own");
        let schema = document.pointer(schema.trim_start_matches('#')).expect("it is in the document");
        for place in strings(&body, schema) {
            for hostile in ["\r\nX-Injected: 1", "\n\"=1+1\",x", "\u{0}", "\u{2028}", "\u{202e}", "%0d%0a\r"]
            {
                if LINES.contains(&&*place) && !hostile.contains(['\u{0}', '\u{202e}']) {
                    continue;
                }
                if place == "/password" {
                    continue; // It is hashed, whatever is in it.
                }
                let mut body = body.clone();
                // In the middle: what stands at an end may be trimmed off.
                match body.pointer_mut(&place) {
                    Some(value) => {
                        let text = value.as_str().expect("a string");
                        let (first, rest) = text.split_at(text.len().min(1));
                        *value = json!(format!("{first}{hostile}{rest}"));
                    }
                    None => body[&place[1..]] = json!(format!("x{hostile}x")),
                }
                let caller = if *operation == "create_member" {
                    &scene.exchange.operator
                } else {
                    &scene.globex.caller
                };
                let answer = scene.send_body(caller, &document, operation, kind, Some(body)).await;
                let is_refused = (400..500).contains(&answer.status);
                // Nobody has such an address: signing in fails like with any other wrong one.
                assert!(
                    is_refused,
                    "{operation} takes {hostile:?} in {place}: {} {}",
                    answer.status, answer.text
                );
                assert!(!answer.text.contains(['\r', '\u{0}', '\u{2028}', '\u{202e}']), "{}", answer.text);
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
    assert_eq!(scene.possessions().await, before, "nothing of it is kept");
}
