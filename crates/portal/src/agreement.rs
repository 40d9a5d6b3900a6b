//! What two members agree to send to each other.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{AgreementDirection, AgreementId, AgreementState, MemberId};
use utoipa::ToSchema;

use crate::App;
use crate::member::MemberRef;
use crate::page::{Page, PageQuery};
use crate::problem::ApiError;
use crate::request::{Body, Id, Query};
use crate::session::Session;
use crate::vocabulary;

/// An agreement between two members, or the proposal of one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AgreementView {
    #[schema(value_type = Uuid)]
    agreement_id: AgreementId,
    /// Who offered it.
    proposing_member: MemberRef,
    /// Who was asked to accept it.
    accepting_member: MemberRef,
    #[schema(value_type = vocabulary::AgreementDirection)]
    direction: AgreementDirection,
    #[schema(value_type = vocabulary::AgreementState)]
    state: AgreementState,
    note: String,
    /// Since when it holds; null until it is accepted.
    #[schema(required)]
    valid_from: Option<DateTime<Utc>>,
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
    proposed_at: DateTime<Utc>,
    #[schema(required)]
    decided_at: Option<DateTime<Utc>>,
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// Whether the member in the path may accept or refuse it now.
    may_answer: bool,
}

/// Who may call whom, as the proposing member sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProposedDirection {
    /// Each may call the other.
    Both,
    /// The proposing member may call the other.
    Outgoing,
    /// The other may call the proposing member.
    Incoming,
}

/// An agreement that a member proposes to another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgreementInput {
    /// Name or id of the other member.
    #[schema(example = "globex")]
    with: String,
    direction: ProposedDirection,
    /// What the other member should know. At most 2000 characters.
    #[serde(default)]
    note: String,
}

/// `GET /api/v1/members/{member_id}/agreements`: the member's agreements and proposals, in both directions.
#[utoipa::path(get, path = "/members/{member_id}/agreements", tag = "agreements",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<AgreementView>)))]
pub(crate) async fn list_agreements(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Query(_page): Query<PageQuery>,
) -> Result<Json<Page<AgreementView>>, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/agreements`: proposes an agreement to another member.
#[utoipa::path(post, path = "/members/{member_id}/agreements", tag = "agreements", params(("member_id" = Uuid, Path)),
    request_body = AgreementInput, responses((status = 201, body = AgreementView)))]
pub(crate) async fn propose_agreement(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Body(_input): Body<AgreementInput>,
) -> Result<(StatusCode, Json<AgreementView>), ApiError> {
    todo!()
}

/// `GET /api/v1/members/{member_id}/agreements/{agreement_id}`: one agreement.
#[utoipa::path(get, path = "/members/{member_id}/agreements/{agreement_id}", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)), responses((status = 200, body = AgreementView)))]
pub(crate) async fn get_agreement(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/accept`: the asked member says yes; calls cross from now.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/accept", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)), responses((status = 200, body = AgreementView)))]
pub(crate) async fn accept_agreement(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/refuse`: the asked member says no.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/refuse", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)), responses((status = 200, body = AgreementView)))]
pub(crate) async fn refuse_agreement(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/end`: either member ends it; the proposing one also takes back a proposal.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/end", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)), responses((status = 200, body = AgreementView)))]
pub(crate) async fn end_agreement(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    todo!()
}
