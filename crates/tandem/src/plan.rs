//! `tandem plan`: what a declaration would change, for rows, for routes and for the calls of the last day, without
//! changing it; and `tandem apply --plan`, which applies it only while that is still so.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use tandem_model::{EndpointId, MemberId};
use tandem_portal::forecast;
use tandem_routing::{Comparison, Replay, Route, RouteChange, RouteTable, TableHash};
use tandem_store::declaration::{self, Applied, Declaration, Rehearsed};
use tandem_store::{PgPool, facts};

use crate::apply::{self, MOST_SHOWN};
use crate::say;

/// What a declaration would change.
#[derive(Debug)]
pub struct Forecast {
    /// Rows.
    pub applied: Applied,
    /// The table as it is.
    pub before: Arc<RouteTable>,
    /// The table as it would be.
    pub after: Arc<RouteTable>,
    /// What members would find otherwise.
    pub comparison: Comparison,
    /// The calls of the last 24 hours by both tables.
    pub replay: Replay,
    /// Names this plan: the declaration, the table as it is, and the rows that would change.
    pub hash: TableHash,
}

/// Works out what `declaration` would change at `at`. Everything is rolled back; writers wait only while the rows are
/// written, not while routes are compared.
pub async fn forecast(db: &PgPool, declaration: &Declaration, at: DateTime<Utc>) -> anyhow::Result<Forecast> {
    let before = load(db).await?;
    let rehearsed = declaration::apply_if(db, declaration, before.version(), at, |_| false).await?;
    let (rehearsed, _) = rehearsed.context("too much changed meanwhile; plan again")?;
    let hash = hash(&before, declaration, &rehearsed);
    let Rehearsed { applied, missed, changes } = rehearsed;
    let compare = move || {
        let before = before.apply(missed);
        let after = before.apply(changes.clone());
        let comparison = Comparison::between(&before, &after, &changes, MOST_SHOWN, at);
        (Arc::new(before), Arc::new(after), comparison)
    };
    let (before, after, comparison) = tokio::task::spawn_blocking(compare).await?;
    let replay = forecast::replay(db, before.clone(), after.clone(), at, at)
        .await
        .context("cannot read the calls of the last 24 hours")?;
    Ok(Forecast { applied, before, after, comparison, replay, hash })
}

async fn load(db: &PgPool) -> anyhow::Result<RouteTable> {
    let loaded = facts::load(db).await.context("cannot load the route table")?;
    Ok(tokio::task::spawn_blocking(|| RouteTable::from_facts(loaded.facts)).await?)
}

/// The hash of a plan. Ids of what is new are drawn when it is written, so the rows stand for it by their names.
fn hash(before: &RouteTable, declaration: &Declaration, rehearsed: &Rehearsed) -> TableHash {
    let declared = serde_json::to_string(declaration).expect("a declaration is JSON");
    let rows = serde_json::to_string(&rehearsed.applied).expect("what was applied is JSON");
    before.apply(rehearsed.missed.clone()).hash().followed_by(&declared).followed_by(&rows)
}

/// Prints what `file` would change; says whether anything would.
pub async fn run(db: &PgPool, file: &Path, at: DateTime<Utc>) -> anyhow::Result<bool> {
    let (name, declaration) = apply::read_file(file)?;
    let forecast =
        forecast(db, &declaration, at).await.with_context(|| format!("{name} cannot be planned"))?;
    apply::show(&forecast.applied);
    let changes_something = !forecast.applied.changes.is_empty();
    if changes_something {
        say(forecast.describe());
        say(format_args!(
            "Plan {}; `tandem apply --plan {} {name}` does this, or nothing.",
            forecast.hash, forecast.hash
        ));
    }
    Ok(changes_something)
}

/// Applies `file` if what that does is what the plan of this hash says.
pub async fn apply(db: &PgPool, file: &Path, planned: &str, at: DateTime<Utc>) -> anyhow::Result<()> {
    let (name, declaration) = apply::read_file(file)?;
    let before = load(db).await?;
    let is_planned = |rehearsed: &Rehearsed| hash(&before, &declaration, rehearsed).to_string() == planned;
    let outcome = declaration::apply_if(db, &declaration, before.version(), at, is_planned)
        .await
        .with_context(|| format!("{name} was not applied"))?;
    let (rehearsed, is_applied) = outcome.context("too much changed meanwhile; plan again")?;
    if !is_applied {
        bail!(
            "{name} was not applied: the file or the exchange is not what the plan {planned} was made for; \
             run `tandem plan {name}` again"
        );
    }
    apply::show(&rehearsed.applied);
    Ok(())
}

impl Forecast {
    /// What becomes of routes and calls, in lines for people.
    fn describe(&self) -> String {
        let Self { comparison, replay, .. } = self;
        let mut lines = Vec::new();
        if comparison.is_empty() {
            lines.push("No member's calls find another route.".to_owned());
        } else {
            lines.push("Routes, as the members that call find them:".to_owned());
            lines.extend(comparison.changes.iter().map(|change| format!("  {}", self.change(change))));
            let pairs = comparison.added + comparison.changed + comparison.removed;
            lines.extend(more(pairs, comparison.changes.len()));
            lines.push(format!(
                "  {} added, {} changed, {} removed, for {} prefix{}",
                comparison.added,
                comparison.changed,
                comparison.removed,
                comparison.prefixes,
                if comparison.prefixes == 1 { "" } else { "es" },
            ));
        }
        if comparison.removed > 0 {
            lines.push("Numbers of removed routes become unreachable for that member.".to_owned());
        }
        if comparison.idle > 0 {
            lines.push("Announcements that will not count:".to_owned());
            let idle = comparison.idle_announcements.iter();
            lines.extend(idle.map(|it| {
                let sentence = it.reason.sentence();
                format!("  {}/{}: {sentence} ({})", self.member(Some(it.member)), it.prefix, it.reason)
            }));
            lines.extend(more(comparison.idle, comparison.idle_announcements.len()));
        }
        lines.push(format!(
            "Of {} calls answered in the last 24 hours, {} would go elsewhere.",
            replay.calls, replay.moved
        ));
        lines.extend(replay.moves.iter().map(|((from, to), count)| {
            let endpoint = if from == to { ", at another endpoint" } else { "" };
            format!("  {count} from {} to {}{endpoint}", self.member(*from), self.member(*to))
        }));
        if replay.strayed > 0 {
            lines.push(format!(
                "  {} were answered at endpoints that are no candidates of theirs any more, as it is",
                replay.strayed
            ));
        }
        lines.join("\n")
    }

    fn change(&self, change: &RouteChange) -> String {
        let caller = self.member(Some(change.originating_member));
        let (from, to) = (self.route(&change.before), self.route(&change.after));
        format!("{} for {caller}: {from} → {to}", change.prefix)
    }

    fn route(&self, route: &Route) -> String {
        match route.refusal {
            Some(reason) => format!("nobody ({reason})"),
            None => {
                let takers = route.takers.iter();
                let takers = takers
                    .map(|it| format!("{}/{}", self.member(Some(it.member)), self.endpoint(it.endpoint)));
                takers.collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn member(&self, id: Option<MemberId>) -> &str {
        let Some(id) = id else { return "nobody" };
        let member = self.after.member(id).or_else(|| self.before.member(id));
        member.map_or("unknown", |member| member.name.as_str())
    }

    fn endpoint(&self, id: EndpointId) -> &str {
        let endpoint = self.after.endpoint(id).or_else(|| self.before.endpoint(id));
        endpoint.map_or("unknown", |endpoint| endpoint.name.as_str())
    }
}

fn more(all: u64, shown: usize) -> Option<String> {
    let left = all - shown as u64;
    (left > 0).then(|| format!("  … and {left} more"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::TimeDelta;
    use tandem_model::{CallId, Cause, Cdr, EndedBy, NodeId, Outcome};
    use tandem_routing::{CallRequest, PastCall, select};
    use tandem_testkit::Database;
    use uuid::Uuid;

    use super::*;

    /// acme and globex hold numbers; caller calls them.
    const EXCHANGE: &str = r#"
        [[member]]
        name = "caller"
        endpoint = [{ name = "caller-1", source = ["192.0.2.1"], target = "sip:192.0.2.1" }]
        [[member]]
        name = "acme"
        endpoint = [
            { name = "acme-1", source = ["192.0.2.2"], target = "sip:192.0.2.2" },
            { name = "acme-2", source = ["192.0.2.3"], target = "sip:192.0.2.3" },
        ]
        range = [{ prefix = "+4420", authority = "valid" }, { prefix = "+4930", authority = "valid" }]
        announcement = [
            { prefix = "+4420", endpoints = ["acme-1", "acme-2"] },
            { prefix = "+4930", endpoints = ["acme-1"] },
        ]
        [[member]]
        name = "globex"
        endpoint = [{ name = "globex-1", source = ["192.0.2.4"], target = "sip:192.0.2.4" }]
        range = [{ prefix = "+331", authority = "valid" }]
        announcement = [{ prefix = "+331", endpoints = ["globex-1"] }]
        [[agreement]]
        members = ["caller", "acme"]
        [[agreement]]
        members = ["caller", "globex"]
    "#;

    fn now() -> DateTime<Utc> {
        "2026-05-02T12:00:00Z".parse().expect("a time")
    }

    fn declaration(toml: &str) -> Declaration {
        toml::from_str(toml).expect("the test declares an exchange")
    }

    async fn exchange(toml: &str) -> Database {
        let database = Database::new().await;
        let at = now() - TimeDelta::days(30);
        declaration::apply(database.pool(), &declaration(toml), at).await.expect("it is applied");
        database
    }

    /// Another exchange of it: London goes to globex, Berlin to acme's other endpoint, Paris to nobody.
    fn changed() -> String {
        EXCHANGE
            .replace(r#"{ prefix = "+4420", authority = "valid" }, "#, "")
            .replace(r#"{ prefix = "+4420", endpoints = ["acme-1", "acme-2"] },"#, "")
            .replace(
                r#"{ prefix = "+4930", endpoints = ["acme-1"] }"#,
                r#"{ prefix = "+4930", endpoints = ["acme-2"] }"#,
            )
            .replace(
                r#"[{ prefix = "+331", authority = "valid" }]"#,
                r#"[{ prefix = "+4420", authority = "valid" }]"#,
            )
            .replace(r#"[{ prefix = "+331", endpoints"#, r#"[{ prefix = "+4420", endpoints"#)
    }

    /// The calls of a day to numbers here and there, each routed by the table in the database and recorded as answered.
    async fn simulate_day(db: &PgPool) -> Vec<PastCall> {
        let table = load(db).await.expect("it loads");
        let caller = table.member_by_name("caller").expect("it is declared").member_id;
        let endpoint =
            table.endpoints().find(|it| it.name == "caller-1").expect("it is declared").endpoint_id;
        let (mut calls, mut cdrs) = (Vec::new(), Vec::new());
        for n in 0..600_u32 {
            let stem = ["44207", "4930", "331", "1212"][n as usize % 4];
            let started_at = now() - TimeDelta::hours(20) + TimeDelta::seconds(n.into());
            let random = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
            let random = random[..10].try_into().expect("ten octets");
            let ms = u64::try_from(started_at.timestamp_millis()).expect("after 1970");
            let call_id = CallId(uuid::Builder::from_unix_timestamp_millis(ms, random).into_uuid());
            let mut call = PastCall {
                call_id,
                originating_member: caller,
                originating_endpoint: endpoint,
                called: format!("{stem}{n:07}").parse().expect("a number"),
                dip: None,
                taken_by: None,
            };
            let Some(first) = first_of(&table, &call) else { continue };
            call.taken_by = Some(first.0);
            calls.push(call);
            let answered_at = started_at + TimeDelta::seconds(5);
            cdrs.push(Cdr {
                call_id,
                node_id: NodeId(Uuid::from_u128(1)),
                started_at,
                originating_member: caller,
                originating_endpoint: endpoint,
                calling: "+12125550100".to_owned(),
                called: call.called.digits(),
                terminating_member: Some(first.1),
                terminating_endpoint: Some(first.0),
                agreement: None,
                prefix: None,
                outcome: Some(Outcome::Answered),
                status: Some(200),
                reason: None,
                answered_at: Some(answered_at),
                ended_at: Some(answered_at),
                ended_by: Some(EndedBy::Originating),
                setup_ms: Some(40),
                duration_ms: Some(0),
                originating_heard_at: None,
                terminating_heard_at: None,
                cause: Cause::default(),
                ingress_call_id: format!("{n}@caller"),
                table_version: table.version(),
                selection: "{}".to_owned(),
                attempts: Vec::new(),
            });
        }
        assert_eq!(tandem_store::cdr::write(db, &cdrs).await.expect("they are written"), []);
        calls
    }

    /// The endpoint that a call is tried at first, and its member.
    fn first_of(table: &RouteTable, call: &PastCall) -> Option<(EndpointId, MemberId)> {
        let request = CallRequest {
            originating_member: call.originating_member,
            called: call.called,
            dip: None,
            site: None,
            draw: tandem_routing::draw_of(call.call_id),
        };
        select(table, &request, now()).candidates.first().map(|it| (it.endpoint, it.member))
    }

    #[tokio::test]
    async fn a_plan_changes_nothing_and_tells_rows_routes_and_calls() {
        let database = exchange(EXCHANGE).await;
        let db = database.pool();
        simulate_day(db).await;
        let before = facts::load(db).await.expect("it loads");
        let forecast = forecast(db, &declaration(&changed()), now()).await.expect("it is planned");
        assert_eq!(facts::load(db).await.expect("it loads"), before, "not even the feed moved");
        assert_eq!(forecast.applied.changes.len(), 7, "{:?}", forecast.applied);
        let text = forecast.describe();
        for line in [
            "  +331 for caller: globex/globex-1 → nobody (no_route)",
            "  +4930 for caller: acme/acme-1 → acme/acme-2",
            "  0 added, 2 changed, 1 removed, for 3 prefixes",
            "Of 450 calls answered in the last 24 hours, 450 would go elsewhere.",
            "  150 from acme to globex",
            "  150 from acme to acme, at another endpoint",
            "  150 from globex to nobody",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }

    #[tokio::test]
    async fn the_current_table_replayed_on_the_calls_of_yesterday_moves_none() {
        let database = exchange(EXCHANGE).await;
        let calls = simulate_day(database.pool()).await;
        let forecast = forecast(database.pool(), &declaration(EXCHANGE), now()).await.expect("it is planned");
        let nothing = Replay { calls: calls.len() as u64, ..Replay::default() };
        assert_eq!(forecast.replay, nothing, "none moves, and each still goes where it was answered");
        assert_eq!(forecast.comparison, Comparison::default());
        assert_eq!(forecast.applied.changes, []);
    }

    #[tokio::test]
    async fn what_a_plan_predicts_is_what_comes_of_it() {
        let database = exchange(EXCHANGE).await;
        let db = database.pool();
        let yesterday = simulate_day(db).await;
        let declaration = declaration(&changed());
        let forecast = forecast(db, &declaration, now()).await.expect("it is planned");
        declaration::apply(db, &declaration, now()).await.expect("it is applied");
        let table = load(db).await.expect("it loads");
        // The same calls come again on the day after.
        let mut outcome: BTreeMap<(Option<MemberId>, Option<MemberId>), u64> = BTreeMap::new();
        for call in &yesterday {
            let (was, is) = (first_of(&forecast.before, call), first_of(&table, call));
            if was != is {
                *outcome.entry((was.map(|it| it.1), is.map(|it| it.1))).or_default() += 1;
            }
        }
        assert_eq!(forecast.replay.moves, outcome);
        assert_eq!(forecast.replay.moved, outcome.values().sum::<u64>());
        for change in &forecast.comparison.changes {
            let call = CallRequest {
                originating_member: change.originating_member,
                called: change.prefix.into(),
                dip: None,
                site: None,
                draw: 0,
            };
            let mut takers: Vec<EndpointId> =
                select(&table, &call, now()).candidates.iter().map(|it| it.endpoint).collect();
            takers.sort_unstable();
            let mut planned: Vec<EndpointId> = change.after.takers.iter().map(|it| it.endpoint).collect();
            planned.sort_unstable();
            assert_eq!(planned, takers, "{}", change.prefix);
        }
    }

    #[tokio::test]
    async fn a_plan_is_applied_only_while_the_exchange_is_what_it_was_made_for() {
        let database = exchange(EXCHANGE).await;
        let db = database.pool();
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("exchange.toml");
        std::fs::write(&file, changed()).expect("it is written");
        let plan =
            forecast(db, &declaration(&changed()), now()).await.expect("it is planned").hash.to_string();
        // Somebody changes something else meanwhile.
        let other = EXCHANGE.replace("sip:192.0.2.4", "sip:192.0.2.5");
        declaration::apply(db, &declaration(&other), now()).await.expect("it is applied");
        let before = facts::load(db).await.expect("it loads");
        let error = apply(db, &file, &plan, now()).await.expect_err("the exchange is another");
        assert!(error.to_string().contains("run `tandem plan"), "{error}");
        assert_eq!(facts::load(db).await.expect("it loads"), before, "nothing was changed");
        // Planned anew, and a moment later, it is applied; once.
        let plan =
            forecast(db, &declaration(&changed()), now()).await.expect("it is planned").hash.to_string();
        let later = now() + TimeDelta::minutes(5);
        apply(db, &file, &plan, later).await.expect("it is as planned");
        assert!(apply(db, &file, &plan, later).await.is_err(), "there is nothing left of the plan");
        assert!(!run(db, &file, later).await.expect("it is planned"), "and nothing to change");
    }
}
