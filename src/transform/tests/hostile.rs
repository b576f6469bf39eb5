//! Scripts that go wrong, by mistake or by intent: each ends as an error with its place, on the
//! stack that script threads have, and the next event is processed as if nothing had happened.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The stack of a script thread.
const STACK: usize = 16 << 20;

fn on_script_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap()
}

fn wide_limits(body: &str) -> Vec<(String, String)> {
    vec![
        ("transforms.toml".into(), "[limits]\noperations = 100000000\ndeadline_ms = 20".into()),
        (
            "10_test.rhai".into(),
            format!(
                "fn on_track(event, ctx) {{\n{body}\nevent }}\nfn deep(n) {{\n if n > 0 {{ deep(n - 1) }} else {{ 0 }} }}"
            ),
        ),
    ]
}

fn fails(body: &str, properties: Value) -> ScriptError {
    let files = wide_limits(body);
    on_script_thread(move || {
        let files: Vec<(&str, &str)> =
            files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        failure(runner(&files).run(track("X", properties), &context()))
    })
}

#[test]
fn whatever_a_script_does_it_ends_as_an_error_with_its_place() {
    #[rustfmt::skip]
    let table = [
        ("an endless loop", "loop { }", &["T302"][..]),
        ("a loop that works", "let x = 0;\nloop { x += 1; event.properties.x = x; }", &["T302"]),
        ("a growing string", "let s = \"x\";\nloop { s += s; }", &["T303", "T302"]),
        ("a growing array", "let a = [];\nloop { a.push(1); }", &["T303", "T302"]),
        ("a growing map", "let m = #{};\nlet i = 0;\nloop { i += 1; m[`k${i}`] = i; }", &["T303", "T302"]),
        ("an array in itself", "let a = [];\nloop { a = [a]; }", &["T303", "T302"]),
        ("deep literals", "let a = [];\nloop { a = [[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]; }", &["T303", "T302"]),
        ("a growing event", "let i = 0;\nloop { i += 1; event.properties[`k${i}`] = \"0123456789012345678901234567890123456789\"; }", &["T303", "T302"]),
        ("an event in itself", "loop { event.properties.me = event.properties; }", &["T303", "T302"]),
        ("a deep event", "let p = event.properties;\nloop { p.next = #{}; p = p.next; }", &["T303", "T302"]),
        ("a deep event by path", "let path = \"properties\";\nloop { path += \".next\"; event.set(path, #{}); }", &["T303", "T302"]),
        ("a deep event by moving", "loop { event.set(\"properties.a.b.c.d.e\", 1); event.rename(\"properties\", \"x\"); event.properties = #{}; event.rename(\"x\", \"properties.y\"); }", &["T303", "T302"]),
        ("a growing array of the event", "event.properties.a = [];\nloop { event.properties.a.push(\"0123456789012345678901234567890123456789\"); }", &["T303", "T302"]),
        ("replacing", "let a = \"a\"; let b = \"b\";\nfor i in 0..15 { a += a; b += b; }\na.replace(\"a\", b);", &["T303", "T302"]),
        ("replacing in a copy", "let a = \"a\"; let b = \"b\";\nfor i in 0..15 { a += a; b += b; }\nreplaced(a, \"a\", b);", &["T303", "T302"]),
        ("padding", "let a = [];\na.pad(1000000000, 1);", &["T303", "T302"]),
        ("padding a string", "let s = \"\";\ns.pad(1000000000, \"x\");", &["T303", "T302"]),
        ("recursion", "deep(1000000);", &["T304"]),
        ("a pattern that explodes", "matches(\"x\", \"(((((a{1,100}){1,100}){1,100}){1,100}){1,100})\");", &["T220"]),
        ("a pattern that is none", "matches(\"x\", \"(\");", &["T220"]),
        ("a slow native in a loop", "let a = [];\nfor i in 0..9000 { a.push(i); }\nloop { a.contains(-1); }", &["T302"]),
        ("a slow native on the event", "let a = event.properties.big;\nloop { a.contains(-1); }", &["T302", "T303"]),
        ("a wrong type", "event.properties.x = 1 - \"a\" * 2;", &["T210"]),
        ("a division by zero", "let x = 0;\nevent.properties.x = 1 / x;", &["T220"]),
        ("a missing property", "event.properties.a.b.c = 1;", &["T202"]),
        ("a missing property read", "let x = event.properties.a.b;", &["T202"]),
        ("a thrown text", "throw \"broken\";", &["T220"]),
        ("money that is none", "parse_money(\"forty nine\");", &["T201"]),
        ("a function in the event", "event.properties.f = |x| x;", &["T400"]),
        ("a range in the event", "event.properties.f = 0..5;", &["T400"]),
        ("no function", "let f = Fn(\"none\");\nf.call(1);", &["T210"]),
        ("eval by a pointer", "let f = Fn(\"eval\");\nf.call(\"1\");", &["T210", "T220"]),
        ("sleep by a pointer", "let f = Fn(\"sleep\");\nf.call(10);", &["T210"]),
        ("too many events", "let out = [];\nevent.properties.remove(\"big\");\nfor i in 0..60 { out.push(event.copy()); }\nreturn out;", &["T120"]),
    ];
    let big: Vec<u32> = (0..9000).collect();
    for (what, body, codes) in table {
        let error = fails(body, json!({"big": big}));
        assert!(codes.contains(&error.code), "{what}: {error}");
        assert_eq!(error.file, "10_test.rhai", "{what}");
        assert_eq!(error.bundle.len(), 12, "{what}");
        if error.code != "T120" {
            let line = error.line.unwrap_or_else(|| panic!("{what} has no line: {error}"));
            assert!(line >= 2, "{what}: {error}");
            assert!(error.source_line.is_some(), "{what}: {error}");
        }
    }
}

/// Natives recurse over values that are nested as deeply as the limits allow.
#[test]
fn values_as_deep_as_the_limits_allow_do_not_exhaust_the_stack() {
    let build = "let a = []; let b = [];\nfor i in 0..150 { a = [[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]; b = [[[[[[[[[[[[[[[[b]]]]]]]]]]]]]]]]; }";
    for (what, then) in [
        ("equal", "let same = a == b;"),
        ("printed", "let s = `${a}`;"),
        ("stored", "event.properties.a = a;"),
        ("searched", "a.contains(b);"),
        ("returned", "return a;"),
        ("let go", ""),
    ] {
        let files = [
            (
                "transforms.toml".to_owned(),
                "[limits]\noperations = 100000000\ndeadline_ms = 60000\nwall_ms = 60000".to_owned(),
            ),
            (
                "10_test.rhai".to_owned(),
                format!("fn on_track(event, ctx) {{\n{build}\n{then}\nevent }}"),
            ),
        ];
        on_script_thread(move || {
            let files: Vec<(&str, &str)> =
                files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let _ = runner(&files).run(track("X", json!({})), &context());
        });
        assert!(!what.is_empty());
    }
}

/// The deepest recursion that the limits allow, through the most nested code that they allow.
#[test]
fn the_worst_legal_recursion_fits_the_stack() {
    let nested = "if true { ".repeat(16);
    let close = " } else { 0 }".repeat(16);
    let script = format!(
        "fn deep(n, a) {{ {nested} if n > 0 {{ [1].map(|x| deep(n - 1, a)); deep(n - 1, a) }} else {{ 0 }} {close} }}\n\
         fn on_track(event, ctx) {{ deep(5, 1); event }}"
    );
    let made = on_script_thread(move || run(&script, track("X", json!({}))));
    assert!(matches!(made, Made::Events(_)), "{made:?}");
    let endless = format!(
        "fn deep(a) {{ {nested} [1].map(|x| deep(a)) {close} }}\n\
         fn on_track(event, ctx) {{ deep(1); event }}"
    );
    let error = on_script_thread(move || failure(run(&endless, track("X", json!({})))));
    assert_eq!(error.code, "T304", "{error}");
}

#[test]
fn after_a_bad_event_the_next_one_is_fine() {
    let script = "fn on_track(event, ctx) {
        if event.event == \"Bad\" { loop { } }
        event.properties.ok = true;
        event }";
    let mut runner = runner(&[("10_test.rhai", script)]);
    for _ in 0..3 {
        assert_eq!(failure(runner.run(track("Bad", json!({})), &context())).code, "T301");
        assert_eq!(
            properties(runner.run(track("Good", json!({})), &context())),
            json!({"ok": true})
        );
    }
}

#[test]
fn a_stage_that_keeps_timing_out_is_suspended_until_the_next_bundle() {
    let files = [
        ("transforms.toml", "[limits]\noperations = 1000000000\ndeadline_ms = 1"),
        (
            "10_test.rhai",
            "fn on_track(event, ctx) {\n if event.event == \"Bad\" { loop { } }\n event }",
        ),
    ];
    let mut runner = runner(&files);
    let mut tries = 0;
    while runner.bundle().suspended().is_empty() {
        let error = failure(runner.run(track("Bad", json!({})), &context()));
        assert_eq!(error.code, "T302");
        tries += 1;
        assert!(tries < 50);
    }
    let error = failure(runner.run(track("Good", json!({})), &context()));
    assert!(error.message.contains("stage_suspended"), "{error}");
    assert_eq!(runner.bundle().suspended(), ["10_test"]);
    let again = Arc::new(bundle_of(&files).unwrap());
    assert!(runner.refresh(&again));
    assert!(matches!(runner.run(track("Good", json!({})), &context()), Made::Events(_)));
}

#[test]
fn a_thread_that_is_kept_from_running_gets_another_try() {
    let limits = Limits { deadline_ms: 1, wall_ms: 1, ..Limits::default() };
    let watch = crate::transform::limits::Watch::new();
    watch.start_event();
    watch.start_call();
    // The thread does nothing while the wall clock goes on.
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(Duration::from_millis(20));
    assert_eq!(watch.tick(32, &limits), Some(crate::transform::limits::Stopped::Wall));
}

#[test]
fn messages_carry_no_personal_data() {
    let made = run_body("parse_money(event.properties.who);", json!({"who": "ann@example.com"}));
    let error = failure(made);
    assert!(!error.to_string().contains("ann@"), "{error}");
    let letter = error.dead_letter();
    assert!(!serde_json::to_string(&letter).unwrap().contains("ann@"));
    assert_eq!(letter.detail.unwrap()["line"], 2);
}

#[test]
fn the_position_is_that_of_the_innermost_line() {
    let files = [
        ("lib/shop.rhai", "//! Prices.\n\nfn price(x) {\n    parse_money(x)\n}"),
        (
            "10_test.rhai",
            "import \"lib/shop\" as shop;\nfn on_track(event, ctx) {\n    event.properties.price = shop::price(\"free\");\n    event\n}",
        ),
    ];
    let error = failure(runner(&files).run(track("X", json!({})), &context()));
    assert_eq!((error.file.as_str(), error.line), ("lib/shop.rhai", Some(4)), "{error}");
    assert_eq!(error.source_line.as_deref(), Some("    parse_money(x)"));
    assert_eq!(error.function.as_deref(), Some("price"));
    assert_eq!(error.stage, "10_test");
    assert_eq!(
        error.message,
        "cannot read money from \"free\"; wanted is an amount such as 49, \"49.00\", \"$1,249.00\" or \"1.234,50 €\""
    );
}

fn json_value() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
        "-?[1-9][0-9]{18,40}".prop_map(|text| serde_json::from_str(&text).unwrap()),
        "[1-9][0-9]{0,5}\\.[0-9]{1,30}".prop_map(|text| serde_json::from_str(&text).unwrap()),
        "[1-9]e[0-9]{1,3}".prop_map(|text| serde_json::from_str(&text).unwrap()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        numbers,
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,8}", inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A script that looks at everything and writes back what it read.
const TOUCH_ALL: &str = "
fn touch(x) {
    if type_of(x) == \"map\" {
        for k in x.keys() { let v = x[k]; if v != () { touch(v); } x[k] = v; x[k] = x[k]; }
    } else if type_of(x) == \"array\" {
        for i in 0..x.len() { let v = x[i]; if v != () { touch(v); } x[i] = v; }
        x.for_each(|| { });
        let unused = x.map(|v| v);
    }
}
fn on_track(event, ctx) { touch(event); event }";

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_event_that_is_only_looked_at_stays_what_it_was(
        properties in prop::collection::vec(("\\PC{0,8}", json_value()), 0..8),
    ) {
        let properties = Value::Object(properties.into_iter().collect());
        let before = track("X", properties);
        let files = [
            ("transforms.toml", "[limits]\noperations = 10000000\ndeadline_ms = 10000\nwall_ms = 60000"),
            ("10_test.rhai", TOUCH_ALL),
        ];
        let made = on_script_thread({
            let before = before.clone();
            move || events(runner(&files).run(before, &context())).remove(0).event
        });
        prop_assert_eq!(
            serde_json::to_string(made.fields()).unwrap(),
            serde_json::to_string(before.fields()).unwrap()
        );
    }
}
