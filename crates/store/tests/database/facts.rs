//! Facts and the change feed: a whole load and the sequence of changes agree, and no change is skipped.

use std::time::Duration;

use tandem_model::{AgreementState, Facts, ObjectId};
use tandem_store::PgPool;
use tandem_store::facts::{Changes, Loaded, changed, load};
use tandem_store::feed::{Feed, Wake};
use tandem_testkit::Database;

use crate::support::{TWO_MEMBERS, declare, declare_at, one, sql, start};

/// What a node does with a change: puts what is new, forgets what is gone.
fn follow(facts: &mut Facts, change: Facts) {
    fn put<T, I: PartialEq>(all: &mut Vec<T>, new: Vec<T>, id: impl Fn(&T) -> I) {
        all.retain(|old| new.iter().all(|new| id(new) != id(old)));
        all.extend(new);
    }
    put(&mut facts.members, change.members, |it| it.member_id);
    put(&mut facts.endpoints, change.endpoints, |it| it.endpoint_id);
    put(&mut facts.ranges, change.ranges, |it| it.range_id);
    put(&mut facts.announcements, change.announcements, |it| it.announcement_id);
    put(&mut facts.agreements, change.agreements, |it| it.agreement_id);
    for gone in change.gone {
        facts.members.retain(|it| ObjectId::Member(it.member_id) != gone);
        facts.endpoints.retain(|it| ObjectId::Endpoint(it.endpoint_id) != gone);
        facts.ranges.retain(|it| ObjectId::Range(it.range_id) != gone);
        facts.announcements.retain(|it| ObjectId::Announcement(it.announcement_id) != gone);
        facts.agreements.retain(|it| ObjectId::Agreement(it.agreement_id) != gone);
    }
    facts.position = change.position;
}

fn sorted(mut facts: Facts) -> Facts {
    facts.members.sort_by_key(|it| it.member_id);
    facts.endpoints.sort_by_key(|it| it.endpoint_id);
    facts.ranges.sort_by_key(|it| it.range_id);
    facts.announcements.sort_by_key(|it| it.announcement_id);
    facts.agreements.sort_by_key(|it| it.agreement_id);
    facts
}

async fn since(db: &PgPool, position: u64) -> Loaded {
    match changed(db, position, None).await.unwrap() {
        Changes::Since { loaded, more: false } => loaded,
        other => panic!("one reading takes all changes: {other:?}"),
    }
}

#[tokio::test]
async fn a_sequence_of_changes_leads_to_what_a_whole_load_has() {
    let database = Database::new().await;
    let db = database.pool();
    let mut followed = load(db).await.unwrap().facts;
    assert_eq!(followed, Facts::default());
    declare(db, TWO_MEMBERS).await.unwrap();
    let steps = [
        "select 1",
        "update member set state = 'suspended' where name = 'globex'",
        "update endpoint set priority = 7, max_calls = 3 where name = 'acme-1'",
        "insert into endpoint_source select endpoint_id, '203.0.113.0/24', 5080 from endpoint where name = 'acme-1'",
        "delete from endpoint_source where net = '192.0.2.21'",
        "update number_range set authority = 'refused'",
        "delete from number_range",
        "insert into announcement (member_id, prefix, valid_during)
         select member_id, '4930', '[2099-01-01,)' from member where name = 'acme'",
        "update announcement set endpoint_ids = array(select endpoint_id from endpoint where name = 'acme-1') where prefix = '4930'",
        "update announcement set endpoint_ids = '{}' where prefix = '4930'",
        "update announcement set valid_during = '[2026-01-01,2026-02-01)' where prefix = '44207946'",
        "update agreement set state = 'ended', valid_during = 'empty'",
        "delete from announcement",
        "delete from endpoint where name = 'globex-1'",
        "delete from agreement",
        "delete from member where name = 'globex'",
    ];
    for step in steps {
        sql(db, step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        let change = since(db, followed.position).await;
        assert_eq!(change.skipped, []);
        follow(&mut followed, change.facts);
        assert_eq!(sorted(followed.clone()), sorted(load(db).await.unwrap().facts), "{step}");
    }
    assert_eq!((followed.members.len(), followed.endpoints.len()), (1, 1));
}

#[tokio::test]
async fn facts_say_what_was_declared() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let facts = sorted(load(db).await.unwrap().facts);
    let acme = facts.members.iter().find(|member| member.name == "acme").unwrap();
    let [endpoint] =
        facts.endpoints.iter().filter(|it| it.member_id == acme.member_id).collect::<Vec<_>>()[..]
    else {
        panic!("acme has one endpoint");
    };
    assert_eq!(endpoint.target.to_string(), "sip:192.0.2.21:5060;transport=udp");
    assert_eq!(endpoint.sources[0].net.to_string(), "192.0.2.21/32");
    assert_eq!(facts.announcements[0].endpoints, [endpoint.endpoint_id]);
    assert_eq!(facts.announcements[0].prefix.to_string(), "+44207946");
    assert!(facts.ranges[0].validity.contains(start()));
    assert_eq!(facts.agreements[0].state, AgreementState::Accepted);
    assert_eq!(facts.position as i64, one::<i64>(db, "select position from feed_head").await);
}

#[tokio::test]
async fn an_announcement_that_was_withdrawn_is_gone() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let before = load(db).await.unwrap().facts;
    let without =
        TWO_MEMBERS.replace(r#"announcement = [{ prefix = "+44207946", endpoints = ["acme-1"] }]"#, "");
    declare_at(db, &without, "2026-02-01T00:00:00Z".parse().unwrap()).await.unwrap();
    let change = since(db, before.position).await.facts;
    assert_eq!(change.gone, [ObjectId::Announcement(before.announcements[0].announcement_id)]);
    assert_eq!(load(db).await.unwrap().facts.announcements, []);
}

#[tokio::test]
async fn positions_follow_the_order_of_commit() {
    let database = Database::new().await;
    let db = database.pool();
    // Eight writers, whose transactions last for different times, and a reader that never waits.
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let db = db.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    let mut transaction = db.begin().await.unwrap();
                    let insert = "insert into member (name, display_name, contact_email) values ($1, $1, 'noc@example.net')";
                    sqlx::query(insert).bind(format!("m{writer}-{number}")).execute(&mut *transaction).await.unwrap();
                    if (writer + number) % 3 == 0 {
                        sqlx::query("select pg_sleep(0.004)").execute(&mut *transaction).await.unwrap();
                    }
                    transaction.commit().await.unwrap();
                }
            })
        })
        .collect();
    let mut members = std::collections::HashSet::new();
    let mut position = 0;
    loop {
        let done = writers.iter().all(|writer| writer.is_finished());
        let change = since(db, position).await.facts;
        assert_eq!(change.gone, [], "an entry is read before its object is there");
        members.extend(change.members.iter().map(|member| member.member_id));
        position = change.position;
        if done {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(members.len(), 160);
    assert_eq!(position, 160);
    assert_eq!(one::<i64>(db, "select count(*) from feed_entry").await, 160);
}

#[tokio::test]
async fn a_database_that_was_restored_to_an_earlier_state_is_noticed() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let position = load(db).await.unwrap().facts.position;
    assert_eq!(changed(db, position + 1, None).await.unwrap(), Changes::Lost { position });
    assert_eq!(since(db, position).await.facts, Facts { position, ..Facts::default() });
}

#[tokio::test]
async fn entries_that_were_removed_make_a_node_load_anew() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let position = load(db).await.unwrap().facts.position;
    sql(db, "delete from feed_entry where position <= 2").await.unwrap();
    assert_eq!(changed(db, 1, None).await.unwrap(), Changes::Lost { position });
    assert!(matches!(changed(db, 2, None).await.unwrap(), Changes::Since { .. }));
    sql(db, "delete from feed_entry").await.unwrap();
    assert_eq!(changed(db, 2, None).await.unwrap(), Changes::Lost { position });
}

#[tokio::test]
async fn a_node_that_is_far_behind_loads_anew() {
    let database = Database::new().await;
    let db = database.pool();
    sql(
        db,
        "insert into feed_entry (position, kind, object_id)
         select position, 'range', gen_random_uuid() from generate_series(1, 500001) position;
         update feed_head set position = 500001",
    )
    .await
    .unwrap();
    assert_eq!(changed(db, 0, None).await.unwrap(), Changes::Lost { position: 500_001 });
    let Changes::Since { loaded, more } = changed(db, 1, None).await.unwrap() else {
        panic!("it can be read in parts")
    };
    assert_eq!((loaded.facts.position, loaded.facts.gone.len(), more), (20_001, 20_000, true));
}

#[tokio::test]
async fn a_row_that_breaks_the_rules_is_left_out_and_all_others_load() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let good = load(db).await.unwrap();
    assert_eq!(good.skipped, []);
    sql(
        db,
        "alter table member drop constraint member_state_known;
         alter table endpoint drop constraint endpoint_target_port_range, drop constraint endpoint_target_is_whole;
         alter table number_range drop constraint number_range_prefix_form, alter valid_during drop not null;
         alter table announcement drop constraint announcement_prefix_form,
                                  drop constraint announcement_valid_during_half_open;
         alter table agreement drop constraint agreement_direction_known;
         insert into member (name, display_name, contact_email, state) values ('odd', 'Odd', 'noc@odd.example', 'retired');
         insert into endpoint (member_id, name, target_address, target_port, target_transport)
         select member_id, 'odd-1', inet '192.0.2.99', 70000, 'udp' from member where name = 'acme' union all
         select member_id, 'odd-2', '192.0.2.99', 5060, null from member where name = 'acme';
         insert into number_range (member_id, prefix, valid_during)
         select member_id, '0049', tstzrange('2026-01-01', null) from member where name = 'acme' union all
         select member_id, '49', null from member where name = 'acme';
         insert into announcement (member_id, prefix, valid_during)
         select member_id, '0044', tstzrange('-infinity', 'infinity') from member where name = 'acme' union all
         select member_id, '4420', tstzrange('-infinity', 'infinity') from member where name = 'acme';
         update agreement set direction = 'sideways'",
    )
    .await
    .unwrap();
    let all = load(db).await.unwrap();
    let why: Vec<&str> = all.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
    assert_eq!(why.len(), 7, "{why:#?}");
    assert!(why.contains(&"target_port is 70000, which is out of its range"), "{why:#?}");
    assert_eq!(all.facts.members.len(), 2);
    assert_eq!(all.facts.endpoints.len(), 2);
    assert_eq!(all.facts.ranges, good.facts.ranges);
    // Beyond the calendar is as good as for ever.
    assert_eq!(all.facts.announcements.len(), 2);
    assert!(all.facts.announcements.iter().all(|it| it.validity.until.is_none()));

    // A change says the same, and that the node must forget the agreement it had.
    let change = since(db, good.facts.position).await;
    assert_eq!(change.skipped.len(), 7);
    assert!(change.facts.gone.contains(&ObjectId::Agreement(good.facts.agreements[0].agreement_id)));
}

#[tokio::test]
async fn a_listener_is_woken_by_a_commit_and_by_nothing_else() {
    let database = Database::new().await;
    let db = database.pool();
    let mut feed = Feed::listen(db).await.unwrap();
    assert_eq!(feed.wait(Duration::from_millis(1)).await.unwrap(), Wake::TimedOut);
    let mut transaction = db.begin().await.unwrap();
    sqlx::query(
        "insert into member (name, display_name, contact_email) values ('acme', 'Acme', 'noc@acme.example')",
    )
    .execute(&mut *transaction)
    .await
    .unwrap();
    assert_eq!(feed.wait(Duration::from_millis(1)).await.unwrap(), Wake::TimedOut);
    transaction.commit().await.unwrap();
    assert_eq!(feed.wait(Duration::from_secs(10)).await.unwrap(), Wake::Notified);
    assert_eq!(load(db).await.unwrap().facts.position, 1);
}

#[tokio::test]
async fn a_listener_whose_connection_is_cut_listens_again_and_says_so() {
    let database = Database::new().await;
    let db = database.pool();
    let mut feed = Feed::listen(db).await.unwrap();
    sql(
        db,
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen%'",
    )
    .await
    .unwrap();
    let mut wake = feed.wait(Duration::from_secs(10)).await;
    if wake.is_err() {
        wake = feed.wait(Duration::from_secs(10)).await;
    }
    assert_eq!(wake.unwrap(), Wake::Reconnected);
    declare(db, TWO_MEMBERS).await.unwrap();
    assert_eq!(feed.wait(Duration::from_secs(10)).await.unwrap(), Wake::Notified);
}
