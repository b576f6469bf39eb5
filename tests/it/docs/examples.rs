//! What the documents show is what happens: configurations are read, scripts run, events arrive.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use segue::clock::Time;
use segue::config::{self, Config};
use segue::emulator::{Emulator, FaultRule, Request, Settings};
use segue::fixture::{Setup, report, suite};
use segue::transform::{Bundle, shipped};
use serde_json::{Value, json};

use super::PAGES;
use super::markdown::{Page, root};
use super::served::Served;
use super::shell;
use crate::support::{eventually, http};

/// How a block of the manifest begins, which is no configuration.
const MANIFEST: &str = "# transforms/transforms.toml";

#[test]
fn every_configuration_in_the_documents_is_read() {
    let mut count = 0;
    for name in PAGES {
        for block in Page::read(name).blocks_of("toml") {
            if block.starts_with(MANIFEST) {
                continue;
            }
            // A part is completed: the reader has the rest in the file already.
            let mut text = block.clone();
            if !text.contains("[customerio]") {
                text += "\n[customerio]\nsite_id = \"s\"\napi_key = \"k\"\n";
            }
            if !text.contains("[[source]]") {
                text += "\n[[source]]\nname = \"web\"\n";
            }
            if let Err(error) = config::parse(&text, name, &|_| Some("set".into())) {
                panic!("{error}\n{block}");
            }
            count += 1;
        }
    }
    assert!(count >= 4, "only {count} configurations were found");
}

/// What the emulator answers to so many orders, one after the other.
fn answers(emulator: &mut Emulator, count: usize) -> Vec<u16> {
    let body = json!({"name": "Order Completed"}).to_string();
    let order = Request::new("POST", "/api/v1/customers/42/events", body)
        .with_header("authorization", "Basic c2l0ZTprZXk=")
        .with_header("content-type", "application/json");
    (0..count).map(|_| emulator.handle(&order, Time::from_secs(0)).status).collect()
}

#[test]
fn the_outages_of_the_readme_happen_as_it_says() {
    let page = Page::read("README.md");
    let commands: Vec<Vec<String>> =
        page.blocks_of("sh").iter().flat_map(|block| shell::commands(block)).collect();
    let rules = |words: &Vec<String>| -> Vec<FaultRule> {
        let rules = words.windows(2).filter(|pair| pair[0] == "--fail");
        rules.map(|pair| FaultRule::parse(&pair[1]).unwrap()).collect()
    };
    let outages: Vec<Vec<FaultRule>> =
        commands.iter().map(rules).filter(|rules| !rules.is_empty()).collect();
    // Three requests, then the person of the other rule.
    let told = [
        ("the first example", vec![(500, 3), (200, 7)]),
        ("503 two hundred times", vec![(503, 200), (200, 10)]),
        ("three in ten", vec![(500, 300), (200, 700)]),
        ("the key is refused", vec![(401, 50)]),
    ];
    assert_eq!(outages.len(), told.len() + 1, "the last one takes one after another");
    for (faults, (what, expected)) in outages.iter().zip(told) {
        let mut emulator =
            Emulator::new(Settings { faults: faults.clone(), ..Settings::default() });
        let count = expected.iter().map(|(_, count)| count).sum();
        let answers = answers(&mut emulator, count);
        for (status, count) in expected {
            let found = answers.iter().filter(|answer| **answer == status).count();
            assert!(found.abs_diff(count) <= count / 5, "{what}: {found} times {status}");
        }
    }

    let curl = commands.iter().find(|words| words.iter().any(|word| word.ends_with("/faults")));
    let body = curl.unwrap().last().unwrap().clone();
    let mut emulator = Emulator::new(Settings::default());
    let set = Request::new("POST", "/emulator/faults", body);
    assert_eq!(emulator.handle(&set, Time::from_secs(0)).status, 200);
    assert_eq!(answers(&mut emulator, 7), [503, 503, 503, 503, 503, 200, 503]);
    assert_eq!(emulator.events().count(), 7, "applied: all were done");
}

fn shipped_files() -> BTreeMap<String, Vec<u8>> {
    shipped::FILES
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

/// Runs a fixture with these scripts; it must pass.
fn passes(files: BTreeMap<String, Vec<u8>>, fixture: &str) {
    let bundle = Bundle::from_files(files).unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert!(bundle.warnings().is_empty(), "{:#?}", bundle.warnings());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shown.test.json");
    std::fs::write(&file, fixture).unwrap();

    let summary =
        suite::run(&[file], None, &Setup::new(&Config::demo(), Arc::new(bundle)), |outcome| {
            if let Some(failure) = &outcome.failure {
                panic!("{}", report::failure(outcome, failure));
            }
        });

    assert_eq!((summary.passed(), summary.failed()), (1, 0));
}

/// The files that the README lets its reader write: scripts, the manifest, a fixture.
fn stage_of_the_readme() -> (BTreeMap<String, Vec<u8>>, String) {
    let page = Page::read("README.md");
    let [script] = &page.blocks_of("rhai")[..] else { panic!("the README shows one script") };
    let manifests = page.blocks_of("toml").into_iter().filter(|block| block.starts_with(MANIFEST));
    let fixture =
        page.blocks_of("json").into_iter().find(|block| block.contains("\"steps\"")).unwrap();
    let mut files = shipped_files();
    files.insert("40_quiz.rhai".into(), script.clone().into_bytes());
    let manifest = files.get_mut("transforms.toml").unwrap();
    manifests.for_each(|block| manifest.extend(block.into_bytes()));
    (files, fixture)
}

#[test]
fn the_stage_of_the_readme_does_what_its_fixture_says() {
    let (files, fixture) = stage_of_the_readme();
    passes(files, &fixture);
}

#[test]
fn with_the_stage_of_the_readme_all_fixtures_of_the_repository_pass() {
    let (files, _) = stage_of_the_readme();
    let bundle = Bundle::from_files(files).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let passed = suite::check_bundle(&Config::demo(), &bundle, &root().join("fixtures"));
    assert!(passed.clone().is_ok_and(|passed| passed > 40), "{passed:?}");
}

#[test]
fn the_schema_of_the_readme_is_a_contract_without_a_warning() {
    let blocks = Page::read("README.md").blocks_of("json");
    let schema = blocks.into_iter().find(|block| block.contains("\"on_violation\"")).unwrap();
    let mut files = shipped_files();
    files.insert("schemas/product_rated.json".into(), schema.into_bytes());
    let bundle = Bundle::from_files(files).unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert!(bundle.warnings().is_empty(), "{:#?}", bundle.warnings());
    assert_eq!(bundle.contracts().all()["product_rated"].dictionary().len(), 4);
}

/// The shipped scripts with one more stage, before all others.
fn with_first_stage(name: &str, script: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = shipped_files();
    files.insert(format!("{name}.rhai"), script.as_bytes().to_vec());
    let manifest = String::from_utf8(files.remove("transforms.toml").unwrap()).unwrap();
    let stage = format!("[[stage]]\nfile = \"{name}\"\n\n[[stage]]\n");
    files
        .insert("transforms.toml".into(), manifest.replacen("[[stage]]\n", &stage, 1).into_bytes());
    files
}

#[test]
fn every_script_in_the_documents_compiles_without_a_warning() {
    let mut count = 0;
    for name in PAGES {
        for script in Page::read(name).blocks_of("rhai") {
            let bundle = Bundle::from_files(with_first_stage("00_shown", &script));
            let bundle = bundle.unwrap_or_else(|findings| panic!("{name}: {findings:#?}"));
            assert!(bundle.warnings().is_empty(), "{name}: {:#?}", bundle.warnings());
            count += 1;
        }
    }
    assert!(count >= 2, "only {count} scripts were found");
}

#[test]
fn the_change_over_drops_what_the_native_destination_delivered_and_nothing_else() {
    let [script] = &Page::read("docs/migrate.md").blocks_of("rhai")[..] else {
        panic!("it shows one script")
    };
    let step = |id: &str, received: &str, expect: Value| {
        json!({
            "platform": "rudderstack",
            "input": {"type": "identify", "userId": "u-1", "messageId": id, "receivedAt": received, "timestamp": received},
            "expect": expect,
        })
    };
    let fixture = json!({
        "clock": "2026-12-01T09:30:00Z",
        "steps": [
            step("0", "2026-11-30T08:59:59Z", json!({"outcome": "delivered"})),
            step("1", "2026-12-01T08:59:59Z", json!({"outcome": "dropped", "reason": "before_change"})),
            step("2", "2026-12-01T09:00:00Z", json!({"outcome": "delivered"})),
        ],
    });
    passes(with_first_stage("00_change", script), &fixture.to_string());
}

/// `segue serve` on free ports, with the scripts of the repository, once it has said what to try.
fn demonstration(folder: &Path) -> Served {
    let config = folder.join("segue.toml");
    let transforms = root().join("transforms");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndestination = \"emulator\"\ntransforms = {transforms:?}\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[[source]]\nname = \"segment\"\n[[source]]\nname = \"rudderstack\"\nkind = \"rudderstack\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_segue"));
    Served::start(serve.args(["serve", "--config"]).arg(&config), "curl")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_the_readme_is_the_printed_one_and_its_event_arrives_as_shown() {
    let page = Page::read("README.md");
    let curl = page.blocks_of("sh").into_iter().find(|block| block.starts_with("curl")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let demonstration = demonstration(folder.path());
    let url = demonstration.address("takes events");
    let shown =
        page.blocks_of("text").into_iter().find(|block| block.starts_with("Segue ")).unwrap();
    for label in shown.lines().skip(1).map(|line| line.get(..16).unwrap_or(line)) {
        assert!(demonstration.printed.contains(label), "it does not print {label:?}");
    }
    let printed = demonstration.printed.lines().find(|line| line.contains("curl")).unwrap();

    assert_eq!(printed.trim().replace(&url, "http://127.0.0.1:8080"), curl.trim());
    let body = curl.split('\'').nth(3).unwrap().to_owned();
    let answer = http().post(format!("{url}/webhook/segment")).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(page.text.contains(&format!("`{}`", answer.text().await.unwrap())));

    let person = format!(
        "{}/emulator/people/u-1",
        demonstration.address("EMULATOR at").trim_end_matches(':')
    );
    let person: Value = eventually("the purchase", async || {
        let answer =
            http().get(&person).send().await.ok().filter(|answer| answer.status() == 200)?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    })
    .await;
    let event = &person["events"][0];
    assert_eq!(event["name"], "Order Completed");
    let shown =
        page.blocks_of("json").into_iter().find(|block| block.contains("order_id")).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(sorted(&event["data"]), sorted(&shown));
}

fn sorted(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

#[test]
fn every_json_block_is_json() {
    for name in PAGES {
        for block in Page::read(name).blocks_of("json") {
            if let Err(error) = serde_json::from_str::<Value>(&block) {
                panic!("{name}: {error}\n{block}");
            }
        }
    }
}
