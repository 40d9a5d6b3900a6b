use std::net::SocketAddr;

use serde_json::json;
use tandem_portal::PortalSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::exchange::Exchange;

async fn fetch(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: portal\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn the_portal_serves_until_it_is_told_to_stop() {
    let exchange = Exchange::new().await;
    let listener = tandem_portal::bind(&PortalSettings::at("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(tandem_portal::serve(listener, exchange.app.clone(), async {
        _ = stopped.await;
    }));
    assert!(fetch(address, "/healthz").await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(fetch(address, "/api/openapi.json").await.unwrap().contains("\"openapi\":\"3.1"));
    assert!(fetch(address, "/api/v1/members").await.unwrap().starts_with("HTTP/1.1 401"));
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(fetch(address, "/healthz").await.is_err());
}

#[tokio::test]
async fn every_answer_keeps_its_page_to_itself() {
    let exchange = Exchange::new().await;
    for path in ["//", "//members/42", "//api/v1/reasons", "//api/v1/nothing", "//healthz"] {
        let answer = exchange.nobody().get(path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        let scripts = policy.split(';').find(|part| part.trim().starts_with("script-src")).unwrap();
        assert!(!scripts.contains("unsafe"), "{scripts}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
    }
}

#[tokio::test]
async fn a_page_of_the_client_is_its_index_and_an_unknown_operation_is_a_problem() {
    let exchange = Exchange::new().await;
    let nobody = exchange.nobody();
    for path in ["//", "//members/42/calls", "//index.html"] {
        let page = nobody.get(path).await.expect(200);
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"), "{path}");
    }
    for path in ["/nothing", "//api", "//api/v2/members", "//missing.js", "//assets/../../Cargo.toml"] {
        assert_eq!(nobody.get(path).await.problem(), (404, "not_found"), "{path}");
    }
    let wrong_method = exchange.operator.send("PUT", "/members", Some(json!({}))).await;
    assert_eq!(wrong_method.problem(), (405, "operation_unknown"));
    assert_eq!(nobody.send("POST", "//members", None).await.problem(), (405, "operation_unknown"));
}

#[tokio::test]
async fn health_says_what_is_wrong() {
    let exchange = Exchange::new().await;
    exchange.nobody().get("//healthz").await.expect(200);
    let ready = exchange.nobody().get("//readyz").await.expect(200);
    assert_eq!(ready.json["ready"], true);
    exchange.member("acme").await;
    // There is something to route and no table that has it.
    let ready = exchange.nobody().get("//readyz").await.expect(503);
    assert_eq!(ready.json["checks"][1]["name"], "route_table");
    assert_eq!(ready.json["checks"][1]["ok"], false);
    exchange.route().await;
    exchange.nobody().get("//readyz").await.expect(200);
    exchange.database.pool().close().await;
    exchange.nobody().get("//healthz").await.expect(200);
    assert_eq!(exchange.nobody().get("//readyz").await.expect(503).json["checks"][0]["ok"], false);
    let answer = exchange.operator.get("/members").await;
    assert_eq!(answer.problem(), (503, "unavailable"));
}

#[tokio::test]
async fn requests_are_counted_by_route_never_by_path() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    acme.get("endpoints").await.expect(200);
    exchange.nobody().get("//some/page").await;
    let mut counted = Vec::new();
    for family in exchange.registry.gather() {
        for metric in family.get_metric() {
            let labels: Vec<_> = metric.get_label().iter().map(|label| label.value()).collect();
            counted.push(format!("{} {}", family.name(), labels.join(" ")));
        }
    }
    let all = counted.join("\n");
    assert!(
        all.contains("tandem_http_requests_total GET /api/v1/members/{member_id}/endpoints 200"),
        "{all}"
    );
    assert!(all.contains("tandem_http_requests_total GET other 200"), "{all}");
    assert!(all.contains("tandem_http_request_seconds /api/v1/members/{member_id}/endpoints"), "{all}");
    assert!(all.contains("tandem_database_pool idle"), "{all}");
    assert!(!all.contains(&acme.id), "{all}");
}
