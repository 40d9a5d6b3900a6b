//! How the hub speaks with an endpoint's switch, as members read and write it.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tandem_model::{Policy, Profile, Reason, Settings, Trust};
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
    /// are those of `GET /profiles`. `identity.trusted` and `numbers.routing_number` are the operator's to set, and stay
    /// as they are where a member leaves them out.
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

/// The policy as it may be set: with what a switch is trusted is the operator's word. A member's endpoint stays `trusted`
/// as it is; who leaves it out, leaves it so.
pub(crate) fn keep_trust(
    session: &Session,
    policy: &Policy,
    trusted: impl Fn(Trust) -> bool,
) -> Result<Policy, ApiError> {
    if session.is_operator() {
        return Ok(policy.clone());
    }
    let is_changed = |with: &Trust| policy.says_trust(*with) && policy.trusts(*with) != trusted(*with);
    let error = |with: Trust| {
        let (group, name) = with.setting();
        FieldError {
            field: format!("policy.overrides.{group}.{name}"),
            message: format!("it is {}, and only the operator of the exchange changes it", trusted(with)),
            row: None,
        }
    };
    let errors: Vec<FieldError> = Trust::ALL.into_iter().filter(is_changed).map(error).collect();
    if !errors.is_empty() {
        return Err(ApiError::new(Reason::OperatorSetting).errors(errors));
    }
    Ok(Trust::ALL.into_iter().fold(policy.clone(), |policy, with| policy.with_trust(with, trusted(with))))
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
