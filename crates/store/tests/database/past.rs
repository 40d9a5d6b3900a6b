//! The past: each version of the route table can be told, and what is kept of it cannot be rewritten unseen.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tandem_routing::RouteTable;
use tandem_store::facts::{Changes, changed, load};
use tandem_store::{PgPool, past};
use tandem_testkit::Database;

use crate::support::{TWO_MEMBERS, declare, one, sql, start};

/// Runs what a test has put together.
async fn run(db: &PgPool, statement: &str) {
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(db).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// What changes routing, a transaction each.
const CHANGES: [&str; 24] = [
    "update member set state = 'suspended' where name = 'globex'",
    "update member set state = 'approved' where name = 'globex'",
    "update endpoint set priority = 7, max_calls = 3 where name = 'acme-1'",
    "insert into endpoint_source select endpoint_id, '203.0.113.0/24', 5080 from endpoint where name = 'acme-1'",
    "delete from endpoint_source where net = '192.0.2.21'",
    "insert into endpoint_certificate_name select 'sbc.acme.example', endpoint_id from endpoint where name = 'acme-1'",
    "insert into endpoint_credential (endpoint_id, direction, username, realm, ha1)
     select endpoint_id, 'inbound', 'acme', 'sip.example', repeat('a', 96) from endpoint where name = 'acme-1'",
    "update endpoint_credential set credential_id = uuid_v7(), ha1 = repeat('b', 96)",
    "insert into site (name) values ('ams'); insert into endpoint_site select endpoint_id, site.site_id from endpoint, site where endpoint.name = 'acme-1'",
    "update number_range set authority = 'refused'",
    "update number_range set authority = 'valid'; update number_range set evidence = 'a letter'",
    "insert into announcement (member_id, prefix, valid_during, tags)
     select member_id, '4930', '[2099-01-01,)', '{premium}' from member where name = 'acme';
     update announcement set endpoint_ids = array(select endpoint_id from endpoint where name = 'acme-1') where prefix = '4930'",
    "update announcement set valid_during = tstzrange(lower(valid_during), now() + interval '1 hour') where prefix = '44207946'",
    "update announcement set endpoint_ids = '{}' where prefix = '4930'",
    "update announcement set valid_during = '[2026-01-01,2026-02-01)' where prefix = '44207946'",
    "update agreement set state = 'suspended', suspended_by_proposing = true",
    "update agreement set state = 'accepted', suspended_by_proposing = false",
    "insert into club (name, display_name, created_at) values ('peering', 'Peering', now());
     insert into club_membership (agreement_id, member_id, joined_at) select agreement_id, member_id, now() from club, member",
    "update club_membership set left_at = now() from member where member.member_id = club_membership.member_id and name = 'acme'",
    "delete from announcement",
    "delete from number_range",
    "delete from endpoint where name = 'globex-1'",
    "delete from agreement",
    "delete from club_membership; delete from member where name = 'globex'",
];

/// A version, when it stood and its table.
async fn now(db: &PgPool) -> (DateTime<Utc>, RouteTable) {
    let at = one::<DateTime<Utc>>(db, "select clock_timestamp()").await;
    (at, RouteTable::from_facts(load(db).await.unwrap().facts))
}

/// The exchange of two members, and each table that it then had.
async fn history(db: &PgPool) -> Vec<(DateTime<Utc>, RouteTable)> {
    let mut tables = vec![now(db).await];
    declare(db, TWO_MEMBERS).await.unwrap();
    tables.push(now(db).await);
    for change in CHANGES {
        // Statements that are sent at once are one transaction.
        run(db, change).await;
        tables.push(now(db).await);
    }
    tables
}

#[tokio::test]
async fn the_table_of_each_version_is_read_whole_and_made_of_a_later_one_alike() {
    let database = Database::new().await;
    let db = database.pool();
    let tables = history(db).await;
    let (_, last) = tables.last().unwrap();
    let mut hashes = std::collections::HashSet::new();
    for (at, table) in &tables {
        let version = past::version_at(db, *at).await.unwrap().expect("it is kept");
        assert_eq!(version, table.version());
        let whole = RouteTable::from_facts(past::load(db, version).await.unwrap().expect("it is kept"));
        assert_eq!((whole.version(), whole.hash()), (version, table.hash()), "{at}");
        let undone = past::undo(db, last.version(), version).await.unwrap().expect("it is kept");
        let turned = last.turned_back(undone.facts);
        assert_eq!((turned.version(), turned.hash()), (version, table.hash()), "{at}");
        assert_eq!(turned.facts(), whole.facts());
        hashes.insert(table.hash());
    }
    assert!(hashes.len() > 20, "most of the tables differ");
    assert_eq!(past::first_broken(db).await.unwrap(), None);
    assert_eq!(one::<i64>(db, "select count(*) from past.row_before where before ->> 'ha1' ~ 'a'").await, 0);
}

#[tokio::test]
async fn a_transaction_is_in_the_past_as_a_whole_or_not_at_all() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let before = load(db).await.unwrap().facts.position;
    let mut transaction = db.begin().await.unwrap();
    let mut moments = Vec::new();
    for state in ["suspended", "approved", "suspended"] {
        sqlx::query("update member set state = $1").bind(state).execute(&mut *transaction).await.unwrap();
        let now = sqlx::query_scalar::<_, DateTime<Utc>>("select clock_timestamp()");
        moments.push(now.fetch_one(&mut *transaction).await.unwrap());
    }
    transaction.commit().await.unwrap();
    let after = load(db).await.unwrap().facts.position;
    let versions = [
        past::version_at(db, moments[0]),
        past::version_at(db, moments[1]),
        past::version_at(db, moments[2]),
    ];
    let versions = futures_util::future::join_all(versions).await;
    let versions: Vec<u64> = versions.into_iter().map(|version| version.unwrap().unwrap()).collect();
    assert_eq!(versions, [before, before, after]);
}

#[tokio::test]
async fn what_was_before_the_horizon_is_not_known_and_what_is_forgotten_is_counted_into_the_chain() {
    let database = Database::new().await;
    let db = database.pool();
    assert_eq!(past::version_at(db, start()).await.unwrap(), None, "no past was kept then");
    let tables = history(db).await;
    let (at, kept) = &tables[5];
    assert_eq!(past::forget(db, *at).await.unwrap(), Some(kept.version()));
    assert_eq!(past::forget(db, *at).await.unwrap(), None);
    assert_eq!(past::horizon(db).await.unwrap().position, kept.version());
    assert_eq!(past::load(db, kept.version() - 1).await.unwrap(), None);
    let (_, last) = tables.last().unwrap();
    assert!(past::undo(db, last.version(), kept.version() - 1).await.unwrap().is_none());
    let whole = RouteTable::from_facts(past::load(db, kept.version()).await.unwrap().expect("it is kept"));
    assert_eq!(whole.hash(), kept.hash());
    assert_eq!(past::load(db, last.version() + 1).await.unwrap(), None, "it is yet to come");
    assert_eq!(past::first_broken(db).await.unwrap(), None);
}

#[tokio::test]
async fn a_past_that_was_rewritten_is_found() {
    let database = Database::new().await;
    let db = database.pool();
    history(db).await;
    let position = one::<i64>(db, "select min(position) from past.step join past.row_before using (step_id) where table_name = 'endpoint'").await;
    let rewrite = format!(
        "update past.row_before set before = before || '{{\"priority\": 1}}' where step_id in (select step_id from past.step where position = {position})"
    );
    // It was 1 before: the same row said again is no other.
    run(db, &rewrite).await;
    assert_eq!(past::first_broken(db).await.unwrap(), None);
    run(db, &rewrite.replace("1}", "2}")).await;
    assert_eq!(past::first_broken(db).await.unwrap().map(|it| it as i64), Some(position));
    run(db, &rewrite).await;
    sql(db, "delete from past.step where position = (select max(position) from past.step)").await.unwrap();
    let end = load(db).await.unwrap().facts.position;
    assert_eq!(past::first_broken(db).await.unwrap(), Some(end));
}

#[tokio::test]
async fn a_database_that_was_restored_and_has_come_as_far_again_by_another_way_is_noticed() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let here = load(db).await.unwrap();
    let (since, chain) = (here.facts.position, here.chain.as_str());
    assert!(matches!(changed(db, since, Some(chain)).await.unwrap(), Changes::Since { .. }));
    sql(db, "update member set state = 'suspended'").await.unwrap();
    assert!(matches!(changed(db, since, Some(chain)).await.unwrap(), Changes::Since { .. }));
    let other = "0".repeat(64);
    assert!(matches!(changed(db, since, Some(&other)).await.unwrap(), Changes::Lost { .. }));
    let end = load(db).await.unwrap().facts.position;
    assert_eq!(changed(db, end, Some(chain)).await.unwrap(), Changes::Lost { position: end });
}

#[tokio::test]
async fn a_column_that_a_migration_adds_is_in_the_past_too() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let before = load(db).await.unwrap().facts.position;
    sql(db, "alter table member add column colour text not null default 'red'").await.unwrap();
    tandem_store::migrate(db).await.unwrap();
    sql(db, "update member set colour = 'blue'").await.unwrap();
    let columns = "select count(*) from information_schema.columns where column_name = 'colour' and table_name = 'member'";
    assert_eq!(one::<i64>(db, columns).await, 2);
    let whole = past::load(db, before).await.unwrap().expect("it is kept");
    assert_eq!(whole.members.len(), 2);
}

#[tokio::test]
async fn an_announcement_that_ends_by_the_clock_is_in_the_table_of_each_node_until_it_is_retired() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    sql(
        db,
        "update announcement set valid_during = tstzrange(lower(valid_during), now() + interval '2 seconds')",
    )
    .await
    .unwrap();
    let hash = RouteTable::from_facts(load(db).await.unwrap().facts).hash();
    let until = one::<DateTime<Utc>>(db, "select max(upper(valid_during)) from announcement").await;
    wait_until_after(db, until).await;
    assert_eq!(RouteTable::from_facts(load(db).await.unwrap().facts).hash(), hash);
    let after = until + chrono::TimeDelta::seconds(1);
    wait_until_after(db, after).await;
    assert_eq!(tandem_store::announcement::retire_ended(db, after, 10).await.unwrap(), 1);
    assert_eq!(tandem_store::announcement::retire_ended(db, after, 10).await.unwrap(), 0);
    assert_eq!(load(db).await.unwrap().facts.announcements, []);
}

/// Waits for the clock of the database, which is not ours to move.
async fn wait_until_after(db: &PgPool, moment: DateTime<Utc>) {
    let passed = async {
        while one::<DateTime<Utc>>(db, "select clock_timestamp()").await <= moment {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), passed).await.expect("the moment comes soon");
}
