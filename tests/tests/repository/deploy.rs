//! What `deploy/` gives an operator fits the hub: rules that Prometheus takes, and no metric that is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tandem_tests::{CALLED, Exchange, Hub, Socket};
use toml::Table;

fn deploy() -> PathBuf {
    workspace().join("deploy")
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").to_owned()
}

/// Prometheus' own checker: from the PATH, or where `cargo xtask` unpacks it.
fn promtool() -> Command {
    let unpacked = workspace().join("target/tools/usr/bin/promtool");
    Command::new(if unpacked.exists() { unpacked } else { "promtool".into() })
}

#[test]
fn prometheus_takes_the_configuration_and_the_rules() {
    let checked = promtool().args(["check", "config", "prometheus.yml"]).current_dir(deploy()).output();
    let output = checked.expect("promtool is there; cargo xtask setup brings it");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_rules_about_endpoints_fire_when_they_should_and_not_before() {
    let played = promtool().args(["test", "rules", "tandem.rules.test.yml"]).current_dir(deploy()).output();
    let output = played.expect("promtool is there; cargo xtask setup brings it");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn every_metric_of_dashboard_and_rules_is_served_by_a_running_hub() {
    let switch = Socket::new();
    let hub = Hub::start(&Exchange::of_two(switch.address().ip(), &[]));
    // A reason has a series from the first refusal on.
    switch.ask(hub.sip, &switch.invite(hub.sip, CALLED));
    let metrics = hub.metrics();
    let served: BTreeSet<&str> = metrics.names().into_iter().collect();
    for file in ["grafana/tandem.json", "tandem.rules.yml"] {
        let text = fs::read_to_string(deploy().join(file)).expect("the file is there");
        let named = metric_names(&text);
        assert!(named.len() > 5, "{file} names metrics");
        for name in named {
            assert!(
                served.contains(name),
                "{file} asks for {name}, which the hub does not serve: {served:?}"
            );
        }
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_do_not_overlap() {
    let text = fs::read_to_string(deploy().join("grafana/tandem.json")).expect("the file is there");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a panel has a place");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} is over another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn the_example_settings_are_settings() {
    let read = |path: PathBuf| -> Table {
        fs::read_to_string(path).expect("the file is there").parse().expect("it is TOML")
    };
    let example = read(deploy().join("tandem.toml"));
    let all = read(workspace().join("crates/tandem/src/settings.toml"));
    for (key, value) in &example {
        let known = all.get(key).unwrap_or_else(|| panic!("there is no setting {key}"));
        let (tables, known) = match (value, known) {
            (toml::Value::Array(values), toml::Value::Array(known)) => (values.iter().collect(), &known[0]),
            (value, known) => (vec![value], known),
        };
        for table in tables.into_iter().filter_map(toml::Value::as_table) {
            for inner in table.keys() {
                assert!(known.get(inner).is_some(), "there is no setting {key}.{inner}");
            }
        }
    }
}

/// Every word in `text` that is the name of a metric of ours: `tandem_` and a unit or noun. Names in a rule's
/// `alert:` begin with a capital and are none.
fn metric_names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("tandem_"))
        .collect()
}
