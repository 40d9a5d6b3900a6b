//! Each rule of the schema that spans rows, by its name.

use tandem_model::Reason;
use tandem_store::PgPool;
use tandem_store::declaration::{Applied, ApplyError};
use tandem_testkit::Database;

use crate::support::{TWO_MEMBERS, declare, one, rule_broken_by, sql};

#[tokio::test]
async fn valid_ranges_of_two_members_never_overlap() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let claim = "insert into number_range (member_id, prefix, authority, valid_during)
                 select member_id, '442079461', 'valid', '[2026-06-01,)' from member where name = 'globex'";
    assert_eq!(rule_broken_by(db, claim).await, "number_range_overlaps");
    // A claim that nobody verified stands beside it, and so does a sibling.
    sql(
        db,
        "insert into number_range (member_id, prefix, authority, valid_during)
         select member_id, '442079461', 'pending', '[2026-06-01,)' from member where name = 'globex';
         insert into number_range (member_id, prefix, authority, valid_during)
         select member_id, '44207947', 'valid', '[2026-06-01,)' from member where name = 'globex'",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_range_passes_on_at_the_instant_its_holder_loses_it() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    sql(
        db,
        "update number_range set valid_during = '[2026-01-01,2026-06-01)';
         insert into number_range (member_id, prefix, authority, valid_during)
         select member_id, '44207946', 'valid', '[2026-06-01,)' from member where name = 'globex'",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_member_claims_a_prefix_once_unless_it_was_refused() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let claim = "insert into number_range (member_id, prefix, valid_during)
                 select member_id, '44207946', '[2026-06-01,)' from member where name = 'acme'";
    assert_eq!(rule_broken_by(db, claim).await, "number_range_claimed_twice");
    sql(db, "update number_range set authority = 'refused'").await.unwrap();
    sql(db, claim).await.unwrap();
}

#[tokio::test]
async fn sources_of_two_endpoints_never_overlap() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    for (statement, overlaps) in [
        (
            "insert into endpoint_source select endpoint_id, '192.0.2.0/24', null from endpoint where name = 'globex-1'",
            true,
        ),
        (
            "insert into endpoint_source select endpoint_id, '192.0.2.21', 5060 from endpoint where name = 'globex-1'",
            true,
        ),
        (
            "insert into endpoint_source select endpoint_id, '192.0.2.22', 5060 from endpoint where name = 'globex-1'",
            false,
        ),
        (
            "insert into endpoint_source select endpoint_id, '192.0.2.22', 5061 from endpoint where name = 'acme-1'",
            false,
        ),
        (
            "insert into endpoint_source select endpoint_id, '2001:db8::/32', null from endpoint where name = 'acme-1'",
            false,
        ),
    ] {
        if overlaps {
            assert_eq!(rule_broken_by(db, statement).await, "endpoint_source_overlaps", "{statement}");
        } else {
            sql(db, statement).await.unwrap();
        }
    }
}

#[tokio::test]
async fn sources_are_shared_where_marks_of_one_kind_tell_calls_apart() {
    let database = Database::new().await;
    let db = database.pool();
    let (prefix, domain) = (r#"tech_prefix = "9911""#, r#"request_domain = "acme.example""#);
    for (acme, globex, is_told) in [
        (prefix, "", false),
        ("", prefix, false),
        (prefix, prefix, false),
        (prefix, r#"tech_prefix = "99""#, false),
        (prefix, r#"tech_prefix = "991122""#, false),
        (prefix, domain, false),
        (domain, domain, false),
        (domain, r#"request_domain = "ACME.example""#, false),
        (r#"request_domain = "3com.example""#, r#"tech_prefix = "3""#, false),
        (prefix, r#"tech_prefix = "9912""#, true),
        // Each takes the mark that the other had.
        (r#"tech_prefix = "9912""#, prefix, true),
        (domain, r#"request_domain = "globex.example""#, true),
    ] {
        let declared = declare_sharing(db, acme, globex).await;
        assert_eq!(declared.is_ok(), is_told, "{acme:?} {globex:?}: {declared:?}");
        if let Err(error) = declared {
            assert!(error.to_string().contains("source"), "{error}");
        } else {
            assert_eq!(declare_sharing(db, acme, globex).await.unwrap().changes, [], "it is so already");
        }
    }
    for (acme, says) in [
        (r#"tech_prefix = "99#""#, "endpoint acme/acme-1: \"99#\" is no tech-prefix; write 1 to 8 digits"),
        (r#"request_domain = "192.0.2.1""#, "endpoint acme/acme-1: \"192.0.2.1\" is no domain"),
        (
            "tech_prefix = \"99\"\nrequest_domain = \"acme.example\"",
            "endpoint acme/acme-1: an endpoint is told by a tech-prefix or by a request domain, not by both",
        ),
    ] {
        let error = declare_sharing(db, acme, prefix).await.unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
    // A source has the mark of its endpoint, and a mark is one of the two kinds.
    let other = "insert into endpoint_source (endpoint_id, net, call_mark)
                 select endpoint_id, '198.51.100.1', '77' from endpoint where name = 'globex-1'";
    assert_eq!(rule_broken_by(db, other).await, "endpoint_source_of_call_mark");
    for statement in [
        "update endpoint set call_mark = '123456789' where name = 'acme-1'",
        "update endpoint set call_mark = '99#' where name = 'acme-1'",
        "update endpoint set call_mark = 'Acme.example' where name = 'acme-1'",
    ] {
        assert_eq!(rule_broken_by(db, statement).await, "endpoint_call_mark_form", "{statement}");
    }
}

/// Two members at one address, each with lines of its own.
async fn declare_sharing(db: &PgPool, acme: &str, globex: &str) -> Result<Applied, ApplyError> {
    let member = |name: &str, net: &str, mark: &str| {
        format!(
            "[[member]]\nname = \"{name}\"\n[[member.endpoint]]\nname = \"{name}-1\"\n\
             source = [\"{net}\"]\ntarget = \"sip:192.0.2.21\"\n{mark}\n"
        )
    };
    declare(db, &(member("acme", "192.0.2.21", acme) + &member("globex", "192.0.2.0/24", globex))).await
}

#[tokio::test]
async fn an_announcement_names_endpoints_of_its_own_member_only() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let foreign = "insert into announcement (member_id, prefix, valid_during, endpoint_ids)
                   select m.member_id, '4930', '[2027-01-01,)', array[e.endpoint_id]
                     from member m, endpoint e where m.name = 'acme' and e.name = 'globex-1'";
    assert_eq!(rule_broken_by(db, foreign).await, "announcement_endpoint_own");
    let added = "update announcement set endpoint_ids = endpoint_ids || array(select endpoint_id from endpoint where name = 'globex-1')";
    assert_eq!(rule_broken_by(db, added).await, "announcement_endpoint_own");
    let given_away =
        "update announcement set member_id = (select member_id from member where name = 'globex')";
    assert_eq!(rule_broken_by(db, given_away).await, "announcement_endpoint_own");
    let twice = "update announcement set endpoint_ids = endpoint_ids || endpoint_ids";
    assert_eq!(rule_broken_by(db, twice).await, "announcement_endpoint_order");
}

#[tokio::test]
async fn a_program_of_before_names_the_endpoints_of_announcements_by_rows() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let rows = "select count(*) from announcement_endpoint";
    let named = "select count(*) from announcement join endpoint e using (member_id)
                  where endpoint_ids = array[e.endpoint_id]";
    assert_eq!((one::<i64>(db, rows).await, one::<i64>(db, named).await), (1, 1));
    sql(db, "delete from announcement_endpoint").await.unwrap();
    assert_eq!((one::<i64>(db, rows).await, one::<i64>(db, named).await), (0, 0));
    let added = "with made as (
                     insert into announcement (member_id, prefix, valid_during)
                     select member_id, '4420794601', '[2027-01-01,)' from member where name = 'acme'
                     returning announcement_id, member_id)
                 insert into announcement_endpoint (announcement_id, member_id, endpoint_id)
                 select announcement_id, made.member_id, endpoint_id from made join endpoint using (member_id)";
    sql(db, added).await.unwrap();
    assert_eq!((one::<i64>(db, rows).await, one::<i64>(db, named).await), (1, 1));
    let foreign = "insert into announcement_endpoint (announcement_id, member_id, endpoint_id)
                   select announcement_id, a.member_id, e.endpoint_id
                     from announcement a, endpoint e where e.name = 'globex-1'";
    assert_eq!(rule_broken_by(db, foreign).await, "announcement_endpoint_own");
    let disguised = "insert into announcement_endpoint (announcement_id, member_id, endpoint_id)
                     select announcement_id, e.member_id, e.endpoint_id
                       from announcement a, endpoint e where e.name = 'globex-1'";
    assert_eq!(rule_broken_by(db, disguised).await, "announcement_endpoint_announcement");
}

#[tokio::test]
async fn a_prefix_is_announced_once_at_a_time_by_a_member() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let again = "insert into announcement (member_id, prefix, valid_during)
                 select member_id, '44207946', '[2027-01-01,2028-01-01)' from member where name = 'acme'";
    assert_eq!(rule_broken_by(db, again).await, "announcement_exists");
    let for_ever = "insert into announcement (member_id, prefix, valid_during)
                    select member_id, '44207946', '[2027-01-01,)' from member where name = 'acme'";
    assert_eq!(rule_broken_by(db, for_ever).await, "announcement_exists");
    // What ends: beside what goes on, whichever comes first, and beside what ends, too.
    let earlier = "insert into announcement (member_id, prefix, valid_during)
                   select member_id, '44207946', '[2024-01-01,2025-01-01)' from member where name = 'acme'";
    sql(db, earlier).await.unwrap();
    assert_eq!(rule_broken_by(db, earlier).await, "announcement_exists_for_a_time");
    let prolonged =
        "update announcement set valid_during = '[2024-06-01,)' where upper(valid_during) is null";
    assert_eq!(rule_broken_by(db, prolonged).await, "announcement_exists");
}

#[tokio::test]
async fn of_two_that_announce_a_prefix_at_once_the_second_waits_and_is_refused() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let mut first = db.begin().await.unwrap();
    let for_ever = "insert into announcement (member_id, prefix, valid_during)
                    select member_id, '4420794601', '[2027-01-01,)' from member where name = 'acme'";
    sqlx::query(for_ever).execute(&mut *first).await.unwrap();
    let second = tokio::spawn({
        let db = db.clone();
        async move {
            let for_a_time = "insert into announcement (member_id, prefix, valid_during)
                              select member_id, '4420794601', '[2027-01-01,2028-01-01)' from member where name = 'acme'";
            rule_broken_by(&db, for_a_time).await
        }
    });
    let waits = "select count(*) from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock'";
    while one::<i64>(db, waits).await == 0 {
        tokio::task::yield_now().await;
    }
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), "announcement_exists");
}

#[tokio::test]
async fn an_announcement_is_of_a_member_that_is_there_and_its_endpoints_stay_as_long_as_it_does() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let nobodys = "insert into announcement (member_id, prefix, valid_during)
                   values ('00000000-0000-0000-0000-000000000001', '4420794601', '[2027-01-01,)')";
    assert_eq!(rule_broken_by(db, nobodys).await, "announcement_member_id_fkey");
    assert_eq!(
        rule_broken_by(db, "delete from endpoint where name = 'acme-1'").await,
        "announcement_endpoint_own"
    );
    let given_away = "update endpoint set member_id = (select member_id from member where name = 'globex')";
    assert_eq!(rule_broken_by(db, given_away).await, "announcement_endpoint_own");
    sql(db, "delete from announcement").await.unwrap();
    sql(db, "delete from endpoint where name = 'acme-1'").await.unwrap();
}

#[tokio::test]
async fn two_members_have_one_agreement_or_proposal_whoever_proposes_it() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    for statement in [
        "insert into agreement (proposing_member_id, accepting_member_id)
         select a.member_id, g.member_id from member a, member g where a.name = 'acme' and g.name = 'globex'",
        "insert into agreement (proposing_member_id, accepting_member_id)
         select g.member_id, a.member_id from member a, member g where a.name = 'acme' and g.name = 'globex'",
    ] {
        assert_eq!(rule_broken_by(db, statement).await, "agreement_exists");
    }
    sql(db, "update agreement set state = 'ended', valid_during = '[2026-01-01,2026-02-01)'").await.unwrap();
    sql(
        db,
        "insert into agreement (proposing_member_id, accepting_member_id)
         select g.member_id, a.member_id from member a, member g where a.name = 'acme' and g.name = 'globex'",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_broken_rule_has_the_reason_that_the_api_gives() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let reason = async |statement| {
        tandem_store::database::reason(&sql(db, statement).await.expect_err("it breaks a rule"))
    };
    let source = "insert into endpoint_source select endpoint_id, '192.0.2.0/24', null from endpoint where name = 'globex-1'";
    assert_eq!(reason(source).await, Some(Reason::SourceOverlaps));
    assert_eq!(reason("update member set name = 'acme'").await, Some(Reason::Conflict));
    assert_eq!(reason("update member set name = 'Not A Name'").await, Some(Reason::Invalid));
    assert_eq!(reason("select 1 / 0").await, None);
}

#[tokio::test]
async fn the_audit_log_is_append_only() {
    let database = Database::new().await;
    let db = database.pool();
    sql(db, "insert into audit_entry (action, object_kind) values ('created', 'member')").await.unwrap();
    for statement in
        ["update audit_entry set action = 'x'", "delete from audit_entry", "truncate audit_entry"]
    {
        sql(db, statement).await.expect_err("history is not rewritten");
    }
    assert_eq!(one::<i64>(db, "select count(*) from audit_entry").await, 1);
}

#[tokio::test]
async fn of_fifty_equal_claims_made_at_once_exactly_one_becomes_valid() {
    let database = Database::new().await;
    let db = database.pool();
    sql(
        db,
        "insert into member (name, display_name, contact_email, state)
         select 'm' || n, 'M' || n, 'noc@example.net', 'approved' from generate_series(1, 50) n",
    )
    .await
    .unwrap();
    let claims = (1..=50).map(|number| {
        let db = db.clone();
        tokio::spawn(async move {
            sqlx::query(
                "insert into number_range (member_id, prefix, authority, valid_during)
                 select member_id, '4420', 'valid', '[2026-01-01,)' from member where name = $1",
            )
            .bind(format!("m{number}"))
            .execute(&db)
            .await
        })
    });
    let claims: Vec<_> = claims.collect();
    let mut won = 0;
    for claim in claims {
        match claim.await.unwrap() {
            Ok(_) => won += 1,
            // Two that wait for each other are parted by Postgres; one of them has lost.
            Err(error) => assert!(
                tandem_store::database::reason(&error) == Some(Reason::RangeOverlaps)
                    || error.as_database_error().is_some_and(|it| it.code().as_deref() == Some("40P01")),
                "{error}"
            ),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(one::<i64>(db, "select count(*) from number_range where authority = 'valid'").await, 1);
}

#[tokio::test]
async fn an_id_of_the_database_is_a_uuid_of_version_7_and_ids_sort_by_time() {
    let database = Database::new().await;
    let db = database.pool();
    let (first, second): (uuid::Uuid, uuid::Uuid) = (one(db, "select uuid_v7()").await, {
        sql(db, "select pg_sleep(0.003)").await.unwrap();
        one(db, "select uuid_v7()").await
    });
    assert_eq!(first.get_version_num(), 7);
    assert_eq!(first.get_variant(), uuid::Variant::RFC4122);
    assert!(first < second);
}
