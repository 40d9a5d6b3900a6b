//! How the API says no: a problem of RFC 9457 with the code, sentence and remedy of a [`Reason`].

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tandem_model::Reason;
use utoipa::ToSchema;

use crate::vocabulary;

/// Most field errors that one problem lists.
pub(crate) const MAX_FIELD_ERRORS: usize = 100;

/// What is wrong with one field of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Path of the field in the body, the name of the query parameter or of the header.
    pub(crate) field: String,
    /// What is wrong and what to write instead.
    pub(crate) message: String,
    /// Row of a bulk request, or line of a CSV file; both count from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) row: Option<usize>,
}

/// Why the request was refused (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Path of the page about this code.
    #[serde(rename = "type")]
    #[schema(example = "/reasons/not_found")]
    kind: String,
    /// What happened, as a sentence.
    title: String,
    /// The status of the response.
    status: u16,
    /// The stable code.
    #[schema(value_type = vocabulary::ReasonCode)]
    code: &'static str,
    /// What happened in this case.
    detail: String,
    /// What to do about it.
    remedy: String,
    /// The fields at fault, where fields are; at most 100.
    errors: Vec<FieldError>,
}

/// Why a handler refuses. The reason decides the status and the texts.
#[derive(Debug)]
pub(crate) struct ApiError {
    reason: Reason,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    /// A refusal with the reason's own sentence as its detail.
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, detail: capitalised(reason.sentence()), errors: Vec::new(), retry_after_s: None }
    }

    /// Says what happened in this case, as a sentence.
    pub(crate) fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// Names the fields at fault.
    pub(crate) fn errors(mut self, mut errors: Vec<FieldError>) -> Self {
        errors.truncate(MAX_FIELD_ERRORS);
        self.errors = errors;
        self
    }

    /// One field at fault.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        Self::new(Reason::Invalid).errors(vec![FieldError {
            field: field.to_owned(),
            message: message.into(),
            row: None,
        }])
    }

    /// When to try again, in seconds.
    pub(crate) fn retry_after_s(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Why.
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Reason> for ApiError {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

fn capitalised(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(chars).chain(['.']).collect()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem {
            kind: format!("/reasons/{}", self.reason.code()),
            title: capitalised(self.reason.sentence()),
            status: status.as_u16(),
            code: self.reason.code(),
            detail: self.detail,
            remedy: self.reason.remedy().to_owned(),
            errors: self.errors,
        };
        let mut response = (status, Json(problem)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.reason == Reason::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Gathers what is wrong with a request, so that one answer names every field.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    errors: Vec<FieldError>,
    row: Option<usize>,
}

impl Faults {
    /// What follows is about this row of a bulk request.
    pub(crate) fn at_row(&mut self, row: usize) {
        self.row = Some(row);
    }

    /// Notes a fault of a field.
    pub(crate) fn note(&mut self, field: impl Into<String>, message: impl Into<String>) {
        // What is beyond the bound is not shown; that there is a fault is already known.
        if self.errors.len() < MAX_FIELD_ERRORS {
            self.errors.push(FieldError { field: field.into(), message: message.into(), row: self.row });
        }
    }

    /// The value, or notes why there is none.
    pub(crate) fn take<T, E: std::fmt::Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.note(field, error.to_string())).ok()
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The refusal, if anything was noted.
    pub(crate) fn check(self) -> Result<(), ApiError> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::new(Reason::Invalid).errors(self.errors)) }
    }
}
