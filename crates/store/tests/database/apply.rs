//! `tandem apply`: the exchange becomes what the file says, once, or not at all.

use std::time::Instant;

use tandem_model::{AgreementState, CallLimits};
use tandem_store::declaration::{Action, ApplyError, apply};
use tandem_store::facts::load;
use tandem_testkit::Database;

use crate::support::{TWO_MEMBERS, declaration, declare, declare_at, one, sql, start};

async fn changes(db: &tandem_store::PgPool, toml: &str) -> Vec<String> {
    declare_at(db, toml, "2026-02-01T00:00:00Z".parse().unwrap())
        .await
        .unwrap()
        .changes
        .iter()
        .map(ToString::to_string)
        .collect()
}

async fn refusal(db: &tandem_store::PgPool, toml: &str) -> String {
    match declare(db, toml).await {
        Err(ApplyError::Row { row, why }) => format!("{row}: {why}"),
        other => panic!("a row is at fault: {other:?}"),
    }
}

#[tokio::test]
async fn the_same_file_applied_again_changes_nothing() {
    let database = Database::new().await;
    let db = database.pool();
    let first = declare(db, TWO_MEMBERS).await.unwrap();
    assert_eq!(
        first.summary(),
        "added 1 agreement, added 1 announcement, added 2 endpoints, added 2 members, added 1 range"
    );
    let before = load(db).await.unwrap();
    let second = declare(db, TWO_MEMBERS).await.unwrap();
    assert_eq!(second.summary(), "nothing to change");
    assert_eq!(load(db).await.unwrap(), before, "not even the feed moved");
    assert_eq!(changes(db, TWO_MEMBERS).await, [""; 0], "nor later");
}

#[tokio::test]
async fn what_is_not_declared_any_more_is_removed_and_other_members_stay() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let acme_alone = "[[member]]\nname = 'acme'";
    assert_eq!(
        changes(db, acme_alone).await,
        [
            "removed announcement acme/+44207946",
            "removed endpoint acme/acme-1",
            "removed range acme/+44207946"
        ]
    );
    let facts = load(db).await.unwrap().facts;
    assert_eq!(facts.endpoints.len(), 1, "globex keeps its endpoint");
    assert_eq!(facts.announcements, []);
    assert!(
        facts.agreements[0].validity.unwrap().until.is_none(),
        "globex is not declared, so its agreement stays"
    );
    // And back again, at the same instant.
    assert_eq!(changes(db, TWO_MEMBERS).await.len(), 3);
}

#[tokio::test]
async fn what_differs_is_changed() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let other = r#"
        [[member]]
        name = "acme"
        display_name = "Acme Telecom"
        endpoint = [
            { name = "acme-1", source = ["192.0.2.22:5060"], target = "sip:[2001:db8::1]:5070;transport=tcp", max_calls = 9, site = "ams" },
            { name = "acme-2", source = ["192.0.2.21"], target = "sip:192.0.2.21" },
        ]
        range = [{ prefix = "+44207946" }]
        announcement = [{ prefix = "+44207946", endpoints = ["acme-1", "acme-2"], max_calls = 30 }]
        [[member]]
        name = "globex"
        max_calls_per_second = 20
        endpoint = [{ name = "globex-1", source = ["198.51.100.0/24"], target = "sip:198.51.100.1" }]
        range = [{ prefix = "+44207946", authority = "valid" }]
        [[agreement]]
        members = ["globex", "acme"]
        direction = "to_accepting"
        max_calls = 10
        max_calls_per_second = 5
        advance_on = { statuses = [503, 486], causes = [34] }
    "#;
    assert_eq!(
        changes(db, other).await,
        [
            "changed agreement globex–acme",
            "changed announcement acme/+44207946",
            "added endpoint acme/acme-2",
            "changed endpoint acme/acme-1",
            "changed member acme",
            "changed member globex",
            "added range globex/+44207946",
            "changed range acme/+44207946",
        ]
    );
    assert_eq!(changes(db, other).await, [""; 0]);
    let facts = load(db).await.unwrap().facts;
    let endpoint = facts.endpoints.iter().find(|it| it.name == "acme-1").unwrap();
    assert_eq!(endpoint.target.to_string(), "sip:[2001:db8::1]:5070;transport=tcp");
    assert_eq!(
        (endpoint.sources.len(), endpoint.sources[0].port, endpoint.max_calls),
        (1, Some(5060), Some(9))
    );
    let limits = |max_calls, max_calls_per_second| CallLimits { max_calls, max_calls_per_second };
    let globex = facts.members.iter().find(|it| it.name == "globex").unwrap();
    assert_eq!(globex.limits, limits(None, Some(20)));
    assert_eq!(facts.announcements[0].limits, limits(Some(30), None));
    let accepted = facts.agreements.iter().find(|it| it.state == AgreementState::Accepted).unwrap();
    assert_eq!(accepted.limits, limits(Some(10), Some(5)));
    assert!(
        accepted
            .advance_on
            .as_ref()
            .is_some_and(|list| list.includes(486, None) && !list.includes(500, None))
    );
    // Only a limit differs, and it goes where it is declared no more.
    assert_eq!(
        changes(db, &other.replace(", max_calls = 30", "").replace("max_calls = 10", "")).await,
        ["changed agreement globex–acme", "changed announcement acme/+44207946"]
    );
    let without = other.replace("advance_on = { statuses = [503, 486], causes = [34] }", "");
    declare(db, other).await.unwrap();
    assert_eq!(changes(db, &without).await, ["changed agreement globex–acme"]);
}

#[tokio::test]
async fn a_proposal_and_a_suspended_member_become_what_the_file_says() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    sql(db, "update agreement set state = 'proposed', valid_during = null; update member set state = 'suspended' where name = 'acme'")
        .await
        .unwrap();
    assert_eq!(changes(db, TWO_MEMBERS).await, ["changed agreement acme–globex", "changed member acme"]);
    assert_eq!(one::<i64>(db, "select count(*) from agreement where state = 'accepted'").await, 1);
    let alone = TWO_MEMBERS.split("[[agreement]]").next().unwrap();
    assert_eq!(changes(db, alone).await, ["removed agreement acme–globex"]);
}

#[tokio::test]
async fn the_row_that_is_wrong_is_named_and_nothing_is_changed() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let position = load(db).await.unwrap().facts.position;
    let many: String =
        (0..500).map(|n| format!("{{ prefix = '+49{}', authority = 'valid' }},", 30_000 + n)).collect();
    let overlapping = format!(
        "[[member]]\nname = 'initech'\nrange = [{many} {{ prefix = '+442079461', authority = 'valid' }}]"
    );
    let table = [
        (overlapping.as_str(), "range initech/+442079461: the range overlaps a verified range"),
        (
            "[[member]]\nname = 'initech'\nendpoint = [{ name = 'a', source = ['192.0.2.0/24'], target = 'sip:192.0.2.1' }]",
            "endpoint initech/a, source 192.0.2.0/24: the source overlaps a source of another endpoint",
        ),
        ("[[member]]\nname = 'In Itech'", "member In Itech: the request breaks a rule"),
        ("[[member]]\nname = 'a'\n[[member]]\nname = 'a'", "member a: it is declared twice"),
        (
            "[[member]]\nname = 'a'\nannouncement = [{ prefix = '+49', endpoints = ['b'] }]",
            "announcement a/+49: the member declares no endpoint \"b\"",
        ),
        (
            "[[member]]\nname = 'a'\n[[agreement]]\nmembers = ['a', 'globex']",
            "agreement a–globex: the member \"globex\" is not declared in this file",
        ),
    ];
    for (toml, begins) in table {
        let refusal = refusal(db, toml).await;
        assert!(refusal.starts_with(begins), "{refusal}");
    }
    assert_eq!(load(db).await.unwrap().facts.position, position);
}

#[tokio::test]
async fn the_wrong_row_is_found_wherever_it_stands() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    for rows in 1..=6 {
        for wrong in 0..rows {
            let prefix =
                |row| if row == wrong { "+442079461".to_owned() } else { format!("+49{}", 30 + row) };
            let ranges: String = (0..rows)
                .map(|row| format!("{{ prefix = '{}', authority = 'valid' }},", prefix(row)))
                .collect();
            let refusal = refusal(db, &format!("[[member]]\nname = 'initech'\nrange = [{ranges}]")).await;
            assert!(refusal.starts_with("range initech/+442079461: "), "{wrong} of {rows}: {refusal}");
        }
    }
}

#[tokio::test]
async fn addresses_and_numbers_can_be_swapped_in_one_go() {
    let database = Database::new().await;
    let db = database.pool();
    let exchange = |one: &str, two: &str| {
        format!(
            "[[member]]\nname = 'one'\nendpoint = [{{ name = 'e', source = ['{one}'], target = 'sip:192.0.2.1' }}]
             range = [{{ prefix = '+44{}', authority = 'valid' }}]
             [[member]]\nname = 'two'\nendpoint = [{{ name = 'e', source = ['{two}'], target = 'sip:192.0.2.2' }}]
             range = [{{ prefix = '+44{}', authority = 'valid' }}]",
            one.len(),
            two.len()
        )
    };
    declare(db, &exchange("192.0.2.1", "192.0.2.22")).await.unwrap();
    let swapped = changes(db, &exchange("192.0.2.22", "192.0.2.1")).await;
    assert_eq!(swapped.len(), 6, "{swapped:?}");
}

#[tokio::test]
async fn a_hundred_thousand_announcements_are_applied_in_seconds() {
    let database = Database::new().await;
    let db = database.pool();
    let mut exchange = declaration(TWO_MEMBERS);
    exchange.members[0].announcements.extend((0..100_000).map(|number| {
        tandem_store::declaration::AnnouncementDeclaration {
            prefix: format!("44207{}", 100_000 + number).parse().unwrap(),
            endpoints: vec!["acme-1".to_owned()],
            max_calls: None,
            max_calls_per_second: None,
            tags: Default::default(),
        }
    }));
    #[allow(clippy::disallowed_methods)] // What is measured is real time.
    let begin = Instant::now();
    let applied = apply(db, &exchange, start()).await.unwrap();
    let took = begin.elapsed();
    // Seven seconds on a quiet machine; many times that would be a plan gone quadratic.
    assert!(took.as_secs() < 60, "{took:?}");
    assert_eq!(
        applied.changes.iter().filter(|it| it.kind == "announcement" && it.action == Action::Added).count(),
        100_001
    );
    #[allow(clippy::disallowed_methods)]
    let begin = Instant::now();
    assert_eq!(apply(db, &exchange, start()).await.unwrap().changes, []);
    let again = begin.elapsed();
    #[allow(clippy::disallowed_methods)]
    let begin = Instant::now();
    assert_eq!(load(db).await.unwrap().facts.announcements.len(), 100_001);
    #[allow(clippy::print_stderr)]
    {
        eprintln!(
            "100,000 announcements: applied in {took:?}, again in {again:?}, loaded in {:?}",
            begin.elapsed()
        );
    }
}
