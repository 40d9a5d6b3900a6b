//! Words of `model` as columns hold them: the same text as in JSON.

use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use tandem_model::{CallLimits, CallMark};

/// The text of a word.
pub(crate) fn text<T: Serialize>(word: T) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(text)) => text,
        other => unreachable!("a word serialises as a string, not as {other:?}"),
    }
}

/// The word that a column holds. A constraint of the schema keeps others out.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A number that a constraint of the schema keeps within its type.
pub(crate) fn fits<T, N>(number: N) -> sqlx::Result<T>
where
    T: TryFrom<N>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    T::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Limits on calls that constraints of the schema keep positive.
pub(crate) fn limits(max_calls: Option<i32>, max_calls_per_second: Option<i32>) -> sqlx::Result<CallLimits> {
    Ok(CallLimits {
        max_calls: max_calls.map(fits).transpose()?,
        max_calls_per_second: max_calls_per_second.map(fits).transpose()?,
    })
}

/// A limit as a column holds it.
pub(crate) fn limit(max: Option<u32>) -> sqlx::Result<Option<i32>> {
    max.map(fits).transpose()
}

/// The mark of an endpoint's calls, none where the column holds no text. A constraint of the schema keeps it well-formed.
pub(crate) fn call_mark(text: &str) -> sqlx::Result<Option<CallMark>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: tandem_model::CallMarkError| sqlx::Error::Decode(error.into()))
}

/// What a column holds as JSON, as the model judges it.
pub(crate) fn json<T: DeserializeOwned>(value: serde_json::Value) -> sqlx::Result<T> {
    serde_json::from_value(value).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// JSON as a column holds it.
pub(crate) fn to_json<T: Serialize>(value: Option<&T>) -> Option<serde_json::Value> {
    value.map(|value| serde_json::to_value(value).expect("what the model has is JSON"))
}

/// A prefix that a constraint of the schema keeps well-formed.
pub(crate) fn prefix(digits: &str) -> sqlx::Result<tandem_model::Prefix> {
    digits.parse().map_err(|error: tandem_model::NumberError| sqlx::Error::Decode(error.into()))
}

/// A number that a constraint, or the code that wrote it, keeps well-formed.
pub(crate) fn number(digits: &str) -> sqlx::Result<tandem_model::E164> {
    digits.parse().map_err(|error: tandem_model::NumberError| sqlx::Error::Decode(error.into()))
}
