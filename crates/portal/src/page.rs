//! Lists in pages: how many, from where, and where the next page begins.

use serde::Serialize;
use utoipa::ToSchema;

/// Objects of one page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The objects, newest first unless the operation says otherwise.
    pub(crate) items: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// Which page to show.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Where to go on: `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    pub(crate) limit: Option<u32>,
}
