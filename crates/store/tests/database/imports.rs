use chrono::{DateTime, TimeDelta, Utc};
use tandem_model::{AnnouncementId, EndpointId, Facts, ImportId, MemberId, ObjectId, Reason};
use tandem_store::PgPool;
use tandem_store::facts::{Changes, changed, load};
use tandem_store::import::{self, BadRows, ImportFormat, ImportMode, NewImport, Part};
use tandem_store::import_application as application;
use tandem_testkit::Database;
use uuid::Uuid;

use crate::support::{TWO_MEMBERS, declare, one, sql, start};

struct Acme {
    member: MemberId,
    endpoint: EndpointId,
}

async fn acme(db: &PgPool) -> Acme {
    declare(db, TWO_MEMBERS).await.unwrap();
    let facts = load(db).await.unwrap().facts;
    let Facts { announcements, .. } = facts;
    Acme { member: announcements[0].member_id, endpoint: announcements[0].endpoints[0] }
}

/// An import of acme whose rows are there: prefixes that are announced, and others that are withdrawn.
async fn uploaded(
    db: &PgPool,
    acme: &Acme,
    announced: &[&str],
    withdrawn: &[&str],
    at: DateTime<Utc>,
) -> ImportId {
    let new = NewImport {
        member: acme.member,
        file_name: "",
        format: ImportFormat::Csv,
        mode: ImportMode::Merge,
        bad_rows: BadRows::Refuse,
        octets: 9,
        user: None,
        api_token: None,
    };
    let id = import::insert(db, &new, at).await.unwrap();
    let mut part = Part::new(9);
    let rows = announced.iter().map(|prefix| (prefix, vec![acme.endpoint]));
    let rows = rows.chain(withdrawn.iter().map(|prefix| (prefix, Vec::new())));
    for (line, (prefix, endpoints)) in (1..).zip(rows) {
        let announcement = AnnouncementId(Uuid::from_u128(id.0.as_u128() + u128::from(line)));
        part.push(id, line, prefix.parse().unwrap(), &endpoints, announcement);
    }
    let mut transaction = db.begin().await.unwrap();
    assert!(import::receive(&mut transaction, id, 0, &part, at).await.unwrap());
    transaction.commit().await.unwrap();
    id
}

async fn apply(db: &PgPool, acme: &Acme, id: ImportId, at: DateTime<Utc>) -> u64 {
    let mut transaction = db.begin().await.unwrap();
    assert!(application::claim(&mut transaction, id).await.unwrap().is_some());
    assert_eq!(application::check(&mut transaction, id, acme.member, at).await.unwrap(), 0);
    let outcome = application::apply(&mut transaction, id, acme.member, ImportMode::Merge, at).await.unwrap();
    application::end(&mut *transaction, id, 0, Ok(outcome), at).await.unwrap();
    transaction.commit().await.unwrap();
    outcome.1
}

async fn since(db: &PgPool, position: u64) -> Facts {
    match changed(db, position, None).await.unwrap() {
        Changes::Since { loaded, more: false } => loaded.facts,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_import_is_one_entry_of_the_feed_that_stands_for_all_it_wrote() {
    let database = Database::new().await;
    let db = database.pool();
    let acme = acme(db).await;
    let before = load(db).await.unwrap().facts;
    let at = start() + TimeDelta::days(1);
    let first = uploaded(db, &acme, &["+442079461", "+442079462"], &["+44207946"], at).await;
    assert_eq!(apply(db, &acme, first, at).await, before.position + 1);
    let change = since(db, before.position).await;
    assert_eq!(change.announcements.len(), 2);
    assert_eq!(change.gone, [ObjectId::Announcement(before.announcements[0].announcement_id)]);

    // What a later import wrote is that one's; both entries together are the whole.
    let at = start() + TimeDelta::days(2);
    let second = uploaded(db, &acme, &["+442079463"], &["+442079462"], at).await;
    apply(db, &acme, second, at).await;
    let all = since(db, before.position).await;
    let mut prefixes: Vec<_> = all.announcements.iter().map(|it| it.prefix.to_string()).collect();
    prefixes.sort();
    assert_eq!(prefixes, ["+442079461", "+442079463"]);
    assert_eq!(all.gone.len(), 2);
    assert_eq!(load(db).await.unwrap().facts.announcements.len(), 2);
    assert_eq!(one::<i64>(db, "select count(*) from import where state = 'applied'").await, 2);
}

#[tokio::test]
async fn an_import_is_taken_by_one_at_a_time_and_makes_no_writer_wait_before_its_end() {
    let database = Database::new().await;
    let db = database.pool();
    let acme = acme(db).await;
    let at = start() + TimeDelta::days(1);
    let id = uploaded(db, &acme, &["+442079461"], &[], at).await;
    let mut one_of_two = db.begin().await.unwrap();
    assert!(application::claim(&mut one_of_two, id).await.unwrap().is_some());
    let mut other = db.begin().await.unwrap();
    assert_eq!(application::claim(&mut other, id).await.unwrap(), None);
    other.rollback().await.unwrap();
    application::check(&mut one_of_two, id, acme.member, at).await.unwrap();
    // Whoever changes something else meanwhile gets the head of the feed at once.
    sql(db, "set lock_timeout = '1s'; update endpoint set weight = 7; reset lock_timeout").await.unwrap();
    let outcome = application::apply(&mut one_of_two, id, acme.member, ImportMode::Merge, at).await.unwrap();
    application::end(&mut *one_of_two, id, 0, Ok(outcome), at).await.unwrap();
    one_of_two.rollback().await.unwrap();
    assert_eq!(one::<i64>(db, "select count(*) from announcement where import_id is not null").await, 0);
    let again = import::list(db, acme.member, Some(id), None, 1).await.unwrap();
    assert_eq!((again[0].good_rows, again[0].failure), (1, None::<Reason>));
}
