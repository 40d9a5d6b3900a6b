//! How the hub speaks with an endpoint's switch: what is a matter of policy, not of the standard.

use serde::{Deserialize, Serialize};

/// How the hub speaks with an endpoint. Everything has a default, so that an endpoint says only what is special about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {}
