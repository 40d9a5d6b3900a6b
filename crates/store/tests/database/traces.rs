//! Traces: written once, seen by who may, and deleted when they are old or too many.

use chrono::{DateTime, TimeDelta, Utc};
use tandem_model::{CallId, MemberId, NodeId, TraceSelectionId, Transport};
use tandem_store::call_message::{CallMessage, CallTrace, ladder, prune, write};
use tandem_store::trace_selection::{NewTraceSelection, end, forget, in_force, insert};
use tandem_store::{PgPool, call_message, trace_selection};
use tandem_testkit::Database;

use crate::support::{TWO_MEMBERS, declare, id, one, rule_broken_by, start};

fn trace(call: u128, at: DateTime<Utc>) -> CallTrace {
    CallTrace { call_id: CallId(id(call)), node_id: NodeId(id(1)), began_at: at, selection: None }
}

/// A message on the ingress leg, or on that of an attempt.
fn message(call: u128, position: u32, member: u128, attempt: Option<u16>) -> CallMessage {
    CallMessage {
        call_id: CallId(id(call)),
        position,
        at: start() + TimeDelta::milliseconds(position.into()),
        member_id: MemberId(id(member)),
        attempt,
        is_received: attempt.is_none(),
        is_again: false,
        transport: Transport::Udp,
        hub_address: "192.0.2.100:5060".parse().unwrap(),
        member_address: format!("192.0.2.{member}:5060").parse().unwrap(),
        method: "INVITE".to_owned(),
        status: None,
        has_session: true,
        outline: format!("outline of {member}"),
        octets: format!("whole of {member}\u{0}").into_bytes(),
    }
}

async fn texts(db: &PgPool, call: u128, reader: Option<u128>) -> Vec<String> {
    let reader = reader.map(|reader| MemberId(id(reader)));
    let seen = ladder(db, CallId(id(call)), MemberId(id(11)), reader).await.unwrap();
    for message in &seen {
        assert_eq!(message.way.is_some(), message.text.starts_with("whole"), "{message:?}");
    }
    seen.into_iter().map(|message| message.text.trim_end_matches('\u{0}').to_owned()).collect()
}

#[tokio::test]
async fn each_member_sees_its_own_leg_whole_and_no_third_members() {
    let database = Database::new().await;
    let db = database.pool();
    let messages = [
        message(1, 1, 11, None),
        message(1, 2, 12, Some(1)),
        message(1, 3, 13, Some(2)),
        message(2, 1, 9, None),
    ];
    let traces = [trace(1, start()), trace(2, start())];
    for _ in 0..2 {
        write(db, &traces, &messages, &[(CallId(id(1)), 3)]).await.unwrap();
    }
    assert_eq!(texts(db, 1, None).await, ["whole of 11", "whole of 12", "whole of 13"]);
    assert_eq!(texts(db, 1, Some(11)).await, ["whole of 11", "outline of 12", "outline of 13"]);
    assert_eq!(texts(db, 1, Some(13)).await, ["outline of 11", "whole of 13"]);
    assert_eq!(call_message::dropped(db, CallId(id(1))).await.unwrap(), Some(3));
    assert_eq!(call_message::dropped(db, CallId(id(7))).await.unwrap(), None);
}

#[tokio::test]
async fn the_old_and_what_is_beyond_the_bound_are_deleted_oldest_first() {
    let database = Database::new().await;
    let db = database.pool();
    for call in 1..=5_u128 {
        let at = start() + TimeDelta::hours(call as i64);
        write(db, &[trace(call, at)], &[message(call, 1, 11, None)], &[]).await.unwrap();
    }
    let left = async || {
        one::<Vec<String>>(db, "select array_agg(right(call_id::text, 1) order by 1) from call_message").await
    };
    let size = one::<i64>(db, "select max(octets) from call_trace").await;
    assert_eq!(prune(db, start() + TimeDelta::hours(2), 5 * size, 500).await.unwrap(), 1);
    assert_eq!(left().await, ["2", "3", "4", "5"]);
    assert_eq!(prune(db, start(), 2 * size, 1).await.unwrap(), 1);
    assert_eq!(left().await, ["3", "4", "5"]);
    assert_eq!(prune(db, start(), 2 * size, 500).await.unwrap(), 1);
    assert_eq!(left().await, ["4", "5"]);
}

#[tokio::test]
async fn a_selection_is_in_force_until_it_ends_and_counts_what_was_traced_elsewhere() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let member_id = MemberId(one(db, "select member_id from member where name = 'acme'").await);
    let new = NewTraceSelection {
        member_id,
        endpoint_id: None,
        prefix: Some("+4420".parse().unwrap()),
        until: start() + TimeDelta::minutes(5),
        max_calls: 7,
    };
    let made = insert(db, &new, start()).await.unwrap();
    let selection: TraceSelectionId = made.selection.trace_selection_id;
    assert_eq!((made.selection.prefix, made.selection.max_calls, made.calls), (new.prefix, 7, 0));
    let by = |call, node: u128, minutes| CallTrace {
        node_id: NodeId(id(node)),
        selection: Some(selection),
        ..trace(call, start() + TimeDelta::minutes(minutes))
    };
    write(db, &[by(1, 1, 0), by(2, 1, 2), by(3, 2, 2)], &[], &[]).await.unwrap();

    let counted = async |minutes| {
        let since = start() + TimeDelta::minutes(1);
        let at = start() + TimeDelta::minutes(minutes);
        let all = in_force(db, NodeId(id(1)), since, at, 10).await.unwrap();
        all.iter().map(|it| it.calls).collect::<Vec<_>>()
    };
    assert_eq!(counted(3).await, [2], "another node's, and this one's before its start");
    assert!(counted(5).await.is_empty());

    let at = start() + TimeDelta::minutes(2);
    assert_eq!(end(db, MemberId(id(5)), selection, at).await.unwrap(), None, "it is acme's");
    let ended = end(db, member_id, selection, at).await.unwrap().unwrap();
    assert_eq!((ended.selection.until, ended.calls), (at, 3));
    assert_eq!(end(db, member_id, selection, at).await.unwrap(), None);
    assert!(counted(3).await.is_empty());
    assert_eq!(trace_selection::list_of_member(db, member_id, None, 10).await.unwrap().len(), 1);
    assert_eq!(forget(db, at + TimeDelta::minutes(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_selection_lasts_a_day_at_most_and_names_an_endpoint_of_its_member() {
    let database = Database::new().await;
    declare(database.pool(), TWO_MEMBERS).await.unwrap();
    let rule = rule_broken_by(
        database.pool(),
        "insert into trace_selection (member_id, created_at, until, max_calls)
         select member_id, now(), now() + interval '25 hours', 1 from member where name = 'acme'",
    );
    assert_eq!(rule.await, "trace_selection_within_a_day");
    let rule = rule_broken_by(
        database.pool(),
        "insert into trace_selection (member_id, endpoint_id, created_at, until, max_calls)
         select m.member_id, e.endpoint_id, now(), now() + interval '1 hour', 1
           from member m, endpoint e where m.name = 'acme' and e.name = 'globex-1'",
    );
    assert_eq!(rule.await, "trace_selection_endpoint_own");
}
