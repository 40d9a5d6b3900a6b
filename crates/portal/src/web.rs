//! The web client, as it was built into the program, and the headers that keep its pages to themselves.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use tandem_model::Reason;

use crate::problem::ApiError;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Client;

/// The page that every address of the client shows; the client finds out which one it is.
const INDEX: &str = "index.html";

/// What is shown where the program was built without the client.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tandem</title>\
<h1>Tandem</h1><p>This program was built without its web client. In the folder <code>web</code> run \
<code>npm ci &amp;&amp; npm run build</code>, then build the program again.</p>\
<p>The API is there: <a href=\"/api/openapi.json\">/api/openapi.json</a>.</p></html>";

/// Only our own scripts run, nobody frames the page, and it talks to nobody else. Styles are set inline by
/// the components of the client.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; \
form-action 'self'; frame-ancestors 'none'";

/// A file of the client, or its index page for what looks like a page's address.
pub(crate) async fn serve_client(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        return ApiError::new(Reason::NotFound).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::new(Reason::OperationUnknown).into_response();
    }
    match Client::get(path).filter(|_| path != INDEX) {
        Some(file) => show(path, file, StatusCode::OK),
        // A missing picture or script is missing; a page is the client's to find.
        None if path.rsplit('/').next().is_some_and(|name| name.contains('.')) && path != INDEX => {
            ApiError::new(Reason::NotFound).into_response()
        }
        None => match Client::get(INDEX) {
            Some(file) => show(INDEX, file, StatusCode::OK),
            None => (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], NOT_BUILT)
                .into_response(),
        },
    }
}

fn show(path: &str, file: EmbeddedFile, status: StatusCode) -> Response {
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let kind = if kind.type_() == mime_guess::mime::TEXT {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_string()
    };
    // The names of assets change with their contents.
    let cached = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = (status, file.data).into_response();
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_str(&kind).expect("a media type is a header value"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cached));
    response
}

/// Sets the headers that every answer has.
pub(crate) async fn set_security_headers(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_api && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
