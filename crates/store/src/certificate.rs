//! STI certificates of members with the numbers that they are for, and whether their member has the key.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{E164, MemberId};

use crate::word;

/// An entry of a TNAuthorizationList (RFC 8226 §9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TnEntry {
    /// A service provider code.
    Code {
        /// As it is written.
        code: String,
    },
    /// Telephone numbers in a row.
    Numbers {
        /// The first of them.
        start: E164,
        /// How many they are, at least 1; all as long as the first.
        count: u64,
    },
}

/// A certificate as it comes.
#[derive(Clone, Debug)]
pub struct NewCertificate {
    /// Whom it was given to.
    pub subject: String,
    /// SHA-256 of it.
    pub fingerprint: [u8; 32],
    /// Its public key, an uncompressed point of P-256.
    pub public_key: Vec<u8>,
    /// The numbers and codes that it is for.
    pub entries: Vec<TnEntry>,
    /// When it begins to hold.
    pub from: DateTime<Utc>,
    /// When it ends.
    pub until: DateTime<Utc>,
    /// What its member signs to show that it has the key.
    pub challenge: String,
    /// Until when that is good.
    pub challenge_ends_at: DateTime<Utc>,
}

/// A certificate as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its id.
    pub certificate_id: Uuid,
    /// Whom it was given to.
    pub subject: String,
    /// Its public key, an uncompressed point of P-256.
    pub public_key: Vec<u8>,
    /// The numbers and codes that it is for.
    pub entries: Vec<TnEntry>,
    /// When it begins to hold.
    pub from: DateTime<Utc>,
    /// When it ends.
    pub until: DateTime<Utc>,
    /// What its member is to sign, and until when; `None` once it has.
    pub challenge: Option<(String, DateTime<Utc>)>,
    /// When its member showed that it has the key.
    pub proven_at: Option<DateTime<Utc>>,
}

struct Row {
    certificate_id: Uuid,
    subject: String,
    public_key: Vec<u8>,
    entries: serde_json::Value,
    valid_from: DateTime<Utc>,
    valid_until: DateTime<Utc>,
    challenge: Option<String>,
    challenge_ends_at: Option<DateTime<Utc>>,
    proven_at: Option<DateTime<Utc>>,
}

impl Row {
    fn read(self) -> Result<Certificate> {
        Ok(Certificate {
            certificate_id: self.certificate_id,
            subject: self.subject,
            public_key: self.public_key,
            entries: word::json(self.entries)?,
            from: self.valid_from,
            until: self.valid_until,
            challenge: self.challenge.zip(self.challenge_ends_at),
            proven_at: self.proven_at,
        })
    }
}

/// Every certificate of the member, newest first.
pub async fn list(db: impl PgExecutor<'_>, member: MemberId) -> Result<Vec<Certificate>> {
    sqlx::query_as!(
        Row,
        r#"
        select certificate_id, subject, public_key, entries, lower(valid_during) as "valid_from!"
             , upper(valid_during) as "valid_until!", challenge, challenge_ends_at, proven_at
          from member_certificate
         where member_id = $1
         order by certificate_id desc
        "#,
        member.0,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// A certificate of the member, kept as it is until the transaction ends.
pub async fn lock(
    db: impl PgExecutor<'_>,
    member: MemberId,
    certificate: Uuid,
) -> Result<Option<Certificate>> {
    sqlx::query_as!(
        Row,
        r#"
        select certificate_id, subject, public_key, entries, lower(valid_during) as "valid_from!"
             , upper(valid_during) as "valid_until!", challenge, challenge_ends_at, proven_at
          from member_certificate
         where member_id = $1 and certificate_id = $2
           for update
        "#,
        member.0,
        certificate,
    )
    .fetch_optional(db)
    .await?
    .map(Row::read)
    .transpose()
}

/// Stores a certificate whose key is to be shown; one that the member has brought before, anew.
pub async fn put(
    db: impl PgExecutor<'_>,
    member: MemberId,
    new: &NewCertificate,
    at: DateTime<Utc>,
) -> Result<Uuid> {
    let codes: Vec<String> = new.entries.iter().filter_map(TnEntry::code).map(str::to_lowercase).collect();
    let spans: Vec<String> = new.entries.iter().filter_map(TnEntry::span).collect();
    sqlx::query_scalar!(
        r#"
        insert into member_certificate (member_id, subject, fingerprint, public_key, entries, spans, codes, valid_during
                                      , challenge, challenge_ends_at, created_at)
        values ($1, $2, $3, $4, $5, $6::text::int8multirange, $7, tstzrange($8, $9), $10, $11, $12)
        on conflict (member_id, fingerprint) do update
           set challenge = excluded.challenge, challenge_ends_at = excluded.challenge_ends_at
        returning certificate_id
        "#,
        member.0,
        new.subject,
        &new.fingerprint[..],
        new.public_key,
        word::to_json(Some(&new.entries)),
        format!("{{{}}}", spans.join(",")),
        &codes,
        new.from,
        new.until,
        new.challenge,
        new.challenge_ends_at,
        at,
    )
    .fetch_one(db)
    .await
}

/// Notes that the member has the key of its certificate; what it signed is not taken again.
pub async fn prove(db: impl PgExecutor<'_>, certificate: Uuid, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"
        update member_certificate
           set proven_at = coalesce(proven_at, $2), challenge = null, challenge_ends_at = null
         where certificate_id = $1
        "#,
        certificate,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Removes a certificate.
pub async fn delete(db: impl PgExecutor<'_>, certificate: Uuid) -> Result<()> {
    sqlx::query!("delete from member_certificate where certificate_id = $1", certificate)
        .execute(db)
        .await
        .map(|_| ())
}

impl TnEntry {
    fn code(&self) -> Option<&str> {
        match self {
            Self::Code { code } => Some(code),
            Self::Numbers { .. } => None,
        }
    }

    /// The numbers as an interval of 15-digit integers.
    fn span(&self) -> Option<String> {
        match self {
            Self::Code { .. } => None,
            Self::Numbers { start, count } => {
                let unit = 10_u64.pow(15 - start.len() as u32);
                Some(format!("[{},{})", start.value() * unit, (start.value() + count) * unit))
            }
        }
    }
}
