//! Rows that no constraint kept out: each is left out with its reason, and all others are routed by.

use std::time::Duration;

use serde_json::Value;
use tandem_tests::{Cluster, Endpoint, Exchange, Hub, Settings, Socket, until};

/// Announcements that nothing is wrong with.
const GOOD: usize = 10_000;

/// A statement that makes one row bad, what kind of row that is and what is said of it.
const BAD: [(&str, &str, &str); 10] = [
    (
        "insert into member (name, display_name, contact_email, state) values ('odd', 'Odd', 'noc@odd.example', 'retired')",
        "member",
        "state is \"retired\", which this program does not know",
    ),
    (
        "insert into endpoint (member_id, name, target_address, target_port, target_transport)
         select member_id, 'odd-1', '192.0.2.99', 70000, 'udp' from member where name = 'globex'",
        "endpoint",
        "target_port is 70000, which is out of its range",
    ),
    (
        "insert into number_range (member_id, prefix, valid_during) select member_id, '0049', tstzrange(now(), null) from member where name = 'globex'",
        "range",
        "prefix is \"0049\"",
    ),
    (
        "insert into announcement (member_id, prefix, valid_during) select member_id, '0044', tstzrange(now(), null) from member where name = 'globex'",
        "announcement",
        "prefix is \"0044\"",
    ),
    (
        "insert into announcement (member_id, prefix, valid_during) select null, '4930', tstzrange(now(), null)",
        "announcement",
        "member_id is null",
    ),
    (
        "insert into announcement (member_id, prefix, valid_during, max_calls) select member_id, '4931', tstzrange(now(), null), -1 from member where name = 'globex'",
        "announcement",
        "max_calls is -1, which is out of its range",
    ),
    (
        "update agreement set direction = 'sideways' from member where member_id = accepting_member_id and name = 'initech'",
        "agreement",
        "direction is \"sideways\", which this program does not know",
    ),
    (
        "insert into club (name, display_name, created_at, terms) values ('odd', 'Odd', now(), '{\"hours\": 7}')",
        "club",
        "terms: ",
    ),
    (
        "with deck as (insert into rate_deck (name, currency, created_at) values ('odd', 'EUR', now()) returning rate_deck_id)
         insert into rate (rate_deck_id, version, prefix, per_minute, valid_during)
         select rate_deck_id, 0, '44', -1, tstzrange(now(), null) from deck",
        "rate_deck",
        "per_minute is -1.000000",
    ),
    (
        "with deck as (insert into rate_deck (name, currency, created_at) values ('odder', 'EUR', now()) returning rate_deck_id)
         insert into rate (rate_deck_id, version, prefix, per_minute, valid_during)
         select rate_deck_id, 0, '44', 'NaN', tstzrange(now(), null) from deck",
        "rate_deck",
        "per_minute is NaN",
    ),
];

#[test]
fn a_bad_row_of_each_kind_among_ten_thousand_is_shown_with_its_reason_and_all_others_are_routed_by() {
    let (caller, called) = (Socket::new(), Socket::new());
    let target = format!("sip:{};transport=udp", called.address());
    let cluster = Cluster::start();
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
        .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &["+44207946"])
        .member("initech", &[Endpoint::new("initech-1", [192, 0, 2, 9].into(), &target)], &["+44207947"])
        .agreement("acme", "globex")
        .agreement("acme", "initech");
    let hub = Hub::with(&Settings { database_url: Some(cluster.url()), ..Settings::default() }, &exchange);
    let left_out = || {
        hub.wait_until_current();
        let nodes = hub.api.get("/nodes").good();
        let rows = nodes["rows_left_out"].as_array().expect("a list").clone();
        assert_eq!(nodes["rows_left_out_count"].as_u64(), Some(rows.len() as u64));
        rows
    };
    assert_eq!(left_out(), Vec::<Value>::new());
    assert!(caller.would_be_routed(hub.sip, "+442079470001"), "by the agreement that will be bad");

    cluster.query(&format!(
        "insert into announcement (member_id, prefix, valid_during, endpoint_ids)
         select member_id, '44207946' || lpad(n::text, 4, '0'), tstzrange(now(), null)
              , array(select endpoint_id from endpoint where endpoint.member_id = member.member_id order by endpoint_id)
           from member, generate_series(0, {GOOD} - 1) n where name = 'globex'"
    ));
    cluster.query(
        "alter table member drop constraint member_state_known;
         alter table endpoint drop constraint endpoint_target_port_range;
         alter table number_range drop constraint number_range_prefix_form;
         alter table announcement drop constraint announcement_prefix_form, drop constraint announcement_max_calls_positive, alter member_id drop not null;
         alter table agreement drop constraint agreement_direction_known;
         alter table rate drop constraint rate_per_minute_range",
    );
    for (statement, ..) in BAD {
        cluster.query(statement);
    }
    let said = left_out();
    assert_eq!(said.len(), BAD.len(), "{said:#?}");
    for (_, kind, why) in BAD {
        let is_said =
            |row: &Value| row["kind"] == kind && row["why"].as_str().is_some_and(|it| it.starts_with(why));
        assert!(said.iter().any(is_said), "{kind}: {why}: {said:#?}");
    }
    let metric = || hub.metrics().sum("tandem_route_table_rows_left_out", &[]);
    assert!((metric() - BAD.len() as f64).abs() < 0.5, "{}", metric());
    let prefixes = hub.metrics().sum("tandem_route_table_prefixes", &[]);
    assert!((prefixes - GOOD as f64 - 2.0).abs() < 0.5, "all others are there: {prefixes}");
    for number in ["+442079460000", "+442079465000", "+442079469999"] {
        assert!(caller.would_be_routed(hub.sip, number), "{number}");
    }
    // What a row said before it went bad is not in force any more, as the nodes page states.
    assert!(!caller.would_be_routed(hub.sip, "+442079470001"));
    let member = hub.api_of("acme");
    assert_eq!(member.get("/nodes").status, 403, "it is for the operator");

    // A node that loads everything anew says the same; once a row is mended it counts again.
    cluster.query("update agreement set direction = 'both' where direction = 'sideways'");
    until("the mended row to count", Duration::from_secs(10), || {
        (left_out().len() == BAD.len() - 1).then_some(())
    });
    assert!(caller.would_be_routed(hub.sip, "+442079470001"));
}
