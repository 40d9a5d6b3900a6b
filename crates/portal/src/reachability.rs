//! What a member can reach, for its own switch to follow: the full set of prefixes, then what changes (NDJSON).
//!
//! The answers to one member share what is known of its set: the set itself, 8 bytes a prefix, and the last changes. A change
//! of the route table, or of the time, is looked for while somebody listens, in the background and one member after
//! the other; however much changes, that takes a bounded share of a core. Each change is explained by one version of
//! the table, which its lines name.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, Prefix, Reason};
use tandem_routing::{Reach, ReachDelta};
use tandem_store::member;
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, AppState};
use crate::lines::{Gone, Lines};
use crate::problem::ApiError;
use crate::request::{Id, Query};
use crate::session::Session;

/// How often the route table is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Without a change of the table the time alone may change what is reached: announcements and agreements begin and end.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A look at a large table waits for so many times as long as the last one took.
const REST: u32 = 10;

/// Time between two lines where nothing changes, and between two looks at whether the session or token still holds.
const HEARTBEAT: Duration = Duration::from_secs(15);
const CHECK: Duration = Duration::from_secs(1);

/// Most prefixes of a line.
const LINE: usize = 1_000;

/// Most prefixes of a member's set.
const MAX_PREFIXES: usize = 4_000_000;

/// Most prefixes of the last changes that are kept for whoever comes again.
const MAX_KEPT: usize = 100_000;

/// Most members of which that is kept while nobody listens.
const MAX_MEMBERS: usize = 256;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReachabilityEvent {
    /// What was held before is void: the set begins anew with this line.
    Full,
    /// What has changed.
    Change,
    /// Nothing has.
    Heartbeat,
    /// The answer ends: the session or token does not hold any more, or the set is too large.
    End,
}

/// One line of the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ReachabilityLineView {
    event: ReachabilityEvent,
    /// What is held once this line and those before it are followed; send it as `from` to go on from here.
    serial: String,
    /// Version of the route table that explains it.
    table_version: u64,
    /// Whether more lines belong to the same serial, which counts only after the last of them.
    more: bool,
    /// Prefixes that are reached: all numbers that begin with one, save those beneath a longer prefix that is named.
    #[schema(value_type = Vec<String>)]
    reached: Vec<Prefix>,
    /// Prefixes beneath one that is reached, and that are not.
    #[schema(value_type = Vec<String>)]
    excepted: Vec<Prefix>,
    /// Prefixes that are not named any more.
    #[schema(value_type = Vec<String>)]
    gone: Vec<Prefix>,
    /// Why the set begins anew although `from` was sent, or why the answer ends.
    #[schema(required)]
    why: Option<&'static str>,
}

/// Where to go on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReachabilityQuery {
    /// The serial of the last line that was followed; the full set where it is left out, or is too old.
    #[serde(default)]
    from: Option<String>,
}

/// The sets of all members that are followed.
pub(crate) struct Reachabilities {
    members: Mutex<HashMap<MemberId, Arc<Followed>>>,
    /// One look at a time.
    turn: Semaphore,
}

/// What is known of one member's set.
struct Followed {
    state: Mutex<Known>,
    /// Held while somebody looks, so that others need not.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// Of this process: serials of another one mean nothing here.
    epoch: u64,
    serial: u64,
    table_version: u64,
    reach: Arc<Reach>,
    /// The changes that led to the last serials, the newest last.
    changes: VecDeque<Arc<Change>>,
    kept: usize,
    looked_at: Option<Instant>,
    took: Duration,
}

/// What has happened since a serial.
struct News {
    epoch: u64,
    serial: u64,
    table_version: u64,
    reach: Arc<Reach>,
    /// The changes since then; nothing where they are not kept any more.
    changes: Option<Vec<Arc<Change>>>,
}

struct Change {
    serial: u64,
    table_version: u64,
    delta: ReachDelta,
}

impl Default for Reachabilities {
    fn default() -> Self {
        Self { members: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Reachabilities {
    fn of(&self, member: MemberId, app: &AppState) -> Arc<Followed> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if members.len() >= MAX_MEMBERS && !members.contains_key(&member) {
            members.retain(|_, followed| Arc::strong_count(followed) > 1);
        }
        let new = || {
            let mut random = [0; 8];
            (app.entropy)(&mut random);
            let known = Known { epoch: u64::from_le_bytes(random), ..Known::default() };
            Arc::new(Followed { state: Mutex::new(known), looking: tokio::sync::Mutex::default() })
        };
        Arc::clone(members.entry(member).or_insert_with(new))
    }
}

impl Known {
    /// The number of a serial that is one of these.
    fn number(&self, text: &str) -> Option<u64> {
        let (epoch, serial) = text.split_once('-')?;
        let is_own = u64::from_str_radix(epoch, 16).ok()? == self.epoch;
        serial.parse().ok().filter(|serial| is_own && *serial <= self.serial)
    }

    /// The changes after a serial; nothing where they are not kept any more.
    fn since(&self, serial: u64) -> Option<Vec<Arc<Change>>> {
        let missing = self.serial.checked_sub(serial)? as usize;
        let first = self.changes.len().checked_sub(missing)?;
        Some(self.changes.iter().skip(first).cloned().collect())
    }

    fn news(&self, since: Option<u64>) -> News {
        let Self { epoch, serial, table_version, .. } = *self;
        let changes = since.and_then(|since| self.since(since));
        News { epoch, serial, table_version, reach: Arc::clone(&self.reach), changes }
    }

    fn is_due(&self, version: u64, now: Instant) -> bool {
        let Some(at) = self.looked_at else { return true };
        let since = now.saturating_duration_since(at);
        let wait = if version == self.table_version { LOOK_AGAIN } else { Duration::ZERO };
        since >= wait.max(self.took * REST)
    }

    fn advance(&mut self, next: Reach, table_version: u64) {
        let delta = self.reach.delta(&next);
        self.table_version = table_version;
        if delta.is_empty() && self.serial > 0 {
            return;
        }
        self.serial += 1;
        self.kept += delta.len();
        self.reach = Arc::new(next);
        self.changes.push_back(Arc::new(Change { serial: self.serial, table_version, delta }));
        while self.kept > MAX_KEPT
            && let Some(oldest) = self.changes.pop_front()
        {
            self.kept -= oldest.delta.len();
        }
    }
}

impl Followed {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the set has changed, where it is time to.
    async fn look(&self, app: &AppState, member: MemberId) {
        let _looking = self.looking.lock().await;
        let table = app.table.load_full();
        if !self.known().is_due(table.version(), app.clock.instant()) {
            return;
        }
        let Ok(_turn) = app.reachabilities.turn.acquire().await else { return };
        let (began, now, version) = (app.clock.instant(), app.clock.now(), table.version());
        let Ok(reach) = tokio::task::spawn_blocking(move || Reach::of(&table, member, now)).await else {
            return;
        };
        let ended = app.clock.instant();
        let mut known = self.known();
        known.advance(reach, version);
        known.looked_at = Some(ended);
        known.took = ended.saturating_duration_since(began);
    }
}

/// `GET /api/v1/members/{member_id}/reachability`: the prefixes that the member can reach, then what changes.
///
/// The answer goes on until one side ends it: a line of JSON for each change within about a second, and a heartbeat where nothing changes.
/// To go on after a break, send the last serial as `from`; where that is too old, the answer begins with the full set
/// and says so. A number is reached where the longest prefix that is held and that it begins with is one that is reached.
#[utoipa::path(get, path = "/members/{member_id}/reachability", tag = "lookup",
    params(("member_id" = Uuid, Path), ReachabilityQuery),
    responses((status = 200, body = ReachabilityLineView, content_type = "application/x-ndjson")))]
pub(crate) async fn follow_reachability(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<ReachabilityQuery>,
) -> Result<Response, ApiError> {
    session.may_read(member)?;
    if member::get(&app.db, member).await?.is_none() {
        return Err(ApiError::new(Reason::NotFound));
    }
    let (lines, response) = Lines::begin(app.streams.take(session.member)?);
    tokio::spawn(async move {
        let follower = Follower { followed: app.reachabilities.of(member, &app), member, session, app };
        // Who is gone is told nothing more.
        let _ = follower.run(lines, query.from).await;
    });
    Ok(response)
}

/// One answer that is under way.
struct Follower {
    app: App,
    session: Session,
    member: MemberId,
    followed: Arc<Followed>,
}

impl Follower {
    async fn run(self, mut lines: Lines, from: Option<String>) -> Result<(), Gone> {
        self.followed.look(&self.app, self.member).await;
        let mut serial = from.as_deref().and_then(|from| self.followed.known().number(from));
        let mut why =
            (from.is_some() && serial.is_none()).then_some("the serial is too old, or not of this node");
        let (mut spoken, mut checked) = (self.app.clock.instant(), self.app.clock.instant());
        loop {
            let news = self.followed.known().news(serial);
            if news.reach.len() > MAX_PREFIXES {
                return end(lines, &news, "the set is too large to be followed").await;
            }
            let is_new = serial != Some(news.serial);
            match &news.changes {
                Some(changes) => {
                    for change in changes {
                        write_change(&mut lines, &news, change).await?;
                    }
                }
                None => {
                    let too_many = serial.map(|_| "the changes since the last line are too many");
                    write_full(&mut lines, &news, why.take().or(too_many)).await?;
                }
            }
            serial = Some(news.serial);
            let now = self.app.clock.instant();
            if is_new {
                spoken = now;
            } else if now.saturating_duration_since(spoken) >= HEARTBEAT {
                let nothing = ReachDelta::default();
                lines.write(&news.line(ReachabilityEvent::Heartbeat, news.serial, nothing, None)).await?;
                spoken = now;
            }
            if now.saturating_duration_since(checked) >= CHECK {
                checked = now;
                if !self.session.still_holds(&self.app).await {
                    return end(lines, &news, "the session or token does not hold any more").await;
                }
            }
            lines.flush().await?;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = lines.gone() => return Err(Gone),
            }
            self.followed.look(&self.app, self.member).await;
        }
    }
}

impl News {
    fn line(
        &self,
        event: ReachabilityEvent,
        serial: u64,
        delta: ReachDelta,
        why: Option<&'static str>,
    ) -> ReachabilityLineView {
        let ReachDelta { reached, excepted, gone } = delta;
        let (serial, table_version) = (format!("{:016x}-{serial}", self.epoch), self.table_version);
        ReachabilityLineView { event, serial, table_version, more: false, reached, excepted, gone, why }
    }
}

async fn end(mut lines: Lines, news: &News, why: &'static str) -> Result<(), Gone> {
    let nothing = ReachDelta::default();
    lines.write(&news.line(ReachabilityEvent::End, news.serial, nothing, Some(why))).await?;
    lines.flush().await
}

async fn write_full(lines: &mut Lines, news: &News, why: Option<&'static str>) -> Result<(), Gone> {
    let mut parts = news.reach.parts(LINE).peekable();
    let first = parts.next().unwrap_or_default();
    let mut line = news.line(ReachabilityEvent::Full, news.serial, first, why);
    loop {
        line.more = parts.peek().is_some();
        lines.write(&line).await?;
        let Some(part) = parts.next() else { return Ok(()) };
        line = news.line(ReachabilityEvent::Change, news.serial, part, None);
    }
}

async fn write_change(lines: &mut Lines, news: &News, change: &Change) -> Result<(), Gone> {
    let mut parts = parts_of(&change.delta).into_iter().peekable();
    while let Some(part) = parts.next() {
        let mut line = news.line(ReachabilityEvent::Change, change.serial, part, None);
        line.table_version = change.table_version;
        line.more = parts.peek().is_some();
        lines.write(&line).await?;
    }
    Ok(())
}

/// A change in parts of a line each.
fn parts_of(delta: &ReachDelta) -> Vec<ReachDelta> {
    let mut parts = Vec::new();
    let none = ReachDelta::default;
    parts.extend(delta.gone.chunks(LINE).map(|gone| ReachDelta { gone: gone.to_vec(), ..none() }));
    parts
        .extend(delta.reached.chunks(LINE).map(|reached| ReachDelta { reached: reached.to_vec(), ..none() }));
    parts.extend(
        delta.excepted.chunks(LINE).map(|excepted| ReachDelta { excepted: excepted.to_vec(), ..none() }),
    );
    if delta.len() <= LINE { vec![delta.clone()] } else { parts }
}
