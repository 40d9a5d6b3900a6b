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

    /// Why it is refused.
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// What is wrong with the fields, in one line.
    pub(crate) fn messages(&self) -> String {
        let messages: Vec<&str> = self.errors.iter().map(|error| error.message.as_str()).collect();
        messages.join("; ")
    }

    /// When to try again, in seconds.
    pub(crate) fn retry_after_s(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The rows of the fields at fault.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> Vec<usize> {
        self.errors.iter().filter_map(|error| error.row).collect()
    }

    /// The row of the first field at fault.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn first_row(&self) -> Option<usize> {
        self.errors.first()?.row
    }
}

impl From<Reason> for ApiError {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

/// A constraint of the schema, the reason that it means, the field at fault, and what to say.
const CONSTRAINTS: &[(&str, Reason, &str, &str)] = &[
    ("member_name_unique", Reason::Conflict, "name", "another member has this name; choose another"),
    ("endpoint_name_unique", Reason::Conflict, "name", "another endpoint has this name; choose another"),
    ("member_holder_unique", Reason::Conflict, "names", "another member has one of these names"),
    (
        "endpoint_credential_username_unique",
        Reason::Conflict,
        "username",
        "another endpoint of the exchange has this user name; choose another",
    ),
    (
        "endpoint_source_overlaps",
        Reason::SourceOverlaps,
        "sources",
        "it overlaps a source of an endpoint whose calls are not told from these",
    ),
    (
        "endpoint_source_marks_differ_in_kind",
        Reason::SourceOverlaps,
        "sources",
        "it overlaps a source of an endpoint whose calls are told by a mark of the other kind, or by none",
    ),
    (
        "endpoint_certificate_name_pkey",
        Reason::Conflict,
        "certificate_names",
        "an endpoint is known by one of these names already",
    ),
    ("number_range_claimed_twice", Reason::Conflict, "prefix", "the range is claimed already"),
    ("number_range_overlaps", Reason::RangeOverlaps, "prefix", "a verified range holds some of its numbers"),
    (
        "announcement_exists",
        Reason::AnnouncementExists,
        "prefix",
        "the prefix is announced at that time already",
    ),
    (
        "announcement_exists_for_a_time",
        Reason::AnnouncementExists,
        "prefix",
        "the prefix is announced at that time already",
    ),
    ("announcement_endpoint_own", Reason::Conflict, "endpoints", "an announcement names the endpoint"),
    ("trace_selection_endpoint_own", Reason::Invalid, "endpoint_id", "the member has no such endpoint"),
    (
        "change_set_approved_by_author",
        Reason::ApprovalByAuthor,
        "change_set_id",
        "its author does not approve it",
    ),
    ("agreement_exists", Reason::AgreementExists, "with", "there is an agreement or a proposal already"),
    ("club_name_unique", Reason::Conflict, "name", "another club has this name; choose another"),
    (
        "rate_deck_name_unique",
        Reason::Conflict,
        "name",
        "there is a rate deck of this name already; choose another",
    ),
    (
        "rate_one_at_a_time",
        Reason::Invalid,
        "rates",
        "two rates of a prefix are in force at the same time; end the earlier one before the later one begins",
    ),
    (
        "rate_deck_currency_of_exchange",
        Reason::Conflict,
        "currency",
        "there are rate decks in another currency; it changes only while there is none",
    ),
    (
        "transit_offer_name_unique",
        Reason::Conflict,
        "name",
        "the member has an offer of this name; choose another",
    ),
    (
        "transit_offer_deck_own",
        Reason::Conflict,
        "rate_deck_id",
        "an offer of transit names the deck, or did before it was withdrawn",
    ),
    ("transit_offer_endpoint_own", Reason::Conflict, "endpoints", "an offer of transit names the endpoint"),
    ("user_account_email_unique", Reason::Conflict, "email", "someone signs in with this address already"),
];

impl From<tandem_store::Error> for ApiError {
    /// What a failed statement means to the one who asked. What it says itself goes to the log only.
    fn from(error: tandem_store::Error) -> Self {
        if let Some(constraint) = tandem_store::database::constraint(&error) {
            if let Some(&(_, reason, field, message)) =
                CONSTRAINTS.iter().find(|(name, ..)| *name == constraint)
            {
                return Self::new(reason).errors(vec![FieldError {
                    field: field.to_owned(),
                    message: message.to_owned(),
                    row: None,
                }]);
            }
            if constraint.ends_with("_member_id_fkey") {
                return Self::new(Reason::NotFound);
            }
            if let Some(reason) = tandem_store::database::reason(&error) {
                return Self::new(reason).detail(format!("It breaks the rule {constraint}."));
            }
        }
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        match &error {
            // SQLSTATE class 22, data exception: a value that no column takes, such as a time before all times.
            tandem_store::Error::Database(_) if code.starts_with("22") => {
                tracing::info!(%error, "the database cannot take a value of a request");
                Self::new(Reason::Invalid).detail("A value is outside of what can be stored or compared.")
            }
            // A bug of ours, not of the database.
            tandem_store::Error::Database(_) if !is_passing(&code) => {
                tracing::error!(%error, "the database refused a statement of the portal");
                Self::new(Reason::InternalError)
            }
            tandem_store::Error::Decode(_)
            | tandem_store::Error::ColumnDecode { .. }
            | tandem_store::Error::Encode(_)
            | tandem_store::Error::RowNotFound => {
                tracing::error!(%error, "the portal cannot read what the database holds");
                Self::new(Reason::InternalError)
            }
            _ => {
                tracing::warn!(%error, "the database does not answer the portal");
                Self::new(Reason::Unavailable).retry_after_s(5)
            }
        }
    }
}

/// Whether an SQLSTATE is about the state of the server or of other transactions, not about the statement:
/// connection lost, rollback, out of resources, ended by an operator, lock not available, system error.
fn is_passing(code: &str) -> bool {
    ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "55P03"
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
    /// The reason that all of them have, where it is not just that they are wrong.
    reason: Option<Reason>,
    row: Option<usize>,
}

impl Faults {
    /// What follows is about this row of a bulk request.
    pub(crate) fn at_row(&mut self, row: usize) {
        self.row = Some(row);
    }

    /// Notes a fault of a field.
    pub(crate) fn note(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.note_as(Reason::Invalid, field, message);
    }

    /// Notes a fault of a field that has a reason of its own: the refusal's, if all faults have it.
    pub(crate) fn note_as(&mut self, reason: Reason, field: impl Into<String>, message: impl Into<String>) {
        self.reason = Some(reason).filter(|_| self.errors.is_empty() || self.reason == Some(reason));
        // What is beyond the bound is not shown; that there is a fault is already known.
        if self.errors.len() < MAX_FIELD_ERRORS {
            self.errors.push(FieldError { field: field.into(), message: message.into(), row: self.row });
        }
    }

    /// The value, or notes why there is none.
    pub(crate) fn take<T, E: std::fmt::Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.note(field, error.to_string())).ok()
    }

    /// The value that was read, if nothing was noted.
    ///
    /// # Panics
    /// If there is neither a value nor a fault.
    pub(crate) fn hold<T>(self, value: Option<T>) -> Result<T, ApiError> {
        self.check()?;
        Ok(value.expect("whoever reads no value notes why"))
    }

    /// Whether nothing was noted.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The refusal, if anything was noted.
    pub(crate) fn check(self) -> Result<(), ApiError> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ApiError::new(self.reason.unwrap_or(Reason::Invalid)).errors(self.errors))
        }
    }
}
