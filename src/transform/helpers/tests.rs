//! Every helper's example is run, and the table is held to its rules.

mod values;

use std::collections::BTreeSet;

use rhai::packages::Package;
use serde_json::Value;

use super::*;
use crate::transform::shipped;
use crate::transform::tests::{context, properties, runner, track};

#[test]
fn every_example_gives_what_it_says() {
    let tables: Vec<(&str, &str)> =
        shipped::FILES.iter().filter(|(path, _)| path.starts_with("data/")).copied().collect();
    for helper in helpers().filter(|helper| !helper.gives.is_empty()) {
        let example = match helper.example.rsplit_once("; ") {
            Some((before, last)) if !last.ends_with('}') => format!("{before}; return {last};"),
            _ if helper.example.starts_with("try") => helper.example.to_owned(),
            _ => format!("return {};", helper.example),
        };
        let script = format!(
            "fn example() {{ {example} }}\n\
             fn on_track(event, ctx) {{ event.properties.result = example(); event }}"
        );
        let mut files = tables.clone();
        files.push(("10_example.rhai", &script));
        let made = runner(&files).run(track("Test", Value::Null), &context());
        let expected: Value = serde_json::from_str(helper.gives).unwrap();
        let result = properties(made);
        let sorted = |value: &Value| {
            let mut value = value.clone();
            value.sort_all_objects();
            value.to_string()
        };
        assert_eq!(sorted(&result["result"]), sorted(&expected), "{}", helper.example);
    }
}

#[test]
fn every_example_of_an_effect_runs() {
    for helper in helpers().filter(|helper| helper.gives.is_empty()) {
        let script = format!("fn on_track(event, ctx) {{ {}; event }}", helper.example);
        properties(
            runner(&[("10_example.rhai", &script)]).run(track("Test", Value::Null), &context()),
        );
    }
}

#[test]
fn the_table_names_each_helper_once_and_documents_it() {
    let mut names = BTreeSet::new();
    for helper in helpers() {
        assert!(names.insert(helper.name), "{} twice", helper.name);
        assert!(helper.signature.contains(&format!("{}(", helper.name)), "{}", helper.name);
        assert!(helper.doc.ends_with('.') && helper.doc.len() > 15, "{}", helper.name);
        assert!(helper.arity.0 <= helper.arity.1, "{}", helper.name);
    }
}

#[test]
fn what_is_wanted_is_not_masked_as_if_it_were_somebodys() {
    let kinds = reading::Kind::NAMES.iter().filter_map(|name| reading::Kind::from_name(name));
    let nouns = kinds.map(reading::Kind::noun).chain(["country", "base64", "json"]);
    for wanted in nouns.map(reading::wanted) {
        assert_eq!(crate::transform::mask::text(wanted), wanted);
    }
}

/// A more specific function of Rhai would win over a helper without anybody noticing.
#[test]
fn no_function_of_rhai_hides_a_helper() {
    let mut engine = Engine::new_raw();
    crate::transform::sandbox::Natives::new().register_into_engine(&mut engine);
    let clashes = engine.collect_fn_metadata(
        None,
        |function| {
            let known = (function.metadata.name.to_string(), function.metadata.num_params);
            arities().contains(&known).then_some(known)
        },
        true,
    );
    let clashes: BTreeSet<_> = clashes.into_iter().collect();
    // These are registered for maps too; on strings and arrays `get` and `set` are Rhai's.
    let expected = [("get", 2), ("set", 3), ("to_json", 1)];
    assert_eq!(clashes, expected.map(|(name, arity)| (name.to_owned(), arity)).into());
}
