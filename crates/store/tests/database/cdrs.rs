//! CDRs: written once however often they come, in whatever order, and never held up by a bad one.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tandem_model::{Attempt, CallId, Cause, Cdr, EndedBy, EndpointId, MemberId, NodeId, Outcome};
use tandem_store::cdr::{Rejected, write};
use tandem_store::{PgPool, cdr};
use tandem_testkit::Database;

use crate::support::{id, one, sql, start};

/// The record of a call that rings.
fn ringing(number: u128) -> Cdr {
    Cdr {
        call_id: CallId(id(number)),
        node_id: NodeId(id(1)),
        started_at: start() + TimeDelta::seconds(number as i64 % 60),
        originating_member: MemberId(id(2)),
        originating_endpoint: EndpointId(id(3)),
        calling: "+442079460001".to_owned(),
        called: "442079460000".to_owned(),
        terminating_member: Some(MemberId(id(4))),
        terminating_endpoint: Some(EndpointId(id(5))),
        agreement: None,
        prefix: Some("4420".parse().unwrap()),
        outcome: None,
        status: None,
        reason: None,
        answered_at: None,
        ended_at: None,
        ended_by: None,
        setup_ms: Some(40),
        duration_ms: None,
        originating_heard_at: None,
        terminating_heard_at: None,
        cause: Cause::default(),
        ingress_call_id: format!("in-{number}@acme"),
        table_version: 7,
        selection: json!({ "candidates": [{ "endpoint": id(5), "prefix": "+4420" }], "left_out": [] })
            .to_string(),
        attempts: vec![Attempt {
            position: 1,
            terminating_member: MemberId(id(4)),
            endpoint: EndpointId(id(5)),
            attempted_at: start(),
            ended_at: None,
            status: None,
            reason: None,
            egress_call_id: format!("out-{number}@hub"),
            called: None,
            cause: Cause::default(),
        }],
    }
}

fn answered(number: u128) -> Cdr {
    let mut cdr = ringing(number);
    cdr.answered_at = Some(start() + TimeDelta::seconds(62));
    cdr.attempts[0].ended_at = cdr.answered_at;
    cdr.attempts[0].status = Some(200);
    cdr
}

fn ended(number: u128) -> Cdr {
    let mut cdr = answered(number);
    cdr.outcome = Some(Outcome::Answered);
    cdr.status = Some(200);
    cdr.ended_at = Some(start() + TimeDelta::seconds(122));
    cdr.ended_by = Some(EndedBy::Originating);
    cdr.duration_ms = Some(60_000);
    cdr
}

async fn write_sound(db: &PgPool, cdrs: &[Cdr]) {
    assert_eq!(write(db, cdrs).await.unwrap(), []);
}

type State = (Option<DateTime<Utc>>, Option<String>, Option<i64>, Option<i32>);

async fn states(db: &PgPool) -> Vec<State> {
    sqlx::query_as(
        "select c.answered_at, c.outcome, c.duration_ms, a.status
           from call c join attempt a using (started_at, call_id) order by c.call_id",
    )
    .fetch_all(db)
    .await
    .unwrap()
}

#[tokio::test]
async fn the_same_batch_written_three_times_is_there_once() {
    let database = Database::new().await;
    let db = database.pool();
    let batch: Vec<Cdr> = (0..100).map(ended).collect();
    for _ in 0..3 {
        write_sound(db, &batch).await;
    }
    assert_eq!(one::<i64>(db, "select count(*) from call").await, 100);
    assert_eq!(one::<i64>(db, "select count(*) from attempt").await, 100);
    assert_eq!(one::<i64>(db, "select sum(duration_ms)::bigint from call").await, 6_000_000);
}

#[tokio::test]
async fn the_order_of_the_records_of_a_call_does_not_matter() {
    type Record = fn(u128) -> Cdr;
    let orders: [[Record; 3]; 6] = [
        [ringing, answered, ended],
        [ringing, ended, answered],
        [answered, ringing, ended],
        [answered, ended, ringing],
        [ended, ringing, answered],
        [ended, answered, ringing],
    ];
    let database = Database::new().await;
    let db = database.pool();
    for (number, order) in orders.into_iter().enumerate() {
        for record in order {
            write_sound(db, &[record(number as u128)]).await;
        }
        // And all in one batch.
        write_sound(db, &order.map(|record| record(100 + number as u128))).await;
    }
    let states = states(db).await;
    assert_eq!(states.len(), 12);
    let end = (ended(0).answered_at, Some("answered".to_owned()), Some(60_000), Some(200));
    assert!(states.iter().all(|state| *state == end), "{states:?}");
}

#[tokio::test]
async fn a_call_that_is_up_is_there_before_it_ends() {
    let database = Database::new().await;
    let db = database.pool();
    write_sound(db, &[ringing(1)]).await;
    assert_eq!(states(db).await, [(None, None, None, None)]);
    write_sound(db, &[answered(1), ringing(1)]).await;
    write_sound(db, &[ringing(1)]).await;
    assert_eq!(states(db).await, [(answered(1).answered_at, None, None, Some(200))]);
}

#[tokio::test]
async fn a_second_end_does_not_change_the_first() {
    let database = Database::new().await;
    let db = database.pool();
    write_sound(db, &[ended(1)]).await;
    let other = Cdr { duration_ms: Some(99), outcome: Some(Outcome::Failed), ..ended(1) };
    write_sound(db, std::slice::from_ref(&other)).await;
    write_sound(db, &[ended(2), Cdr { call_id: CallId(id(2)), started_at: ended(2).started_at, ..other }])
        .await;
    assert_eq!(one::<i64>(db, "select sum(duration_ms)::bigint from call").await, 120_000);
}

#[tokio::test]
async fn the_leg_that_answered_gets_the_cause_of_its_end_once() {
    let database = Database::new().await;
    let db = database.pool();
    let heard =
        |cdr: Cdr| Cdr { originating_heard_at: cdr.answered_at, terminating_heard_at: cdr.ended_at, ..cdr };
    let with_cause = |mut cdr: Cdr, q850: u8| {
        cdr.cause = Cause { sip: Some(408), q850: Some(102) };
        cdr.attempts[0].cause = Cause { sip: None, q850: Some(q850) };
        cdr.attempts[0].called = Some("442079460999".to_owned());
        cdr
    };
    write_sound(db, &[answered(1)]).await;
    let ended = heard(with_cause(ended(1), 16));
    write_sound(db, std::slice::from_ref(&ended)).await;
    write_sound(db, &[answered(1), with_cause(ended.clone(), 41)]).await;
    let call = "select concat_ws(' ', sip_cause, q850_cause, originating_heard_at = answered_at
                     , terminating_heard_at = ended_at) from call";
    assert_eq!(one::<String>(db, call).await, "408 102 t t");
    // What an attempt was made for is said at its start.
    let attempt = "select concat_ws(' ', status, q850_cause, called) from attempt";
    assert_eq!(one::<String>(db, attempt).await, "200 16");
}

#[tokio::test]
async fn an_attempt_that_comes_later_is_added() {
    let database = Database::new().await;
    let db = database.pool();
    write_sound(db, &[ringing(1)]).await;
    let mut failed_over = ended(1);
    failed_over.attempts[0].status = Some(503);
    failed_over.attempts.push(Attempt { position: 2, status: Some(200), ..failed_over.attempts[0].clone() });
    write_sound(db, &[failed_over]).await;
    assert_eq!(one::<i64>(db, "select sum(status)::bigint from attempt").await, 703);
}

#[tokio::test]
async fn every_text_is_stored_whatever_is_in_it() {
    let database = Database::new().await;
    let db = database.pool();
    let mut odd = ended(1);
    odd.calling = "a\0b\u{1f4de}'\"\\{},NULL".to_owned();
    odd.ingress_call_id = "\0".to_owned();
    odd.reason = Some("\u{feff}\r\n".to_owned());
    odd.attempts[0].egress_call_id = "\0\0".to_owned();
    odd.selection = json!({ "k\0": ["\0", { "n": 1e300, "quoted": r"\u0000 as text" }] }).to_string();
    odd.setup_ms = Some(u32::MAX);
    odd.table_version = u64::MAX;
    write_sound(db, &[odd]).await;
    assert_eq!(one::<String>(db, "select calling from call").await, "a\u{fffd}b\u{1f4de}'\"\\{},NULL");
    let first = "select selection -> ('k' || chr(65533)) ->> 0 from call";
    assert_eq!(one::<String>(db, first).await, "\u{fffd}");
    let quoted = "select selection -> ('k' || chr(65533)) -> 1 ->> 'quoted' from call";
    assert_eq!(one::<String>(db, quoted).await, r"\u0000 as text");
}

#[tokio::test]
async fn a_bad_record_is_handed_back_and_the_others_are_written() {
    let database = Database::new().await;
    let db = database.pool();
    let mut batch: Vec<Cdr> = (0..200).map(ended).collect();
    for bad in [0, 77, 78, 199] {
        // An outcome without an end breaks a rule of the schema.
        batch[bad].ended_at = None;
    }
    for _ in 0..2 {
        let rejected = write(db, &batch).await.unwrap();
        let calls: Vec<CallId> = rejected.iter().map(|it| it.call_id).collect();
        assert_eq!(calls, [0, 77, 78, 199].map(|number| CallId(id(number))));
        let [Rejected { why, .. }, ..] = &rejected[..] else { unreachable!("there are four") };
        assert!(why.contains("call_outcome_when_ended"), "{why}");
        assert_eq!(one::<i64>(db, "select count(*) from call").await, 196);
    }
}

#[tokio::test]
async fn calls_of_any_day_find_their_partition() {
    let database = Database::new().await;
    let db = database.pool();
    let midnight: DateTime<Utc> = "2026-03-29T00:00:00Z".parse().unwrap();
    let days: Vec<Cdr> = (0..10)
        .map(|number| Cdr {
            started_at: midnight + TimeDelta::milliseconds(43_200_000 * number - 1),
            ..ended(number as u128)
        })
        .collect();
    write_sound(db, &days).await;
    assert_eq!(one::<i64>(db, "select count(distinct tableoid) from call").await, 6);
}

#[tokio::test]
async fn many_nodes_write_the_first_calls_of_a_day_at_once() {
    let database = Database::new().await;
    let db = database.pool();
    let writers: Vec<_> = (0..8_u128)
        .map(|node| {
            let db = db.clone();
            tokio::spawn(async move {
                for day in 0..5 {
                    let batch: Vec<Cdr> = (0..20)
                        .map(|number| {
                            let cdr = ended(node * 1000 + number + day * 100);
                            Cdr { started_at: cdr.started_at + TimeDelta::days(day as i64), ..cdr }
                        })
                        .collect();
                    write_sound(&db, &batch).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(one::<i64>(db, "select count(*) from call").await, 800);
}

#[tokio::test]
async fn a_database_that_refuses_writes_is_an_error_and_no_verdict_on_the_records() {
    let database = Database::new().await;
    let db = database.pool();
    write_sound(db, &[ended(1)]).await;
    sql(db, "do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$")
        .await
        .unwrap();
    let fresh = tandem_store::connect(database.url()).await.unwrap();
    cdr::write(&fresh, &[ended(2)]).await.expect_err("it is read-only");
}

#[tokio::test]
async fn a_thousand_cdrs_a_second_take_a_small_part_of_one_core() {
    const BATCHES: u128 = 50;
    const EACH: u128 = 200;
    let database = Database::new().await;
    let db = tandem_store::database::connect_with(database.url(), 1).await.unwrap();
    write_sound(&db, &[ended(1)]).await;
    let batches: Vec<Vec<Cdr>> = (0..BATCHES)
        .map(|batch| (0..EACH).map(|number| ended(1_000 + batch * EACH + number)).collect())
        .collect();
    let server: i32 = one(&db, "select pg_backend_pid()").await;
    let before = (cpu_ms(server), cpu_ms(std::process::id() as i32));
    #[allow(clippy::disallowed_methods)] // What is measured is real time.
    let begin = Instant::now();
    for batch in &batches {
        write_sound(&db, batch).await;
    }
    let took = begin.elapsed();
    let after = (cpu_ms(server), cpu_ms(std::process::id() as i32));
    let each = |ms: u64| u128::from(ms) * 1000 / (BATCHES * EACH);
    #[allow(clippy::print_stderr)]
    {
        // Other tests of this process run meanwhile; alone, the third figure is the client's.
        eprintln!(
            "a CDR with one attempt, in batches of {EACH}: {} µs, of Postgres {} µs CPU, of this process {} µs CPU",
            took.as_micros() / (BATCHES * EACH),
            each(after.0 - before.0),
            each(after.1 - before.1),
        );
    }
    assert_eq!(one::<i64>(&db, "select count(*) from call").await, 10_001);
    assert!(each(after.0 - before.0) < 500, "Postgres alone would need half a core");
}

/// CPU time that a process has used, in milliseconds, as the kernel counts it: in hundredths of a second.
fn cpu_ms(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}
