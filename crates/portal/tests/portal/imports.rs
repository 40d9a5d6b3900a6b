use std::time::Duration;

use serde_json::{Value, json};
use tandem_model::{Clock, ImportId};
use tandem_portal::apply_imports;
use tandem_store::{import, import_application};

use crate::exchange::{Answer, Exchange, Member};

/// Begins an import of a file of this size.
async fn begin(member: &Member, octets: usize, more: Value) -> Answer {
    let mut body = json!({ "format": "csv", "octets": octets, "file_name": "routes.csv" });
    for (field, value) in more.as_object().expect("fields") {
        body[field] = value.clone();
    }
    member.post("imports", body).await
}

/// Sends octets of an import's file: from the beginning, or from where `range` says.
async fn put(member: &Member, id: &str, range: Option<&str>, octets: &[u8]) -> Answer {
    let caller =
        range.map_or(member.caller.clone(), |range| member.caller.with_header("content-range", range));
    caller.send_octets("PUT", &member.path(&format!("imports/{id}/content")), "text/csv", octets.into()).await
}

/// Imports a file whole; what became of it.
async fn whole(exchange: &Exchange, member: &Member, text: &str, more: Value) -> Value {
    let id = begin(member, text.len(), more).await.expect(201).text("import_id");
    put(member, &id, None, text.as_bytes()).await.expect(200);
    apply_imports(&exchange.app).await.expect("the database answers");
    // What is announced next is announced later.
    exchange.clock.advance(Duration::from_secs(1));
    member.get(&format!("imports/{id}")).await.expect(200).json
}

/// Added, changed, withdrawn, unchanged.
fn counts(import: &Value) -> [u64; 4] {
    assert_eq!(import["state"], "applied", "{import}");
    ["added", "changed", "withdrawn", "unchanged"].map(|field| import[field].as_u64().expect("a count"))
}

async fn errors(member: &Member, import: &Value) -> Vec<String> {
    let id = import["import_id"].as_str().expect("an id");
    let answer = member.get(&format!("imports/{id}/errors")).await.expect(200);
    answer.text.lines().map(str::to_owned).collect()
}

/// Prefixes with their endpoints.
async fn announced(member: &Member) -> Vec<String> {
    let page = member.get("announcements?limit=500").await.expect(200);
    let line = |it: &Value| {
        let names =
            it["endpoints"].as_array().unwrap().iter().map(|endpoint| endpoint["name"].as_str().unwrap());
        format!("{} {}", it["prefix"].as_str().unwrap(), names.collect::<Vec<_>>().join(";"))
    };
    let mut lines: Vec<_> = page.items().iter().map(line).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_file_adds_changes_and_withdraws_in_one_step_and_nodes_hear_of_it_in_one_entry() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    acme.endpoint("acme-2", 2).await;
    let feed = exchange.feed_position().await;
    let first =
        whole(&exchange, &acme, "prefix,endpoints\n+441,acme-1\n+442,acme-1\n+443,acme-1\n", json!({})).await;
    assert_eq!(counts(&first), [3, 0, 0, 0]);
    assert_eq!(exchange.feed_position().await, feed + 1);
    assert_eq!(first["table_version"], feed + 1);

    let file = "prefix,endpoints,action\n+441,acme-1\n+442,acme-2;acme-1\n+443,,withdraw\n+449,,withdraw\n+444,acme-2,\n";
    let second = whole(&exchange, &acme, file, json!({})).await;
    assert_eq!(counts(&second), [1, 1, 1, 1]);
    assert_eq!(announced(&acme).await, ["+441 acme-1", "+442 acme-1;acme-2", "+444 acme-2"]);
    exchange.route().await;

    let third =
        whole(&exchange, &acme, "prefix,endpoints\n+445,acme-1\n+441,acme-1", json!({ "mode": "replace" }))
            .await;
    assert_eq!(counts(&third), [1, 0, 2, 1]);
    assert_eq!(announced(&acme).await, ["+441 acme-1", "+445 acme-1"]);
    exchange.route().await;
    let entry = acme.caller.get("/audit").await.items()[0].clone();
    assert_eq!((&entry["action"], &entry["after"]["withdrawn"]), (&json!("import.apply"), &json!(2)));
}

#[tokio::test]
async fn what_was_planned_for_a_prefix_is_superseded() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    for prefix in ["+441", "+442"] {
        let later =
            json!({ "prefix": prefix, "endpoints": ["acme-1"], "valid_from": "2031-01-01T00:00:00Z" });
        acme.post("announcements", later).await.expect(201);
    }
    let feed = exchange.feed_position().await;
    let done =
        whole(&exchange, &acme, "prefix,endpoints,action\n+441,acme-1\n+442,,withdraw\n", json!({})).await;
    assert_eq!(counts(&done), [1, 0, 1, 0]);
    assert_eq!(announced(&acme).await, ["+441 acme-1"]);
    // Those that are gone, and the import.
    assert_eq!(exchange.feed_position().await, feed + 3);
}

#[tokio::test]
async fn a_file_with_bad_rows_changes_nothing_unless_they_are_to_be_skipped_and_each_has_its_reason() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+442").await;
    exchange.provider("globex", 2, "+49").await;
    acme.post("ranges", json!({ "prefix": "+331", "evidence": "to come" })).await.expect(201);
    let file = "prefix,endpoints,action\n+4421,acme-1\nrubbish,acme-1\n+4422,nobody\n+491,acme-1\n+331,acme-1\n+44,acme-1\n\
                +351,acme-1\n+4421,acme-1\n+4429,,withdraw\n=1+1,acme-1\n";
    let feed = exchange.feed_position().await;
    let refused = whole(&exchange, &acme, file, json!({})).await;
    assert_eq!((&refused["state"], &refused["reason"]), (&json!("failed"), &json!("import_rows_refused")));
    assert_eq!((&refused["good_rows"], &refused["faulty_rows"]), (&json!(2), &json!(8)));
    assert_eq!(announced(&acme).await, Vec::<String>::new());
    assert_eq!(exchange.feed_position().await, feed);
    let lines = errors(&acme, &refused).await;
    let told: Vec<_> = lines[1..]
        .iter()
        .map(|line| line.split("\",").collect::<Vec<_>>())
        .map(|cells| {
            let reason = cells[1].split(',').next().unwrap();
            format!("{} {reason}", cells[0].replace('"', ""))
        })
        .collect();
    assert_eq!(lines[0], "line,row,reason,detail,remedy");
    assert_eq!(
        told,
        [
            "3,rubbish,acme-1 invalid",
            "4,'+4422,nobody invalid",
            "5,+491 range_of_other",
            "6,+331 range_unverified",
            "7,+44 announcement_too_broad",
            "8,+351 range_missing",
            "9,+4421 conflict",
            "11,'=1+1,acme-1 invalid",
        ]
    );
    assert_eq!(acme.caller.get("/audit").await.items()[0]["action"], "import.fail");

    let skipped = whole(&exchange, &acme, file, json!({ "bad_rows": "skip" })).await;
    assert_eq!(counts(&skipped), [1, 0, 0, 0]);
    assert_eq!((&skipped["good_rows"], &skipped["faulty_rows"]), (&json!(2), &json!(8)));
    assert_eq!(announced(&acme).await, ["+4421 acme-1"]);
    exchange.route().await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_from_its_last_whole_line() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    let file = "prefix,endpoints\n+441,acme-1\n+442,acme-1\n+443,acme-1\n";
    let id = begin(&acme, file.len(), json!({})).await.expect(201).text("import_id");
    // In the middle of the third line.
    let size = file.len();
    let part = put(&acme, &id, Some(&format!("bytes 0-34/{size}")), &file.as_bytes()[..35]).await.expect(200);
    assert_eq!((&part.json["state"], &part.json["received_octets"]), (&json!("receiving"), &json!(29)));
    assert_eq!(
        put(&acme, &id, Some(&format!("bytes 40-41/{size}")), b"xx").await.problem(),
        (409, "import_offset")
    );
    for range in
        [format!("bytes 0-{size}/{size}"), format!("bytes 0-1/{}", size + 1), "bytes */9".into(), "x".into()]
    {
        assert_eq!(put(&acme, &id, Some(&range), b"xx").await.fields(), ["content-range"], "{range}");
    }
    apply_imports(&exchange.app).await.expect("the database answers");
    assert_eq!(announced(&acme).await, Vec::<String>::new());

    let rest = format!("bytes 29-{}/{size}", size - 1);
    put(&acme, &id, Some(&rest), &file.as_bytes()[29..]).await.expect(200);
    assert_eq!(put(&acme, &id, Some(&rest), &file.as_bytes()[29..]).await.problem(), (409, "import_state"));
    assert_eq!(acme.delete(&format!("imports/{id}")).await.problem(), (409, "import_state"));
    apply_imports(&exchange.app).await.expect("the database answers");
    let done = acme.get(&format!("imports/{id}")).await.expect(200).json;
    assert_eq!(counts(&done), [3, 0, 0, 0]);

    // Sent whole again, what was kept is passed over.
    exchange.clock.advance(Duration::from_secs(1));
    let other = begin(&acme, size, json!({})).await.expect(201).text("import_id");
    put(&acme, &other, Some(&format!("bytes 0-29/{size}")), &file.as_bytes()[..30]).await.expect(200);
    put(&acme, &other, None, file.as_bytes()).await.expect(200);
    apply_imports(&exchange.app).await.expect("the database answers");
    assert_eq!(counts(&acme.get(&format!("imports/{other}")).await.json), [0, 0, 0, 3]);
}

#[tokio::test]
async fn the_same_upload_sent_twice_is_one_import() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    let file = "prefix,endpoints\n+441,acme-1\n";
    let keyed = Member { caller: acme.caller.with_header("idempotency-key", "sha256:1"), ..acme.clone() };
    let feed = exchange.feed_position().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let begun = begin(&keyed, file.len(), json!({})).await.expect(201);
        ids.push(begun.text("import_id"));
        if begun.json["state"] == "receiving" {
            put(&acme, &ids[0], None, file.as_bytes()).await.expect(200);
        }
        apply_imports(&exchange.app).await.expect("the database answers");
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(exchange.feed_position().await, feed + 1);
    assert_eq!(acme.get("imports").await.items().len(), 1);
    let other = begin(&keyed, file.len(), json!({ "mode": "replace" })).await;
    assert_eq!(other.problem(), (422, "idempotency_mismatch"));
}

#[tokio::test]
async fn what_is_no_file_of_announcements_fails_and_what_is_unfinished_is_bounded() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    let id = begin(&acme, 8, json!({})).await.expect(201).text("import_id");
    assert_eq!(put(&acme, &id, None, b"digits\n\n").await.problem(), (422, "import_unreadable"));
    let failed = acme.get(&format!("imports/{id}")).await.json;
    assert_eq!((&failed["state"], &failed["reason"]), (&json!("failed"), &json!("import_unreadable")));

    for wrong in [
        json!({ "octets": 0 }),
        json!({ "octets": 1_u64 << 40 }),
        json!({ "format": "xml" }),
        json!({ "file_name": "a\nb" }),
    ] {
        assert_eq!(begin(&acme, 1, wrong.clone()).await.status, 422, "{wrong}");
    }
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(begin(&acme, 9, json!({})).await.expect(201).text("import_id"));
    }
    assert_eq!(begin(&acme, 9, json!({})).await.problem(), (409, "imports_too_many"));
    acme.delete(&format!("imports/{}", open[0])).await.expect(204);
    begin(&acme, 9, json!({})).await.expect(201);
    assert_eq!(put(&acme, &open[1], None, b"prefix,endpoints\n").await.problem(), (400, "bad_request"));
}

#[tokio::test]
async fn an_import_that_another_portal_left_in_the_middle_is_done_anew() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    let file = "prefix,endpoints\n+441,acme-1\n";
    let id = begin(&acme, file.len(), json!({})).await.expect(201).text("import_id");
    put(&acme, &id, None, file.as_bytes()).await.expect(200);
    // As a portal leaves it that dies after it has shown how far it is: its transaction is rolled back.
    let import_id = ImportId(id.parse().expect("an id"));
    import_application::show_applying(exchange.database.pool(), import_id, exchange.clock.now())
        .await
        .expect("it is shown");
    assert_eq!(acme.get(&format!("imports/{id}")).await.json["state"], "applying");
    apply_imports(&exchange.app).await.expect("the database answers");
    assert_eq!(counts(&acme.get(&format!("imports/{id}")).await.json), [1, 0, 0, 0]);
    // Its rows are gone by now.
    assert_eq!(
        import::delete_rows_of_ended(exchange.database.pool()).await.expect("the database answers"),
        0
    );
}
