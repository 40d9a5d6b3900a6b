//! Which header fields an endpoint is spared, keeps or is given, beside those that make dialogs and those that
//! other policies govern.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::Faults;

/// Header fields, for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderPolicy {
    /// What it sends, before another endpoint gets it.
    pub received: HeaderRules,
    /// What it is sent.
    pub sent: HeaderRules,
    /// What the hub calls itself to it, in Contact and where it stands for a host in From.
    pub own_host: OwnHost,
}

/// What the hub calls itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnHost {
    /// By the address and port of its listener.
    #[default]
    Address,
    /// By the public name of its listener, which its certificate has, too; by the address where it has no name.
    Name,
}

/// Rules for one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderRules {
    /// What becomes of header fields that no standard names, such as X-Account, when they have no rule.
    pub others: OtherHeaders,
    /// The rule of each header field that has one.
    pub rules: BTreeMap<HeaderName, HeaderRule>,
}

/// What becomes of header fields without a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherHeaders {
    /// They cross.
    #[default]
    Keep,
    /// They do not.
    Drop,
}

/// What becomes of a header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderRule {
    /// It crosses, also where others do not.
    Keep,
    /// It does not cross.
    Drop,
    /// Every request has it once, with this value; responses do not have it.
    Set(HeaderValue),
}

/// Most rules in one direction.
const MAX_RULES: usize = 32;

/// Longest name and value of a header field in a rule.
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 256;

impl HeaderRules {
    /// The rule for a header field, whose name is compared without case.
    pub fn rule(&self, name: &[u8]) -> Option<&HeaderRule> {
        let is_named = |rule: &HeaderName| rule.0.as_bytes().eq_ignore_ascii_case(name);
        self.rules.iter().find(|(rule, _)| is_named(rule)).map(|(_, rule)| rule)
    }

    /// The header fields that every request gets.
    pub fn set(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().filter_map(|(name, rule)| match rule {
            HeaderRule::Set(value) => Some((&*name.0, &*value.0)),
            HeaderRule::Keep | HeaderRule::Drop => None,
        })
    }

    fn judge(&self, path: &str, faults: &mut Faults) {
        if self.rules.len() > MAX_RULES {
            faults.note(path, format!("there are {} rules; write at most {MAX_RULES}", self.rules.len()));
        }
        let mut seen: Vec<&str> = Vec::new();
        for (name, rule) in &self.rules {
            let path = format!("{path}.{name}");
            if seen.iter().any(|other| other.eq_ignore_ascii_case(&name.0)) {
                faults.note(&path, "it has a rule already, in another spelling");
            }
            seen.push(&name.0);
            if let Some(why) = protection(&name.0) {
                faults.note(path, why);
            } else if *rule == HeaderRule::Keep && is_named(&name.0, &TOLD_TO_NOBODY) {
                faults.note(path, "it says what the other member's switch is, which the hub never tells");
            }
        }
    }
}

impl HeaderPolicy {
    pub(super) fn judge(&self, faults: &mut Faults) {
        self.received.judge("headers.received.rules", faults);
        self.sent.judge("headers.sent.rules", faults);
    }
}

/// They make dialogs and transactions, or say what a message is.
const OF_THE_DIALOG: [&str; 33] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Path",
    "Service-Route",
    "Require",
    "Proxy-Require",
    "Supported",
    "Unsupported",
    "Allow",
    "RAck",
    "RSeq",
    "Session-Expires",
    "Min-SE",
    "Replaces",
    "Join",
    "Target-Dialog",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Authentication-Info",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Content-Disposition",
    "MIME-Version",
];

/// Written by other policies.
const OF_OTHER_POLICIES: [(&str, &str); 6] = [
    ("P-Asserted-Identity", "identity.write says whether it is sent"),
    ("P-Preferred-Identity", "identity.write says whether it is sent"),
    ("Remote-Party-ID", "identity.write says whether it is sent"),
    ("Privacy", "it is the caller's; identity.trusted says who carries it out"),
    ("Diversion", "diversion.write says whether it is sent"),
    ("History-Info", "diversion.write says whether it is sent"),
];

/// What one member's network notes for itself.
const TOLD_TO_NOBODY: [&str; 12] = [
    "User-Agent",
    "Server",
    "Organization",
    "Warning",
    "Timestamp",
    "P-Charging-Vector",
    "P-Charging-Function-Addresses",
    "P-Access-Network-Info",
    "P-Visited-Network-ID",
    "P-Called-Party-ID",
    "P-Associated-URI",
    "Tandem-Call",
];

fn is_named(name: &str, names: &[&str]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Why a header field takes no rule.
fn protection(name: &str) -> Option<&'static str> {
    if name.len() == 1 {
        return Some("it is a compact form; write the full name, such as Subject for s");
    }
    if is_named(name, &OF_THE_DIALOG) {
        return Some("the hub makes its own of it, since it makes dialogs or says what a message is");
    }
    if name.eq_ignore_ascii_case("Reason") {
        return Some("it says why a call ended, and always crosses");
    }
    if name.eq_ignore_ascii_case("Tandem-Call") {
        return Some("by it the hub recognises its own calls");
    }
    let of_policies = OF_OTHER_POLICIES.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    of_policies.map(|&(_, why)| why)
}

/// Name of a header field: a token (RFC 3261 §25.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HeaderName(Box<str>);

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HeaderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_token =
            text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet));
        if text.is_empty() || text.len() > MAX_NAME || !is_token {
            return Err(serde::de::Error::custom(format!(
                "{text:?} is no name of a header field; write letters, digits and -, such as X-Account, at most \
                 {MAX_NAME}"
            )));
        }
        Ok(Self(text.into()))
    }
}

/// Value of a header field: printable text on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderValue(Box<str>);

impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_printable = text.bytes().all(|octet| (b' '..0x7f).contains(&octet));
        if text.trim().is_empty() || text.len() > MAX_VALUE || !is_printable {
            return Err(serde::de::Error::custom(format!(
                "a value is printable ASCII on one line, from 1 to {MAX_VALUE} characters"
            )));
        }
        Ok(Self(text.trim().into()))
    }
}
