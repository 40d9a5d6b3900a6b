//! What `cargo xtask demo` shows: members that join through the API, claim and announce their numbers, and call each other.

use tandem_tests::{Exchange, Hub};

#[test]
fn simulated_members_join_through_the_api_and_call_each_other() {
    let hub = Hub::start(&Exchange::default());
    let token = hub.tandem(&["token", "create", "--operator"]);
    let portal = format!("http://{}", hub.portal);
    let mut simulate = vec!["simulate", "--portal", &portal, "--operator-token", token.trim()];
    simulate.extend(["--password", "a password of the test"]);
    simulate.extend(["--members", "3", "--calls-per-second", "6", "--duration", "10"]);
    let said = hub.tandem(&simulate);
    let end = said.lines().last().unwrap_or_default();
    assert!(end.starts_with("ended: ") && end.ends_with(", 0 unexpected"), "{said}");
    let metrics = hub.metrics();
    let outcome = |outcome: &str| metrics.sum("tandem_calls_total", &[&format!("outcome=\"{outcome}\"")]);
    assert!(outcome("answered") > 0.0, "{said}");
    assert_eq!(outcome("failed"), 0.0, "{said}");
    // Some call whom they have no agreement with, or a number that nobody has: that is all that is refused.
    let refused = |code: &str| metrics.sum("tandem_refusals_total", &[&format!("reason=\"{code}\"")]);
    let meant = refused("no_agreement") + refused("no_route");
    assert_eq!(metrics.sum("tandem_refusals_total", &[]), meant, "{said}");
}
