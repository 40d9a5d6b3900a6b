//! The SIP addresses of a member.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{EndpointId, MemberId};
use utoipa::ToSchema;

use crate::App;
use crate::page::{Page, PageQuery};
use crate::problem::ApiError;
use crate::request::{Body, Id, Query};
use crate::session::Session;

/// From where an endpoint may send.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SourceView {
    /// The addresses, in CIDR form.
    #[schema(example = "192.0.2.0/24")]
    net: String,
    /// The only port it sends from; any port where it is null.
    #[schema(required)]
    port: Option<u16>,
}

/// One SIP address of a member: where it sends from, where it receives, and how much.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EndpointView {
    #[schema(value_type = Uuid)]
    endpoint_id: EndpointId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    name: String,
    sources: Vec<SourceView>,
    /// Where the hub sends calls for it.
    #[schema(example = "sip:192.0.2.21:5060;transport=udp")]
    target: String,
    /// Lower is tried first.
    priority: u16,
    /// Share of the calls among endpoints of the same priority.
    weight: u16,
    /// Most calls up at once; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second from it; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
    /// Whether it takes part.
    enabled: bool,
    created_at: DateTime<Utc>,
}

/// Names an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct EndpointRef {
    #[schema(value_type = Uuid)]
    pub(crate) endpoint_id: EndpointId,
    pub(crate) name: String,
}

/// From where an endpoint may send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceInput {
    /// An address, or a block of them in CIDR form.
    #[schema(example = "192.0.2.0/24")]
    net: String,
    /// The only port it sends from; any port where it is left out or null.
    #[serde(default)]
    port: Option<u16>,
}

/// An endpoint as a member describes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointInput {
    /// Lower-case letters, digits, `.`, `_` and `-`; unique among the member's endpoints.
    #[schema(example = "acme-ams-1")]
    name: String,
    /// From where it may send; none for an endpoint that only receives.
    #[serde(default)]
    #[schema(max_items = 64)]
    sources: Vec<SourceInput>,
    /// Where the hub sends calls for it. The host is an IP address.
    #[schema(example = "sip:192.0.2.21:5060;transport=udp")]
    target: String,
    /// Lower is tried first.
    #[serde(default = "default_priority")]
    #[schema(default = 1)]
    priority: u16,
    /// Share of the calls among endpoints of the same priority.
    #[serde(default = "default_weight")]
    #[schema(default = 100)]
    weight: u16,
    /// Most calls up at once; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second from it; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// Whether it takes part.
    #[serde(default = "default_enabled")]
    #[schema(default = true)]
    enabled: bool,
}

fn default_priority() -> u16 {
    1
}

fn default_weight() -> u16 {
    100
}

fn default_enabled() -> bool {
    true
}

/// `GET /api/v1/members/{member_id}/endpoints`: the member's endpoints.
#[utoipa::path(get, path = "/members/{member_id}/endpoints", tag = "endpoints",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<EndpointView>)))]
pub(crate) async fn list_endpoints(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Query(_page): Query<PageQuery>,
) -> Result<Json<Page<EndpointView>>, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/endpoints`: adds an endpoint.
#[utoipa::path(post, path = "/members/{member_id}/endpoints", tag = "endpoints", params(("member_id" = Uuid, Path)),
    request_body = EndpointInput, responses((status = 201, body = EndpointView)))]
pub(crate) async fn create_endpoint(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Body(_input): Body<EndpointInput>,
) -> Result<(StatusCode, Json<EndpointView>), ApiError> {
    todo!()
}

/// `GET /api/v1/members/{member_id}/endpoints/{endpoint_id}`: one endpoint.
#[utoipa::path(get, path = "/members/{member_id}/endpoints/{endpoint_id}", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)), responses((status = 200, body = EndpointView)))]
pub(crate) async fn get_endpoint(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, EndpointId)>,
) -> Result<Json<EndpointView>, ApiError> {
    todo!()
}

/// `PUT /api/v1/members/{member_id}/endpoints/{endpoint_id}`: describes an endpoint anew.
#[utoipa::path(put, path = "/members/{member_id}/endpoints/{endpoint_id}", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)), request_body = EndpointInput,
    responses((status = 200, body = EndpointView)))]
pub(crate) async fn update_endpoint(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, EndpointId)>,
    Body(_input): Body<EndpointInput>,
) -> Result<Json<EndpointView>, ApiError> {
    todo!()
}

/// `DELETE /api/v1/members/{member_id}/endpoints/{endpoint_id}`: removes an endpoint that no announcement names.
#[utoipa::path(delete, path = "/members/{member_id}/endpoints/{endpoint_id}", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)), responses((status = 204, description = "removed")))]
pub(crate) async fn delete_endpoint(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, EndpointId)>,
) -> Result<StatusCode, ApiError> {
    todo!()
}
