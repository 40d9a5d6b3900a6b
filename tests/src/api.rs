//! The REST API as a client of the exchange sees it.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// A client with the token of one scope.
#[derive(Debug)]
pub struct Api {
    base: String,
    token: String,
    client: Client,
    runtime: Runtime,
}

/// What the API answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of the HTTP response.
    pub status: u16,
    /// JSON, or `null` where there was none.
    pub body: Value,
}

impl Answer {
    /// The body, of an answer that must be a success.
    #[track_caller]
    pub fn good(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.body);
        self.body
    }

    /// The code of a refusal (RFC 9457 problem).
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }
}

impl Api {
    /// A client of the API at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str, token: &str) -> Self {
        let client =
            Client::builder().timeout(Duration::from_secs(60)).build().expect("a client without TLS");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { base: base.to_owned(), token: token.trim().to_owned(), client, runtime }
    }

    /// `GET /api/v1{path}`.
    pub fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path))
    }

    /// `POST /api/v1{path}` with JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body))
    }

    /// `PUT /api/v1{path}` with JSON.
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body))
    }

    /// `PUT /api/v1{path}` with CSV.
    pub fn put_csv(&self, path: &str, body: &str) -> Answer {
        self.send(self.request(Method::PUT, path).header("content-type", "text/csv").body(body.to_owned()))
    }

    /// `DELETE /api/v1{path}`.
    pub fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path))
    }

    /// `POST /api/v1{path}` with a body as it is, such as CSV, and one more header.
    pub fn post_text(&self, path: &str, content_type: &str, header: (&str, &str), body: &str) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", content_type);
        self.send(request.header(header.0, header.1).body(body.to_owned()))
    }

    /// `PUT /api/v1{path}` with a body as it is, and one more header.
    pub fn put_text(&self, path: &str, content_type: &str, header: (&str, &str), body: &str) -> Answer {
        let request = self.request(Method::PUT, path).header("content-type", content_type);
        self.send(request.header(header.0, header.1).body(body.to_owned()))
    }

    /// Begins `PUT /api/v1{path}` with `body`, and hangs up after so many octets of it.
    pub fn break_off(&self, path: &str, body: &str, octets: usize) {
        let host = self.base.strip_prefix("http://").expect("it is a base without TLS");
        let mut stream = TcpStream::connect(host).expect("the portal takes connections");
        let (token, size) = (&self.token, body.len());
        let head = format!(
            "PUT /api/v1{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: text/csv\r\nContent-Length: {size}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it is sent");
        stream.write_all(&body.as_bytes()[..octets]).expect("it is sent");
    }

    /// Status and text of `GET /api/v1{path}`, whatever it is.
    pub fn text(&self, path: &str) -> (u16, String) {
        let request = self.request(Method::GET, path);
        self.runtime.block_on(async {
            let response = request.send().await.expect("the API answers");
            (response.status().as_u16(), response.text().await.expect("the answer is whole"))
        })
    }

    /// The status of `POST /api/v1{path}` with `body` as CSV; `None` where the portal hung up before all was sent.
    pub fn upload(&self, path: &str, body: String) -> Option<u16> {
        let request = self.request(Method::POST, path).header("content-type", "text/csv");
        let request = request.header("idempotency-key", "upload").body(body);
        self.runtime.block_on(async { Some(request.send().await.ok()?.status().as_u16()) })
    }

    /// `GET /api/v1{path}`, an answer that goes on: its status, and how many octets came for as long as `goes_on`.
    pub fn follow(&self, path: &str, goes_on: impl Fn() -> bool) -> (u16, usize) {
        let request = self.request(Method::GET, path).timeout(Duration::from_secs(600));
        self.runtime.block_on(async {
            let mut response = request.send().await.expect("the API answers");
            let status = response.status().as_u16();
            let mut octets = 0;
            while goes_on() {
                match tokio::time::timeout(Duration::from_millis(50), response.chunk()).await {
                    Err(_) => {}
                    Ok(Ok(Some(chunk))) => octets += chunk.len(),
                    Ok(Ok(None) | Err(_)) => break,
                }
            }
            (status, octets)
        })
    }

    /// Every item of a list, page by page.
    pub fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let mark = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{mark}limit=500{cursor}")).good();
            items.extend(page["items"].as_array().expect("a list has items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// The member of this name, as the operator sees it.
    pub fn member_id(&self, name: &str) -> String {
        let members = self.all("/members");
        let member = members.iter().find(|member| member["name"] == name);
        let id = member.and_then(|member| member["member_id"].as_str());
        id.unwrap_or_else(|| panic!("there is no member {name}")).to_owned()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.token)
    }

    fn send(&self, request: RequestBuilder) -> Answer {
        self.runtime.block_on(async {
            let response = request.send().await.expect("the API answers");
            let status = response.status().as_u16();
            let body = response.bytes().await.expect("the answer is whole");
            Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
        })
    }

    /// Status and text of a page outside `/api/v1`; `None` where nobody answers.
    pub fn page(&self, url: &str) -> Option<(u16, String)> {
        self.runtime.block_on(async {
            let response = self.client.get(url).send().await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.text().await.ok()?))
        })
    }
}
