//! What handlers may return, and what each result means.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_handle_is_the_event_and_a_copy_is_not() {
    let made = run_body(
        "let p = event.properties;
         p.total = 49.0;
         for item in p.products { item.price = item.price * 2; }
         let other = p.copy();
         other.total = 1;
         p.products[0].name = \"first\";
         p.tags += \"new\";
         event",
        json!({"products": [{"price": 1}, {"price": 2}], "tags": ["old"]}),
    );
    assert_eq!(
        properties(made),
        json!({"products": [{"price": 2, "name": "first"}, {"price": 4}], "tags": ["old", "new"],
               "total": 49.0})
    );
}

#[test]
fn each_result_means_what_the_contract_says() {
    let table: [(&str, &str, Result<usize, (&str, &str)>); 17] = [
        ("the event", "event", Ok(1)),
        ("two events", "let e = event.copy(); [event, e]", Ok(2)),
        ("a map of its own", "#{type: \"track\", event: \"X\"}", Ok(1)),
        ("nothing", "if ctx.replay { event }", Err(("T110", "returned ()"))),
        ("a number", "5", Err(("T110", "returned a number"))),
        ("an empty array", "[]", Err(("T110", "empty array"))),
        ("one event twice", "[event, event]", Err(("T111", "the same event"))),
        ("one event twice by another name", "let e = event; [e, event]", Err(("T111", "copy()"))),
        ("an array with something else", "[event, 5]", Err(("T111", "element 1"))),
        ("an event without a type", "event.remove(\"type\"); event", Err(("T111", "no type"))),
        ("properties that are no map", "event.properties = 5; event", Err(("T111", "properties"))),
        ("a part of ctx", "ctx.vars", Err(("T111", "ctx"))),
        ("a failure", "fail(\"no order\")", Err(("T100", "no order"))),
        ("a drop that is lost", "drop(\"x\"); event", Err(("T110", "return drop"))),
        ("a time that is none", "event.timestamp = \"soon\"; event", Err(("T111", "timestamp"))),
        ("another time", "event.timestamp = \"2026-01-14\"; event", Ok(1)),
        ("not a number", "event.properties.x = 0.0 / 0.0; event", Err(("T400", "NaN"))),
    ];
    for (what, body, expected) in table {
        match (run_body(body, json!({})), expected) {
            (Made::Events(events), Ok(count)) => assert_eq!(events.len(), count, "{what}"),
            (Made::Failed(error), Err((code, message))) => {
                assert_eq!(error.code, code, "{what}: {error}");
                assert!(error.message.contains(message), "{what}: {error}");
            }
            (made, _) => panic!("{what}: {made:?}"),
        }
    }
}

#[test]
fn a_dropped_event_says_where_and_why() {
    let made = run_body("return drop(\"internal_traffic\", #{who: \"qa\"});", json!({}));
    let expected = Made::Dropped { stage: "10_test".into(), reason: "internal_traffic".into() };
    assert_eq!(made, expected);
}

#[test]
fn children_have_ids_of_their_own_that_are_the_same_every_time() {
    let script = "fn on_track(event, ctx) {
        let out = [event];
        for line in event.properties.products {
            let e = event.copy();
            e.event = \"Order Line Item\";
            e.properties = line;
            out.push(e);
        }
        out
    }";
    let body = json!({"products": [{"sku": "a"}, {"sku": "b"}]});
    let first = events(run(script, track("Order Completed", body.clone())));
    let second = events(run(script, track("Order Completed", body)));
    let ids: Vec<&str> = first.iter().map(|made| made.event.message_id()).collect();
    assert_eq!(ids, ["m1", "m1:1.1", "m1:1.2"]);
    assert_eq!(first[2].event.properties().unwrap()["sku"], "b");
    let prints: Vec<_> = first.iter().map(|made| made.event.fingerprint()).collect();
    let again: Vec<_> = second.iter().map(|made| made.event.fingerprint()).collect();
    assert_eq!(prints, again);
    assert!(prints[0] != prints[1] && prints[1] != prints[2]);
}

#[test]
fn what_a_script_says_about_an_event_goes_with_it() {
    let made = run(
        "fn on_track(event, ctx) {
             event.dedupe_by(\"order_completed\", event.properties.order_id, 7);
             event.identify_as(#{email: \" Ann@Example.com \"});
             event.label(\"vip\"); event.label(\"vip\");
             event.note(\"was\", event.event);
             warn(\"names.unplanned\", \"x\");
             violation(\"odd\", \"properties.x\");
             let child = event.copy();
             child.dedupe_by(\"line\", \"a\");
             [event, child]
         }",
        track("Order Completed", json!({"order_id": 1001})),
    );
    let events = events(made);
    let hints = &events[0].hints;
    let key = |name: &str, parts: &[&str]| {
        Some(BusinessKey {
            name: name.into(),
            parts: parts.iter().map(|part| (*part).into()).collect(),
        })
    };
    assert_eq!(hints.dedupe_by, key("order_completed", &["1001", "7"]));
    assert_eq!(hints.labels, ["vip"]);
    assert_eq!(hints.notes, [("was".to_owned(), json!("Order Completed"))]);
    assert_eq!(hints.warnings.len(), 1);
    assert_eq!(hints.violations.len(), 1);
    let person = IdentifyAs { id: None, email: Some("ann@example.com".into()) };
    assert_eq!(hints.identify_as, Some(person.clone()));
    let child = &events[1].hints;
    assert_eq!(child.dedupe_by, key("line", &["a"]), "a key is of one event");
    assert_eq!(child.identify_as, Some(person), "a child is the same person's");
    assert_eq!(child.labels, ["vip"]);
    assert!(child.violations.is_empty());
}

#[test]
fn a_blank_part_gives_no_key_and_a_violation() {
    for blank in ["()", "\"\"", "\" \"", "\"undefined\"", "event.properties.nothing"] {
        let made = run_body(&format!("event.dedupe_by(\"order\", {blank}); event"), json!({}));
        let hints = &events(made)[0].hints;
        assert_eq!(hints.dedupe_by, None, "{blank}");
        assert_eq!(hints.violations[0].kind, "blank_key", "{blank}");
    }
}

#[test]
fn each_type_has_its_handler_and_transform_takes_the_rest() {
    let script = "fn on_identify(event, ctx) { event.traits.by = \"own\"; event }
                  fn transform(event, ctx) { event.context.by = \"transform\"; event }";
    let identify = event(&json!({"type": "identify", "userId": "u1", "traits": {"a": 1}}));
    let made = events(run(script, identify));
    assert_eq!(made[0].event.traits().unwrap()["by"], "own");
    assert_eq!(made[0].event.context(), None, "a map that stays empty is not added");
    let made = events(run(script, track("X", json!({}))));
    assert_eq!(made[0].event.context().unwrap()["by"], "transform");
    let only_identify = "fn on_identify(event, ctx) { fail(\"never\") }";
    assert_eq!(events(run(only_identify, track("X", json!({})))).len(), 1);
}

#[test]
fn the_maps_are_there_and_go_again_when_they_stay_empty() {
    let made = run(
        "fn on_track(event, ctx) { event.traits.len(); event.context.x?.y; event }",
        event(&json!({"type": "track", "event": "X", "userId": "u", "context": {}})),
    );
    let made = &events(made)[0].event;
    assert_eq!(made.traits(), None);
    assert_eq!(made.properties(), None);
    assert!(made.context().unwrap().is_empty(), "it was sent, so it stays");
}

#[test]
fn ctx_can_be_read_and_not_changed() {
    let files = [
        ("transforms.toml", "[vars]\nnames = \"title\"\nlist = [1, 2]"),
        ("10_test.rhai", "fn on_track(event, ctx) {
            event.properties = #{
                platform: ctx.platform, source: ctx.source, ingress: ctx.ingress, now: ctx.now,
                age: ctx.age_seconds, replay: ctx.replay, ip: ctx.ip, names: ctx.vars.names,
                second: ctx.vars.list[1], stage: ctx.stage, missing: ctx.vars.nothing,
                has: \"source\" in ctx, header: ctx.headers[\"x-a\"], read: get(ctx, \"vars.names\"),
                bundle: ctx.bundle.len(),
            };
            event
        }"),
    ];
    let mut ctx = context();
    ctx.headers.insert("x-a".into(), "b".into());
    let made = properties(runner(&files).run(track("X", json!({})), &ctx));
    let expected = json!({"platform": "segment", "source": "web", "ingress": "webhook",
        "now": "2026-01-15T12:00:00.000Z", "age": 60, "replay": false, "ip": null, "names": "title",
        "second": 2, "stage": "10_test", "missing": null, "has": true, "header": "b",
        "read": "title", "bundle": 12});
    assert_eq!(made, expected);
    for change in [
        "ctx.vars.names = 1",
        "ctx.source = 1",
        "ctx.vars.list.push(3)",
        "ctx.vars.remove(\"names\")",
    ] {
        let script = format!("fn on_track(event, ctx) {{\n {change};\n event }}");
        let made =
            runner(&[files[0], ("10_test.rhai", &script)]).run(track("X", json!({})), &context());
        let error = failure(made);
        assert!(error.message.contains("ctx can only be read"), "{change}: {error}");
        assert_eq!(error.line, Some(2), "{change}");
    }
}

#[test]
fn a_failing_stage_follows_its_policy() {
    let policies: [(&str, &str, fn(&Made) -> bool); 3] = [
        ("dead_letter", "Other", |made| matches!(made, Made::Failed(_))),
        (
            "drop",
            "Other",
            |made| matches!(made, Made::Dropped { reason, .. } if reason == "stage_error"),
        ),
        ("forward_original", "Other", |made| matches!(made, Made::Events(_))),
    ];
    for (policy, name, expected) in policies {
        let manifest = format!(
            "[[stage]]\nfile = \"10_a\"\n[[stage]]\nfile = \"20_b\"\non_error = \"{policy}\"\n[[stage]]\nfile = \"30_c\""
        );
        let files = [
            ("transforms.toml", manifest.as_str()),
            ("10_a.rhai", "fn on_track(event, ctx) { event.properties.a = 1; event }"),
            (
                "20_b.rhai",
                "fn on_track(event, ctx) { event.properties.b = 1;\n event.properties.c.d }",
            ),
            ("30_c.rhai", "fn on_track(event, ctx) { event.properties.c = 1; event }"),
        ];
        let made = runner(&files).run(track(name, json!({})), &context());
        assert!(expected(&made), "{policy}: {made:?}");
        if let Made::Events(events) = made {
            let fields = Value::Object(events[0].event.properties().unwrap().clone());
            assert_eq!(fields, json!({"a": 1, "c": 1}), "the failed stage left no trace in it");
            let failed = &events[0].hints.failed_stages;
            assert_eq!(failed.len(), 1);
            assert_eq!(
                (failed[0].stage.as_str(), failed[0].code, failed[0].line),
                ("20_b", "T202", Some(2))
            );
        }
    }
}

#[test]
fn exit_events_can_have_a_policy_of_their_own() {
    let files = [
        ("transforms.toml", "[pipeline]\non_error_exit = \"forward_original\""),
        ("10_a.rhai", "fn on_track(event, ctx) { fail(\"broken\") }"),
    ];
    let mut runner = runner(&files);
    for (name, goes_on) in
        [("Purchase", true), ("Subscription Paused", true), ("Cart Viewed", false)]
    {
        let made = runner.run(track(name, json!({})), &context());
        assert_eq!(matches!(made, Made::Events(_)), goes_on, "{name}");
    }
}

#[test]
fn a_trace_shows_every_stage() {
    let files = [
        (
            "transforms.toml",
            "[[stage]]\nfile = \"10_a\"\n[[stage]]\nfile = \"20_b\"\nmatch = { type = [\"page\"] }\n[[stage]]\nfile = \"30_c\"",
        ),
        ("10_a.rhai", "fn on_track(event, ctx) { debug(\"here\"); event.event = \"Y\"; event }"),
        ("20_b.rhai", "fn on_track(event, ctx) { fail(\"never\") }"),
        ("30_c.rhai", "fn on_track(event, ctx) { return drop(\"done\"); }"),
    ];
    let (made, traces) = runner(&files).trace(track("X", json!({})), &context());
    assert_eq!(made, Made::Dropped { stage: "30_c".into(), reason: "done".into() });
    let outcomes: Vec<&TraceOutcome> = traces.iter().map(|trace| &trace.outcome).collect();
    assert_eq!(
        outcomes,
        [&TraceOutcome::Changed, &TraceOutcome::Skipped, &TraceOutcome::Dropped("done".into())]
    );
    assert_eq!(traces[0].events[0]["event"], "Y");
    assert_eq!(traces[0].events[0].get("traits"), None, "what only comforts scripts is not shown");
    assert_eq!(traces[0].printed.len(), 1);
    assert_eq!(traces[0].printed[0].line, Some(1));
    assert!(traces[0].operations > 0);
    assert_eq!(traces[1].handler, None);
}

#[test]
fn a_stage_can_run_on_the_events_of_a_table() {
    let manifest =
        |table: &str| format!("[[stage]]\nfile = \"10_a\"\nmatch = {{ event_in = \"{table}\" }}");
    let script = "fn on_track(event, ctx) { event.properties.seen = true; event }";
    let table = ("data/known.csv", "key,is\norder_completed,yes");
    let known = manifest("known");
    let mut runner = runner(&[("transforms.toml", &known), ("10_a.rhai", script), table]);
    for (name, seen) in [("Order Completed", true), ("Purchase", true), ("Quiz", false)] {
        let properties = properties(runner.run(track(name, json!({})), &context()));
        assert_eq!(properties["seen"] == true, seen, "{name}");
    }
    let unknown = manifest("unknown");
    let files = [("transforms.toml", unknown.as_str()), ("10_a.rhai", script), table];
    let findings = bundle_of(&files).unwrap_err();
    assert_eq!((findings[0].line, findings[0].code), (Some(3), "L014"), "{}", findings[0]);
}

#[test]
fn what_a_stage_keeps_between_calls_is_never_an_events() {
    let files = [
        ("lib/shop.rhai", "const RATE = 3;\nfn price(x) { x * global::RATE }"),
        (
            "10_a.rhai",
            "import \"lib/shop\" as shop;\nconst NAMES = [\"a\"];\n\
             fn on_track(event, ctx) {\n let names = global::NAMES;\n names.push(event.event);\n\
             if event.event == \"Bad\" { nested(1) }\n\
             event.properties.x = shop::price(event.properties.n);\n event.properties.names = names;\n\
             event }\n\
             fn nested(x) { let inner = x; import \"lib/shop\" as again; fail(\"bad\") }",
        ),
    ];
    let mut runner = runner(&files);
    for round in 0..4 {
        let made = runner.run(track("Good", json!({"n": round})), &context());
        let expected = json!({"n": round, "x": round * 3, "names": ["a", "Good"]});
        assert_eq!(properties(made), expected, "after {round} failures");
        let error = failure(runner.run(track("Bad", json!({"n": 1})), &context()));
        assert_eq!((error.code, error.line), (code::FAILED, Some(10)), "{error}");
    }
}

#[test]
fn libraries_and_constants_work_in_functions() {
    let files = [
        ("lib/base.rhai", "fn twice(x) { x * 2 }"),
        (
            "lib/shop.rhai",
            "import \"lib/base\" as base;\nconst RATE = 3;\nfn price(x) { base::twice(x) * global::RATE }",
        ),
        (
            "10_a.rhai",
            "import \"lib/shop\" as shop;\nconst NAMES = [\"a\", \"b\"];\n\
          fn on_track(event, ctx) { event.properties.x = shop::price(2); event.properties.n = global::NAMES; event }",
        ),
    ];
    let made = runner(&files).run(track("X", json!({})), &context());
    assert_eq!(properties(made), json!({"x": 12, "n": ["a", "b"]}));
}

#[test]
fn mistakes_are_found_before_a_script_runs() {
    let body = |body: &str| format!("fn on_track(event, ctx) {{\n{body}\nevent }}");
    #[rustfmt::skip]
    let table = [
        ("a typo in a helper", body("snake_cas(\"x\");"), Some(2), "there is no function snake_cas", "did you mean snake_case?"),
        ("too many arguments", body("event.rename(\"a\", \"b\", \"c\", 1);"), Some(2), "rename is called with 5 arguments", "event.rename(from, to [, type])"),
        ("a variable", body("let x = y;"), Some(2), "Undefined variable: y", ""),
        ("a table", body("lookup(\"nothing\", 1);"), Some(2), "there is no table", "there are"),
        ("sleep", body("sleep(1);"), Some(2), "there is no function sleep", "cannot wait"),
        ("exit", body("exit();"), Some(2), "there is no function exit", "use return"),
        ("a reserved word", body("let x = event.properties.default;"), Some(2), "", "[\"default\"]"),
        ("a missing library", "import \"lib/none\" as none;\nfn on_track(event, ctx) { event }".into(), Some(1), "there is no library", "lib/"),
        ("a computed import", "fn on_track(event, ctx) {\nimport `lib/${ctx.source}` as x;\nevent }".into(), Some(2), "literally", "lib/"),
        ("a statement at the top", "let x = 5;\nfn on_track(event, ctx) { event }".into(), Some(1), "only constants", "const"),
        ("no handler", "fn other(x) { x }".into(), None, "no handler", "on_track"),
        ("a misspelt handler", "\nfn on_trak(event, ctx) { event }".into(), Some(2), "on_trak is no handler", "on_track"),
        ("a handler's parameters", "fn on_track(event) { event }".into(), Some(1), "takes (event, ctx)", ""),
        ("syntax", body("let = 5;"), Some(2), "", ""),
        ("eval", body("eval(\"1\");"), Some(2), "eval", ""),
    ];
    for (what, script, line, message, hint) in table {
        let findings = bundle_of(&[("10_a.rhai", &script)]).unwrap_err();
        let finding = &findings[0];
        assert_eq!(finding.line, line, "{what}: {finding}");
        assert!(finding.message.contains(message), "{what}: {finding}");
        assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{what}: {finding}");
        assert_eq!(finding.file, "10_a.rhai", "{what}");
    }
}

#[test]
fn scripts_that_never_run_are_pointed_out() {
    let script = "fn on_track(event, ctx) { event }";
    let files = [
        ("transforms.toml", "[[stage]]\nfile = \"10_a\""),
        ("10_a.rhai", script),
        ("20_b.rhai", script),
        ("pipeline/30_c.rhai", script),
    ];
    let bundle = bundle_of(&files).unwrap();
    assert_eq!(bundle.stages().len(), 1);
    let files: Vec<&str> = bundle.warnings().iter().map(|warning| warning.file.as_str()).collect();
    assert_eq!(files, ["20_b.rhai", "pipeline/30_c.rhai"]);
}

#[test]
fn the_hash_names_the_content() {
    let script = "fn on_track(event, ctx) { event }";
    let hash = |files: &[(&str, &str)]| bundle_of(files).unwrap().hash().to_owned();
    let one = hash(&[("10_a.rhai", script)]);
    assert_eq!(one.len(), 12);
    assert_eq!(one, hash(&[("10_a.rhai", script)]));
    assert_ne!(one, hash(&[("20_a.rhai", script)]));
    assert_ne!(one, hash(&[("10_a.rhai", &format!("{script} "))]));
    assert_ne!(one, hash(&[("10_a.rhai", script), ("data/x.json", "{}")]));
}

#[test]
fn tables_are_read_from_json_and_csv() {
    let files = [
        ("data/one.json", "{\"a\": \"b\", \"m\": {\"x\": 1}}"),
        ("data/two.csv", "sku,category\nS-1,skin\n7,hair\n"),
        ("data/three.csv", "sku,category,price\nS-1,skin,49\n"),
        ("10_a.rhai", "fn on_track(event, ctx) {
            event.properties = #{ a: lookup(\"one\", \"a\"), b: lookup(\"two\", 7), c: lookup(\"three\", \"S-1\").price,
                d: lookup(\"two\", \"none\", \"other\"), e: lookup(\"one\", \"m\").x };
            event }"),
    ];
    let made = runner(&files).run(track("X", json!({})), &context());
    assert_eq!(properties(made), json!({"a": "b", "b": "hair", "c": "49", "d": "other", "e": 1}));
    for (file, text, message) in [
        ("data/x.json", "[1]", "one JSON object"),
        ("data/x.json", "{\"a\": }", "expected value"),
        ("data/x.csv", "key\nv", "a value column"),
        ("data/x.csv", "a,b\n1,2,3\n", "found record with"),
    ] {
        let findings =
            bundle_of(&[("10_a.rhai", "fn on_track(e, c) { e }"), (file, text)]).unwrap_err();
        assert!(findings[0].message.contains(message), "{}", findings[0]);
        assert_eq!(findings[0].file, file);
    }
}

#[test]
fn the_bundles_own_synonyms_decide_what_is_canonical() {
    let script = ("10_a.rhai", "fn on_track(event, ctx) { event }");
    let shipped = bundle_of(&[script]).unwrap();
    assert_eq!(shipped.canonical("Purchase"), "order_completed");
    let own =
        bundle_of(&[script, ("data/synonyms.json", "{\"bought\": \"order_completed\"}")]).unwrap();
    assert_eq!(own.canonical("Bought"), "order_completed");
    assert_eq!(own.canonical("Purchase"), "purchase");
}

#[test]
fn a_runner_changes_to_another_bundle_and_only_then() {
    let bundle = |value: i32| {
        let script = format!("fn on_track(event, ctx) {{ event.properties.x = {value}; event }}");
        Arc::new(bundle_of(&[("10_a.rhai", &script)]).unwrap())
    };
    let (one, two) = (bundle(1), bundle(2));
    let mut runner = Runner::new(Arc::clone(&one));
    assert!(!runner.refresh(&one));
    assert_eq!(properties(runner.run(track("X", json!({})), &context()))["x"], 1);
    assert!(runner.refresh(&two));
    assert_eq!(properties(runner.run(track("X", json!({})), &context()))["x"], 2);
}
