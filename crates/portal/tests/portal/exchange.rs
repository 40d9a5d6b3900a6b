//! An exchange to test with: members that are made through the API, and requests in their names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use chrono::TimeDelta;
use futures_util::StreamExt;
use prometheus::Registry;
use serde_json::{Value, json};
use tandem_model::{Clock, MemberId};
use tandem_portal::{App, AppState, Entropy, PortalSettings, Secret};
use tandem_routing::RouteTable;
use tandem_store::{api_token, facts};
use tandem_testkit::{Database, ManualClock};
use tower::ServiceExt;

/// Password of everyone.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A portal on a database of its own.
pub(crate) struct Exchange {
    pub(crate) app: App,
    pub(crate) clock: ManualClock,
    pub(crate) registry: Registry,
    pub(crate) operator: Caller,
    // Dropped last: what uses it goes before.
    pub(crate) database: Database,
}

/// Someone who sends requests.
#[derive(Clone)]
pub(crate) struct Caller {
    router: Router,
    token: Option<String>,
    headers: Vec<(String, String)>,
    from: SocketAddr,
}

/// A member and whoever acts for it.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) caller: Caller,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Exchange {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(settle: impl FnOnce(&mut PortalSettings)) -> Self {
        let (database, clock, registry) = (Database::new().await, ManualClock::new(), Registry::new());
        let mut settings = PortalSettings::at("127.0.0.1:8080".parse().unwrap());
        settings.realm = Some("sip.exchange.example".into());
        settle(&mut settings);
        let entropy = entropy();
        let table = tandem_routing::shared(RouteTable::empty());
        let time = Arc::new(clock.clone());
        let app = AppState::new(
            settings,
            database.pool().clone(),
            table,
            Default::default(),
            time,
            entropy.clone(),
            &registry,
        );
        let secret = Secret::new_token(&entropy);
        let expires_at = clock.now() + TimeDelta::days(300);
        let new = api_token::NewApiToken {
            member_id: None,
            name: "operator",
            hash: secret.hash,
            created_by: None,
            expires_at,
        };
        api_token::insert(database.pool(), &new, clock.now()).await.expect("the operator has a token");
        let nobody = Caller {
            router: tandem_portal::router(app.clone()),
            token: None,
            headers: Vec::new(),
            from: "198.51.100.7:40000".parse().unwrap(),
        };
        let operator = nobody.with_token(&secret.text);
        Self { app, clock, registry, operator, database }
    }

    /// Someone who is not signed in.
    pub(crate) fn nobody(&self) -> Caller {
        Caller { token: None, ..self.operator.clone() }
    }

    /// An approved member.
    pub(crate) async fn member(&self, name: &str) -> Member {
        let made = self
            .operator
            .post(
                "/members",
                json!({ "name": name, "display_name": name, "contact_email": format!("noc@{name}.example") }),
            )
            .await
            .expect(201);
        self.acting_for(&made).await
    }

    /// A member with an endpoint `<name>-1` at an address made of `number`, and a verified range.
    pub(crate) async fn provider(&self, name: &str, number: u8, prefix: &str) -> Member {
        let member = self.member(name).await;
        member.endpoint(&format!("{name}-1"), number).await;
        let range =
            member.post("ranges", json!({ "prefix": prefix, "evidence": "allocated" })).await.expect(201);
        self.operator
            .post(&format!("/ranges/{}/verify", range.text("range_id")), json!({}))
            .await
            .expect(200);
        member
    }

    /// An agreement in force between two members.
    pub(crate) async fn agree(&self, one: &Member, other: &Member, direction: &str) -> String {
        let proposal = json!({ "with": other.name, "direction": direction });
        let id = one.post("agreements", proposal).await.expect(201).text("agreement_id");
        other.post(&format!("agreements/{id}/accept"), json!({})).await.expect(200);
        id
    }

    /// A token for a member that the API has answered with.
    pub(crate) async fn acting_for(&self, member: &Answer) -> Member {
        let (id, name) = (member.text("member_id"), member.text("name"));
        let expires_at = self.clock.now() + TimeDelta::days(200);
        let wanted = json!({ "name": "test", "member_id": id, "expires_at": expires_at });
        let token = self.operator.post("/tokens", wanted).await.expect(201).text("token");
        Member { id, name, caller: self.operator.with_token(&token) }
    }

    /// Builds the route table from what the database holds.
    pub(crate) async fn route(&self) {
        let loaded = facts::load(self.database.pool()).await.expect("the database answers");
        assert_eq!(loaded.skipped, [], "the portal stores nothing that routing cannot read");
        self.app.table.store(Arc::new(RouteTable::from_facts(loaded.facts)));
    }

    /// The operator imports a list of allocations, of lines below its header.
    pub(crate) async fn import(&self, name: &str, lines: &str) -> Answer {
        let file = format!("prefix,holder,from,until\n{lines}\n").into_bytes();
        self.operator.send_octets("PUT", &format!("/allocations/{name}"), "text/csv", file).await
    }

    /// The operator says under which names the lists know a member.
    pub(crate) async fn name_holder(&self, member: &Member, names: &[&str]) -> Answer {
        let body = json!({ "names": names });
        self.operator.send("PUT", &member.path("holder-names"), Some(body)).await
    }

    /// Position of the change feed.
    pub(crate) async fn feed_position(&self) -> u64 {
        tandem_store::announcement::feed_position(self.database.pool()).await.expect("the database answers")
    }
}

/// Randomness that is the same in each run.
pub(crate) fn entropy() -> Entropy {
    let state = AtomicU64::new(1);
    Arc::new(move |octets: &mut [u8]| {
        for octet in octets {
            let state = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *octet = (mixed >> 32) as u8;
        }
    })
}

impl Member {
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/members/{}/{rest}", self.id)
    }

    pub(crate) fn member_id(&self) -> MemberId {
        MemberId(self.id.parse().expect("an id"))
    }

    pub(crate) async fn get(&self, rest: &str) -> Answer {
        self.caller.get(&self.path(rest)).await
    }

    pub(crate) async fn post(&self, rest: &str, body: Value) -> Answer {
        self.caller.post(&self.path(rest), body).await
    }

    pub(crate) async fn put(&self, rest: &str, body: Value) -> Answer {
        self.caller.send("PUT", &self.path(rest), Some(body)).await
    }

    pub(crate) async fn delete(&self, rest: &str) -> Answer {
        self.caller.send("DELETE", &self.path(rest), None).await
    }

    /// What is answered to a claim without a word.
    pub(crate) async fn claim(&self, prefix: &str) -> Answer {
        self.post("ranges", json!({ "prefix": prefix })).await
    }

    pub(crate) async fn endpoint(&self, name: &str, number: u8) -> String {
        self.post("endpoints", endpoint(name, number)).await.expect(201).text("endpoint_id")
    }

    pub(crate) async fn announce(&self, prefix: &str) -> Answer {
        self.post("announcements", json!({ "prefix": prefix, "endpoints": [format!("{}-1", self.name)] }))
            .await
    }
}

/// An endpoint at 192.0.2.`number`.
pub(crate) fn endpoint(name: &str, number: u8) -> Value {
    json!({
        "name": name,
        "sources": [{ "net": format!("192.0.2.{number}/32"), "port": null }],
        "target": format!("sip:192.0.2.{number}:5060;transport=udp"),
    })
}

impl Caller {
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn with_header(&self, name: &str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    pub(crate) fn from(&self, address: &str) -> Self {
        Self { from: address.parse().expect("an address and port"), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        match body {
            Some(body) => {
                self.send_octets(method, path, "application/json", body.to_string().into_bytes()).await
            }
            None => self.send_octets(method, path, "", Vec::new()).await,
        }
    }

    pub(crate) async fn send_octets(&self, method: &str, path: &str, kind: &str, octets: Vec<u8>) -> Answer {
        let (parts, body) = self.begin(method, path, kind, octets).await.into_parts();
        let octets = to_bytes(body, usize::MAX).await.expect("a body");
        let text = String::from_utf8_lossy(&octets).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, text, json }
    }

    /// The answer with the beginning of its body: for one that goes on and on.
    pub(crate) async fn glance(&self, method: &str, path: &str) -> Answer {
        let (parts, body) = self.begin(method, path, "", Vec::new()).await.into_parts();
        let octets = body.into_data_stream().next().await.expect("a body").expect("octets");
        let text = String::from_utf8_lossy(&octets).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, text, json }
    }

    /// Sends a request and leaves the body of its answer unread.
    pub(crate) async fn begin(&self, method: &str, path: &str, kind: &str, octets: Vec<u8>) -> Response {
        let uri = if path.starts_with("//") { path[1..].to_owned() } else { format!("/api/v1{path}") };
        let mut request = Request::builder().method(method).uri(uri).header("host", "portal.example");
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.extension(ConnectInfo(self.from)).body(Body::from(octets)).expect("a request");
        self.router.clone().oneshot(request).await.expect("a router answers")
    }
}

impl Answer {
    /// The answer, which must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// A field of text.
    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> String {
        let value = self.json.get(field).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("there is no {field} in {}", self.text)).to_owned()
    }

    /// Status and code of a problem.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, &str) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        assert_eq!(self.json["status"], self.status, "{}", self.text);
        (self.status, self.json["code"].as_str().expect("a problem has a code"))
    }

    /// The fields at fault.
    #[track_caller]
    pub(crate) fn fields(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array().expect("a problem lists errors");
        errors.iter().map(|error| error["field"].as_str().expect("an error names its field")).collect()
    }

    /// The items of a page.
    #[track_caller]
    pub(crate) fn items(&self) -> &Vec<Value> {
        self.json["items"].as_array().unwrap_or_else(|| panic!("no page: {}", self.text))
    }
}
