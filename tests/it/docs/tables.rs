//! The tables of the README say what the code says: a new reason, metric or key is a new row.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regex::Regex;
use segue::admin::AdminError;
use segue::clock::Time;
use segue::config::{Config, SourceConfig};
use segue::contract::{self, Kind};
use segue::fixture::ChangeKind;
use segue::fixture::expect::Expect;
use segue::guard::{self, Action, Case, Class, GuardConfig, GuardRule};
use segue::identity::Notice;
use segue::ingest::IngestError;
use segue::outcome::{DeadCode, DropReason};
use segue::spec::{Call, EventTime, Replay, TimeOrigin};
use segue::transform::helpers;
use segue::transform::manifest::{Written, WrittenStage};
use segue::transform::reference::{self, GROUPS, helpers_of};
use serde_json::Value;

use super::markdown::{Page, code, code_of, codes_in, is_test, root, sources};

/// The keys of a configuration with their defaults; lists of tables are given apart.
fn keys(value: Value, prefix: &str, found: &mut BTreeMap<String, String>) {
    let Value::Object(fields) = value else { panic!("{prefix} is no table") };
    for (name, value) in fields {
        let key = format!("{prefix}{name}");
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                keys(Value::Object(fields), &format!("{key}."), found)
            }
            _ if key == "source" => keys(json(&SourceConfig::default()), "source.", found),
            _ if key == "stage" => keys(json(&WrittenStage::default()), "stage.", found),
            _ if key == "guard.rule" => keys(json(&GuardRule::default()), "guard.rule.", found),
            Value::Null => drop(found.insert(key, "–".into())),
            _ => drop(found.insert(key, format!("`{value}`"))),
        }
    }
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// The keys that a table of the README has, with their defaults.
fn documented_keys(table: &str) -> BTreeMap<String, String> {
    let rows = Page::read("README.md").table(table);
    rows.into_iter().map(|row| (code(&row[0]), row[1].clone())).collect()
}

#[test]
fn every_key_is_in_the_readme_with_its_default() {
    let mut known = BTreeMap::new();
    keys(json(&Config::default()), "", &mut known);
    assert_eq!(documented_keys("config"), known);
}

#[test]
fn every_key_of_the_manifest_is_in_the_readme_with_its_default() {
    let mut known = BTreeMap::new();
    keys(json(&Written::default()), "", &mut known);
    assert_eq!(documented_keys("manifest"), known);
}

/// All refusals. A new one does not compile in `listed`: add it here and to the README.
fn refusals() -> Vec<IngestError> {
    use IngestError as E;
    let listed = |error: &E| match error {
        E::NotFound
        | E::UnknownSource
        | E::MethodNotAllowed(_)
        | E::MissingWriteKey
        | E::InvalidWriteKey
        | E::MissingToken
        | E::InvalidToken
        | E::MissingSignature
        | E::InvalidSignature
        | E::Unprotected
        | E::EmptyBody
        | E::InvalidJson(_)
        | E::NotEvents(_)
        | E::MissingBatch
        | E::InvalidGzip
        | E::UnsupportedEncoding
        | E::IncompleteBody
        | E::BodyTimeout(_)
        | E::BodyTooLarge(_)
        | E::BatchTooLarge(_)
        | E::Busy
        | E::JournalFull
        | E::JournalFailed => {}
    };
    let all = vec![
        E::NotFound,
        E::UnknownSource,
        E::MethodNotAllowed(""),
        E::MissingWriteKey,
        E::InvalidWriteKey,
        E::MissingToken,
        E::InvalidToken,
        E::MissingSignature,
        E::InvalidSignature,
        E::Unprotected,
        E::EmptyBody,
        E::InvalidJson(String::new()),
        E::NotEvents(""),
        E::MissingBatch,
        E::InvalidGzip,
        E::UnsupportedEncoding,
        E::IncompleteBody,
        E::BodyTimeout(0),
        E::BodyTooLarge(0),
        E::BatchTooLarge(String::new()),
        E::Busy,
        E::JournalFull,
        E::JournalFailed,
    ];
    all.iter().for_each(listed);
    all
}

#[test]
fn every_answer_to_a_sender_is_in_the_readme_with_its_status() {
    let answers = refusals().into_iter().map(|error| {
        let (status, code) = error.answer();
        (code.to_owned(), status.as_u16().to_string())
    });
    let known: BTreeMap<String, String> = answers.collect();

    let rows = Page::read("README.md").table("http-errors");
    let documented: BTreeMap<String, String> =
        rows.into_iter().map(|row| (code(&row[0]), row[1].clone())).collect();

    assert_eq!(documented, known);
}

/// All reasons but a script's own. A new one does not compile in `listed`: add it here and to the
/// README.
fn drop_reasons() -> Vec<DropReason> {
    use DropReason as R;
    let listed = |reason: &R| match reason {
        R::Duplicate
        | R::DuplicateKey
        | R::Script(_)
        | R::OptedOut
        | R::GuardRule
        | R::ProfileOnly
        | R::ReplayWithoutTime
        | R::ReplayedDestructive
        | R::PersonDeleted
        | R::TooOld
        | R::BeforeCutover
        | R::StageError
        | R::NoEffect => {}
    };
    let all = vec![
        R::Duplicate,
        R::DuplicateKey,
        R::OptedOut,
        R::GuardRule,
        R::ProfileOnly,
        R::ReplayWithoutTime,
        R::ReplayedDestructive,
        R::PersonDeleted,
        R::TooOld,
        R::BeforeCutover,
        R::StageError,
        R::NoEffect,
    ];
    all.iter().for_each(listed);
    all
}

#[test]
fn every_notice_about_people_is_in_the_readme() {
    let known: BTreeSet<String> =
        Notice::ALL.iter().map(|notice| notice.as_str().to_owned()).collect();
    let rows = Page::read("README.md").table("notices");
    let documented: BTreeSet<String> = rows.into_iter().map(|row| code(&row[0])).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_outcome_is_in_the_readme_with_its_reasons() {
    let page = Page::read("README.md");
    let dropped: BTreeSet<String> =
        drop_reasons().iter().map(|reason| reason.code().to_owned()).collect();
    assert_eq!(page.codes("drop-reasons"), dropped);
    let dead: BTreeSet<String> =
        DeadCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(page.codes("dead-reasons"), dead);
}

#[test]
fn every_class_and_action_of_the_guard_is_in_the_readme() {
    let page = Page::read("README.md");
    let classes = [Class::Live, Class::Late, Class::Historical, Class::ReplayByAge, Class::Replay];
    let listed = |class: Class| match class {
        Class::Live | Class::Late | Class::Historical | Class::ReplayByAge | Class::Replay => {
            class.as_str().to_owned()
        }
    };
    assert_eq!(page.codes("classes"), classes.map(listed).into());
    let actions = [Action::Deliver, Action::Mark, Action::Park, Action::ProfileOnly, Action::Drop];
    let listed = |action: Action| match action {
        Action::Deliver | Action::Mark | Action::Park | Action::ProfileOnly | Action::Drop => {
            action.as_str().to_owned()
        }
    };
    assert_eq!(page.codes("actions"), actions.map(listed).into());
}

/// A case of a class, as the guard's table has it in its columns.
fn case(call: Call, canonical: &str, class: Class, now: Time) -> Case {
    let age = match class {
        Class::Live => Duration::from_secs(60),
        Class::Late => Duration::from_secs(2 * 3600),
        Class::Historical => Duration::from_secs(100 * 3600),
        Class::ReplayByAge | Class::Replay => Duration::from_secs(30 * 3600),
    };
    let at = now.minus(age);
    Case {
        call,
        kind: guard::Kind::of(call, canonical),
        time: EventTime { at, origin: TimeOrigin::Given, for_age: None },
        received_at: at,
        canonical: canonical.into(),
        source: "web".into(),
        accepted_at: now,
        replay: match class {
            Class::Replay => Some(Replay::Flagged { label: None }),
            Class::ReplayByAge => Some(Replay::ReceivedAge),
            _ => None,
        },
        late_after: None,
        cutover: None,
    }
}

#[test]
fn the_guards_defaults_are_as_the_readme_has_them() {
    let classes = [Class::Live, Class::Late, Class::Historical, Class::ReplayByAge, Class::Replay];
    let kinds = [
        (Call::Track, "added_to_cart"),
        (Call::Track, "order_completed"),
        (Call::Track, "quiz_completed"),
        (Call::Identify, ""),
        (Call::Alias, ""),
    ];
    let now = Time::from_secs(1_768_478_400);
    let rows = Page::read("README.md").table("guard-defaults");
    assert_eq!(rows.len(), kinds.len());
    for (row, (call, canonical)) in rows.iter().zip(kinds) {
        for (cell, class) in row[1..].iter().zip(classes) {
            let verdict =
                guard::judge(&GuardConfig::default(), &case(call, canonical, class, now), now);
            assert_eq!(verdict.class, class);
            assert_eq!(verdict.action.as_str(), cell, "{} / {}", row[0], class.as_str());
        }
    }
}

/// What a pattern finds in the code, tests left out.
fn found_in_code(folder: &str, pattern: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    let files = sources(folder).into_iter().filter(|file| !is_test(file));
    let texts: Vec<String> = files.map(|file| code_of(&file)).collect();
    texts
        .iter()
        .flat_map(|text| pattern.captures_iter(text).map(|found| found[1].to_owned()))
        .collect()
}

#[test]
fn every_metric_is_in_the_readme() {
    let known = found_in_code("src", r#""(segue_[a-z_]+)""#);

    assert!(known.len() > 20, "{known:?}");
    assert_eq!(Page::read("README.md").codes("metrics"), known);
}

#[test]
fn every_path_for_operators_is_in_the_readme_and_in_the_answer_at_another() {
    let known = found_in_code("src/admin/http.rs", r#"\("(/(?:api|metrics|health)[a-z/-]*[a-z])"#);
    assert!(known.len() > 10, "{known:?}");
    let documented: BTreeSet<String> =
        codes_in(&Page::read("README.md").text).into_iter().collect();
    let missing: Vec<&String> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
    let said = AdminError::NotFound.to_string();
    for path in known.iter().filter(|path| path.starts_with("/api")) {
        let resource = path.split('/').take(3).collect::<Vec<_>>().join("/");
        assert!(said.contains(&resource), "{resource} is not in {said:?}");
    }
}

#[test]
fn every_reason_of_health_is_in_the_readme_with_its_status() {
    let rows = Page::read("README.md").table("health");
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        documented.entry(row[1].clone()).or_default().insert(code(&row[0]));
    }
    for (status, word) in [("Degraded", "degraded"), ("Unavailable", "unavailable")] {
        let known =
            found_in_code("src/admin/health.rs", &format!(r#"Status::{status}, "([a-z_]+)""#));
        assert!(!known.is_empty(), "{status}");
        assert_eq!(documented.remove(word), Some(known), "{status}");
    }
    assert!(documented.is_empty(), "{documented:?}");
}

#[test]
fn every_expectation_of_a_fixture_is_in_its_reference() {
    let documented: BTreeSet<String> =
        codes_in(&Page::read("fixtures/README.md").text).into_iter().collect();
    // Serde lists what it knows when it meets something else.
    let refusal = serde_json::from_str::<Expect>(r#"{"?": 1}"#).unwrap_err().to_string();
    let known: BTreeSet<String> = codes_in(&refusal).into_iter().skip(1).collect();

    assert!(known.len() > 10, "{known:?}");
    let missing: Vec<&String> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "not in fixtures/README.md: {missing:?}");
}

#[test]
fn every_violation_and_every_keyword_of_a_schema_is_in_the_readme() {
    let page = Page::read("README.md");
    let known = Kind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(page.codes("violations"), known);

    let rows = page.table("schema-keywords");
    let documented: BTreeSet<String> = rows.iter().flat_map(|row| codes_in(&row[0])).collect();
    assert_eq!(documented, contract::keywords().map(str::to_owned).collect());
}

#[test]
fn every_helper_is_in_the_readme_in_its_group() {
    let rows = Page::read("README.md").table("helpers");
    let documented: Vec<(String, Vec<String>)> =
        rows.into_iter().map(|row| (row[0].clone(), codes_in(&row[1]))).collect();
    let names = |group| helpers_of(group).map(|helper| helper.name.to_owned()).collect();
    let known: Vec<(String, Vec<String>)> =
        GROUPS.iter().map(|(group, name)| ((*name).to_owned(), names(*group))).collect();

    assert_eq!(documented, known);
    let listed: usize = known.iter().map(|(_, names)| names.len()).sum();
    assert_eq!(listed, helpers().count(), "a group is missing above");
}

#[test]
fn the_references_of_helpers_and_lints_are_what_the_code_says() {
    let pages = [
        ("docs/helpers.md", reference::helpers_page()),
        ("docs/lints.md", reference::lints_page()),
    ];
    for (name, page) in pages {
        let file = root().join(name);
        if std::env::var_os("SEGUE_UPDATE").is_some() {
            std::fs::write(&file, &page).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(written == page, "{name} is out of date: SEGUE_UPDATE=1 cargo test --test it docs");
    }
}

#[test]
fn every_kind_of_difference_between_bundles_is_in_the_readme() {
    let rows = Page::read("README.md").table("change-kinds");
    let documented: BTreeSet<String> = rows.iter().flat_map(|row| codes_in(&row[0])).collect();
    let known = ChangeKind::ALL.map(|kind| kind.as_str().to_owned());
    assert_eq!(documented, BTreeSet::from(known));
}
