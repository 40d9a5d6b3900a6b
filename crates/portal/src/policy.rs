//! How the hub speaks with an endpoint's switch, as members read and write it.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tandem_model::{Policy, Profile, Reason, Settings};
use utoipa::ToSchema;

use crate::problem::{ApiError, Faults, FieldError};
use crate::session::Session;
use crate::vocabulary;

/// How the hub speaks with an endpoint's switch: a profile, and what differs from it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PolicyView {
    /// What the switch is like.
    #[schema(value_type = vocabulary::Profile)]
    profile: Profile,
    /// What differs from the profile, by group and setting.
    #[schema(value_type = BTreeMap<String, Value>)]
    overrides: Map<String, Value>,
}

impl From<&Policy> for PolicyView {
    fn from(policy: &Policy) -> Self {
        Self { profile: policy.profile(), overrides: policy.overrides().clone() }
    }
}

/// How the hub shall speak with an endpoint's switch.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PolicyInput {
    /// What the switch is like.
    #[schema(value_type = vocabulary::Profile)]
    profile: Profile,
    /// What differs from the profile, by group and setting: `{"numbers": {"country": "44"}}`. The groups and settings
    /// are those of `GET /profiles`. `identity.trusted` is the operator's to set, and stays as it is where a member
    /// leaves it out.
    #[schema(value_type = BTreeMap<String, Value>)]
    overrides: Map<String, Value>,
}

impl PolicyInput {
    /// The policy; what is at fault is noted by its path.
    pub(crate) fn read(self, faults: &mut Faults) -> Option<Policy> {
        match Policy::new(self.profile, self.overrides) {
            Ok(policy) => Some(policy),
            Err(error) => {
                for fault in error.0 {
                    let dot = if fault.path.is_empty() { "" } else { "." };
                    faults.note(format!("policy.overrides{dot}{}", fault.path), fault.message);
                }
                None
            }
        }
    }
}

/// The policy as it may be set: whether a switch is trusted with identities (`identity.trusted`) is the operator's
/// word. A member's endpoint keeps `trusted`; who leaves it out, leaves it as it is.
pub(crate) fn keep_trust(session: &Session, policy: &Policy, trusted: bool) -> Result<Policy, ApiError> {
    if session.is_operator() {
        return Ok(policy.clone());
    }
    if policy.says_trust() && policy.identity.trusted != trusted {
        let error = FieldError {
            field: "policy.overrides.identity.trusted".to_owned(),
            message: format!("it is {trusted}, and only the operator of the exchange changes it"),
            row: None,
        };
        return Err(ApiError::new(Reason::OperatorSetting).errors(vec![error]));
    }
    Ok(policy.with_trust(trusted))
}

/// What is known of one kind of switch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileView {
    #[schema(value_type = vocabulary::Profile)]
    profile: Profile,
    /// Its name as people know it.
    title: &'static str,
    /// What it does, and why that suits the switch.
    explanation: &'static str,
    /// Its settings, by group.
    #[schema(value_type = BTreeMap<String, Value>)]
    settings: Settings,
}

/// `GET /api/v1/profiles`: the kinds of switches, with their settings.
#[utoipa::path(get, path = "/profiles", tag = "endpoints", responses((status = 200, body = [ProfileView])))]
pub(crate) async fn list_profiles(_session: Session) -> Json<Vec<ProfileView>> {
    let view = |profile: Profile| ProfileView {
        profile,
        title: profile.title(),
        explanation: profile.explanation(),
        settings: Settings::clone(&Policy::of(profile)),
    };
    Json(Profile::ALL.map(view).into())
}
