//! Rate decks: what transit costs, or what is paid for it. A deck is loaded as a whole, from an instant on.

use std::fmt::Display;
use std::str::FromStr;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{DeckRate, MemberId, Prefix, Rate, RateDeckId, Reason, Validity};
use tandem_store::rate_deck::{self, StoredDeck, StoredRate};
use tandem_store::{PgConnection, member};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::csv;
use crate::page::{Page, PageQuery, Place};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query, media_type, parse_json, read_body};
use crate::session::{Change, Session};
use crate::text;

/// Most rates of one load.
const MAX_RATES: usize = 200_000;

/// Most octets of one load.
pub(crate) const MAX_BODY: usize = 32 * 1024 * 1024;

/// A dated list of prefixes and rates.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RateDeckView {
    #[schema(value_type = Uuid)]
    rate_deck_id: RateDeckId,
    /// Whose it is; null where it is the operator's.
    #[schema(required, value_type = Option<Uuid>)]
    member_id: Option<MemberId>,
    #[schema(example = "pstn-a-z")]
    name: String,
    /// The currency of the exchange, by its code of ISO 4217.
    #[schema(example = "EUR")]
    currency: String,
    /// How often rates were loaded.
    version: u32,
    /// How many rates are in force.
    rates: u64,
    created_at: DateTime<Utc>,
}

/// A deck to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateDeckInput {
    /// Lower-case letters, digits and hyphens; unique with its owner.
    #[schema(example = "pstn-a-z")]
    name: String,
}

/// What a minute costs to numbers that begin with a prefix.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RateView {
    #[schema(value_type = String, example = "+4420")]
    prefix: Prefix,
    /// An exact decimal.
    #[schema(value_type = String, example = "0.0045")]
    per_minute: Rate,
    valid_from: DateTime<Utc>,
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
    /// The version of the deck that brought it.
    version: u32,
}

/// A rate to load.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateRow {
    /// The leading digits of the numbers, internationally.
    #[schema(example = "+4420")]
    prefix: String,
    /// What a minute costs: an exact decimal of at most 6 places, from 0 to less than a million.
    #[schema(example = "0.0045")]
    per_minute: String,
    /// From when on; when the load begins where it is left out.
    #[serde(default)]
    valid_from: Option<DateTime<Utc>>,
    /// Until before when; until further notice where it is left out.
    #[serde(default)]
    valid_until: Option<DateTime<Utc>>,
}

/// Rates that replace those of a deck.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RatesInput {
    /// From when on the deck has these rates and no other; from now where it is left out.
    #[serde(default)]
    valid_from: Option<DateTime<Utc>>,
    #[schema(max_items = 200_000)]
    rates: Vec<RateRow>,
}

/// How to load a CSV file.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LoadQuery {
    /// For a CSV body, which cannot say it itself: from when on the deck has its rates and no other; from now where it
    /// is left out.
    valid_from: Option<DateTime<Utc>>,
}

/// Which rates to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RateQuery {
    /// Only prefixes that begin with these digits.
    prefix: Option<String>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// A rate's place in a list: its prefix and begin.
struct RateCursor(String, DateTime<Utc>);

impl Display for RateCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1.timestamp_micros())
    }
}

impl FromStr for RateCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (prefix, at) = text.split_once('.').ok_or(())?;
        let prefix: Prefix = prefix.parse().map_err(|_| ())?;
        let at = DateTime::from_timestamp_micros(at.parse().map_err(|_| ())?).ok_or(())?;
        Ok(Self(prefix.digits(), at))
    }
}

impl From<StoredDeck> for RateDeckView {
    fn from(deck: StoredDeck) -> Self {
        Self {
            rate_deck_id: deck.rate_deck_id,
            member_id: deck.member_id,
            name: deck.name,
            currency: deck.currency.to_string(),
            version: deck.version,
            rates: deck.rates,
            created_at: deck.created_at,
        }
    }
}

impl From<StoredRate> for RateView {
    fn from(StoredRate { rate, version }: StoredRate) -> Self {
        let DeckRate { prefix, per_minute, validity } = rate;
        Self { prefix, per_minute, valid_from: validity.from, valid_until: validity.until, version }
    }
}

impl RateRow {
    /// The rate of a load that begins at `begins`, or notes what is at fault.
    fn read(&self, faults: &mut Faults, begins: DateTime<Utc>) -> Option<DeckRate> {
        let prefix = text::prefix(faults, "prefix", &self.prefix);
        let per_minute = faults.take("per_minute", self.per_minute.parse::<Rate>());
        let validity = Validity { from: self.valid_from.unwrap_or(begins), until: self.valid_until };
        if validity.from < begins {
            faults.note("valid_from", "it is before the load begins; leave it out or write a later time");
        }
        if validity.until.is_some_and(|until| until <= validity.from) {
            faults.note("valid_until", "it must be later than valid_from");
        }
        let years = [Some(validity.from), validity.until];
        if years.into_iter().flatten().any(|at| !(2000..10_000).contains(&chrono::Datelike::year(&at))) {
            faults.note("valid_from", "write times from the year 2000 on, before the year 10000");
        }
        Some(DeckRate { prefix: prefix?, per_minute: per_minute?, validity })
    }
}

async fn find(
    db: &mut PgConnection,
    owner: Option<MemberId>,
    id: RateDeckId,
    now: DateTime<Utc>,
) -> Result<RateDeckView, ApiError> {
    let found = rate_deck::list(db, owner, Some(id), None, 1, now).await?.pop();
    found.map(RateDeckView::from).ok_or_else(|| ApiError::new(Reason::NotFound))
}

/// `GET /api/v1/members/{member_id}/rate-decks`: the decks of the member, by name.
#[utoipa::path(get, path = "/members/{member_id}/rate-decks", tag = "rate decks",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<RateDeckView>)))]
pub(crate) async fn list_rate_decks(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<RateDeckView>>, ApiError> {
    session.may_read(member)?;
    list(app, Some(member), query).await
}

/// `GET /api/v1/rate-decks`: the decks of the operator, by name.
#[utoipa::path(get, path = "/rate-decks", tag = "rate decks", params(PageQuery),
    responses((status = 200, body = Page<RateDeckView>)))]
pub(crate) async fn list_own_rate_decks(
    State(app): State<App>,
    session: Session,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<RateDeckView>>, ApiError> {
    session.must_be_operator()?;
    list(app, None, query).await
}

async fn list(
    app: App,
    owner: Option<MemberId>,
    query: PageQuery,
) -> Result<Json<Page<RateDeckView>>, ApiError> {
    let place = query.read::<String>()?;
    let (after, now) = (place.after.as_deref(), app.clock.now());
    let decks = rate_deck::list(&app.db, owner, None, after, place.reads(), now).await?;
    Ok(Json(place.page(decks, |it| it.name.clone(), RateDeckView::from)))
}

/// `POST /api/v1/members/{member_id}/rate-decks`: makes a deck without rates.
#[utoipa::path(post, path = "/members/{member_id}/rate-decks", tag = "rate decks",
    params(("member_id" = Uuid, Path)), request_body = RateDeckInput,
    responses((status = 201, body = RateDeckView)))]
pub(crate) async fn create_rate_deck(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<RateDeckInput>,
) -> Result<(StatusCode, Json<RateDeckView>), ApiError> {
    session.may_change(member)?;
    create(app, session, Some(member), input).await
}

/// `POST /api/v1/rate-decks`: makes a deck of the operator without rates.
#[utoipa::path(post, path = "/rate-decks", tag = "rate decks", request_body = RateDeckInput,
    responses((status = 201, body = RateDeckView)))]
pub(crate) async fn create_own_rate_deck(
    State(app): State<App>,
    session: Session,
    Body(input): Body<RateDeckInput>,
) -> Result<(StatusCode, Json<RateDeckView>), ApiError> {
    session.must_be_operator()?;
    create(app, session, None, input).await
}

async fn create(
    app: App,
    session: Session,
    owner: Option<MemberId>,
    input: RateDeckInput,
) -> Result<(StatusCode, Json<RateDeckView>), ApiError> {
    let mut faults = Faults::default();
    let name = text::name(&mut faults, "name", &input.name, "-", 40);
    let name = faults.hold(name)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    if let Some(member) = owner {
        member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    }
    let id = rate_deck::insert(&mut *transaction, owner, &name, now).await?;
    let view = find(&mut transaction, owner, id, now).await?;
    let change = Change::of("rate_deck.create", owner, id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `DELETE /api/v1/members/{member_id}/rate-decks/{rate_deck_id}`: removes a deck that no offer of transit names.
#[utoipa::path(delete, path = "/members/{member_id}/rate-decks/{rate_deck_id}", tag = "rate decks",
    params(("member_id" = Uuid, Path), ("rate_deck_id" = Uuid, Path)),
    responses((status = 204, description = "removed")))]
pub(crate) async fn delete_rate_deck(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, RateDeckId)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    delete(app, session, Some(member), id).await
}

/// `DELETE /api/v1/rate-decks/{rate_deck_id}`: removes a deck of the operator. Agreements that name it find no rate in it.
#[utoipa::path(delete, path = "/rate-decks/{rate_deck_id}", tag = "rate decks",
    params(("rate_deck_id" = Uuid, Path)), responses((status = 204, description = "removed")))]
pub(crate) async fn delete_own_rate_deck(
    State(app): State<App>,
    session: Session,
    Id(id): Id<RateDeckId>,
) -> Result<StatusCode, ApiError> {
    session.must_be_operator()?;
    delete(app, session, None, id).await
}

async fn delete(
    app: App,
    session: Session,
    owner: Option<MemberId>,
    id: RateDeckId,
) -> Result<StatusCode, ApiError> {
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = find(&mut transaction, owner, id, now).await?;
    rate_deck::delete(&mut *transaction, owner, id).await?;
    let change = Change::of("rate_deck.delete", owner, id.0, Some(&before), None);
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/members/{member_id}/rate-decks/{rate_deck_id}/rates`: rates of a deck in force now or later, by prefix.
///
/// The deck is the member's, or one that terms name: of an agreement that it has or is offered, or of a club. By that it pays
/// for transit.
#[utoipa::path(get, path = "/members/{member_id}/rate-decks/{rate_deck_id}/rates", tag = "rate decks",
    params(("member_id" = Uuid, Path), ("rate_deck_id" = Uuid, Path), RateQuery),
    responses((status = 200, body = Page<RateView>)))]
pub(crate) async fn list_rates(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, RateDeckId)>,
    Query(query): Query<RateQuery>,
) -> Result<Json<Page<RateView>>, ApiError> {
    session.may_read(member)?;
    if !rate_deck::is_shown(&app.db, member, id).await? {
        return Err(ApiError::new(Reason::NotFound));
    }
    rates(app, id, query).await
}

/// `GET /api/v1/rate-decks/{rate_deck_id}/rates`: rates of a deck of the operator in force now or later, by prefix.
#[utoipa::path(get, path = "/rate-decks/{rate_deck_id}/rates", tag = "rate decks",
    params(("rate_deck_id" = Uuid, Path), RateQuery), responses((status = 200, body = Page<RateView>)))]
pub(crate) async fn list_own_rates(
    State(app): State<App>,
    session: Session,
    Id(id): Id<RateDeckId>,
    Query(query): Query<RateQuery>,
) -> Result<Json<Page<RateView>>, ApiError> {
    session.must_be_operator()?;
    find(&mut *app.db.acquire().await?, None, id, app.clock.now()).await?;
    rates(app, id, query).await
}

async fn rates(app: App, id: RateDeckId, query: RateQuery) -> Result<Json<Page<RateView>>, ApiError> {
    let place: Place<RateCursor> = Place::read(query.cursor.as_deref(), query.limit)?;
    let mut faults = Faults::default();
    let digits = text::digits(&mut faults, "prefix", query.prefix.as_deref());
    faults.check()?;
    let (now, limit) = (app.clock.now(), place.reads());
    let after = place.after.as_ref().map(|RateCursor(prefix, at)| (prefix.clone(), *at));
    let found = rate_deck::rates(&app.db, id, digits.as_deref(), after.as_ref(), limit, now).await?;
    let cursor = |it: &StoredRate| RateCursor(it.rate.prefix.digits(), it.rate.validity.from);
    Ok(Json(place.page(found, cursor, RateView::from)))
}

/// `PUT /api/v1/members/{member_id}/rate-decks/{rate_deck_id}/rates`: loads a deck: from an instant on it has just these rates.
///
/// A CSV body begins with the line `prefix,per_minute`, which may go on with `,valid_from,valid_until`; times are as in
/// JSON, and empty where they are left out.
#[utoipa::path(put, path = "/members/{member_id}/rate-decks/{rate_deck_id}/rates", tag = "rate decks",
    params(("member_id" = Uuid, Path), ("rate_deck_id" = Uuid, Path), LoadQuery),
    request_body(content((RatesInput = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = RateDeckView)))]
pub(crate) async fn load_rates(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, RateDeckId)>,
    Query(query): Query<LoadQuery>,
    request: Request,
) -> Result<Json<RateDeckView>, ApiError> {
    session.may_change(member)?;
    load(app, session, (Some(member), id), query, request).await
}

/// `PUT /api/v1/rate-decks/{rate_deck_id}/rates`: loads a deck of the operator: from an instant on it has just these rates.
///
/// A CSV body begins with the line `prefix,per_minute`, which may go on with `,valid_from,valid_until`; times are as in
/// JSON, and empty where they are left out.
#[utoipa::path(put, path = "/rate-decks/{rate_deck_id}/rates", tag = "rate decks",
    params(("rate_deck_id" = Uuid, Path), LoadQuery),
    request_body(content((RatesInput = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = RateDeckView)))]
pub(crate) async fn load_own_rates(
    State(app): State<App>,
    session: Session,
    Id(id): Id<RateDeckId>,
    Query(query): Query<LoadQuery>,
    request: Request,
) -> Result<Json<RateDeckView>, ApiError> {
    session.must_be_operator()?;
    load(app, session, (None, id), query, request).await
}

async fn load(
    app: App,
    session: Session,
    (owner, id): (Option<MemberId>, RateDeckId),
    query: LoadQuery,
    request: Request,
) -> Result<Json<RateDeckView>, ApiError> {
    let kind = media_type(request.headers());
    // Large bodies take turns, as those of announcements do.
    let _room = app.bulk_room.acquire().await.map_err(|_| ApiError::new(Reason::Overloaded))?;
    let octets = read_body(request, &app).await?;
    let (asked, rows) = read_rows(&kind, &octets, query.valid_from)?;
    let now = app.clock.now();
    let begins = asked.unwrap_or(now);
    if begins < now {
        return Err(ApiError::field("valid_from", "it is in the past; leave it out to begin now"));
    }
    let mut faults = Faults::default();
    let mut read = Vec::with_capacity(rows.len());
    for (number, row) in &rows {
        faults.at_row(*number);
        read.extend(row.read(&mut faults, begins));
    }
    faults.check()?;
    let mut transaction = app.db.begin().await?;
    let before = find(&mut transaction, owner, id, now).await?;
    rate_deck::load(&mut transaction, id, &read, begins).await?;
    let after = find(&mut transaction, owner, id, now).await?;
    let change = Change::of("rate_deck.load", owner, id.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

/// From when on, and the rows with what an error calls each of them.
type Rows = (Option<DateTime<Utc>>, Vec<(usize, RateRow)>);

fn read_rows(kind: &str, octets: &[u8], valid_from: Option<DateTime<Utc>>) -> Result<Rows, ApiError> {
    match kind {
        "text/csv" => {
            let lines =
                csv::records(octets, &["prefix", "per_minute"], &["valid_from", "valid_until"], MAX_RATES)?;
            let mut faults = Faults::default();
            let mut time = |line: usize, field: &str, text: Option<&str>| {
                let text = text.map(str::trim).filter(|text| !text.is_empty())?;
                faults.at_row(line);
                let read = text.parse::<DateTime<Utc>>();
                faults.take(field, read.map_err(|_| "write a time such as 2030-01-01T00:00:00Z"))
            };
            let row = |(line, fields): &(usize, ::csv::StringRecord)| {
                let row = RateRow {
                    prefix: fields[0].trim().to_owned(),
                    per_minute: fields[1].trim().to_owned(),
                    valid_from: time(*line, "valid_from", fields.get(2)),
                    valid_until: time(*line, "valid_until", fields.get(3)),
                };
                (*line, row)
            };
            let rows = lines.iter().map(row).collect();
            faults.check()?;
            Ok((valid_from, rows))
        }
        "application/json" => {
            let input: RatesInput = parse_json(octets)?;
            if input.rates.len() > MAX_RATES {
                let count = input.rates.len();
                return Err(ApiError::new(Reason::TooLarge)
                    .detail(format!("There are {count} rates; load at most {MAX_RATES} at once.")));
            }
            let begins = input.valid_from.or(valid_from);
            Ok((begins, input.rates.into_iter().enumerate().map(|(index, row)| (index + 1, row)).collect()))
        }
        _ => Err(ApiError::new(Reason::BadRequest)
            .detail("Send Content-Type: application/json or Content-Type: text/csv.")),
    }
}

/// The currency of the exchange.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CurrencyView {
    /// Its code of ISO 4217.
    #[schema(example = "EUR")]
    currency: String,
}

/// `GET /api/v1/currency`: the currency of all rates.
#[utoipa::path(get, path = "/currency", tag = "rate decks", responses((status = 200, body = CurrencyView)))]
pub(crate) async fn get_currency(
    State(app): State<App>,
    _session: Session,
) -> Result<Json<CurrencyView>, ApiError> {
    Ok(Json(CurrencyView { currency: rate_deck::currency(&app.db).await?.to_string() }))
}

/// `PUT /api/v1/currency`: sets the currency of all rates, while there is no deck.
#[utoipa::path(put, path = "/currency", tag = "rate decks", request_body = CurrencyView,
    responses((status = 200, body = CurrencyView)))]
pub(crate) async fn put_currency(
    State(app): State<App>,
    session: Session,
    Body(input): Body<CurrencyView>,
) -> Result<Json<CurrencyView>, ApiError> {
    session.must_be_operator()?;
    let currency = input.currency.parse().map_err(|error: &str| ApiError::field("currency", error))?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = CurrencyView { currency: rate_deck::currency(&mut *transaction).await?.to_string() };
    rate_deck::set_currency(&mut *transaction, currency).await?;
    let change = Change::of("currency.set", None, uuid::Uuid::nil(), Some(&before), Some(&input));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(input))
}
