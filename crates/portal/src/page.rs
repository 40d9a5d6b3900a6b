//! Lists in pages: how many, from where, and where the next page begins.

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::CallId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::problem::ApiError;

/// Items of a page where the request does not say.
const DEFAULT_LIMIT: u32 = 50;

/// Most items of a page.
const MAX_LIMIT: u32 = 500;

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
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

impl PageQuery {
    /// The place and size of the page.
    pub(crate) fn read<C: FromStr>(&self) -> Result<Place<C>, ApiError> {
        Place::read(self.cursor.as_deref(), self.limit)
    }
}

/// Where a page begins and how long it is.
#[derive(Debug)]
pub(crate) struct Place<C> {
    /// What the page before ended with.
    pub(crate) after: Option<C>,
    limit: u32,
}

impl<C: FromStr> Place<C> {
    pub(crate) fn read(cursor: Option<&str>, limit: Option<u32>) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::field("limit", format!("write a number from 1 to {MAX_LIMIT}")));
        }
        let unknown = || ApiError::field("cursor", "it is none that a page gave; leave it out to begin anew");
        let after = cursor.map(|text| text.parse().map_err(|_| unknown())).transpose()?;
        Ok(Self { after, limit })
    }
}

impl<C> Place<C> {
    /// How many objects to read: one more than are shown tells whether there is a next page.
    pub(crate) fn reads(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page, from the objects that were read and what names each of them as a cursor.
    pub(crate) fn page<T, V>(
        &self,
        mut read: Vec<T>,
        cursor: impl Fn(&T) -> C,
        view: impl FnMut(T) -> V,
    ) -> Page<V>
    where
        C: Display,
    {
        let more = read.len() > self.limit as usize;
        read.truncate(self.limit as usize);
        let next_cursor = read.last().filter(|_| more).map(|last| cursor(last).to_string());
        Page { items: read.into_iter().map(view).collect(), next_cursor }
    }
}

/// A call's place in a list: its time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallCursor(pub(crate) DateTime<Utc>, pub(crate) CallId);

impl Display for CallCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.timestamp_micros(), self.1.0.simple())
    }
}

impl FromStr for CallCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('.').ok_or(())?;
        let at = DateTime::from_timestamp_micros(at.parse().map_err(|_| ())?).ok_or(())?;
        Ok(Self(at, CallId(Uuid::parse_str(id).map_err(|_| ())?)))
    }
}
