//! Runs the cases of `fixtures/mapping`, and holds `docs/mapping.md` to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::*;

/// When the events of the cases are accepted.
const ACCEPTED: &str = "2026-03-14T12:00:00.000Z";

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn cases(mapping: Mapping) -> Vec<Value> {
    serde_json::from_str(&read(&format!("fixtures/mapping/{}.json", mapping.as_str()))).unwrap()
}

fn mapper(mapping: Mapping, case: &Value) -> Mapper {
    let arguments = MapArgs {
        mapping,
        transport: serde_json::from_value(case["transport"].clone()).unwrap(),
        region: serde_json::from_value(case["region"].clone()).unwrap(),
        site_id: "site".into(),
        api_key: "key".into(),
        device_token_event: case["device_token_event"].as_str().map(str::to_owned),
    };
    Mapper::new(arguments).unwrap()
}

/// What a line of the output is, without the headers: those are the same for every case.
fn outcome(mapper: &Mapper, event: &Value) -> Value {
    let line = mapper.map(event.to_string().into(), Time::parse(ACCEPTED).unwrap());
    let mut line = serde_json::to_value(line).unwrap();
    let requests = line.get_mut("requests").and_then(Value::as_array_mut);
    for request in requests.into_iter().flatten() {
        let headers = request.as_object_mut().unwrap().remove("headers").unwrap();
        assert_eq!(headers["authorization"], "Basic c2l0ZTprZXk=");
        let content_type = headers.get("content-type");
        assert_eq!(content_type.is_some(), !request["body"].is_null());
    }
    line
}

#[test]
fn every_case_of_the_mappings_becomes_what_it_expects() {
    for mapping in Mapping::ALL {
        for case in cases(mapping) {
            let found = outcome(&mapper(mapping, &case), &case["event"]);
            let (name, what) = (&case["name"], &case["what"]);
            assert_eq!(found, case["expect"], "{} {name}: {what}", mapping.as_str());
        }
    }
}

/// The cells of the rows of the table under a heading of `docs/mapping.md`.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = read("docs/mapping.md");
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let table = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().into()).collect();
    table.map(cells).collect()
}

/// The words of a cell that are code.
fn codes(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_deviation_is_a_row_with_a_reason_and_with_all_of_its_cases() {
    let mut deviating: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for case in Mapping::ALL.into_iter().flat_map(cases) {
        if let Some(deviation) = case["deviation"].as_str() {
            let name = case["name"].as_str().unwrap().to_owned();
            deviating.entry(deviation.into()).or_default().insert(name);
        }
    }
    for row in rows("Deviations") {
        let [id, _, natively, segue, why, listed] = &row[..] else { panic!("{row:?}") };
        let id = codes(id).pop_first().unwrap();
        assert!(![natively, segue, why].contains(&&String::new()), "{id} is not explained");
        let cases = deviating.remove(&id).unwrap_or_default();
        assert_eq!(cases, codes(listed), "the cases of the deviation {id}");
    }
    assert!(deviating.is_empty(), "without a row in docs/mapping.md: {deviating:?}");
}

#[test]
fn every_rule_names_cases_that_exist_and_every_case_belongs_to_a_row() {
    let deviations: BTreeSet<String> =
        rows("Deviations").iter().flat_map(|row| codes(&row[0])).collect();
    for (heading, mapping) in [("RudderStack", Mapping::Rudderstack), ("Segment", Mapping::Segment)]
    {
        let mut named: BTreeSet<String> = BTreeSet::new();
        for row in rows(heading) {
            let [_, rule, segue, listed] = &row[..] else { panic!("{row:?}") };
            assert!(segue.starts_with("same"), "{rule}: same, or same but a deviation");
            if let Some((_, but)) = segue.split_once("but ") {
                let but = codes(but.split(';').next().unwrap());
                assert!(but.is_subset(&deviations), "{rule}: {but:?} is no deviation");
            }
            assert!(!codes(listed).is_empty(), "{rule} has no case");
            named.extend(codes(listed));
        }
        let cases = cases(mapping);
        let names: BTreeSet<String> =
            cases.iter().map(|case| case["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(names.len(), cases.len(), "{heading}: a name is used twice");
        assert!(named.is_subset(&names), "{heading}: {:?} do not exist", &named - &names);
        let deviating: BTreeSet<String> = cases
            .iter()
            .filter(|case| !case["deviation"].is_null())
            .map(|case| case["name"].as_str().unwrap().to_owned())
            .collect();
        let lost = &(&names - &named) - &deviating;
        assert!(lost.is_empty(), "{heading}: {lost:?} belong to no row of docs/mapping.md");
    }
}

#[test]
fn the_id_of_a_message_is_the_same_on_both_transports_and_in_every_run() {
    let event = json!({"type": "track", "userId": "u", "event": "E", "messageId": "m"});
    let id = |transport: &str| {
        let case = json!({"transport": transport, "region": "us"});
        let line = outcome(&mapper(Mapping::Rudderstack, &case), &event);
        let body = &line["requests"][0]["body"];
        body["id"].as_str().or_else(|| body["batch"][0]["id"].as_str()).unwrap().to_owned()
    };
    assert_eq!(id("v1"), id("v2"));
    assert_eq!(id("v1"), id("v1"));
}

#[test]
fn a_line_that_is_no_json_is_an_error_of_that_line() {
    let case = json!({"transport": "v2", "region": "us"});
    let line = mapper(Mapping::Segment, &case).map("{".into(), Time::parse(ACCEPTED).unwrap());
    assert_eq!(serde_json::to_value(line).unwrap()["error"]["code"], "invalid_json");
}

#[test]
fn empty_credentials_are_refused() {
    let case = json!({"transport": "v2", "region": "us"});
    let arguments = MapArgs {
        mapping: Mapping::Segment,
        transport: serde_json::from_value(case["transport"].clone()).unwrap(),
        region: Region::Us,
        site_id: String::new(),
        api_key: "key".into(),
        device_token_event: None,
    };
    let error = Mapper::new(arguments).err().unwrap().to_string();
    assert!(error.starts_with("--site-id is empty"), "{error}");
}
