//! Which codecs an endpoint is offered and may offer, and in which order.

use serde::{Deserialize, Deserializer, Serialize};

use super::Faults;

/// Codecs of audio, for one endpoint, in every session description (SDP) to it and from it, also in those that are a part
/// of a multipart body. One that is encoded crosses as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodecPolicy {
    /// The only codecs that cross to and from it, by their names in SDP, such as PCMA; every one where there are
    /// none. Digits (telephone-event) and comfort noise always cross.
    pub allow: Vec<CodecName>,
    /// In which order it is offered them.
    pub order: CodecOrder,
}

/// The order of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodecOrder {
    /// The order of the member that offers.
    Received,
    /// The order in which they are allowed.
    Listed,
}

impl Default for CodecPolicy {
    fn default() -> Self {
        Self { allow: Vec::new(), order: CodecOrder::Received }
    }
}

/// Most codecs that are named.
const MAX_CODECS: usize = 32;

/// Longest name of a codec.
const MAX_NAME: usize = 32;

impl CodecPolicy {
    pub(super) fn judge(&self, faults: &mut Faults) {
        if self.allow.len() > MAX_CODECS {
            faults
                .note("codecs.allow", format!("there are {}; write at most {MAX_CODECS}", self.allow.len()));
        }
        for (index, codec) in self.allow.iter().enumerate() {
            if self.allow[..index].iter().any(|other| other.0.eq_ignore_ascii_case(&codec.0)) {
                faults.note(format!("codecs.allow[{index}]"), format!("{} is there already", codec.0));
            }
        }
        if self.order == CodecOrder::Listed && self.allow.is_empty() {
            faults
                .note("codecs.order", "there is no list; name the codecs in codecs.allow, or write received");
        }
    }
}

/// Name of a codec, as in `a=rtpmap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodecName(Box<str>);

impl AsRef<str> for CodecName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for CodecName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_name = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet));
        if text.is_empty() || text.len() > MAX_NAME || !is_name {
            return Err(serde::de::Error::custom(format!(
                "{text:?} is no codec; write its name in SDP without the clock rate, such as PCMA or opus"
            )));
        }
        Ok(Self(text.into()))
    }
}
