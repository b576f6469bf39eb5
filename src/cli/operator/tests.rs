//! The operator's commands against a running Segue, and against the journal of one that is not.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::{
    Cli, contracts, dead_letters, health, recorded, reload, runs, status, tap, why,
};
use crate::admin::tests::{BROKEN, MENDED, Segue, order, scripts};
use crate::clock::{Clock as _, SystemClock};

/// The words of one command behind `segue`.
#[derive(Parser)]
struct Line<A: Args> {
    #[command(flatten)]
    args: A,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Said {
    text: String,
    code: ExitCode,
}

impl Said {
    fn json(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs `segue NAME WORDS` away from the test's own runtime, as a process of its own would.
async fn segue(name: &str, words: &str, place: &[&str]) -> anyhow::Result<Said> {
    let name = name.to_owned();
    let words: Vec<String> = [name.as_str()]
        .into_iter()
        .chain(words.split_whitespace())
        .chain(place.iter().copied())
        .map(String::from)
        .collect();
    let run = move || {
        let mut out = Vec::new();
        let code = match name.as_str() {
            "dead-letters" => dead_letters::execute(read(&words), &mut out),
            "recorded" => recorded::execute(&read(&words), &mut out),
            "contracts" => contracts::execute(&read(&words), &mut out),
            "tap" => tap::execute(&read(&words), &mut out),
            "why" => why::execute(&read(&words), &mut out),
            "status" => status::execute(&read(&words), &mut out),
            "health" => health::execute(&read(&words), &mut out),
            "runs" => runs::execute(&read(&words), &mut out),
            "reload" => reload::execute(&read(&words), &mut out),
            other => panic!("no command {other}"),
        };
        out.flush().unwrap();
        code.map(|code| Said { text: String::from_utf8(out).unwrap(), code })
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn read<A: Args>(words: &[String]) -> A {
    Line::<A>::try_parse_from(words).map(|line| line.args).unwrap_or_else(|error| panic!("{error}"))
}

fn data(folder: &TempDir) -> String {
    folder.path().join("data").display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_come_out_as_they_came_in_from_a_server_and_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), BROKEN);
    let server = Segue::start_with(&folder, |config| {
        config.record.keep = crate::config::Span::from_hours(1);
    })
    .await;
    let data = data(&folder);
    let at = ["--data-dir", data.as_str()];
    server.post(order("m-1", "u-1")).await;
    let page = serde_json::json!({"type": "identify", "userId": "u-2", "messageId": "m-2", "traits": {"n": 1e2}});
    server.post(page.clone()).await;
    server.settled(2.0).await;

    let check = async |at: &[&str]| {
        let dead = segue("dead-letters", "export --reason script_failed", at).await.unwrap().json();
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0]["outcome"], "dead_lettered");
        assert_eq!(dead[0]["reason"], "script_failed");
        assert_eq!(dead[0]["payload"]["messageId"], "m-1");
        assert_eq!(dead[0]["arrival"]["source"], "segment");
        let none = segue("dead-letters", "export --reason rejected", at).await.unwrap();
        assert_eq!(none.text, "");
        let only = segue("recorded", "--since 1h --originals", at).await.unwrap();
        assert_eq!(only.text.trim(), page.to_string(), "byte by byte");
        let whole = segue("recorded", "", at).await.unwrap().json();
        assert_eq!((whole.len(), &whole[0]["outcome"]), (1, &Value::from("delivered")));
        assert_eq!(segue("recorded", "--until 1h", at).await.unwrap().text, "");
    };
    check(&at).await;
    server.app.stop().await;
    check(&at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_is_rehearsed_and_paced() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), BROKEN);
    let server = Segue::start(&folder).await;
    let data = data(&folder);
    let at = ["--data-dir", data.as_str()];
    for number in 1..=3 {
        server.post(order(&format!("m-{number}"), "u-1")).await;
    }
    server.settled(3.0).await;

    let config = folder.path().join("segue.toml");
    let text = format!(
        "destination = \"emulator\"\ndata_dir = {data:?}\n[admin]\nlisten = \"\"\n[[source]]\nname = \"segment\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let here = ["--config", config.to_str().unwrap()];
    let still = segue("dead-letters", "redrive --all --dry-run", &here).await.unwrap().text;
    assert!(still.contains("3  script_failed -> dead_lettered (script_failed)"), "{still}");
    scripts(folder.path(), MENDED);
    let mended = segue("dead-letters", "redrive --all --dry-run", &here).await.unwrap().text;
    assert!(mended.contains("3  script_failed -> delivered"), "{mended}");
    let one = segue("dead-letters", "redrive --limit 1 --all --dry-run --json", &here).await;
    assert_eq!(one.unwrap().json()[0]["now"], "delivered");
    let rows = segue("dead-letters", "list --json", &at).await.unwrap().json();
    assert_eq!(rows.len(), 3, "nothing was touched");

    assert!(segue("dead-letters", "redrive --rate 2", &at).await.is_err(), "which?");
    // The scripts in force are still the broken ones: what dies again is not put back again.
    let paced = segue("dead-letters", "redrive --all --rate 2", &at).await.unwrap().text;
    assert_eq!(paced, "3 dead letters are back in their queues.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_knows_what_the_server_knows() {
    let folder = tempfile::tempdir().unwrap();
    let told = |rest| {
        format!(
            "fn on_track(event, ctx) {{ {rest} event.dedupe_by(\"order\", event.properties.n); event }}"
        )
    };
    scripts(folder.path(), &told(r#"if event.event == "Order" { return fail("no"); }"#));
    let server = Segue::start(&folder).await;
    let event = |name: &str, n: u64| {
        serde_json::json!({"type": "track", "event": name, "userId": "u-1", "messageId": format!("{name} {n}"),
            "timestamp": SystemClock.now().to_string(), "properties": {"n": n}})
    };
    for event in [event("Order", 1), event("Order", 2), event("Order again", 2)] {
        server.post(event).await;
    }
    server.settled(3.0).await;
    scripts(folder.path(), &told(""));
    let config = folder.path().join("segue.toml");
    let text = format!(
        "destination = \"emulator\"\ndata_dir = {:?}\n[admin]\nlisten = \"\"\n[[source]]\nname = \"segment\"\n",
        data(&folder)
    );
    std::fs::write(&config, text).unwrap();
    let here = ["--config", config.to_str().unwrap()];
    let now = segue("dead-letters", "redrive --all --dry-run", &here).await.unwrap().text;
    assert!(now.contains("1  script_failed -> delivered"), "{now}");
    assert!(now.contains("1  script_failed -> dropped (duplicate_key)"), "{now}");
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_told_with_the_time_when_it_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let server = Segue::start(&folder).await;
    let data = data(&folder);
    let at = ["--data-dir", data.as_str()];
    let long_ago = SystemClock.now().minus(std::time::Duration::from_secs(8 * 3600)).to_string();
    server
        .post(serde_json::json!({"type": "track", "event": "Added to Cart", "userId": "u-1",
            "messageId": "m-1", "timestamp": long_ago, "properties": {}}))
        .await;
    server.parked(1).await;

    let story = segue("why", "m-1 --json", &at).await.unwrap().json();
    assert_eq!((&story[0]["outcome"], &story[0]["person"]), (&"parked".into(), &"u-1".into()));
    assert!(story[0]["due"].as_str().unwrap() > long_ago.as_str());
    let person = segue("why", "u-1", &at).await.unwrap();
    assert!(person.text.contains("parked until 20"), "{}", person.text);
    assert_eq!(person.code, ExitCode::SUCCESS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_found_understood_mended_and_sent_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), BROKEN);
    let server = Segue::start(&folder).await;
    let data = data(&folder);
    let at = ["--data-dir", data.as_str()];
    server.post(order("m-1", "u-1")).await;
    server.settled(1.0).await;

    let list = segue("dead-letters", "list --reason script_failed", &at).await.unwrap().text;
    assert!(list.starts_with("SEQ  DIED"), "{list}");
    assert!(list.contains("track Order Completed  m-1"), "{list}");
    let rows = segue("dead-letters", "list --all --json", &at).await.unwrap().json();
    assert_eq!(rows.len(), 1);
    let seq = rows[0]["seq"].to_string();
    let letter = segue("dead-letters", &format!("show {seq}"), &at).await.unwrap().text;
    assert!(letter.contains("script_failed in stage transform"), "{letter}");
    assert!(letter.contains("\"total\": 49.5"), "the payload was asked for: {letter}");
    let status = segue("status", "", &at).await.unwrap().text;
    assert!(
        status.contains(
            "1 accepted + 0 redriven = 0 delivered + 0 dropped + 1 dead-lettered + 0 pending"
        ),
        "{status}"
    );

    scripts(folder.path(), MENDED);
    let reloaded = segue("reload", "", &at).await.unwrap().text;
    assert!(reloaded.contains("is in force, in place of"), "{reloaded}");
    let refused = segue("dead-letters", "redrive", &at).await.unwrap_err().to_string();
    assert!(refused.contains("no filter is given"), "{refused}");
    let redriven = segue("dead-letters", &format!("redrive {seq}"), &at).await.unwrap().text;
    assert_eq!(redriven, "1 dead letter is back in its queue.\n");
    server.settled(1.0).await;

    let story = segue("why", "m-1 --json", &at).await.unwrap();
    let outcomes: Vec<Value> = story.json().iter().map(|event| event["outcome"].clone()).collect();
    assert_eq!(outcomes, ["dead_lettered", "delivered"]);
    let person = segue("why", "u-1", &at).await.unwrap().text;
    assert!(person.contains("delivered"), "{person}");
    let newest = segue("why", "m-1 --limit 1", &at).await.unwrap().text;
    assert!(newest.contains("At most 1 are shown, and there may be more: --limit N"), "{newest}");
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_nothing_is_known_the_exit_code_says_so_with_a_server_and_without() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let server = Segue::start(&folder).await;
    let data = data(&folder);
    let at = ["--data-dir", data.as_str()];
    #[rustfmt::skip]
    let table = [
        ("why", "nobody", "Nothing is known"),
        ("runs", "never", "No replay of the name"),
        ("dead-letters", "show 99", "there is no dead letter 99"),
        ("dead-letters", "redrive 99", "there is no dead letter 99"),
        ("dead-letters", "redrive 99 --dry-run", "there is no dead letter 99"),
    ];
    let check = async || {
        for (name, words, says) in table {
            let said = segue(name, words, &at).await.unwrap();
            assert_eq!(format!("{:?}", said.code), format!("{:?}", ExitCode::from(1)), "{words}");
            assert!(said.text.contains(says), "{name} {words}: {}", said.text);
        }
    };
    check().await;
    let said = segue("dead-letters", "redrive 99 --json", &at).await.unwrap();
    assert_eq!(said.json(), [json!({ "redriven": 0 })]);
    server.app.stop().await;
    check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_journal_answers_and_a_redrive_waits_for_the_start() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), BROKEN);
    let server = Segue::start(&folder).await;
    server.post(order("m-1", "u-1")).await;
    server.settled(1.0).await;
    server.app.stop().await;
    let data = data(&folder);
    let at = ["--data-dir", data.as_str()];

    let rows = segue("dead-letters", "list --json", &at).await.unwrap().json();
    assert_eq!(rows[0]["message_id"], "m-1");
    let letter = segue("dead-letters", &format!("show {} --json", rows[0]["seq"]), &at).await;
    assert_eq!(letter.unwrap().json()[0]["payload"]["messageId"], "m-1");
    assert_eq!(segue("why", "m-1 --json", &at).await.unwrap().json().len(), 1);
    let nobody = segue("status", "", &at).await.unwrap_err().to_string();
    assert!(nobody.contains("no Segue is running"), "{nobody}");
    let redriven = segue("dead-letters", "redrive --source segment --since 1h", &at).await.unwrap();
    assert!(redriven.text.contains("It goes on when Segue starts."), "{}", redriven.text);

    scripts(folder.path(), MENDED);
    let server = Segue::start(&folder).await;
    let metrics = server.settled(1.0).await;
    let delivered = metrics.sum_of("segue_events_total", &[r#"outcome="delivered""#]);
    assert!((delivered - 1.0).abs() < f64::EPSILON, "{delivered}");
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_socket_the_listener_answers_but_only_for_its_own_folder() {
    let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let server = Segue::start_with(&ours, |config| {
        config.admin.listen.clone_from(&listen);
        config.admin.token = Some(crate::config::Secret::new("op-s3cret"));
    })
    .await;
    let other = Segue::start(&others).await;
    for folder in [&ours, &others] {
        std::fs::remove_file(folder.path().join("data").join(crate::admin::SOCKET)).unwrap();
        write_config(folder.path(), &listen);
    }
    let config = |folder: &TempDir| folder.path().join("segue.toml").display().to_string();

    let listed = segue("dead-letters", "list", &["--config", &config(&ours)]).await.unwrap();
    assert_eq!(listed.text, "No dead letters.\n");
    let wrong = segue("dead-letters", "list", &["--config", &config(&others)]).await.unwrap_err();
    assert!(wrong.to_string().contains("does not listen"), "{wrong:#}");
    let wrong = segue("reload", "", &["--config", &config(&others)]).await.unwrap_err();
    assert!(wrong.to_string().contains("no Segue is running on"), "{wrong:#}");
    server.app.stop().await;
    other.app.stop().await;
}

fn write_config(folder: &Path, listen: &str) {
    let text = format!(
        "transforms = \"shipped\"\ndestination = \"emulator\"\n\n[[source]]\nname = \"segment\"\nkind = \"segment\"\n\n[admin]\nlisten = \"{listen}\"\ntoken = \"op-s3cret\"\n"
    );
    std::fs::write(folder.join("segue.toml"), text).unwrap();
}

/// Sends orders until a tap has seen enough of them.
async fn tapped(server: &Segue, words: &str, at: &[&str]) -> Said {
    let tap = segue("tap", words, at);
    let mut sent = 0;
    let sending = async {
        loop {
            server.post(order(&format!("m-{sent}"), "u-1")).await;
            sent += 1;
            tokio::task::yield_now().await;
        }
    };
    let seen = async {
        tokio::select! {
            seen = tap => seen.unwrap(),
            () = sending => unreachable!("it sends on"),
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), seen).await.expect("events pass")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_shows_events_before_and_after_and_hides_people() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"fn on_track(event, ctx) { event.properties.total = "49,5"; event.properties.email = "ann@shop.example.org"; event }"#;
    scripts(folder.path(), script);
    let server = Segue::start(&folder).await;
    let data = data(&folder);
    let at = ["--data-dir", data.as_str()];

    let seen = tapped(&server, "--limit 2 --json --outcome delivered", &at).await.json();
    assert_eq!(seen.len(), 2);
    let one = &seen[0];
    assert_eq!(one["event"], "track Order Completed");
    assert_eq!(one["before"]["properties"]["total"], 49.5);
    assert_eq!(one["after"][0]["properties"]["total"], "49,5");
    assert_eq!(one["after"][0]["properties"]["email"], "***");
    assert_eq!(one["stages"][0]["stage"], "10_price");
    assert_eq!(one["operations"], serde_json::json!(["event"]));

    let text = tapped(&server, "--limit 1 --stage 10_price --source segment --event order*", &at)
        .await
        .text;
    assert!(text.contains("properties.total: 49.5 → \"49,5\""), "{text}");
    assert!(!text.contains("ann@"), "{text}");
    let text = tapped(&server, "--limit 1 --unmasked --full --event Purchase", &at).await.text;
    assert!(text.contains("ann@shop.example.org") && text.contains("    before {"), "{text}");
    server.app.stop().await;
    let error = segue("tap", "", &at).await.unwrap_err();
    assert!(error.to_string().contains("no Segue is running"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_is_found_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"fn on_track(event, ctx) { if event.event == "Order Completed" { fail("no price"); } event }"#;
    scripts(folder.path(), script);
    let server = Segue::start_with(&folder, |config| {
        config.record.keep = crate::config::Span::from_hours(1)
    })
    .await;
    let now = crate::clock::Clock::now(&crate::clock::SystemClock);
    let hours_ago = now.minus(std::time::Duration::from_secs(2 * 3600)).to_string();
    server.post(order("m-dead", "u-1")).await;
    server
        .post(serde_json::json!({"type": "track", "event": "Added to Cart", "userId": "u-1",
        "messageId": "m-parked", "timestamp": hours_ago, "properties": {}}))
        .await;
    server
        .post(serde_json::json!({"type": "identify", "userId": "u-1", "messageId": "m-sent"}))
        .await;
    let journal = std::sync::Arc::clone(server.app.journal());
    let find = |id: &str| crate::admin::originals::find(journal.as_ref(), id).unwrap();
    for (id, outcome) in
        [("m-dead", "dead_lettered"), ("m-parked", "pending"), ("m-sent", "delivered")]
    {
        let looking = async {
            loop {
                match find(id).filter(|found| found.outcome == outcome) {
                    Some(found) => break found,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let patience = std::time::Duration::from_secs(60);
        let found = tokio::time::timeout(patience, looking).await.expect(id);
        assert_eq!(find(&found.seq.to_string()).unwrap().seq, found.seq, "{id}, by its number");
    }
    assert!(find("m-nobody").is_none());
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);

    let error = segue("dead-letters", "list", &["--data-dir", &data]).await.unwrap_err();

    assert!(error.to_string().contains("there is no journal"), "{error:#}");
    assert!(!Path::new(&data).exists());
}

#[test]
fn the_example_in_the_help_of_each_command_can_be_typed() {
    fn examples(command: &clap::Command, found: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().skip_while(|line| *line != "Example:").skip(1);
        found.extend(lines.map(|line| line.trim().to_owned()));
        command.get_subcommands().for_each(|command| examples(command, found));
    }
    let mut found = Vec::new();
    let whole = Cli::command();
    for name in ["dead-letters", "why", "status", "reload"] {
        let before = found.len();
        examples(whole.find_subcommand(name).unwrap(), &mut found);
        assert!(found.len() > before, "{name} has an example");
    }
    for example in found {
        let read = Cli::try_parse_from(example.split_whitespace());
        assert!(
            read.is_ok(),
            "{example}: {}",
            read.err().map(|e| e.to_string()).unwrap_or_default()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_are_printed_with_what_the_server_saw_of_them() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let transforms = folder.path().join("transforms");
    std::fs::create_dir(transforms.join("schemas")).unwrap();
    let schema = r#"{"properties": {
        "order_id": {"type": "string", "description": "The order"},
        "total": {"type": "number", "maximum": 10},
        "note": {"type": "string"}
    }, "required": ["order_id", "total", "currency"]}"#;
    std::fs::write(transforms.join("schemas/order_completed.json"), schema).unwrap();
    let (data, transforms) = (data(&folder), transforms.display().to_string());
    let at = ["--data-dir", data.as_str(), "--transforms", transforms.as_str()];

    let alone = segue("contracts", "Purchase", &at).await.unwrap();
    let (table, none) = alone.text.split_once("\n\n").unwrap();
    assert_eq!(
        table,
        "EVENT            PROPERTY            TYPE    ALLOWED     WHAT IT IS\n\
         order_completed  order_id  required  string              The order\n                 \
         total     required  number  at most 10\n                 \
         currency  required  any"
    );
    assert!(none.starts_with("no rates: no Segue is running"), "{none}");
    let nothing = segue("contracts", "quiz", &at).await.unwrap();
    assert_eq!(format!("{:?}", nothing.code), format!("{:?}", ExitCode::from(1)));

    let server = Segue::start(&folder).await;
    server.post(serde_json::json!([order("m-1", "u-1"), order("m-2", "u-2")])).await;
    server.settled(2.0).await;
    let seen = segue("contracts", "--samples --all", &at).await.unwrap().text;
    assert!(seen.contains("note"), "{seen}");
    for cells in [
        &["order_completed", "currency", "Required-Missing", "100.0 % (2 of 2)"][..],
        &[
            "order_completed",
            "total",
            "Advance-Rules-Violation",
            "at most 10",
            "the number 00.0",
            "m-2",
        ],
    ] {
        let is_it = |line: &str| cells.iter().all(|cell| line.contains(cell));
        assert!(seen.lines().any(is_it), "{cells:?} in\n{seen}");
    }
    let json = segue("contracts", "--json", &at).await.unwrap().json();
    assert_eq!(json[0]["running"]["compared"][0]["after"]["last_hour"], 2);
    let sources = &json[0]["running"]["broken"][0]["sources"];
    assert_eq!(
        (&sources[0]["source"], &sources[0]["after"]["total"]),
        (&"segment".into(), &2.into())
    );
    assert_eq!(json[0]["contracts"][0]["properties"].as_array().unwrap().len(), 3);
    assert_eq!(json[0]["running"]["bundle"], json[0]["bundle"]);
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_known_by_its_name_and_the_data_by_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let server = Segue::start(&folder).await;
    let data = data(&folder);
    let at = ["--data-dir", data.as_str()];
    let old = |id: &str| {
        let mut event = order(id, "u-1");
        event["context"] = serde_json::json!({"replay": "january"});
        event["timestamp"] = Value::from("2026-01-02T00:00:00Z");
        event
    };
    server.post(old("o-1")).await;
    server.post(old("o-1")).await;
    let mut bare = order("o-2", "u-1");
    bare["properties"] = serde_json::json!({"total": 1});
    server.post(bare).await;
    server.settled(3.0).await;

    let run = segue("runs", "january", &at).await.unwrap();
    for line in ["2  accepted", "1  delivered", "1  dropped duplicate", "1  replayed"] {
        assert!(run.text.contains(line), "{line}: {}", run.text);
    }
    assert_eq!(segue("runs", "february", &at).await.unwrap().code, ExitCode::from(1));
    let listed = segue("why", "january --json", &at).await.unwrap().json();
    assert_eq!((listed.len(), &listed[0]["message_id"]), (1, &Value::from("o-1")));
    let health = segue("health", "", &at).await.unwrap();
    for words in ["ready", "order without id", "send order_id", "duplicates left out"] {
        assert!(health.text.contains(words), "{words}: {}", health.text);
    }

    server.app.stop().await;
    let runs = segue("runs", "--json", &at).await.unwrap().json();
    assert_eq!(
        (&runs[0]["name"], &runs[0]["delivered"]),
        (&Value::from("january"), &Value::from(1))
    );
}
