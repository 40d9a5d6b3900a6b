//! How an endpoint is known beside its addresses: the credentials of both ways, and where it has registered.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::credential::{MAX_PASSWORD, MD5_REALM, MIN_PASSWORD, is_realm, is_username};
use tandem_model::{EndpointId, Ha1, MemberId, Reason};
use tandem_store::credential::{self, Direction, NewCredential, StoredCredential};
use tandem_store::{PgConnection, endpoint, registration};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id};
use crate::secret;
use crate::session::{Change, Session};

/// A user name and its realm, without the password: only hashes of that are kept.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CredentialView {
    /// The user name.
    username: String,
    /// The realm in which it counts.
    #[schema(example = "sip.exchange.example")]
    realm: String,
    /// Whether the hub registers with it.
    registers: bool,
    created_at: DateTime<Utc>,
}

/// Where an endpoint has registered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RegistrationView {
    /// The Contact that its switch gave.
    contact: String,
    /// From where the REGISTER came: calls go there.
    #[schema(example = "198.51.100.7:5060")]
    source: String,
    transport: String,
    registered_at: DateTime<Utc>,
    /// Until when it holds; a time that is past where it holds no more.
    expires_at: DateTime<Utc>,
    /// The node that took it.
    #[schema(value_type = Uuid)]
    node_id: Uuid,
}

/// How an endpoint is known beside its addresses.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AccessView {
    /// By what the endpoint proves to the hub who it is; null where it needs no password.
    #[schema(required)]
    inbound: Option<CredentialView>,
    /// By what the hub proves to the endpoint who it is; null where the endpoint does not ask.
    #[schema(required)]
    outbound: Option<CredentialView>,
    /// Where it registered last; null where it never did.
    #[schema(required)]
    registration: Option<RegistrationView>,
}

/// A credential just given: the only time that its password is shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewCredentialView {
    /// What the switch is to be told. The exchange keeps only hashes of it.
    password: String,
    #[serde(flatten)]
    view: CredentialView,
}

/// By what an endpoint is to prove who it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InboundInput {
    /// Letters, digits, `.`, `_`, `-` and `+`; no other endpoint of the exchange has it.
    #[schema(example = "acme-ams-1", max_length = 64)]
    username: String,
    /// The password; a new random one where it is left out or null, which is safer.
    #[serde(default)]
    #[schema(min_length = 12, max_length = 128)]
    password: Option<String>,
    /// Whether the switch knows only MD5 and gives up where it is offered another algorithm beside it: it gets a realm in
    /// which it is not.
    #[serde(default)]
    md5_only: bool,
}

/// By what the hub is to prove to an endpoint who it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutboundInput {
    /// The hub's user name on the member's switch.
    #[schema(example = "tandem", max_length = 64)]
    username: String,
    /// The realm that the member's switch asks in; the hub answers in no other.
    #[schema(example = "sip.acme.example", max_length = 64)]
    realm: String,
    /// The password on the member's switch.
    #[schema(min_length = 12, max_length = 128)]
    password: String,
    /// Whether the hub registers there.
    #[serde(default)]
    registers: bool,
}

impl From<StoredCredential> for CredentialView {
    fn from(stored: StoredCredential) -> Self {
        let StoredCredential { username, realm, registers, created_at } = stored;
        Self { username, realm, registers, created_at }
    }
}

fn read_username(faults: &mut Faults, text: &str) {
    if !is_username(text) {
        faults.note("username", "write 1 to 64 letters, digits, '.', '_', '-' or '+'");
    }
}

fn read_password(faults: &mut Faults, text: &str) {
    let is_printable = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&text.len()) || !is_printable {
        faults.note("password", format!("write {MIN_PASSWORD} to {MAX_PASSWORD} characters of ASCII"));
    }
}

/// `GET /api/v1/members/{member_id}/endpoints/{endpoint_id}/access`: how the endpoint is known beside its addresses.
#[utoipa::path(get, path = "/members/{member_id}/endpoints/{endpoint_id}/access", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)),
    responses((status = 200, body = AccessView)))]
pub(crate) async fn get_access(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, EndpointId)>,
) -> Result<Json<AccessView>, ApiError> {
    session.may_read(member)?;
    endpoint::get(&app.db, member, id).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let inbound = credential::get(&app.db, member, id, Direction::Inbound).await?;
    let outbound = credential::get(&app.db, member, id, Direction::Outbound).await?;
    let registration = registration::get(&app.db, member, id).await?;
    Ok(Json(AccessView {
        inbound: inbound.map(CredentialView::from),
        outbound: outbound.map(CredentialView::from),
        registration: registration.map(|it| RegistrationView {
            contact: it.contact,
            source: it.source.to_string(),
            transport: it.transport.as_str().to_owned(),
            registered_at: it.registered_at,
            expires_at: it.expires_at,
            node_id: it.node_id.0,
        }),
    }))
}

/// `PUT …/inbound-credential`: gives the endpoint a user name and a password, and shows the password this once.
///
/// What it had before counts no more, and what was registered with it is over.
#[utoipa::path(put, path = "/members/{member_id}/endpoints/{endpoint_id}/inbound-credential", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)), request_body = InboundInput,
    responses((status = 200, body = NewCredentialView)))]
pub(crate) async fn put_inbound_credential(
    State(app): State<App>,
    session: Session,
    Id(path): Id<(MemberId, EndpointId)>,
    Body(input): Body<InboundInput>,
) -> Result<Json<NewCredentialView>, ApiError> {
    session.may_change(path.0)?;
    let mut faults = Faults::default();
    read_username(&mut faults, &input.username);
    if let Some(password) = &input.password {
        read_password(&mut faults, password);
    }
    faults.check()?;
    let realm = app.settings.realm.as_deref().ok_or_else(|| {
        let detail = "The exchange has no realm; its operator sets one.";
        ApiError::new(Reason::Conflict).detail(detail)
    })?;
    let realm = &format!("{}{realm}", if input.md5_only { MD5_REALM } else { "" });
    let password = input.password.unwrap_or_else(|| secret::new_password(&app.entropy));
    let ha1 = Ha1::new(&input.username, realm, &password);
    let new = NewCredential { username: &input.username, realm, ha1: &ha1, registers: false };
    let view = put(&app, &session, path, Direction::Inbound, new).await?;
    Ok(Json(NewCredentialView { password, view }))
}

/// `PUT …/outbound-credential`: by what the hub answers where the endpoint's switch asks who it is.
#[utoipa::path(put, path = "/members/{member_id}/endpoints/{endpoint_id}/outbound-credential", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)), request_body = OutboundInput,
    responses((status = 200, body = CredentialView)))]
pub(crate) async fn put_outbound_credential(
    State(app): State<App>,
    session: Session,
    Id(path): Id<(MemberId, EndpointId)>,
    Body(input): Body<OutboundInput>,
) -> Result<Json<CredentialView>, ApiError> {
    session.may_change(path.0)?;
    let OutboundInput { username, realm, password, registers } = input;
    let mut faults = Faults::default();
    read_username(&mut faults, &username);
    read_password(&mut faults, &password);
    if !is_realm(&realm) {
        faults.note("realm", "write 1 to 64 characters of ASCII without '\"' and '\\'");
    }
    faults.check()?;
    let ha1 = Ha1::new(&username, &realm, &password);
    let new = NewCredential { username: &username, realm: &realm, ha1: &ha1, registers };
    Ok(Json(put(&app, &session, path, Direction::Outbound, new).await?))
}

/// `DELETE …/inbound-credential`: the endpoint is known by its addresses alone, and its registration is over.
#[utoipa::path(delete, path = "/members/{member_id}/endpoints/{endpoint_id}/inbound-credential", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)),
    responses((status = 204, description = "removed")))]
pub(crate) async fn delete_inbound_credential(
    State(app): State<App>,
    session: Session,
    Id(path): Id<(MemberId, EndpointId)>,
) -> Result<StatusCode, ApiError> {
    delete(&app, &session, path, Direction::Inbound).await
}

/// `DELETE …/outbound-credential`: the hub answers nothing any more where the endpoint asks who it is.
#[utoipa::path(delete, path = "/members/{member_id}/endpoints/{endpoint_id}/outbound-credential", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)),
    responses((status = 204, description = "removed")))]
pub(crate) async fn delete_outbound_credential(
    State(app): State<App>,
    session: Session,
    Id(path): Id<(MemberId, EndpointId)>,
) -> Result<StatusCode, ApiError> {
    delete(&app, &session, path, Direction::Outbound).await
}

async fn put(
    app: &App,
    session: &Session,
    (member, id): (MemberId, EndpointId),
    direction: Direction,
    new: NewCredential<'_>,
) -> Result<CredentialView, ApiError> {
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = locked(&mut transaction, member, id, direction).await?.map(CredentialView::from);
    credential::put(&mut *transaction, id, direction, new, now).await?;
    let after = CredentialView {
        username: new.username.to_owned(),
        realm: new.realm.to_owned(),
        registers: new.registers,
        created_at: now,
    };
    let action = match direction {
        Direction::Inbound => "endpoint.inbound_credential.put",
        Direction::Outbound => "endpoint.outbound_credential.put",
    };
    let change = Change::of(action, Some(member), id.0, before.as_ref(), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(after)
}

async fn delete(
    app: &App,
    session: &Session,
    (member, id): (MemberId, EndpointId),
    direction: Direction,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = locked(&mut transaction, member, id, direction).await?;
    let before: CredentialView = before.ok_or_else(|| ApiError::new(Reason::NotFound))?.into();
    credential::remove(&mut *transaction, id, direction).await?;
    let action = match direction {
        Direction::Inbound => "endpoint.inbound_credential.delete",
        Direction::Outbound => "endpoint.outbound_credential.delete",
    };
    let change = Change::of(action, Some(member), id.0, Some(&before), None);
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps the endpoint as it is until the transaction ends, and gives the credential that it has.
async fn locked(
    db: &mut PgConnection,
    member: MemberId,
    id: EndpointId,
    direction: Direction,
) -> Result<Option<StoredCredential>, ApiError> {
    if !endpoint::lock(&mut *db, member, id).await? {
        return Err(ApiError::new(Reason::NotFound));
    }
    Ok(credential::get(&mut *db, member, id, direction).await?)
}
