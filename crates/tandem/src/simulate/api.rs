//! The exchange's REST API as a member's own software uses it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Tries of a request while the portal is away or asks for patience.
const TRIES: u32 = 20;

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request had no effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The portal said no.
    #[error("{method} {path}: {status}, {problem}")]
    Refused {
        /// Method of the request.
        method: Method,
        /// Path of the request.
        path: String,
        /// Status of the answer.
        status: StatusCode,
        /// What the answer said.
        problem: String,
    },
    /// No answer, or one that cannot be read.
    #[error("{method} {path}: {cause}")]
    Failed {
        /// Method of the request.
        method: Method,
        /// Path of the request.
        path: String,
        /// What went wrong.
        cause: reqwest::Error,
    },
}

/// The API, as one bearer of a token sees it.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl Api {
    /// The API of the portal at `portal`, for whoever holds `token`.
    pub(crate) fn new(portal: &str, token: Option<&str>) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        let base = format!("{}/api/v1", portal.trim_end_matches('/'));
        Ok(Self { http, base, token: token.map(str::to_owned) })
    }

    /// The same API for the holder of another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Reads an object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.send(Method::GET, path, None).await
    }

    /// Reads every page of a list.
    pub(crate) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ApiError> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: Page<T> = self.get(&format!("{path}?limit=500{cursor}")).await?;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// Makes or does something.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, ApiError> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Puts an object in the place of another.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, ApiError> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// Changes a part of an object.
    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, ApiError> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// Removes an object.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), ApiError> {
        self.send::<Value>(Method::DELETE, path, None).await.map(|_| ())
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, ApiError> {
        let mut tries = 1;
        loop {
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            if let Some(body) = &body {
                request = request.json(body);
            }
            let failed = |cause| ApiError::Failed { method: method.clone(), path: path.to_owned(), cause };
            let status = match request.send().await {
                Ok(response) if response.status().is_success() => {
                    let octets = response.bytes().await.map_err(failed)?;
                    // 204 has no body; whoever does not look at the answer takes null for it.
                    let octets = if octets.is_empty() { &b"null"[..] } else { &octets };
                    return serde_json::from_slice(octets).map_err(|error| ApiError::Refused {
                        method,
                        path: path.to_owned(),
                        status: StatusCode::OK,
                        problem: format!("the answer cannot be read: {error}"),
                    });
                }
                Ok(response) => response,
                Err(error) if error.is_connect() && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
            let patience = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
            if patience.contains(&status.status()) && tries < TRIES {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let (status, text) = (status.status(), status.text().await.map_err(failed)?);
            return Err(ApiError::Refused { method, path: path.to_owned(), status, problem: summary(&text) });
        }
    }
}

/// The sentences of a problem document (RFC 9457).
fn summary(text: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Value>(text) else { return text.trim().to_owned() };
    let said = |key: &str| problem[key].as_str().map(str::to_owned);
    let errors = problem["errors"].as_array().into_iter().flatten().map(|error| {
        let (field, message) = (error["field"].as_str(), error["message"].as_str());
        format!("{}: {}", field.unwrap_or("?"), message.unwrap_or("?"))
    });
    [said("code"), said("detail")].into_iter().flatten().chain(errors).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_summed_up_in_a_line() {
        let problem =
            r#"{"code":"invalid","detail":"No.","errors":[{"field":"prefix","message":"it has no digits"}]}"#;
        assert_eq!(summary(problem), "invalid; No.; prefix: it has no digits");
        assert_eq!(summary("bad gateway\n"), "bad gateway");
    }
}
