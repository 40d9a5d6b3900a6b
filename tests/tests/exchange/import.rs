//! A file of announcements is uploaded, checked and applied as a whole, over a broken connection and a killed hub.

use std::time::Duration;

use serde_json::{Value, json};
use tandem_tests::{Api, Endpoint, Exchange, Hub, peer_address, until};

/// Rows of the file.
const ROWS: usize = 20_000;

const DEADLINE: Duration = Duration::from_secs(60);

/// Acme, which may call globex; globex holds London and announces nothing yet.
fn exchange() -> Exchange {
    let gateway = Endpoint::new("globex-1", peer_address(), "sip:127.0.0.1:5060;transport=udp");
    let exchange = Exchange::default().member("acme", &[Endpoint::sender("acme-1", peer_address())], &[]);
    exchange.member("globex", &[gateway], &[]).range("+4420", "valid").agreement("acme", "globex")
}

/// A file that announces so many prefixes.
fn file(first: usize, rows: usize) -> String {
    let lines: String = (first..first + rows).map(|row| format!("+4420{row:06},globex-1\n")).collect();
    format!("prefix,endpoints\n{lines}")
}

fn begin(api: &Api, member: &str, key: &str, size: usize, more: &[(&str, &str)]) -> Value {
    let mut body = json!({ "format": "csv", "octets": size, "file_name": "routes.csv" });
    more.iter().for_each(|(field, value)| body[*field] = json!(value));
    let path = format!("/members/{member}/imports");
    api.post_text(&path, "application/json", ("idempotency-key", key), &body.to_string()).good()
}

/// What says that all of a file comes.
fn whole(text: &str) -> String {
    format!("bytes 0-{}/{}", text.len() - 1, text.len())
}

/// The import, once it has come so far.
fn once(api: &Api, path: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    until(what, DEADLINE, || {
        let import = api.get(path).good();
        assert!(import["state"] != "failed" || is_so(&import), "{import}");
        is_so(&import).then_some(import)
    })
}

fn is_live(import: &Value) -> bool {
    import["state"] == "applied" && import["live_on"]["nodes"] == 1
}

#[test]
fn a_file_is_live_as_a_whole_though_its_upload_broke_off_and_the_hub_was_killed_in_the_middle() {
    let mut hub = Hub::start(&exchange());
    let member = hub.api.member_id("globex");
    let api = hub.api_of("globex");
    let text = file(0, ROWS);
    let id = begin(&api, &member, "first", text.len(), &[])["import_id"].as_str().expect("an id").to_owned();
    let path = format!("/members/{member}/imports/{id}");
    let content = format!("{path}/content");

    // Half of it comes before the connection breaks.
    api.break_off(&content, &text, text.len() / 2);
    let kept =
        once(&api, &path, "the whole lines of the first half to be kept", |it| it["received_octets"] != 0);
    let kept = kept["received_octets"].as_u64().expect("a number") as usize;
    assert!(kept <= text.len() / 2 && text[..kept].ends_with('\n'), "{kept}");
    // It is still there after a crash, and the same request finds it.
    hub.kill();
    hub.start_again();
    let api = hub.api_of("globex");
    assert_eq!(begin(&api, &member, "first", text.len(), &[])["received_octets"], kept);
    let range = format!("bytes {kept}-{}/{}", text.len() - 1, text.len());
    api.put_text(&content, "text/csv", ("content-range", &range), &text[kept..]).good();

    // Killed while it checks and applies, it goes on when it starts again.
    hub.kill();
    hub.start_again();
    let api = hub.api_of("globex");
    let done = once(&api, &path, "the import to be live", is_live);
    assert_eq!((&done["added"], &done["faulty_rows"]), (&json!(ROWS), &json!(0)), "{done}");
    let lookup = |called: &str| hub.api.get(&format!("/lookup?from=acme&called=%2B{called}")).good();
    for row in [0, ROWS / 2, ROWS - 1] {
        let found = lookup(&format!("4420{row:06}12"));
        assert_eq!(found["candidates"][0]["endpoint_name"], "globex-1", "{found}");
    }
    // Sent again it is the same import, and sent as another one it changes nothing.
    assert_eq!(begin(&api, &member, "first", text.len(), &[])["import_id"], json!(id));
    let again = begin(&api, &member, "again", text.len(), &[]);
    let again = format!("/members/{member}/imports/{}", again["import_id"].as_str().expect("an id"));
    api.put_text(&format!("{again}/content"), "text/csv", ("content-range", &whole(&text)), &text).good();
    let done = once(&api, &again, "it to be applied", is_live);
    assert_eq!((&done["added"], &done["unchanged"]), (&json!(0), &json!(ROWS)), "{done}");
}

#[test]
fn a_file_with_bad_rows_changes_nothing_and_says_which_or_leaves_them_out() {
    let hub = Hub::start(&exchange());
    let member = hub.api.member_id("globex");
    let api = hub.api_of("globex");
    let text = file(0, ROWS / 2) + "+4930,globex-1\n+44209999,nobody\n=1+1,globex-1\n";
    let send = |key: &str, bad_rows: &str| {
        let begun = begin(&api, &member, key, text.len(), &[("bad_rows", bad_rows)]);
        let path = format!("/members/{member}/imports/{}", begun["import_id"].as_str().expect("an id"));
        api.put_text(&format!("{path}/content"), "text/csv", ("content-range", &whole(&text)), &text).good();
        let has_ended = |it: &Value| it["state"] == "failed" || is_live(it);
        (once(&api, &path, "the import to end", has_ended), path)
    };
    let (refused, path) = send("refuse", "refuse");
    assert_eq!((&refused["state"], &refused["reason"]), (&json!("failed"), &json!("import_rows_refused")));
    let (status, errors) = api.text(&format!("{path}/errors"));
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!((status, lines.len()), (200, 4), "{errors}");
    for (line, (number, reason)) in
        lines[1..].iter().zip([(2, "range_missing"), (3, "invalid"), (4, "invalid")])
    {
        assert!(line.starts_with(&format!("{},", ROWS / 2 + number)) && line.contains(reason), "{line}");
    }
    let announced = |prefix: &str| {
        let page = api.get(&format!("/members/{member}/announcements?prefix={prefix}")).good();
        page["items"].as_array().expect("a list").len()
    };
    assert_eq!(announced("4420000000"), 0);
    let (skipped, _) = send("skip", "skip");
    assert_eq!((&skipped["added"], &skipped["faulty_rows"]), (&json!(ROWS / 2), &json!(3)));
    assert_eq!(announced("4420000000"), 1);
}
