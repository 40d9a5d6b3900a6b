//! Brings the exchange to the state that a file declares: members, their endpoints, ranges and
//! announcements, and the agreements between them, by name.
//!
//! Only declared members are touched: what a declared member has and the file does not list is removed,
//! withdrawn or ended. Applying the same file twice changes nothing the second time. It is one transaction:
//! either all of it holds or, with the row that is wrong named, none.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Uuid;
use sqlx::types::ipnet::IpNet;
use sqlx::{Connection, PgConnection, PgPool};
use tandem_model::{
    AdvanceOn, AgreementDirection, AgreementTerms, Authority, CallMark, CallMarkError, Facts, Policy, Prefix,
    Source, Tag, Target,
};

use crate::database;
use crate::rehearsal::Rehearsal;
use crate::target::TargetColumns;
use crate::word;

mod credential;

pub use credential::{InboundDeclaration, OutboundDeclaration, Password};

/// Longest run of one application.
const APPLY_TIMEOUT: Duration = Duration::from_secs(600);

/// How often an application is begun anew because it and someone else stood in each other's way.
const TRIES: u32 = 4;

/// What a file declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Members; each becomes approved.
    #[serde(default, rename = "member")]
    pub members: Vec<MemberDeclaration>,
    /// Agreements between them; each becomes accepted.
    #[serde(default, rename = "agreement")]
    pub agreements: Vec<AgreementDeclaration>,
}

/// A member and all that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberDeclaration {
    /// Its short name.
    pub name: String,
    /// Its name for people; its short name where there is none and it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where its people read mail; `noc@NAME.invalid` where there is none and it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_email: Option<String>,
    /// Most calls up at once, in both directions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// Most new calls a second from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls_per_second: Option<u32>,
    /// Its endpoints.
    #[serde(default, rename = "endpoint", skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointDeclaration>,
    /// Its ranges.
    #[serde(default, rename = "range", skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<RangeDeclaration>,
    /// Its announcements.
    #[serde(default, rename = "announcement", skip_serializing_if = "Vec::is_empty")]
    pub announcements: Vec<AnnouncementDeclaration>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointDeclaration {
    /// Its name, unique among its member's.
    pub name: String,
    /// Who may send as this endpoint.
    #[serde(default, rename = "source")]
    pub sources: Vec<SourceText>,
    /// Digits before the called number by which its calls are told from those of others at the same source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tech_prefix: Option<String>,
    /// Host of the Request-URI by which its calls are told from those of others at the same source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_domain: Option<String>,
    /// The names in its TLS client certificate, by any of which it is known.
    #[serde(default, rename = "certificate", skip_serializing_if = "Vec::is_empty")]
    pub certificate_names: Vec<String>,
    /// Where calls for it go.
    pub target: Target,
    /// Names of the sites where it meets the hub; anywhere where there is none.
    #[serde(
        default,
        rename = "site",
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub sites: Vec<String>,
    /// By what it proves to the hub who it is; where it is left out, what is there stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<InboundDeclaration>,
    /// By what the hub proves to it who it is; where it is left out, what is there stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<OutboundDeclaration>,
    /// Lower is tried first.
    #[serde(default = "default_priority")]
    pub priority: u16,
    /// Share of the calls among endpoints of the same priority.
    #[serde(default = "default_weight")]
    pub weight: u16,
    /// Most calls up at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// Most new calls a second from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls_per_second: Option<u32>,
    /// Whether it takes part.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    /// How the hub speaks with it.
    #[serde(default)]
    pub policy: Policy,
}

impl EndpointDeclaration {
    /// What tells its calls from those of others at the same source.
    ///
    /// # Errors
    /// When what the file says is no mark.
    pub fn call_mark(&self) -> Result<Option<CallMark>, CallMarkError> {
        CallMark::of(self.tech_prefix.as_deref(), self.request_domain.as_deref())
    }

    /// An endpoint that nobody sends as, with everything else as usual.
    pub fn new(name: &str, target: Target) -> Self {
        Self {
            name: name.to_owned(),
            sources: Vec::new(),
            tech_prefix: None,
            request_domain: None,
            certificate_names: Vec::new(),
            target,
            sites: Vec::new(),
            inbound: None,
            outbound: None,
            priority: default_priority(),
            weight: default_weight(),
            max_calls: None,
            max_calls_per_second: None,
            enabled: default_enabled(),
            policy: Policy::default(),
        }
    }
}

/// `site = "ams"` as well as `site = ["ams", "fra"]`.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(name) => vec![name],
        OneOrMany::Many(names) => names,
    })
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

/// A source in text: `192.0.2.21`, `192.0.2.0/24`, `192.0.2.21:5060`, `[2001:db8::1]:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceText(pub Source);

impl FromStr for SourceText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a source; write 192.0.2.0/24, 192.0.2.21 or 192.0.2.21:5060");
        let (net, port) = if let Ok(address) = text.parse::<SocketAddr>() {
            (IpNet::from(address.ip()), Some(address.port()))
        } else if let Ok(address) = text.parse::<IpAddr>() {
            (IpNet::from(address), None)
        } else {
            (text.parse::<IpNet>().map_err(|_| wrong())?, None)
        };
        if port == Some(0) {
            return Err(wrong());
        }
        if net != net.trunc() {
            return Err(format!("{text:?} has host bits; write {}", net.trunc()));
        }
        Ok(Self(Source { net, port }))
    }
}

impl TryFrom<String> for SourceText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Source { net, port: Some(port) } => SocketAddr::new(net.addr(), port).fmt(f),
            Source { net, port: None } => net.fmt(f),
        }
    }
}

impl From<SourceText> for String {
    fn from(source: SourceText) -> Self {
        source.to_string()
    }
}

/// A range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeDeclaration {
    /// The leading digits of its numbers.
    pub prefix: Prefix,
    /// The operator's word on it.
    #[serde(default = "default_authority")]
    pub authority: Authority,
}

fn default_authority() -> Authority {
    Authority::Pending
}

/// An announcement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnouncementDeclaration {
    /// Which numbers.
    pub prefix: Prefix,
    /// Names of the member's endpoints that take the calls.
    pub endpoints: Vec<String>,
    /// Most calls up at once that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// Most new calls a second that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls_per_second: Option<u32>,
    /// What the member promises of the route; agreements may demand it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
}

/// An agreement between two declared members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementDeclaration {
    /// Names of the two; the first is the proposing, the second the accepting one.
    pub members: [String; 2],
    /// Who may call whom.
    #[serde(default = "default_direction")]
    pub direction: AgreementDirection,
    /// Most calls up at once under it, both directions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the hub's own rule where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance_on: Option<AdvanceOn>,
    /// How many days it goes on after one of the two has ended it in the portal, at most 365; this file ends it at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub notice_days: u16,
    /// Which calls cross under it.
    #[serde(default, skip_serializing_if = "AgreementTerms::is_default")]
    pub terms: AgreementTerms,
}

fn is_zero(days: &u16) -> bool {
    *days == 0
}

fn default_direction() -> AgreementDirection {
    AgreementDirection::Both
}

/// What was done to one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Added,
    /// It was there and is now as declared.
    Changed,
    /// It was there and is not declared.
    Removed,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        })
    }
}

/// One change that an application made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// `member`, `endpoint`, `credential`, `range`, `announcement` or `agreement`.
    pub kind: &'static str,
    /// What was done.
    pub action: Action,
    /// To what: `acme`, `acme/acme-ams-1`, `acme/+4420`, `acme–globex`.
    pub object: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.action, self.kind, self.object)
    }
}

/// What an application changed; nothing where the exchange already was as declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Every change.
    pub changes: Vec<Change>,
}

impl Applied {
    /// How many changes there are of each kind, for people.
    pub fn summary(&self) -> String {
        let mut counts: BTreeMap<(&str, Action), u32> = BTreeMap::new();
        for change in &self.changes {
            *counts.entry((change.kind, change.action)).or_default() += 1;
        }
        if counts.is_empty() {
            return "nothing to change".to_owned();
        }
        let plural = |count| if count == 1 { "" } else { "s" };
        let parts =
            counts.iter().map(|((kind, action), count)| format!("{action} {count} {kind}{}", plural(*count)));
        parts.collect::<Vec<_>>().join(", ")
    }

    fn note(&mut self, kind: &'static str, action: Action, object: impl Into<String>) {
        self.changes.push(Change { kind, action, object: object.into() });
    }
}

/// Why a declaration was not applied. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A row of the file cannot be.
    #[error("{row}: {why}")]
    Row {
        /// Which one, by its name.
        row: String,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// The database does not do it.
    #[error("the database did not apply the declaration: {0}")]
    Database(#[from] sqlx::Error),
}

fn wrong(row: impl Into<String>, why: impl Into<String>) -> ApplyError {
    ApplyError::Row { row: row.into(), why: why.into() }
}

/// Makes the exchange what `declaration` says, from `at` on.
pub async fn apply(db: &PgPool, declaration: &Declaration, at: DateTime<Utc>) -> Result<Applied, ApplyError> {
    check(declaration)?;
    let mut tries = 1;
    loop {
        let work = async { Ok(apply_once(db, declaration, at).await) };
        match database::within(APPLY_TIMEOUT, work).await? {
            Err(ApplyError::Database(error)) if database::is_clash(&error) && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

/// What can be seen without the database: names given twice, and names of nothing.
fn check(declaration: &Declaration) -> Result<(), ApplyError> {
    fn once<T: Eq + std::hash::Hash>(
        seen: &mut HashSet<T>,
        key: T,
        row: impl Fn() -> String,
    ) -> Result<(), ApplyError> {
        if seen.insert(key) { Ok(()) } else { Err(wrong(row(), "it is declared twice; leave one out")) }
    }
    let mut members = HashSet::new();
    for member in &declaration.members {
        let name = member.name.as_str();
        once(&mut members, name, || format!("member {name}"))?;
        let mut endpoints = HashSet::new();
        for endpoint in &member.endpoints {
            let row = || format!("endpoint {name}/{}", endpoint.name);
            once(&mut endpoints, endpoint.name.as_str(), row)?;
            let mark = endpoint.call_mark().map_err(|error| wrong(row(), error.to_string()))?;
            if mark.is_some() && endpoint.sources.is_empty() {
                return Err(wrong(
                    row(),
                    "it has a mark and no source that it might share; write its source",
                ));
            }
        }
        let mut ranges = HashSet::new();
        for range in &member.ranges {
            let row = || format!("range {name}/{}", range.prefix);
            once(&mut ranges, range.prefix, row)?;
            if range.authority == Authority::Refused {
                return Err(wrong(
                    row(),
                    "a refused range is not declared; leave it out, or write pending or valid",
                ));
            }
        }
        let mut announcements = HashSet::new();
        for announcement in &member.announcements {
            let row = || format!("announcement {name}/{}", announcement.prefix);
            once(&mut announcements, announcement.prefix, row)?;
            if announcement.endpoints.is_empty() {
                return Err(wrong(row(), "it names no endpoint; name at least one"));
            }
            let mut named = HashSet::new();
            for endpoint in &announcement.endpoints {
                once(&mut named, endpoint.as_str(), || format!("{}, endpoint {endpoint}", row()))?;
                if !endpoints.contains(endpoint.as_str()) {
                    return Err(wrong(row(), format!("the member declares no endpoint {endpoint:?}")));
                }
            }
        }
    }
    credential::check(declaration)?;
    let mut pairs = HashSet::new();
    for agreement in &declaration.agreements {
        let [first, second] = &agreement.members;
        let row = || format!("agreement {first}–{second}");
        if first == second {
            return Err(wrong(row(), "a member makes no agreement with itself"));
        }
        if let Some(other) = agreement.members.iter().find(|name| !members.contains(name.as_str())) {
            return Err(wrong(row(), format!("the member {other:?} is not declared in this file")));
        }
        once(&mut pairs, (first.min(second), first.max(second)), row)?;
    }
    Ok(())
}

async fn apply_once(
    db: &PgPool,
    declaration: &Declaration,
    at: DateTime<Utc>,
) -> Result<Applied, ApplyError> {
    let mut transaction = db.begin().await?;
    let limit = APPLY_TIMEOUT.as_millis().to_string();
    sqlx::query_scalar!("select set_config('statement_timeout', $1, true)", limit)
        .fetch_one(&mut *transaction)
        .await?;
    let applied = write(&mut transaction, declaration, at).await?;
    transaction.commit().await?;
    Ok(applied)
}

async fn write(
    db: &mut PgConnection,
    declaration: &Declaration,
    at: DateTime<Utc>,
) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    let members = put_members(db, declaration, &mut applied).await?;
    let present = Present::read(db, &members, at).await?;
    let plan = Plan::new(declaration, &members, present, at, &mut applied);
    // What goes, goes first: its numbers, addresses and names may be wanted by what comes.
    plan.remove(db, at).await?;
    plan.put(db).await?;
    credential::put(db, declaration, &members, at, &mut applied).await?;
    put_agreements(db, declaration, &members, at, &mut applied).await?;
    applied.changes.sort();
    Ok(applied)
}

/// What an application does, seen before it takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// The rows that it changes.
    pub applied: Applied,
    /// What others changed after the version that it is compared with.
    pub missed: Facts,
    /// What it changes of what routing is built from.
    pub changes: Facts,
}

/// Makes the exchange what `declaration` says, from `at` on, if what that does `is_wanted`; compared with the version
/// `since` of a route table. Says what it does, and whether it took place; nothing else is changed meanwhile. `None`
/// where the table is too old to be compared with.
pub async fn apply_if(
    db: &PgPool,
    declaration: &Declaration,
    since: u64,
    at: DateTime<Utc>,
    is_wanted: impl Fn(&Rehearsed) -> bool,
) -> Result<Option<(Rehearsed, bool)>, ApplyError> {
    check(declaration)?;
    let mut tries = 1;
    loop {
        let work = async { Ok(apply_if_once(db, declaration, since, at, &is_wanted).await) };
        match database::within(APPLY_TIMEOUT, work).await? {
            Err(ApplyError::Database(error)) if database::is_clash(&error) && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

async fn apply_if_once(
    db: &PgPool,
    declaration: &Declaration,
    since: u64,
    at: DateTime<Utc>,
    is_wanted: impl Fn(&Rehearsed) -> bool,
) -> Result<Option<(Rehearsed, bool)>, ApplyError> {
    let Some((mut rehearsal, missed)) = Rehearsal::begin(db, since, APPLY_TIMEOUT).await? else {
        return Ok(None);
    };
    let applied = write(rehearsal.connection(), declaration, at).await?;
    let changes = rehearsal.effect().await?;
    let rehearsed = Rehearsed { applied, missed, changes };
    let is_wanted = is_wanted(&rehearsed);
    match is_wanted {
        true => rehearsal.commit().await?,
        false => rehearsal.roll_back().await?,
    }
    Ok(Some((rehearsed, is_wanted)))
}

/// The declared members' ids, by name.
type Members = HashMap<String, Uuid>;

/// A row that is written with many others in one statement, and named alone where it is at fault.
trait Row: Sized + Sync {
    fn insert(rows: &[Self], db: &mut PgConnection) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// As a message about it begins.
    fn name(&self) -> String;
}

/// Writes the rows; where one of them cannot be, finds out which.
async fn insert<R: Row>(db: &mut PgConnection, rows: &[R]) -> Result<(), ApplyError> {
    let mut suspects = rows;
    let mut failure = None;
    loop {
        // After a failure, the first half is tried: what is sound stays written, what is not is halved again.
        let (part, rest) = match failure {
            None => (suspects, &suspects[..0]),
            Some(_) => suspects.split_at(suspects.len() / 2),
        };
        if !part.is_empty() {
            let mut savepoint = db.begin().await?;
            match R::insert(part, &mut savepoint).await {
                Ok(()) => savepoint.commit().await?,
                Err(error) if database::is_data_error(&error) => {
                    savepoint.rollback().await?;
                    failure = Some(error);
                    suspects = part;
                    if part.len() > 1 {
                        continue;
                    }
                    return Err(explain(&part[0].name(), failure));
                }
                Err(error) => return Err(error.into()),
            }
        }
        match rest {
            [] => return Ok(()),
            // The whole failed and its first half did not, so the second one does.
            [alone] if failure.is_some() => {
                let mut savepoint = db.begin().await?;
                let outcome = R::insert(rest, &mut savepoint).await;
                savepoint.rollback().await?;
                return Err(explain(&alone.name(), outcome.err().or(failure)));
            }
            rest => suspects = rest,
        }
    }
}

/// What Postgres says of the row, and what it means.
fn explain(row: &str, error: Option<sqlx::Error>) -> ApplyError {
    let Some(error) = error else { return wrong(row, "it conflicts with another row of the file") };
    let mut why = match database::reason(&error) {
        Some(reason) => format!("{}; {}", reason.sentence(), reason.remedy().trim_end_matches('.')),
        None => "the database does not take it".to_owned(),
    };
    if let Some(database) = error.as_database_error() {
        let detail = database
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .and_then(|error| error.detail())
            .map_or_else(|| database.message().to_owned(), str::to_owned);
        why.push_str(&format!(" ({}: {detail})", database.constraint().unwrap_or("postgres")));
    }
    wrong(row, why)
}

/// A limit as a column holds it.
fn bound(max: Option<u32>) -> Option<i32> {
    max.map(|max| i32::try_from(max).unwrap_or(i32::MAX))
}

struct MemberRow<'a> {
    name: &'a str,
    display_name: String,
    contact_email: String,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
}

impl Row for MemberRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        let display_names: Vec<&str> = rows.iter().map(|row| row.display_name.as_str()).collect();
        let contact_emails: Vec<&str> = rows.iter().map(|row| row.contact_email.as_str()).collect();
        let max_calls: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls).collect();
        let rates: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls_per_second).collect();
        sqlx::query!(
            r#"
            insert into member (name, display_name, contact_email, state, max_calls, max_calls_per_second)
            select name, display_name, contact_email, 'approved', max_calls, max_calls_per_second
              from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[])
                as t (name, display_name, contact_email, max_calls, max_calls_per_second)
            on conflict (name) do update
               set display_name = excluded.display_name, contact_email = excluded.contact_email
                 , state = excluded.state, max_calls = excluded.max_calls
                 , max_calls_per_second = excluded.max_calls_per_second
            "#,
            &names as &[&str],
            &display_names as &[&str],
            &contact_emails as &[&str],
            &max_calls as &[Option<i32>],
            &rates as &[Option<i32>],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("member {}", self.name)
    }
}

async fn put_members(
    db: &mut PgConnection,
    declaration: &Declaration,
    applied: &mut Applied,
) -> Result<Members, ApplyError> {
    let names: Vec<String> = declaration.members.iter().map(|member| member.name.clone()).collect();
    let before = sqlx::query!(
        r#"
        select name, display_name, contact_email, state, max_calls, max_calls_per_second
          from member
         where name = any ($1)
        "#,
        &names,
    )
    .fetch_all(&mut *db)
    .await?;
    let before: HashMap<&str, _> = before.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut rows = Vec::new();
    for member in &declaration.members {
        let MemberDeclaration { name, display_name, contact_email, .. } = member;
        let known = before.get(name.as_str());
        let display_name = display_name.clone().or_else(|| Some(known?.display_name.clone()));
        let contact_email = contact_email.clone().or_else(|| Some(known?.contact_email.clone()));
        let row = MemberRow {
            name,
            display_name: display_name.unwrap_or_else(|| name.clone()),
            contact_email: contact_email.unwrap_or_else(|| format!("noc@{name}.invalid")),
            max_calls: bound(member.max_calls),
            max_calls_per_second: bound(member.max_calls_per_second),
        };
        let action = match known {
            None => Action::Added,
            Some(known)
                if known.display_name == row.display_name
                    && known.contact_email == row.contact_email
                    && known.max_calls == row.max_calls
                    && known.max_calls_per_second == row.max_calls_per_second
                    && known.state == "approved" =>
            {
                continue;
            }
            Some(_) => Action::Changed,
        };
        applied.note("member", action, name);
        rows.push(row);
    }
    insert(db, &rows).await?;
    let members = sqlx::query!("select name, member_id from member where name = any ($1)", &names);
    Ok(members.fetch_all(db).await?.into_iter().map(|row| (row.name, row.member_id)).collect())
}

/// What the declared members have.
struct Present {
    endpoints: HashMap<(Uuid, String), PresentEndpoint>,
    ranges: Vec<PresentRange>,
    announcements: Vec<PresentAnnouncement>,
}

struct PresentEndpoint {
    endpoint_id: Uuid,
    settings: EndpointSettings,
    sources: BTreeSet<(IpNet, Option<i32>)>,
    certificate_names: BTreeSet<String>,
    sites: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct EndpointSettings {
    target: TargetColumns,
    priority: i32,
    weight: i32,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    enabled: bool,
    policy: serde_json::Value,
    call_mark: String,
}

impl EndpointSettings {
    fn of(endpoint: &EndpointDeclaration) -> Self {
        Self {
            target: TargetColumns::of(&endpoint.target),
            priority: endpoint.priority.into(),
            weight: endpoint.weight.into(),
            max_calls: bound(endpoint.max_calls),
            max_calls_per_second: bound(endpoint.max_calls_per_second),
            enabled: endpoint.enabled,
            policy: serde_json::to_value(&endpoint.policy).expect("a policy is JSON"),
            call_mark: match endpoint.call_mark().expect("it was checked") {
                Some(mark) => mark.to_string(),
                None => String::new(),
            },
        }
    }
}

struct PresentRange {
    range_id: Uuid,
    member_id: Uuid,
    prefix: String,
    authority: String,
    /// Whether it holds now and until further notice.
    standing: bool,
}

struct PresentAnnouncement {
    tags: Vec<String>,
    announcement_id: Uuid,
    member_id: Uuid,
    prefix: String,
    endpoint_ids: Vec<Uuid>,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    /// Whether it holds now and until further notice.
    standing: bool,
}

impl Present {
    async fn read(db: &mut PgConnection, members: &Members, at: DateTime<Utc>) -> sqlx::Result<Self> {
        let ids: Vec<Uuid> = members.values().copied().collect();
        let rows = sqlx::query!(
            r#"
            select e.endpoint_id, e.member_id, e.name, e.target_address, e.target_name, e.target_port
                 , e.target_transport
                 , e.priority, e.weight, e.max_calls, e.max_calls_per_second, e.enabled, e.policy, e.call_mark
                 , array(select c.name from endpoint_certificate_name c
                          where c.endpoint_id = e.endpoint_id) as "certificate_names!: Vec<String>"
                 , array(select site.name from endpoint_site a join site using (site_id)
                          where a.endpoint_id = e.endpoint_id) as "sites!: Vec<String>"
              from endpoint e
             where e.member_id = any ($1)
            "#,
            &ids,
        )
        .fetch_all(&mut *db)
        .await?;
        let mut sources: HashMap<Uuid, BTreeSet<(IpNet, Option<i32>)>> = HashMap::new();
        let source_rows = sqlx::query!(
            r#"
            select s.endpoint_id, s.net, s.port
              from endpoint_source s join endpoint e using (endpoint_id)
             where e.member_id = any ($1)
            "#,
            &ids,
        );
        for row in source_rows.fetch_all(&mut *db).await? {
            sources.entry(row.endpoint_id).or_default().insert((row.net, row.port));
        }
        let endpoints = rows.into_iter().map(|row| {
            let settings = EndpointSettings {
                target: TargetColumns {
                    address: row.target_address,
                    name: row.target_name,
                    port: row.target_port,
                    transport: row.target_transport,
                },
                priority: row.priority,
                weight: row.weight,
                max_calls: row.max_calls,
                max_calls_per_second: row.max_calls_per_second,
                enabled: row.enabled,
                policy: row.policy,
                call_mark: row.call_mark,
            };
            let present = PresentEndpoint {
                endpoint_id: row.endpoint_id,
                settings,
                sources: sources.remove(&row.endpoint_id).unwrap_or_default(),
                certificate_names: row.certificate_names.into_iter().collect(),
                sites: row.sites.into_iter().collect(),
            };
            ((row.member_id, row.name), present)
        });
        let ranges = sqlx::query_as!(
            PresentRange,
            r#"
            select range_id, member_id, prefix, authority
                 , (lower(valid_during) <= $2 and upper_inf(valid_during)) as "standing!"
              from number_range
             where member_id = any ($1) and authority <> 'refused' and valid_during && tstzrange($2, null)
             order by prefix
            "#,
            &ids,
            at,
        );
        let announcements = sqlx::query_as!(
            PresentAnnouncement,
            r#"
            select a.announcement_id, a.member_id, a.prefix, a.max_calls, a.max_calls_per_second, a.tags
                 , (lower(a.valid_during) <= $2 and upper_inf(a.valid_during)) as "standing!"
                 , array(select e.endpoint_id from announcement_endpoint e
                          where e.announcement_id = a.announcement_id) as "endpoint_ids!"
              from announcement a
             where a.member_id = any ($1) and a.valid_during && tstzrange($2, null)
             order by a.prefix
            "#,
            &ids,
            at,
        );
        Ok(Self {
            endpoints: endpoints.collect(),
            ranges: ranges.fetch_all(&mut *db).await?,
            announcements: announcements.fetch_all(&mut *db).await?,
        })
    }
}

/// What to do to endpoints, ranges and announcements.
#[derive(Default)]
struct Plan<'a> {
    endpoints_gone: Vec<Uuid>,
    /// Endpoints whose sources are written anew.
    sources_gone: Vec<Uuid>,
    /// Endpoints whose certificate names are written anew.
    certificate_names_gone: Vec<Uuid>,
    /// Endpoints that are attached to sites anew.
    sites_gone: Vec<Uuid>,
    ranges_gone: Vec<Uuid>,
    announcements_gone: Vec<Uuid>,
    endpoints: Vec<EndpointRow<'a>>,
    sources: Vec<SourceRow<'a>>,
    certificate_names: Vec<CertificateNameRow<'a>>,
    sites: Vec<SiteRow<'a>>,
    ranges: Vec<RangeRow<'a>>,
    announcements: Vec<AnnouncementRow<'a>>,
}

impl<'a> Plan<'a> {
    fn new(
        declaration: &'a Declaration,
        members: &Members,
        present: Present,
        at: DateTime<Utc>,
        applied: &mut Applied,
    ) -> Self {
        let Present { mut endpoints, ranges, announcements } = present;
        let mut plan = Self::default();
        let names: HashMap<Uuid, &str> = members.iter().map(|(name, id)| (*id, name.as_str())).collect();
        let mut endpoint_ids: HashMap<(Uuid, &str), Uuid> = HashMap::new();
        // Whatever is left of these at the end is not declared.
        let mut ranges = by_prefix(ranges, |range| (range.member_id, range.prefix.clone()));
        let mut announcements = by_prefix(announcements, |it| (it.member_id, it.prefix.clone()));

        for member in &declaration.members {
            let (name, member_id) = (member.name.as_str(), members[&member.name]);
            for endpoint in &member.endpoints {
                let present = endpoints.remove(&(member_id, endpoint.name.clone()));
                if let Some(present) = &present {
                    endpoint_ids.insert((member_id, &endpoint.name), present.endpoint_id);
                }
                plan.put_endpoint(name, member_id, endpoint, present, applied);
            }
            for range in &member.ranges {
                let digits = range.prefix.digits();
                let authority = match range.authority {
                    Authority::Valid => "valid",
                    Authority::Pending | Authority::Refused => "pending",
                };
                let present = ranges.remove(&(member_id, digits.clone())).unwrap_or_default();
                let same = |it: &PresentRange| it.standing && it.authority == authority;
                let kept = present.iter().any(same);
                plan.ranges_gone.extend(present.iter().filter(|it| !same(it)).map(|it| it.range_id));
                if !kept {
                    let action = if present.is_empty() { Action::Added } else { Action::Changed };
                    applied.note("range", action, format!("{name}/{}", range.prefix));
                    plan.ranges.push(RangeRow {
                        member: name,
                        member_id,
                        prefix: digits,
                        authority,
                        from: at,
                    });
                }
            }
            for announcement in &member.announcements {
                let digits = announcement.prefix.digits();
                // An endpoint that is new has no id yet, so no announcement can have it.
                let wanted: Option<BTreeSet<Uuid>> = announcement
                    .endpoints
                    .iter()
                    .map(|it| endpoint_ids.get(&(member_id, it)).copied())
                    .collect();
                let present = announcements.remove(&(member_id, digits.clone())).unwrap_or_default();
                let tags: Vec<String> = announcement.tags.iter().map(Tag::to_string).collect();
                let same = |it: &PresentAnnouncement| {
                    it.standing
                        && wanted.as_ref() == Some(&it.endpoint_ids.iter().copied().collect())
                        && it.max_calls == bound(announcement.max_calls)
                        && it.max_calls_per_second == bound(announcement.max_calls_per_second)
                        && it.tags == tags
                };
                let kept = present.iter().any(same);
                let gone = present.iter().filter(|it| !same(it)).map(|it| it.announcement_id);
                plan.announcements_gone.extend(gone);
                if !kept {
                    let action = if present.is_empty() { Action::Added } else { Action::Changed };
                    applied.note("announcement", action, format!("{name}/{}", announcement.prefix));
                    let endpoints = &announcement.endpoints;
                    plan.announcements.push(AnnouncementRow {
                        member: name,
                        member_id,
                        prefix: digits,
                        endpoints,
                        max_calls: bound(announcement.max_calls),
                        max_calls_per_second: bound(announcement.max_calls_per_second),
                        tags: tags.join(" "),
                        from: at,
                    });
                }
            }
        }
        for ((member_id, endpoint), present) in endpoints {
            applied.note("endpoint", Action::Removed, format!("{}/{endpoint}", names[&member_id]));
            plan.endpoints_gone.push(present.endpoint_id);
        }
        for ((member_id, prefix), present) in ranges {
            applied.note("range", Action::Removed, format!("{}/+{prefix}", names[&member_id]));
            plan.ranges_gone.extend(present.iter().map(|it| it.range_id));
        }
        for ((member_id, prefix), present) in announcements {
            applied.note("announcement", Action::Removed, format!("{}/+{prefix}", names[&member_id]));
            plan.announcements_gone.extend(present.iter().map(|it| it.announcement_id));
        }
        plan
    }

    fn put_endpoint(
        &mut self,
        member: &'a str,
        member_id: Uuid,
        endpoint: &'a EndpointDeclaration,
        present: Option<PresentEndpoint>,
        applied: &mut Applied,
    ) {
        let settings = EndpointSettings::of(endpoint);
        let sources: BTreeSet<_> =
            endpoint.sources.iter().map(|SourceText(it)| (it.net, it.port.map(i32::from))).collect();
        let same_settings = present.as_ref().is_some_and(|present| present.settings == settings);
        // Sources have the mark of their endpoint.
        let is_marked_alike =
            present.as_ref().is_some_and(|present| present.settings.call_mark == settings.call_mark);
        let same_sources =
            is_marked_alike && present.as_ref().is_some_and(|present| present.sources == sources);
        let certificate_names: BTreeSet<String> =
            endpoint.certificate_names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let same_names =
            present.as_ref().is_some_and(|present| present.certificate_names == certificate_names);
        let sites: BTreeSet<String> = endpoint.sites.iter().cloned().collect();
        let same_sites = present.as_ref().map_or(sites.is_empty(), |present| present.sites == sites);
        if same_settings && same_sources && same_names && same_sites {
            return;
        }
        let action = if present.is_some() { Action::Changed } else { Action::Added };
        applied.note("endpoint", action, format!("{member}/{}", endpoint.name));
        if !same_settings {
            self.endpoints.push(EndpointRow { member, member_id, name: &endpoint.name, settings });
        }
        let name = endpoint.name.as_str();
        let present = present.map(|present| present.endpoint_id);
        if !same_names {
            self.certificate_names_gone.extend(present);
            let rows = certificate_names.into_iter();
            self.certificate_names.extend(rows.map(|certificate| CertificateNameRow {
                member,
                member_id,
                name,
                certificate,
            }));
        }
        if !same_sites {
            self.sites_gone.extend(present);
            let rows = sites.into_iter();
            self.sites.extend(rows.map(|site| SiteRow { member, member_id, name, site }));
        }
        if !same_sources {
            self.sources_gone.extend(present);
            self.sources.extend(sources.into_iter().map(|(net, port)| SourceRow {
                member,
                member_id,
                name,
                net,
                port,
            }));
        }
    }

    async fn remove(&self, db: &mut PgConnection, at: DateTime<Utc>) -> sqlx::Result<()> {
        // What has not begun leaves no trace; what has, ends.
        sqlx::query!(
            "delete from announcement where announcement_id = any ($1) and lower(valid_during) >= $2",
            &self.announcements_gone,
            at,
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            r#"
            update announcement set valid_during = tstzrange(lower(valid_during), $2)
             where announcement_id = any ($1)
            "#,
            &self.announcements_gone,
            at,
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "delete from number_range where range_id = any ($1) and lower(valid_during) >= $2",
            &self.ranges_gone,
            at,
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "update number_range set valid_during = tstzrange(lower(valid_during), $2) where range_id = any ($1)",
            &self.ranges_gone,
            at,
        )
        .execute(&mut *db)
        .await?;
        // Announcements that ended still name their endpoints.
        sqlx::query!("delete from announcement_endpoint where endpoint_id = any ($1)", &self.endpoints_gone)
            .execute(&mut *db)
            .await?;
        let sources_gone: Vec<Uuid> = self.sources_gone.iter().chain(&self.endpoints_gone).copied().collect();
        sqlx::query!("delete from endpoint_source where endpoint_id = any ($1)", &sources_gone)
            .execute(&mut *db)
            .await?;
        sqlx::query!(
            "delete from endpoint_certificate_name where endpoint_id = any ($1)",
            &self.certificate_names_gone
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("delete from endpoint_site where endpoint_id = any ($1)", &self.sites_gone)
            .execute(&mut *db)
            .await?;
        sqlx::query!("delete from endpoint where endpoint_id = any ($1)", &self.endpoints_gone)
            .execute(&mut *db)
            .await?;
        Ok(())
    }

    async fn put(&self, db: &mut PgConnection) -> Result<(), ApplyError> {
        let sites: BTreeSet<&str> = self.sites.iter().map(|row| row.site.as_str()).collect();
        for site in sites {
            crate::listener::ensure_site(&mut *db, site).await?;
        }
        insert(db, &self.endpoints).await?;
        insert(db, &self.sources).await?;
        insert(db, &self.certificate_names).await?;
        insert(db, &self.sites).await?;
        insert(db, &self.ranges).await?;
        insert(db, &self.announcements).await
    }
}

fn by_prefix<T>(rows: Vec<T>, key: impl Fn(&T) -> (Uuid, String)) -> HashMap<(Uuid, String), Vec<T>> {
    let mut groups: HashMap<_, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}

struct EndpointRow<'a> {
    member: &'a str,
    member_id: Uuid,
    name: &'a str,
    settings: EndpointSettings,
}

impl Row for EndpointRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        fn column<'a, T>(rows: &'a [EndpointRow<'_>], of: impl Fn(&'a EndpointRow<'_>) -> T) -> Vec<T> {
            rows.iter().map(of).collect()
        }
        sqlx::query!(
            r#"
            insert into endpoint (member_id, name, target_address, target_name, target_port, target_transport
                                , priority, weight, max_calls, max_calls_per_second, enabled, policy, call_mark)
            select member_id, name, target_address, target_name, target_port, target_transport
                 , priority, weight, max_calls, max_calls_per_second, enabled, policy, call_mark
              from unnest($1::uuid[], $2::text[], $3::inet[], $4::text[], $5::int[], $6::text[], $7::int[]
                        , $8::int[], $9::int[], $10::int[], $11::boolean[], $12::jsonb[]
                        , $13::text[])
                as t (member_id, name, target_address, target_name, target_port, target_transport, priority
                    , weight, max_calls, max_calls_per_second, enabled, policy, call_mark)
            on conflict (member_id, name) do update
               set target_address = excluded.target_address, target_name = excluded.target_name
                 , target_port = excluded.target_port, target_transport = excluded.target_transport
                 , priority = excluded.priority, weight = excluded.weight
                 , max_calls = excluded.max_calls, max_calls_per_second = excluded.max_calls_per_second
                 , enabled = excluded.enabled, policy = excluded.policy, call_mark = excluded.call_mark
            "#,
            &column(rows, |row| row.member_id),
            &column(rows, |row| row.name) as &[&str],
            &column(rows, |row| row.settings.target.address) as &[Option<IpNet>],
            &column(rows, |row| row.settings.target.name.as_deref()) as &[Option<&str>],
            &column(rows, |row| row.settings.target.port) as &[Option<i32>],
            &column(rows, |row| row.settings.target.transport.as_deref()) as &[Option<&str>],
            &column(rows, |row| row.settings.priority),
            &column(rows, |row| row.settings.weight),
            &column(rows, |row| row.settings.max_calls) as &[Option<i32>],
            &column(rows, |row| row.settings.max_calls_per_second) as &[Option<i32>],
            &column(rows, |row| row.settings.enabled),
            &column(rows, |row| row.settings.policy.clone()),
            &column(rows, |row| row.settings.call_mark.as_str()) as &[&str],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("endpoint {}/{}", self.member, self.name)
    }
}

struct SourceRow<'a> {
    member: &'a str,
    member_id: Uuid,
    name: &'a str,
    net: IpNet,
    port: Option<i32>,
}

impl Row for SourceRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        let nets: Vec<IpNet> = rows.iter().map(|row| row.net).collect();
        let ports: Vec<Option<i32>> = rows.iter().map(|row| row.port).collect();
        sqlx::query!(
            r#"
            insert into endpoint_source (endpoint_id, net, port, call_mark)
            select e.endpoint_id, t.net, t.port, e.call_mark
              from unnest($1::uuid[], $2::text[], $3::inet[], $4::int[]) as t (member_id, name, net, port)
              join endpoint e using (member_id, name)
            "#,
            &member_ids,
            &names as &[&str],
            &nets,
            &ports as &[Option<i32>],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("endpoint {}/{}, source {}", self.member, self.name, self.net)
    }
}

struct CertificateNameRow<'a> {
    member: &'a str,
    member_id: Uuid,
    name: &'a str,
    certificate: String,
}

impl Row for CertificateNameRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        let certificates: Vec<&str> = rows.iter().map(|row| row.certificate.as_str()).collect();
        sqlx::query!(
            r#"
            insert into endpoint_certificate_name (endpoint_id, name)
            select e.endpoint_id, t.certificate
              from unnest($1::uuid[], $2::text[], $3::text[]) as t (member_id, name, certificate)
              join endpoint e using (member_id, name)
            "#,
            &member_ids,
            &names as &[&str],
            &certificates as &[&str],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("endpoint {}/{}, certificate {}", self.member, self.name, self.certificate)
    }
}

struct SiteRow<'a> {
    member: &'a str,
    member_id: Uuid,
    name: &'a str,
    site: String,
}

impl Row for SiteRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        let sites: Vec<&str> = rows.iter().map(|row| row.site.as_str()).collect();
        sqlx::query!(
            r#"
            insert into endpoint_site (endpoint_id, site_id)
            select e.endpoint_id, s.site_id
              from unnest($1::uuid[], $2::text[], $3::text[]) as t (member_id, name, site)
              join endpoint e using (member_id, name)
              join site s on s.name = t.site
            "#,
            &member_ids,
            &names as &[&str],
            &sites as &[&str],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("endpoint {}/{}, site {}", self.member, self.name, self.site)
    }
}

struct RangeRow<'a> {
    member: &'a str,
    member_id: Uuid,
    prefix: String,
    authority: &'static str,
    from: DateTime<Utc>,
}

impl Row for RangeRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let Some(from) = rows.first().map(|row| row.from) else { return Ok(()) };
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let prefixes: Vec<&str> = rows.iter().map(|row| row.prefix.as_str()).collect();
        let authorities: Vec<&str> = rows.iter().map(|row| row.authority).collect();
        sqlx::query!(
            r#"
            insert into number_range (member_id, prefix, authority, evidence, valid_during, decided_at)
            select member_id, prefix, authority, 'declared by the operator', tstzrange($4, null)
                 , case authority when 'valid' then $4 end
              from unnest($1::uuid[], $2::text[], $3::text[]) as t (member_id, prefix, authority)
            "#,
            &member_ids,
            &prefixes as &[&str],
            &authorities as &[&str],
            from,
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("range {}/+{}", self.member, self.prefix)
    }
}

struct AnnouncementRow<'a> {
    member: &'a str,
    member_id: Uuid,
    prefix: String,
    endpoints: &'a [String],
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    /// With a space between each two.
    tags: String,
    from: DateTime<Utc>,
}

impl Row for AnnouncementRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let Some(from) = rows.first().map(|row| row.from) else { return Ok(()) };
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let prefixes: Vec<&str> = rows.iter().map(|row| row.prefix.as_str()).collect();
        let pairs = || rows.iter().flat_map(|row| row.endpoints.iter().map(move |endpoint| (row, endpoint)));
        let pair_members: Vec<Uuid> = pairs().map(|(row, _)| row.member_id).collect();
        let pair_prefixes: Vec<&str> = pairs().map(|(row, _)| row.prefix.as_str()).collect();
        let pair_endpoints: Vec<&str> = pairs().map(|(_, endpoint)| endpoint.as_str()).collect();
        let tags: Vec<&str> = rows.iter().map(|row| row.tags.as_str()).collect();
        let max_calls: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls).collect();
        let rates: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls_per_second).collect();
        sqlx::query!(
            r#"
            with made as (
                insert into announcement (member_id, prefix, valid_during, max_calls, max_calls_per_second, tags)
                select member_id, prefix, tstzrange($6, null), max_calls, max_calls_per_second, string_to_array(tags, ' ')
                  from unnest($1::uuid[], $2::text[], $7::int[], $8::int[], $9::text[])
                    as t (member_id, prefix, max_calls, max_calls_per_second, tags)
                returning announcement_id, member_id, prefix
            )
            insert into announcement_endpoint (announcement_id, member_id, endpoint_id)
            select made.announcement_id, made.member_id, e.endpoint_id
              from made
              join unnest($3::uuid[], $4::text[], $5::text[]) as t (member_id, prefix, name) using (member_id, prefix)
              join endpoint e using (member_id, name)
            "#,
            &member_ids,
            &prefixes as &[&str],
            &pair_members,
            &pair_prefixes as &[&str],
            &pair_endpoints as &[&str],
            from,
            &max_calls as &[Option<i32>],
            &rates as &[Option<i32>],
            &tags as &[&str],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("announcement {}/+{}", self.member, self.prefix)
    }
}

struct AgreementRow<'a> {
    first: &'a str,
    second: &'a str,
    proposing_member_id: Uuid,
    accepting_member_id: Uuid,
    direction: &'static str,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    advance_on: Option<serde_json::Value>,
    notice_days: i32,
    terms: Option<serde_json::Value>,
    from: DateTime<Utc>,
}

impl Row for AgreementRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let Some(from) = rows.first().map(|row| row.from) else { return Ok(()) };
        let proposing: Vec<Uuid> = rows.iter().map(|row| row.proposing_member_id).collect();
        let accepting: Vec<Uuid> = rows.iter().map(|row| row.accepting_member_id).collect();
        let directions: Vec<&str> = rows.iter().map(|row| row.direction).collect();
        let max_calls: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls).collect();
        let rates: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls_per_second).collect();
        let advance_on: Vec<Option<serde_json::Value>> =
            rows.iter().map(|row| row.advance_on.clone()).collect();
        let terms: Vec<Option<serde_json::Value>> = rows.iter().map(|row| row.terms.clone()).collect();
        let notice_days: Vec<i32> = rows.iter().map(|row| row.notice_days).collect();
        sqlx::query!(
            r#"
            with declared as (
                insert into agreement (proposing_member_id, accepting_member_id, direction, state, valid_during
                                     , proposed_at, decided_at, max_calls, max_calls_per_second, advance_on, notice_days
                                     , terms)
                select proposing, accepting, direction, 'accepted', tstzrange($4, null), $4, $4
                     , max_calls, max_calls_per_second, advance_on, notice_days, terms
                  from unnest($1::uuid[], $2::uuid[], $3::text[], $5::int[], $6::int[], $7::jsonb[], $8::int[], $9::jsonb[])
                    as t (proposing, accepting, direction, max_calls, max_calls_per_second, advance_on, notice_days, terms)
                returning *
            )
            insert into agreement_event (agreement_id, position, at, action, version, terms)
            select agreement_id, 1, $4, 'declare', 1
                 , jsonb_build_object('direction', direction, 'note', note, 'notice_days', notice_days, 'max_calls', max_calls
                                    , 'max_calls_per_second', max_calls_per_second, 'advance_on', advance_on
                                    , 'terms', coalesce(terms, '{}'))
              from declared
            "#,
            &proposing,
            &accepting,
            &directions as &[&str],
            from,
            &max_calls as &[Option<i32>],
            &rates as &[Option<i32>],
            &advance_on as &[Option<serde_json::Value>],
            &notice_days,
            &terms as &[Option<serde_json::Value>],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("agreement {}–{}", self.first, self.second)
    }
}

async fn put_agreements(
    db: &mut PgConnection,
    declaration: &Declaration,
    members: &Members,
    at: DateTime<Utc>,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let ids: Vec<Uuid> = members.values().copied().collect();
    let names: HashMap<Uuid, &str> = members.iter().map(|(name, id)| (*id, name.as_str())).collect();
    let present = sqlx::query!(
        r#"
        select agreement_id, proposing_member_id, accepting_member_id, direction, max_calls, max_calls_per_second, advance_on
             , notice_days, terms
             , (state in ('accepted', 'suspended') and coalesce(lower(valid_during) <= $2 and upper_inf(valid_during), false)) as "standing!"
          from agreement
         where proposing_member_id = any ($1) and accepting_member_id = any ($1)
           and state in ('proposed', 'countered', 'accepted', 'suspended', 'ending')
        "#,
        &ids,
        at,
    )
    .fetch_all(&mut *db)
    .await?;
    let pair = |one: Uuid, other: Uuid| (one.min(other), one.max(other));
    let mut present: HashMap<_, _> = present
        .into_iter()
        .map(|row| (pair(row.proposing_member_id, row.accepting_member_id), row))
        .collect();
    let (mut gone, mut rows) = (Vec::new(), Vec::new());
    for agreement in &declaration.agreements {
        let [first, second] = &agreement.members;
        let (proposing, accepting) = (members[first], members[second]);
        let direction = direction(agreement.direction, false);
        let known = present.remove(&pair(proposing, accepting));
        if let Some(known) = &known {
            // The other one may have proposed it; then its direction is written the other way round.
            let turned = known.proposing_member_id != proposing;
            if known.standing
                && known.direction == self::direction(agreement.direction, turned)
                && known.max_calls == bound(agreement.max_calls)
                && known.max_calls_per_second == bound(agreement.max_calls_per_second)
                && known.advance_on == word::to_json(agreement.advance_on.as_ref())
                && known.notice_days == i32::from(agreement.notice_days)
                && known.terms == word::to_json(Some(&agreement.terms).filter(|terms| !terms.is_default()))
            {
                continue;
            }
            gone.push(known.agreement_id);
        }
        let action = if known.is_some() { Action::Changed } else { Action::Added };
        applied.note("agreement", action, format!("{first}–{second}"));
        rows.push(AgreementRow {
            first,
            second,
            proposing_member_id: proposing,
            accepting_member_id: accepting,
            direction,
            max_calls: bound(agreement.max_calls),
            max_calls_per_second: bound(agreement.max_calls_per_second),
            advance_on: word::to_json(agreement.advance_on.as_ref()),
            notice_days: i32::from(agreement.notice_days),
            terms: word::to_json(Some(&agreement.terms).filter(|terms| !terms.is_default())),
            from: at,
        });
    }
    for known in present.into_values() {
        let (first, second) = (names[&known.proposing_member_id], names[&known.accepting_member_id]);
        applied.note("agreement", Action::Removed, format!("{first}–{second}"));
        gone.push(known.agreement_id);
    }
    // A proposal is answered; what was agreed ends without notice, and has never held if it had not begun.
    sqlx::query!(
        r#"
        with over as (
            update agreement
               set state = case when valid_during is null then 'refused' else 'ended' end
                 , decided_at = coalesce(decided_at, $2)
                 , ended_at = case when valid_during is not null then $2 end
                 , valid_during = valid_during * tstzrange(null, $2)
                 , suspended_by_proposing = false, suspended_by_accepting = false
             where agreement_id = any ($1)
            returning agreement_id, version, state
        )
        insert into agreement_event (agreement_id, position, at, action, version)
        select o.agreement_id
             , (select coalesce(max(e.position), 0) + 1 from agreement_event e where e.agreement_id = o.agreement_id)
             , $2, case o.state when 'refused' then 'refuse' else 'end' end, o.version
          from over o
        "#,
        &gone,
        at,
    )
    .execute(&mut *db)
    .await?;
    insert(db, &rows).await
}

fn direction(direction: AgreementDirection, turned: bool) -> &'static str {
    match (direction, turned) {
        (AgreementDirection::Both, _) => "both",
        (AgreementDirection::ToAccepting, false) | (AgreementDirection::ToProposing, true) => "to_accepting",
        (AgreementDirection::ToProposing, false) | (AgreementDirection::ToAccepting, true) => "to_proposing",
    }
}
