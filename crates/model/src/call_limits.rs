//! How many calls somebody or something may carry.

use serde::{Deserialize, Serialize};

/// Two bounds on calls; where one is `None` there is no bound. For members, endpoints, agreements and announcements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallLimits {
    /// Most calls at once.
    pub max_calls: Option<u32>,
    /// Most new calls a second.
    pub max_calls_per_second: Option<u32>,
}

impl CallLimits {
    /// No bound at all.
    pub const NONE: Self = Self { max_calls: None, max_calls_per_second: None };
}
