//! `tandem lookup`: who would get a call, and why, in sentences.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use tandem_model::{E164, EndpointId, Facts, MemberId, Numbering};
use tandem_routing::{CallRequest, Dip, DipSource, RouteTable, Selection, port, select};
use tandem_store::{PgPool, facts, past};

use crate::portability::{self, PortabilitySettings};
use crate::say;

/// When the table is asked.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// Now: the table as it stands.
    Now(DateTime<Utc>),
    /// The table as it was then.
    Past(DateTime<Utc>),
}

impl Moment {
    fn time(self) -> DateTime<Utc> {
        match self {
            Self::Now(at) | Self::Past(at) => at,
        }
    }
}

/// Loads the route table and prints the selection for a call from the member `from` to `number`.
pub async fn run(
    db: &PgPool,
    ported: &PortabilitySettings,
    from: &str,
    number: &str,
    draw: u64,
    moment: Moment,
) -> anyhow::Result<()> {
    let called: E164 = number.parse().with_context(|| format!("{number:?} is not a number"))?;
    let now = moment.time();
    let (table, originating_member) = load(db, ported, from, HashSet::from([called]), moment).await?;
    let call = CallRequest { originating_member, called, dip: None, site: None, draw };
    say(explain(&table, from, &select(&table, &call, now)).trim_end());
    Ok(())
}

/// The same for each line of a file, a line each; fails at the end where a line is not a number.
pub async fn run_file(
    db: &PgPool,
    ported: &PortabilitySettings,
    from: &str,
    file: &Path,
    draw: u64,
    moment: Moment,
) -> anyhow::Result<()> {
    let now = moment.time();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let numbers = lines().filter_map(|line| line.parse().ok()).collect();
    let (table, originating_member) = load(db, ported, from, numbers, moment).await?;
    let mut bad = 0;
    for line in lines() {
        match line.parse() {
            Ok(called) => {
                let call = CallRequest { originating_member, called, dip: None, site: None, draw };
                say(brief(&table, &select(&table, &call, now)));
            }
            Err(error) => {
                bad += 1;
                say(format_args!("{line:?} is not a number: {error}"));
            }
        }
    }
    if bad > 0 {
        bail!("lines of {} that are not a number: {bad}", file.display());
    }
    Ok(())
}

/// The table with what a node knows of `numbers` that are ported, and the member.
async fn load(
    db: &PgPool,
    ported: &PortabilitySettings,
    from: &str,
    numbers: HashSet<E164>,
    moment: Moment,
) -> anyhow::Result<(Arc<RouteTable>, MemberId)> {
    let facts = match moment {
        Moment::Now(_) => facts::load(db).await.context("cannot load the route table")?.facts,
        Moment::Past(at) => facts_at(db, at).await?,
    };
    let table = RouteTable::from_facts(facts);
    let Some(member) = table.member_by_name(from) else {
        bail!("there is no member {from:?}; the members are {}", names(&table));
    };
    let id = member.member_id;
    let table = tandem_routing::shared(table);
    if ported.file.is_some() {
        let (numbers, fault) = portability::look_up(ported, numbers).context("the ported numbers")?;
        if let Some(error) = fault {
            say(format_args!("The newest file of ported numbers is not used: {error} ({}).", error.reason()));
        }
        port(&table, &numbers);
    }
    Ok((table.load_full(), id))
}

/// What the exchange was like at a moment.
async fn facts_at(db: &PgPool, at: DateTime<Utc>) -> anyhow::Result<Facts> {
    let version = past::version_at(db, at).await.context("cannot read the past")?;
    let facts = match version {
        Some(version) => past::load(db, version).await.context("cannot load the route table as it was")?,
        None => None,
    };
    match facts {
        Some(facts) => Ok(facts),
        None => {
            let known = past::horizon(db).await.context("cannot read the past")?.at;
            bail!("the exchange knows its past since {}, and not at {}", known.to_rfc3339(), at.to_rfc3339())
        }
    }
}

/// The selection in a line: the number, then the endpoints in order or the code of the refusal.
fn brief(table: &RouteTable, selection: &Selection) -> String {
    let called = selection.called;
    if let Some(reason) = selection.refusal() {
        return format!("{called} refused {reason}");
    }
    let endpoint = |id| table.endpoint(id).map_or("unknown", |endpoint| endpoint.name.as_str());
    let endpoints: Vec<&str> = selection.candidates.iter().map(|it| endpoint(it.endpoint)).collect();
    format!("{called} routed {}", endpoints.join(" "))
}

fn names(table: &RouteTable) -> String {
    let mut names: Vec<&str> = table.members().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    names.join(", ")
}

/// Country and type of a number, in words.
fn describe(number: E164) -> String {
    match number.numbering() {
        Ok(Numbering { country_code, countries, types }) => {
            let types: Vec<String> = types.iter().map(|each| each.as_str().replace('_', " ")).collect();
            format!("a number of +{country_code} ({}), {}", countries.join(" or "), types.join(" or "))
        }
        Err(misfit) => format!("no number that is known: {misfit}"),
    }
}

/// The selection in sentences.
pub(crate) fn explain(table: &RouteTable, from: &str, selection: &Selection) -> String {
    let member =
        |id: MemberId| table.member(id).map_or("a member unknown here", |member| member.name.as_str());
    let endpoint = |id: EndpointId| match table.endpoint(id) {
        Some(endpoint) => format!("{} at {}", endpoint.name, endpoint.target),
        None => "an endpoint unknown here".to_owned(),
    };
    let called = selection.called;
    let mut text = String::new();
    let mut say = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes all");
    say(format_args!("{called} is {}.", describe(called)));
    if let Some(Dip { rn: Some(rn), source }) = selection.dip {
        let found = match source {
            DipSource::Call => "says the call",
            DipSource::Node => "say the ported numbers",
            DipSource::Service | DipSource::Unanswered => "says the service for ported numbers",
        };
        say(format_args!("It was ported: it is routed by {rn}, {found}."));
    }
    match (selection.refusal(), selection.matched) {
        (Some(reason), _) => {
            let (sentence, remedy) = (reason.sentence(), reason.remedy());
            say(format_args!(
                "A call from {from} to {called} is refused with {} {reason}: {sentence}.",
                reason.status()
            ));
            say(format_args!("{remedy}"));
        }
        (None, matched) => {
            let prefix = matched.map(|prefix| format!(" by the prefix {prefix}")).unwrap_or_default();
            say(format_args!(
                "A call from {from} to {called} is routed{prefix}. It is tried, in this order, at:"
            ));
        }
    }
    for (index, candidate) in selection.candidates.iter().enumerate() {
        let transit =
            candidate.rate.map(|rate| format!(", transit at {rate} a minute by {}", candidate.prefix));
        say(format_args!(
            "  {}. {}, endpoint {}{}",
            index + 1,
            member(candidate.member),
            endpoint(candidate.endpoint),
            transit.unwrap_or_default()
        ));
    }
    if !selection.left_out.is_empty() {
        say(format_args!("Left out:"));
    }
    for left_out in &selection.left_out {
        let at = left_out.endpoint.map(|id| format!(", endpoint {}", endpoint(id))).unwrap_or_default();
        let (member, prefix, reason) = (member(left_out.member), left_out.prefix, left_out.reason);
        say(format_args!("  - {member}{at}, prefix {prefix}: {} ({reason}).", reason.sentence()));
    }
    say(format_args!("Route table version {}.", selection.table_version));
    text
}
