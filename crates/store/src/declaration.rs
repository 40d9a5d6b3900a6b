//! Brings the exchange to the state that a file declares: members, their endpoints, ranges and
//! announcements, and the agreements between them, by name.
//!
//! Only declared members are touched: what a declared member has and the file does not list is removed,
//! withdrawn or ended. Applying the same file twice changes nothing the second time. It is one transaction:
//! either all of it holds or, with the row that is wrong named, none.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Uuid;
use sqlx::types::ipnet::IpNet;
use sqlx::{PgConnection, PgPool};
use tandem_model::{
    AdvanceOn, AgreementDirection, AgreementTerms, Authority, CallMark, CallMarkError, Facts, Policy, Prefix,
    Source, Tag, Target,
};

use crate::database;
use crate::rehearsal::Rehearsal;

mod agreement;
mod announcement;
mod credential;
mod endpoint;
mod member;
mod plan;
mod present;
mod range;
mod row;

use agreement::put_agreements;
pub use credential::{InboundDeclaration, OutboundDeclaration, Password};
use member::put_members;
use plan::Plan;
use present::Present;

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
