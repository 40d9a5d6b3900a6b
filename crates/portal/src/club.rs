//! Agreements of many: the operator makes clubs, members join and leave them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{AgreementId, AgreementTerms, MemberId, MemberState, Reason, TagDemand};
use tandem_store::club::{self, NewClub, StoredClub};
use tandem_store::{PgConnection, listener, member};
use utoipa::ToSchema;

use crate::agreement_terms::{self, AdvanceLists, HoursLists};
use crate::app::App;
use crate::call_limits;
use crate::member::MemberRef;
use crate::page::{Page, PageQuery};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;
use crate::transit_terms::{TransitAsked, check_deck};

/// An agreement of many: each member that has joined may call each other one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ClubView {
    #[schema(value_type = Uuid)]
    club_id: AgreementId,
    name: String,
    display_name: String,
    note: String,
    /// Most calls up at once under it, among all of its members; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, among all of its members; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is null.
    #[schema(required)]
    advance_on: Option<AdvanceLists>,
    /// When calls cross; always where it is null.
    #[schema(required)]
    hours: Option<HoursLists>,
    /// Names of sites: endpoints there take calls before all others.
    sites: Vec<String>,
    /// Which tags an announcement must bear to be called under it; any where it is null.
    #[schema(required)]
    demand: Option<String>,
    /// What is asked of transit routes; `margin_floor` is shown to the operator only.
    transit: TransitAsked,
    created_at: DateTime<Utc>,
    /// Who has joined, by name.
    members: Vec<MemberRef>,
    /// Whom the operator expelled, by name; only the operator, and who was expelled, sees that.
    expelled: Vec<MemberRef>,
}

/// A club as the operator makes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClubInput {
    /// Lower-case letters, digits and hyphens; at most 40. It cannot change later.
    #[schema(example = "peering")]
    name: String,
    display_name: String,
    /// What it is for. At most 2000 characters.
    #[serde(default)]
    note: String,
    /// Most calls up at once under it, among all of its members; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, among all of its members; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate.
    #[serde(default)]
    advance_on: Option<AdvanceLists>,
    /// When calls cross; always where it is left out or null.
    #[serde(default)]
    hours: Option<HoursLists>,
    /// Names of sites, as `GET /connect` lists them: endpoints there take calls before all others.
    #[serde(default)]
    #[schema(max_items = 16)]
    sites: Vec<String>,
    /// Which tags an announcement must bear to be called under it, with `and`, `or` and brackets; at most 200 characters.
    #[serde(default)]
    demand: Option<String>,
    /// What is asked of transit routes; its deck is one of the operator.
    #[serde(default)]
    transit: TransitAsked,
}

/// Which member an act of the operator is about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClubMemberInput {
    /// Name or id of the member.
    #[schema(example = "globex")]
    member: String,
}

impl ClubInput {
    fn read(self, known_sites: &[String]) -> Result<NewClub, ApiError> {
        let mut faults = Faults::default();
        let name = text::name(&mut faults, "name", &self.name, "-", 40);
        let display_name = text::line(&mut faults, "display_name", &self.display_name, 1, 80);
        let note = text::lines(&mut faults, "note", &self.note, 2000);
        let limits = call_limits::read(&mut faults, self.max_calls, self.max_calls_per_second);
        let advance_on = self.advance_on.and_then(|lists| lists.read(&mut faults));
        let hours = self.hours.and_then(|hours| hours.read(&mut faults));
        let sites = agreement_terms::read_sites(&mut faults, self.sites, known_sites);
        let demand = self.demand.filter(|demand| !demand.trim().is_empty());
        let demand = demand.and_then(|demand| faults.take("demand", demand.parse::<TagDemand>()));
        let transit = self.transit.read(&mut faults);
        let ((name, display_name), note) = faults.hold(name.zip(display_name).zip(note))?;
        let terms = AgreementTerms { hours, sites, demand, transit, ..AgreementTerms::default() };
        Ok(NewClub { name, display_name, note, limits, advance_on, terms })
    }
}

impl ClubView {
    /// The club as the operator sees it, or as `member` does.
    fn of(
        StoredClub { agreement_id, club, created_at, members, expelled }: StoredClub,
        member: Option<MemberId>,
    ) -> Self {
        let mut transit = club.terms.transit;
        transit.margin_floor = transit.margin_floor.filter(|_| member.is_none());
        let refs = |names: Vec<member::MemberName>| names.into_iter().map(MemberRef::from).collect();
        let expelled = expelled.into_iter().filter(|it| member.is_none_or(|member| it.member_id == member));
        Self {
            club_id: agreement_id,
            name: club.name,
            display_name: club.display_name,
            note: club.note,
            max_calls: club.limits.max_calls,
            max_calls_per_second: club.limits.max_calls_per_second,
            advance_on: club.advance_on.map(AdvanceLists::from),
            hours: club.terms.hours.map(HoursLists::from),
            sites: club.terms.sites,
            demand: club.terms.demand.map(|demand| demand.to_string()),
            transit: transit.into(),
            created_at,
            members: refs(members),
            expelled: refs(expelled.collect()),
        }
    }
}

async fn find(db: &mut PgConnection, id: AgreementId) -> Result<StoredClub, ApiError> {
    let found = club::list(db, Some(id), None, 1).await?.pop();
    found.ok_or_else(|| ApiError::new(Reason::NotFound))
}

/// `GET /api/v1/clubs`: every club, by name.
#[utoipa::path(get, path = "/clubs", tag = "clubs", params(PageQuery),
    responses((status = 200, body = Page<ClubView>)))]
pub(crate) async fn list_all_clubs(
    State(app): State<App>,
    session: Session,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ClubView>>, ApiError> {
    session.must_be_operator()?;
    let place = query.read::<String>()?;
    let clubs = club::list(&app.db, None, place.after.as_deref(), place.reads()).await?;
    Ok(Json(place.page(clubs, |it| it.club.name.clone(), |it| ClubView::of(it, None))))
}

/// `POST /api/v1/clubs`: makes a club.
#[utoipa::path(post, path = "/clubs", tag = "clubs", request_body = ClubInput,
    responses((status = 201, body = ClubView)))]
pub(crate) async fn create_club(
    State(app): State<App>,
    session: Session,
    Body(input): Body<ClubInput>,
) -> Result<(StatusCode, Json<ClubView>), ApiError> {
    session.must_be_operator()?;
    let new = input.read(&listener::sites(&app.db).await?)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    check_deck(&mut transaction, &new.terms.transit, &[]).await?;
    let id = club::insert(&mut *transaction, &new, now).await?;
    let view = ClubView::of(find(&mut transaction, id).await?, None);
    session.record(&mut transaction, now, Change::of("club.create", None, id.0, None, Some(&view))).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /api/v1/members/{member_id}/clubs`: every club that the member may join, or has joined, by name.
#[utoipa::path(get, path = "/members/{member_id}/clubs", tag = "clubs",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<ClubView>)))]
pub(crate) async fn list_clubs(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ClubView>>, ApiError> {
    session.may_read(member)?;
    let place = query.read::<String>()?;
    let stored = member::get(&app.db, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    // Who is not approved learns nobody's name.
    let clubs = match stored.state {
        MemberState::Approved => club::list(&app.db, None, place.after.as_deref(), place.reads()).await?,
        _ => Vec::new(),
    };
    Ok(Json(place.page(clubs, |it| it.club.name.clone(), |it| ClubView::of(it, Some(member)))))
}

/// `POST /api/v1/members/{member_id}/clubs/{club_id}/join`: the member may call, and is called by, all that have joined.
#[utoipa::path(post, path = "/members/{member_id}/clubs/{club_id}/join", tag = "clubs",
    params(("member_id" = Uuid, Path), ("club_id" = Uuid, Path)), responses((status = 200, body = ClubView)))]
pub(crate) async fn join_club(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AgreementId)>,
) -> Result<Json<ClubView>, ApiError> {
    session.may_change(member)?;
    act(app, session, id, member, Some(member), Act::Join).await
}

/// `POST /api/v1/members/{member_id}/clubs/{club_id}/leave`: no new call crosses under it between the member and others.
#[utoipa::path(post, path = "/members/{member_id}/clubs/{club_id}/leave", tag = "clubs",
    params(("member_id" = Uuid, Path), ("club_id" = Uuid, Path)), responses((status = 200, body = ClubView)))]
pub(crate) async fn leave_club(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AgreementId)>,
) -> Result<Json<ClubView>, ApiError> {
    session.may_change(member)?;
    act(app, session, id, member, Some(member), Act::Leave).await
}

/// `POST /api/v1/clubs/{club_id}/expel`: a member leaves, and joins again only when it is readmitted.
#[utoipa::path(post, path = "/clubs/{club_id}/expel", tag = "clubs", params(("club_id" = Uuid, Path)),
    request_body = ClubMemberInput, responses((status = 200, body = ClubView)))]
pub(crate) async fn expel_from_club(
    State(app): State<App>,
    session: Session,
    Id(id): Id<AgreementId>,
    Body(input): Body<ClubMemberInput>,
) -> Result<Json<ClubView>, ApiError> {
    session.must_be_operator()?;
    let member = named(&app, &input.member).await?;
    act(app, session, id, member, None, Act::Expel).await
}

/// `POST /api/v1/clubs/{club_id}/readmit`: a member that was expelled may join again.
#[utoipa::path(post, path = "/clubs/{club_id}/readmit", tag = "clubs", params(("club_id" = Uuid, Path)),
    request_body = ClubMemberInput, responses((status = 200, body = ClubView)))]
pub(crate) async fn readmit_to_club(
    State(app): State<App>,
    session: Session,
    Id(id): Id<AgreementId>,
    Body(input): Body<ClubMemberInput>,
) -> Result<Json<ClubView>, ApiError> {
    session.must_be_operator()?;
    let member = named(&app, &input.member).await?;
    act(app, session, id, member, None, Act::Readmit).await
}

async fn named(app: &App, name: &str) -> Result<MemberId, ApiError> {
    let found = member::find(&app.db, name).await?;
    found.map(|it| it.member_id).ok_or_else(|| ApiError::field("member", "there is no member of this name"))
}

#[derive(Clone, Copy)]
enum Act {
    Join,
    Leave,
    Expel,
    Readmit,
}

/// Does it in one transaction with its audit entry; `seen_by` is who gets the answer, the operator where it is `None`.
async fn act(
    app: App,
    session: Session,
    id: AgreementId,
    member: MemberId,
    seen_by: Option<MemberId>,
    act: Act,
) -> Result<Json<ClubView>, ApiError> {
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = find(&mut transaction, id).await?;
    let done = match act {
        Act::Join if before.has_expelled(member) => return Err(ApiError::new(Reason::ClubExpelled)),
        Act::Join if before.has(member) => return Err(ApiError::new(Reason::ClubJoined)),
        Act::Join => {
            let stored = member::get(&mut *transaction, member).await?;
            if stored.is_none_or(|stored| stored.state != MemberState::Approved) {
                return Err(ApiError::new(Reason::MemberNotApproved));
            }
            club::join(&mut *transaction, id, member, now).await?;
            true
        }
        Act::Leave => club::leave(&mut *transaction, id, member, false, now).await?,
        Act::Expel => club::leave(&mut *transaction, id, member, true, now).await?,
        Act::Readmit => club::readmit(&mut *transaction, id, member).await?,
    };
    if !done {
        return Err(ApiError::new(Reason::ClubNotJoined));
    }
    let action = match act {
        Act::Join => "club.join",
        Act::Leave => "club.leave",
        Act::Expel => "club.expel",
        Act::Readmit => "club.readmit",
    };
    let after = ClubView::of(find(&mut transaction, id).await?, seen_by);
    let before = ClubView::of(before, seen_by);
    let change = Change::of(action, Some(member), id.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}
