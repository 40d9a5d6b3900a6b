//! STI certificates that members bring: whose numbers they are for, and whether the member has the key.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{E164, MemberId, Reason};
use tandem_store::certificate::{self, Certificate, NewCertificate, TnEntry};
use tandem_store::member;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::evidence;
use crate::problem::{ApiError, FieldError};
use crate::request::{Body, Id};
use crate::session::{Change, Session};
use crate::{secret, sti_certificate};

/// Most certificates of a member.
const MAX_CERTIFICATES: usize = 20;

/// How long a challenge may be answered.
const CHALLENGE_LASTS: TimeDelta = TimeDelta::minutes(10);

/// Most entries of a TN list that a view has.
const SHOWN_ENTRIES: usize = 100;

/// An entry of the list of a certificate: a code, or numbers in a row.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TnEntryView {
    /// A service provider code.
    #[schema(required)]
    code: Option<String>,
    /// The first of the numbers.
    #[schema(required, value_type = Option<String>, example = "+442079460000")]
    start: Option<E164>,
    /// How many numbers they are.
    #[schema(required)]
    count: Option<u64>,
}

/// What the member signs to show that it has the key of a certificate.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct KeyChallengeView {
    /// The text, which is the payload of the JWS.
    text: String,
    /// Until when it is good; bring the certificate again for another one.
    ends_at: DateTime<Utc>,
}

/// An STI certificate of a member.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CertificateView {
    certificate_id: Uuid,
    /// Whom it was given to.
    subject: String,
    /// The numbers and codes that it is for; the first 100.
    entries: Vec<TnEntryView>,
    /// How many they are in all.
    entry_count: usize,
    valid_from: DateTime<Utc>,
    valid_until: DateTime<Utc>,
    /// What the member is to sign; null where nothing is.
    #[schema(required)]
    challenge: Option<KeyChallengeView>,
    /// When the member showed that it has the key: from then on claims are verified by it.
    #[schema(required)]
    proven_at: Option<DateTime<Utc>>,
}

/// The certificates of a member.
#[derive(Serialize, ToSchema)]
pub(crate) struct CertificatesView {
    /// Whether the exchange takes certificates as evidence.
    taken: bool,
    /// Newest first.
    certificates: Vec<CertificateView>,
}

/// A certificate as a member brings it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateInput {
    /// The certificate and those that it leads to, in PEM form; its own first, then each with the one that signed it.
    chain: String,
}

/// How a member shows that it has the key of a certificate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyProofInput {
    /// A compact JWS (RFC 7515) by ES256, with the text of the challenge as its payload.
    #[schema(max_length = 4000)]
    jws: String,
}

impl From<TnEntry> for TnEntryView {
    fn from(entry: TnEntry) -> Self {
        match entry {
            TnEntry::Code { code } => Self { code: Some(code), start: None, count: None },
            TnEntry::Numbers { start, count } => Self { code: None, start: Some(start), count: Some(count) },
        }
    }
}

impl From<Certificate> for CertificateView {
    fn from(of: Certificate) -> Self {
        Self {
            certificate_id: of.certificate_id,
            subject: of.subject,
            entry_count: of.entries.len(),
            entries: of.entries.into_iter().take(SHOWN_ENTRIES).map(TnEntryView::from).collect(),
            valid_from: of.from,
            valid_until: of.until,
            challenge: of.challenge.map(|(text, ends_at)| KeyChallengeView { text, ends_at }),
            proven_at: of.proven_at,
        }
    }
}

/// `GET /api/v1/members/{member_id}/certificates`: the certificates of the member, newest first.
#[utoipa::path(get, path = "/members/{member_id}/certificates", tag = "ranges",
    params(("member_id" = Uuid, Path)), responses((status = 200, body = CertificatesView)))]
pub(crate) async fn list_certificates(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
) -> Result<Json<CertificatesView>, ApiError> {
    session.may_read(member)?;
    let certificates = certificate::list(&app.db, member).await?;
    let certificates = certificates.into_iter().map(CertificateView::from).collect();
    Ok(Json(CertificatesView { taken: !app.settings.sti_trust_anchors.is_empty(), certificates }))
}

/// `POST /api/v1/members/{member_id}/certificates`: brings an STI certificate with a TNAuthorizationList (RFC 8226).
///
/// It must lead to a trust anchor of the exchange. The answer has a text: sign it with the key of the certificate and send
/// it to `prove` within ten minutes. Bring the certificate again for another text.
#[utoipa::path(post, path = "/members/{member_id}/certificates", tag = "ranges",
    params(("member_id" = Uuid, Path)), request_body = CertificateInput,
    responses((status = 201, body = CertificateView)))]
pub(crate) async fn bring_certificate(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<CertificateInput>,
) -> Result<(StatusCode, Json<CertificateView>), ApiError> {
    session.may_change(member)?;
    let (now, anchors) = (app.clock.now(), &app.settings.sti_trust_anchors);
    if anchors.is_empty() {
        return Err(ApiError::new(Reason::EvidenceNotTaken)
            .detail("The operator has not said which authorities' certificates the exchange trusts."));
    }
    let read = sti_certificate::read(input.chain.as_bytes(), anchors, now).map_err(|unfit| {
        let error = FieldError { field: "chain".to_owned(), message: unfit.to_string(), row: None };
        ApiError::new(Reason::CertificateRefused).errors(vec![error])
    })?;
    let nonce = secret::new_nonce(&app.entropy);
    let new = NewCertificate {
        subject: crate::text::quoted(&read.subject),
        fingerprint: read.fingerprint,
        public_key: read.public_key,
        entries: read.entries,
        from: read.from,
        until: read.until,
        challenge: format!("tandem key proof of member {member}: {nonce}"),
        challenge_ends_at: now + CHALLENGE_LASTS,
    };
    let mut transaction = app.db.begin().await?;
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let id = certificate::put(&mut *transaction, member, &new, now).await?;
    let all = certificate::list(&mut *transaction, member).await?;
    if all.len() > MAX_CERTIFICATES {
        let detail =
            format!("A member has at most {MAX_CERTIFICATES} certificates; remove one that is over.");
        return Err(ApiError::new(Reason::Conflict).detail(detail));
    }
    let brought =
        all.into_iter().find(|it| it.certificate_id == id).ok_or(ApiError::new(Reason::NotFound))?;
    let view = CertificateView::from(brought);
    let change = Change::of("certificate.bring", Some(member), id, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `POST /api/v1/members/{member_id}/certificates/{certificate_id}/prove`: shows that the member has the key: claims to
/// numbers of the certificate are verified, at once and from now on.
#[utoipa::path(post, path = "/members/{member_id}/certificates/{certificate_id}/prove", tag = "ranges",
    params(("member_id" = Uuid, Path), ("certificate_id" = Uuid, Path)), request_body = KeyProofInput,
    responses((status = 200, body = CertificateView)))]
pub(crate) async fn prove_certificate(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, Uuid)>,
    Body(input): Body<KeyProofInput>,
) -> Result<Json<CertificateView>, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let find = || ApiError::new(Reason::NotFound);
    let found = certificate::lock(&mut *transaction, member, id).await?.ok_or_else(find)?;
    let refused = |detail: &str| ApiError::new(Reason::ProofRefused).detail(detail);
    if found.until <= now {
        return Err(refused("The certificate has expired."));
    }
    let Some((text, _)) = found.challenge.clone().filter(|(_, ends_at)| *ends_at > now) else {
        return Err(refused(
            "There is no text to sign, or its time is over: bring the certificate again for another one.",
        ));
    };
    if !sti_certificate::is_signed(&input.jws, &text, &found.public_key) {
        return Err(refused(
            "The JWS is not the text of the challenge, signed by ES256 with the key of the certificate.",
        ));
    }
    let before = CertificateView::from(found);
    certificate::prove(&mut *transaction, id, now).await?;
    let proven = certificate::lock(&mut *transaction, member, id).await?.ok_or_else(find)?;
    let after = CertificateView::from(proven);
    let change = Change::of("certificate.prove", Some(member), id, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    evidence::settle_all(&mut transaction, &session, Some(member), now).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

/// `DELETE /api/v1/members/{member_id}/certificates/{certificate_id}`: removes a certificate; ranges that rested on it are
/// shown to the operator, who decides.
#[utoipa::path(delete, path = "/members/{member_id}/certificates/{certificate_id}", tag = "ranges",
    params(("member_id" = Uuid, Path), ("certificate_id" = Uuid, Path)),
    responses((status = 204, description = "removed")))]
pub(crate) async fn delete_certificate(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, Uuid)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let found = certificate::lock(&mut *transaction, member, id).await?;
    let before = CertificateView::from(found.ok_or_else(|| ApiError::new(Reason::NotFound))?);
    certificate::delete(&mut *transaction, id).await?;
    let change = Change::of("certificate.delete", Some(member), id, Some(&before), None);
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
