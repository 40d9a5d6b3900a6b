//! Reads the parts of a request: ids in the path, query parameters, JSON bodies. What cannot be read is a
//! problem that names the field.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tandem_model::Reason;

use crate::problem::{ApiError, FieldError};

/// Ids in the path. One that is no id names nothing, so the answer is that of a missing object.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Path(id) = axum::extract::Path::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::new(Reason::NotFound))?;
        Ok(Self(id))
    }
}

/// Query parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(
            |rejection| {
                let text = std::error::Error::source(&rejection).map(ToString::to_string).unwrap_or_default();
                let (field, message) = match text.split_once(": ") {
                    Some((field, message)) => (field.to_owned(), message.to_owned()),
                    None => ("query".to_owned(), text),
                };
                ApiError::new(Reason::BadRequest)
                    .detail(format!("The query cannot be read: {message}."))
                    .errors(vec![FieldError { field, message, row: None }])
            },
        )
    }
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if media_type(request.headers()) != "application/json" {
            return Err(ApiError::new(Reason::BadRequest).detail("The body must be JSON.").errors(vec![
                FieldError {
                    field: "content-type".to_owned(),
                    message: "send Content-Type: application/json".to_owned(),
                    row: None,
                },
            ]));
        }
        let octets = read_body(request, state).await?;
        parse_json(&octets).map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct BodyOrDefault<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for BodyOrDefault<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(Self(T::default()));
        }
        Body::from_request(request, state).await.map(|Body(value)| Self(value))
    }
}

/// The media type of the body, without its parameters, in lower case.
pub(crate) fn media_type(headers: &axum::http::HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The octets of the body, within the limit of the route.
pub(crate) async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let reason = match rejection.status() {
            axum::http::StatusCode::PAYLOAD_TOO_LARGE => Reason::TooLarge,
            _ => Reason::BadRequest,
        };
        ApiError::new(reason)
    })
}

/// The value that a JSON text holds.
pub(crate) fn parse_json<T: DeserializeOwned>(octets: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(octets);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| unreadable_json(&error.path().to_string(), error.inner()))?;
    deserializer.end().map_err(|error| unreadable_json(".", &error))?;
    Ok(value)
}

fn unreadable_json(path: &str, error: &serde_json::Error) -> ApiError {
    let field = if path == "." { "body".to_owned() } else { path.to_owned() };
    // A value of the wrong kind breaks a rule; a text that is no JSON cannot be read at all.
    let reason = if error.is_data() { Reason::Invalid } else { Reason::BadRequest };
    // It quotes the value that it does not take.
    let message = crate::text::quoted(&error.to_string());
    let detail = format!("The body cannot be taken: {message}.");
    ApiError::new(reason).detail(detail).errors(vec![FieldError {
        field: crate::text::quoted(&field),
        message,
        row: None,
    }])
}
