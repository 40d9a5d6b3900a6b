//! How the hub speaks with one endpoint: a named profile for its kind of switch, and what differs from it.
//!
//! Stored and sent as `{"profile": "asterisk", "overrides": {"numbers": {"country": "44"}}}`. The profile's
//! settings with the overrides laid over them are [`Settings`], read and judged once; the call path finds them
//! resolved. Every setting belongs to a group with a file of its own in here.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

mod codecs;
mod direct;
mod diversion;
mod failures;
mod headers;
mod identity;
mod numbers;
mod probe;
mod profile;
mod requests;
mod session;
mod size;
mod trust;

pub use codecs::{CodecName, CodecOrder, CodecPolicy};
pub use direct::DirectPolicy;
pub use diversion::{DiversionField, DiversionPolicy};
pub use failures::FailurePolicy;
pub use headers::{HeaderName, HeaderPolicy, HeaderRule, HeaderRules, HeaderValue, OtherHeaders, OwnHost};
pub use identity::{IdentityField, IdentityPolicy};
pub use numbers::{CallingForm, Digits, NumberForm, NumberPolicy, Unprefixed};
pub use probe::ProbePolicy;
pub use profile::Profile;
pub use requests::{PassOrRefuse, RequestPolicy};
pub use session::{EarlyMedia, Redirect, SessionPolicy, SessionTimer};
pub use size::SizePolicy;
pub use trust::Trust;

/// Most octets of the overrides as JSON.
const MAX_OVERRIDES: usize = 16 * 1024;

/// All that can be set about an endpoint's switch, in groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How telephone numbers are written.
    pub numbers: NumberPolicy,
    /// Which header fields say who calls, and whether they are believed.
    pub identity: IdentityPolicy,
    /// Which header fields say who diverted a call.
    pub diversion: DiversionPolicy,
    /// Which other header fields cross.
    pub headers: HeaderPolicy,
    /// Which status it gets for a call that failed.
    pub failures: FailurePolicy,
    /// Which codecs it is offered and may offer.
    pub codecs: CodecPolicy,
    /// How large an INVITE it takes.
    pub size: SizePolicy,
    /// What holds for its calls while they are set up and up.
    pub session: SessionPolicy,
    /// Which other requests cross, from it and to it.
    pub requests: RequestPolicy,
    /// How it is watched.
    pub probe: ProbePolicy,
    /// Which of its calls go past the hub.
    pub direct: DirectPolicy,
}

/// A profile with its overrides, resolved. Cheap to clone.
#[derive(Clone)]
pub struct Policy(Arc<Resolved>);

struct Resolved {
    profile: Profile,
    overrides: Map<String, Value>,
    settings: Settings,
    carries_as_received: bool,
}

/// A policy as it is stored and sent.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stored {
    #[serde(skip_serializing_if = "is_default")]
    profile: Profile,
    #[serde(skip_serializing_if = "Map::is_empty")]
    overrides: Map<String, Value>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is wrong with one setting, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// The setting, such as `numbers.country`; empty for the overrides as a whole.
    pub path: String,
    /// A sentence that says what to write.
    pub message: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "overrides" } else { &self.path };
        write!(f, "{path}: {}", self.message)
    }
}

/// Why overrides were not taken: everything that is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub Vec<PolicyFault>);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// The faults that the groups of settings find in themselves.
#[derive(Default)]
struct Faults(Vec<PolicyFault>);

impl Faults {
    fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(PolicyFault { path: path.into(), message: message.into() });
    }
}

impl Settings {
    fn judge(&self) -> Result<(), PolicyError> {
        let mut faults = Faults::default();
        self.numbers.judge(&mut faults);
        self.headers.judge(&mut faults);
        self.failures.judge(&mut faults);
        self.codecs.judge(&mut faults);
        self.size.judge(&mut faults);
        self.session.judge(&mut faults);
        if faults.0.is_empty() { Ok(()) } else { Err(PolicyError(faults.0)) }
    }

    /// Whether messages cross as they came, save what a back-to-back user agent makes anew.
    fn carries_as_received(&self) -> bool {
        let neutral = Profile::Neutral.settings();
        let NumberPolicy { routing_number, write_routing_number, .. } = self.numbers;
        // Those two are about the Request-URI, which is made anew in any case.
        self.numbers == NumberPolicy { routing_number, write_routing_number, ..neutral.numbers }
            && self.identity == neutral.identity
            && self.diversion == neutral.diversion
            && self.headers == neutral.headers
            && self.codecs == neutral.codecs
    }
}

impl Policy {
    /// The profile with `overrides` laid over it, or everything that is at fault with them.
    pub fn new(profile: Profile, overrides: Map<String, Value>) -> Result<Self, PolicyError> {
        if serde_json::to_string(&overrides).map_or(0, |text| text.len()) > MAX_OVERRIDES {
            let message = format!("they are too long; write at most {MAX_OVERRIDES} octets of JSON");
            return Err(PolicyError(vec![PolicyFault { path: String::new(), message }]));
        }
        let mut settings = serde_json::to_value(profile.settings()).expect("settings are JSON");
        lay_over(&mut settings, &Value::Object(overrides.clone()));
        let settings: Settings = serde_path_to_error::deserialize(settings).map_err(|error| {
            let path = error.path().to_string();
            PolicyError(vec![PolicyFault { path, message: error.into_inner().to_string() }])
        })?;
        settings.judge()?;
        let carries_as_received = settings.carries_as_received();
        Ok(Self(Arc::new(Resolved { profile, overrides, settings, carries_as_received })))
    }

    /// A profile as it is.
    pub fn of(profile: Profile) -> Self {
        match profile {
            Profile::Neutral => Self::neutral().clone(),
            _ => Self::new(profile, Map::new()).expect("a profile is free of faults"),
        }
    }

    /// Reads what is stored. What this version of the program does not know, since a later one wrote it, is as
    /// the profile has it, so that an exchange can be upgraded node by node.
    pub fn from_stored(stored: &Value) -> Self {
        let profile = stored.get("profile").and_then(|profile| Profile::deserialize(profile).ok());
        let profile = profile.unwrap_or_default();
        let Some(overrides) = stored.get("overrides").and_then(Value::as_object).filter(|it| !it.is_empty())
        else {
            return Self::of(profile);
        };
        let base = serde_json::to_value(profile.settings()).expect("settings are JSON");
        let mut known = overrides.clone();
        known.retain(|group, settings| match (base.get(group), settings) {
            (Some(base), Value::Object(settings)) => {
                settings.retain(|name, _| base.get(name).is_some());
                true
            }
            _ => false,
        });
        Self::new(profile, known.clone()).unwrap_or_else(|_| {
            known.retain(|group, settings| {
                let alone = Map::from_iter([(group.clone(), settings.clone())]);
                Self::new(profile, alone).is_ok()
            });
            Self::new(profile, known).unwrap_or_else(|_| Self::of(profile))
        })
    }

    /// The policy of an endpoint about which nothing is set.
    pub fn neutral() -> &'static Self {
        static NEUTRAL: LazyLock<Policy> =
            LazyLock::new(|| Policy::new(Profile::Neutral, Map::new()).expect("a profile is free of faults"));
        &NEUTRAL
    }

    /// The same, with the word of the exchange's operator on whether the switch is trusted with something, which is for
    /// nobody else to set.
    #[must_use]
    pub fn with_trust(&self, with: Trust, trusted: bool) -> Self {
        if self.trusts(with) == trusted {
            return self.clone();
        }
        let mut overrides = Value::Object(self.0.overrides.clone());
        let (group, name) = with.setting();
        lay_over(&mut overrides, &serde_json::json!({ group: { name: trusted } }));
        let Value::Object(overrides) = overrides else {
            unreachable!("an object laid over an object is one")
        };
        Self::new(self.0.profile, overrides).expect("either value is free of faults")
    }

    /// Whether the overrides say if the switch is trusted with something.
    pub fn says_trust(&self, with: Trust) -> bool {
        let (group, name) = with.setting();
        self.0.overrides.get(group).is_some_and(|settings| settings.get(name).is_some())
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.0.profile
    }

    /// What differs from the profile, by group and setting.
    pub fn overrides(&self) -> &Map<String, Value> {
        &self.0.overrides
    }

    /// Whether messages to and from the endpoint cross as they came, save what a back-to-back user agent makes
    /// anew: the quickest way through the hub.
    pub fn carries_as_received(&self) -> bool {
        self.0.carries_as_received
    }
}

/// Lays JSON over JSON: objects setting by setting, everything else whole.
fn lay_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                lay_over(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

impl Deref for Policy {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0.settings
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::neutral().clone()
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.profile == other.0.profile && self.0.overrides == other.0.overrides)
    }
}

impl Eq for Policy {}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("profile", &self.0.profile)
            .field("overrides", &self.0.overrides)
            .finish()
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored { profile: self.0.profile, overrides: self.0.overrides.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored { profile, overrides } = Stored::deserialize(deserializer)?;
        if profile == Profile::default() && overrides.is_empty() {
            return Ok(Self::default());
        }
        Self::new(profile, overrides).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: Value) -> Result<Policy, String> {
        serde_json::from_value(text).map_err(|error| error.to_string())
    }

    #[test]
    fn overrides_change_what_they_name_and_nothing_else() {
        let policy =
            read(json!({"profile": "cisco-cube", "overrides": {"numbers": {"country": "44"}}})).unwrap();
        let profile = Profile::CiscoCube.settings();
        assert_eq!(policy.numbers.country.as_str(), "44");
        assert_eq!(policy.numbers.form, profile.numbers.form);
        assert_eq!(policy.identity, profile.identity);
        assert!(!policy.carries_as_received());
    }

    #[test]
    fn the_operator_s_word_on_trust_changes_nothing_else() {
        let policy = read(json!({"profile": "teams", "overrides": {"identity": {"write": "both"}}})).unwrap();
        let with = Trust::Identities;
        let distrusted = policy.with_trust(with, false);
        assert!(!distrusted.identity.trusted && distrusted.says_trust(with) && !policy.says_trust(with));
        assert_eq!(distrusted.identity.write, IdentityField::Both);
        assert_eq!((distrusted.profile(), &distrusted.numbers), (Profile::Teams, &policy.numbers));
        assert_eq!(*distrusted.with_trust(with, true), *policy);
        assert_eq!(policy.with_trust(with, true), policy);
        let trusted = policy.with_trust(Trust::RoutingNumbers, true);
        assert!(trusted.numbers.routing_number && trusted.identity == policy.identity);
    }

    #[test]
    fn a_policy_is_stored_as_it_was_written() {
        for text in [
            json!({}),
            json!({"profile": "teams"}),
            json!({"profile": "asterisk", "overrides": {"identity": {"trusted": false}}}),
            json!({"overrides": {"numbers": {"user_phone": false}}}),
        ] {
            assert_eq!(serde_json::to_value(read(text.clone()).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn a_fault_names_the_setting_and_what_to_write() {
        let rule =
            |name: &str, rule: Value| json!({"overrides": {"headers": {"sent": {"rules": {name: rule}}}}});
        for (text, says) in [
            (json!({"profile": "avaya"}), "unknown variant `avaya`, expected one of `neutral`, `asterisk`"),
            (
                json!({"overrides": {"number": {}}}),
                "number: unknown field `number`, expected one of `numbers`, `identity`",
            ),
            (
                json!({"overrides": {"numbers": {"form": "e164ish"}}}),
                "numbers.form: unknown variant `e164ish`, expected one of `e164`, `plain`",
            ),
            (
                json!({"overrides": {"numbers": {"country": "044"}}}),
                "numbers.country: a country code has one to three digits and does not begin with 0, such as 44",
            ),
            (
                json!({"overrides": {"numbers": {"form": "national"}}}),
                "numbers.country: write the country code of its national numbers, such as 44",
            ),
            (
                json!({"overrides": {"identity": {"trusted": "yes"}}}),
                "identity.trusted: invalid type: string",
            ),
            (rule("Via", json!("drop")), "headers.sent.rules.Via: the hub makes its own of it"),
            (rule("call-id", json!("drop")), "headers.sent.rules.call-id: the hub makes its own of it"),
            (rule("i", json!("drop")), "headers.sent.rules.i: it is a compact form; write the full name"),
            (rule("Privacy", json!("drop")), "headers.sent.rules.Privacy: it is the caller's"),
            (rule("Reason", json!("drop")), "headers.sent.rules.Reason: it says why a call ended"),
            (
                rule("User-Agent", json!("keep")),
                "headers.sent.rules.User-Agent: it says what the other member's",
            ),
            (rule("X A", json!("drop")), "headers.sent.rules.X A: \"X A\" is no name of a header field"),
            (
                rule("X-A", json!({"set": "a\r\nVia: b"})),
                "headers.sent.rules.X-A.set: a value is printable ASCII",
            ),
            (rule("X-A", json!("remove")), "headers.sent.rules.X-A: unknown variant `remove`"),
            (
                json!({"overrides": {"failures": {"statuses": {"200": 486}}}}),
                "failures.statuses.200: 200 is no",
            ),
            (
                json!({"overrides": {"failures": {"statuses": {"486": 487}}}}),
                "failures.statuses.486: 487 is about",
            ),
            (json!({"overrides": {"codecs": {"allow": ["PCMA", "pcma"]}}}), "codecs.allow[1]: pcma is there"),
            (
                json!({"overrides": {"codecs": {"allow": ["PCMA/8000"]}}}),
                "codecs.allow[0]: \"PCMA/8000\" is no codec",
            ),
            (json!({"overrides": {"codecs": {"order": "listed"}}}), "codecs.order: there is no list"),
            (json!({"overrides": {"size": {"max_bytes": 10}}}), "size.max_bytes: write a number from 1000"),
        ] {
            let error = read(text.clone()).unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
        }
        let long = json!({"overrides": {"numbers": {"country": "4".repeat(MAX_OVERRIDES)}}});
        assert!(read(long).unwrap_err().starts_with("overrides: they are too long"));
    }

    #[test]
    fn what_a_later_version_stored_does_not_keep_this_one_from_the_rest() {
        let stored = json!({"profile": "teams", "overrides": {
            "numbers": {"country": "44", "colour": "red", "form": "national", "international_prefix": "00"},
            "weather": {"rain": true},
        }});
        let policy = Policy::from_stored(&stored);
        assert_eq!(policy.profile(), Profile::Teams);
        assert_eq!((policy.numbers.country.as_str(), policy.numbers.form), ("44", NumberForm::National));
        assert_eq!(Policy::from_stored(&json!({"profile": "later"})), Policy::default());
        assert_eq!(Policy::from_stored(&json!([])), Policy::default());
    }

    #[test]
    fn only_what_changes_messages_leaves_the_quick_way() {
        assert!(Policy::default().carries_as_received());
        assert!(!Policy::of(Profile::Asterisk).carries_as_received());
        let reads = json!({"overrides": {"numbers": {"country": "44", "national_prefix": "0"}}});
        assert!(!read(reads).unwrap().carries_as_received());
    }

    #[test]
    fn every_profile_is_free_of_faults_and_explained() {
        for profile in Profile::ALL {
            Policy::of(profile);
            assert!(profile.explanation().len() > 40, "{profile:?}");
        }
    }
}
