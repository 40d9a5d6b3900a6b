//! Decks, offers and block lists: the rules of the schema, and what reaches nodes by the feed.

use tandem_model::{Facts, MemberId, ObjectId};
use tandem_store::PgPool;
use tandem_store::facts::{Changes, changed, load};
use tandem_testkit::Database;

use crate::support::{TWO_MEMBERS, declare, one, rule_broken_by, sql};

/// globex offers transit to +33 and +4420, and acme blocks +882.
const TRANSIT: &str = "
    insert into rate_deck (member_id, name, currency, created_at)
    select member_id, 'a-z', 'EUR', now() from member where name = 'globex';
    insert into rate (rate_deck_id, version, prefix, per_minute, valid_during)
    select rate_deck_id, 1, prefix, 0.0045, '[2026-01-01,)' from rate_deck, unnest(array['33', '4420']) prefix;
    insert into transit_offer (member_id, name, rate_deck_id, valid_during, is_permitted, created_at)
    select member_id, 'pstn', rate_deck_id, '[2026-01-01,)', true, now() from rate_deck;
    insert into transit_offer_endpoint (announcement_id, member_id, endpoint_id)
    select announcement_id, o.member_id, endpoint_id from transit_offer o join endpoint e on e.member_id = o.member_id;
    insert into blocked_prefix (member_id, prefix, created_at) select member_id, '882', now() from member where name = 'acme';
    insert into blocked_prefix (prefix, created_at) values ('979', now())";

async fn since(db: &PgPool, position: u64) -> Facts {
    match changed(db, position, None).await.unwrap() {
        Changes::Since { loaded, more: false } => loaded.facts,
        other => panic!("one reading takes all changes: {other:?}"),
    }
}

/// What a node does with a change.
fn follow(facts: &mut Facts, change: Facts) {
    let Facts { position, transit_offers, rate_decks, block_lists, gone, .. } = change;
    facts.position = position;
    facts
        .transit_offers
        .retain(|old| transit_offers.iter().all(|new| new.announcement_id != old.announcement_id));
    facts.transit_offers.extend(transit_offers);
    facts.rate_decks.retain(|old| rate_decks.iter().all(|new| new.rate_deck_id != old.rate_deck_id));
    facts.rate_decks.extend(rate_decks);
    facts.block_lists.retain(|old| block_lists.iter().all(|new| new.member_id != old.member_id));
    facts.block_lists.extend(block_lists);
    for gone in gone {
        facts.transit_offers.retain(|it| ObjectId::TransitOffer(it.announcement_id) != gone);
        facts.rate_decks.retain(|it| ObjectId::RateDeck(it.rate_deck_id) != gone);
        facts.block_lists.retain(|it| ObjectId::BlockList(it.member_id) != gone);
    }
    facts.block_lists.sort_by_key(|it| it.member_id);
}

#[tokio::test]
async fn a_sequence_of_changes_of_transit_leads_to_what_a_whole_load_has() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let mut followed = load(db).await.unwrap().facts;
    let counts =
        |facts: &Facts| (facts.transit_offers.len(), facts.rate_decks.len(), facts.block_lists.len());
    let steps = [
        TRANSIT,
        "update rate set per_minute = 0.01 where prefix = '33'",
        "delete from rate where prefix = '4420'",
        "update transit_offer set is_permitted = false, asr_percent = 40, ner_percent = 90, pdd_ms = 1500",
        "delete from transit_offer_endpoint",
        "update transit_offer set valid_during = '[2026-01-01,2026-02-01)'",
        "delete from blocked_prefix where member_id is null",
        "insert into blocked_prefix (member_id, prefix, created_at) select member_id, '90', now() from member where name = 'globex'",
        "delete from blocked_prefix",
        "delete from transit_offer",
        "delete from rate_deck",
    ];
    for step in steps {
        sql(db, step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        let change = since(db, followed.position).await;
        follow(&mut followed, change);
        assert_eq!(followed, load(db).await.unwrap().facts, "{step}");
        if step == TRANSIT {
            assert_eq!(counts(&followed), (1, 1, 2));
        }
    }
    assert_eq!(counts(&followed), (0, 0, 0));
}

#[tokio::test]
async fn a_rate_that_is_negative_or_no_number_and_two_rates_at_a_time_are_refused_by_the_database() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    sql(db, TRANSIT).await.unwrap();
    for statement in [
        "update rate set per_minute = -1",
        "update rate set per_minute = 'NaN'",
        "update rate set per_minute = -0.000001",
    ] {
        assert_eq!(rule_broken_by(db, statement).await, "rate_per_minute_range");
    }
    let infinite = sql(db, "update rate set per_minute = 'Infinity'").await.unwrap_err();
    assert_eq!(
        infinite.as_database_error().unwrap().code().as_deref(),
        Some("22003"),
        "it does not fit the column"
    );
    let twice = "insert into rate (rate_deck_id, version, prefix, per_minute, valid_during)
                 select rate_deck_id, 2, '33', 0.5, '[2027-01-01,)' from rate_deck";
    assert_eq!(rule_broken_by(db, twice).await, "rate_one_at_a_time");
    sql(
        db,
        "update rate set valid_during = '[2026-01-01,2027-01-01)' where prefix = '33';
         insert into rate (rate_deck_id, version, prefix, per_minute, valid_during)
         select rate_deck_id, 2, '33', 0.5, '[2027-01-01,)' from rate_deck",
    )
    .await
    .unwrap();
    for (statement, rule) in [
        ("update exchange_currency set currency = 'USD'", "rate_deck_currency_of_exchange"),
        ("insert into rate_deck (name, currency, created_at) values ('other', 'USD', now())", "rate_deck_currency_of_exchange"),
        ("insert into transit_offer (member_id, name, rate_deck_id, valid_during, created_at)
             select m.member_id, 'other', d.rate_deck_id, '[2026-01-01,)', now() from rate_deck d, member m where m.name = 'acme'", "transit_offer_deck_own"),
        ("delete from rate_deck", "transit_offer_deck_own"),
        (
            "insert into transit_offer_endpoint (announcement_id, member_id, endpoint_id)
             select announcement_id, o.member_id, endpoint_id from transit_offer o, endpoint e where e.name = 'acme-1'",
            "transit_offer_endpoint_own",
        ),
    ] {
        assert_eq!(rule_broken_by(db, statement).await, rule, "{statement}");
    }
}

#[tokio::test]
async fn a_bad_rate_is_left_out_with_its_reason_and_all_others_load() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    sql(db, TRANSIT).await.unwrap();
    sql(
        db,
        "alter table rate drop constraint rate_per_minute_range, drop constraint rate_prefix_form;
         insert into rate (rate_deck_id, version, prefix, per_minute, valid_during)
         select rate_deck_id, 2, prefix, rate::numeric, '[2026-01-01,)'
           from rate_deck, (values ('49', '-1'), ('48', 'NaN'), ('0047', '1')) as t (prefix, rate)",
    )
    .await
    .unwrap();
    let all = load(db).await.unwrap();
    let why: Vec<&str> = all.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
    assert_eq!((why.len(), all.facts.rate_decks[0].rates.len()), (3, 2), "{why:?}");
    assert!(why.iter().any(|why| why.starts_with("per_minute is -1.000000")), "{why:?}");
    assert!(why.iter().any(|why| why.starts_with("per_minute is NaN")), "{why:?}");
    let deck = all.facts.rate_decks[0].rate_deck_id;
    assert!(all.skipped.iter().all(|skipped| skipped.object == ObjectId::RateDeck(deck)));
}

#[tokio::test]
async fn a_block_list_of_everybody_is_named_in_the_feed_without_a_member() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    sql(db, TRANSIT).await.unwrap();
    let position = load(db).await.unwrap().facts.position;
    sql(db, "delete from blocked_prefix").await.unwrap();
    let acme = MemberId(one(db, "select member_id from member where name = 'acme'").await);
    let mut gone = since(db, position).await.gone;
    gone.sort_by_key(|it| *it != ObjectId::BlockList(None));
    assert_eq!(gone, [ObjectId::BlockList(None), ObjectId::BlockList(Some(acme))]);
}
