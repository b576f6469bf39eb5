//! Faults on order.

use super::*;

fn rules(rules: &[&str]) -> Vec<FaultRule> {
    rules.iter().map(|rule| FaultRule::parse(rule).unwrap()).collect()
}

fn statuses(bench: &mut Bench, people: &[&str]) -> Vec<u16> {
    let send = |who: &&str| {
        let path = format!("/api/v1/customers/{who}/events");
        bench.send("POST", &path, &json!({"name": "E"})).status
    };
    people.iter().map(send).collect()
}

#[test]
fn a_sequence_is_taken_step_by_step() {
    type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [u16]);
    #[rustfmt::skip]
    let table: [Row; 7] = [
        ("once through",        &["500, 503, ok, 429"],       &["a", "a", "b", "a", "a"],      &[500, 503, 200, 429, 200]),
        ("times",               &["500*3"],                   &["a", "a", "a", "a"],           &[500, 500, 500, 200]),
        ("again and again",     &["500, ok, repeat"],         &["a", "a", "a", "a"],           &[500, 200, 500, 200]),
        ("one person's",        &["person=b: 500*2"],         &["a", "b", "a", "b", "b"],      &[200, 500, 200, 500, 200]),
        ("one event's",         &["event=E: 500"],            &["a", "a"],                     &[500, 200]),
        ("of another path",     &["path=/api/v2: 500*9"],     &["a", "a"],                     &[200, 200]),
        ("the first that fits", &["person=b: 401", "503, repeat"], &["a", "b", "b"],           &[503, 401, 503]),
    ];
    for (what, given, people, expected) in table {
        let mut bench = Bench::with(|settings| settings.faults = rules(given));
        assert_eq!(statuses(&mut bench, people), expected, "{what}");
    }
}

#[test]
fn a_refusal_changes_nothing_and_a_lost_answer_does() {
    #[rustfmt::skip]
    let table = [
        ("503", 503, false, false),
        ("reset", 200, true, true),
        ("lost", 200, true, false),
        ("garbage", 200, false, true),
        ("slow/20", 200, false, true),
    ];
    for (step, status, reset, applied) in table {
        let mut bench = Bench::with(|settings| settings.faults = rules(&[step]));
        let response = bench.send("PUT", "/api/v1/customers/a", &json!({}));
        assert_eq!((response.status, response.fault.reset), (status, reset), "{step}");
        assert_eq!(bench.emulator.people().len(), usize::from(applied), "{step}");
        let record = bench.emulator.requests().last().unwrap();
        assert!(record.fault.is_some(), "{step}");
        assert_eq!(record.applied, usize::from(applied), "{step}");
    }
}

#[test]
fn an_answer_can_be_late_trickled_or_nonsense() {
    let mut bench = Bench::with(|settings| {
        settings.faults = rules(&["slow/1500, trickle/50, garbage, 429/30, ok"]);
        settings.latency_ms = 10;
    });
    let mut next = || bench.send("PUT", "/api/v1/customers/a", &json!({}));
    assert_eq!(next().fault.delay, Duration::from_millis(1510));
    assert_eq!(next().fault.trickle, Duration::from_millis(50));
    let garbage = next();
    assert!(serde_json::from_slice::<Value>(&garbage.body).is_err());
    let limited = next();
    assert_eq!(limited.status, 429);
    assert!(limited.headers.contains(&("retry-after".into(), "30".into())));
    assert_eq!(next().fault, Fault { delay: Duration::from_millis(10), ..Fault::default() });
}

#[test]
fn single_items_can_be_refused() {
    let event = |who: &str| json!({"type": "person", "action": "event", "identifiers": {"id": who}, "name": "E"});
    let batch = json!({"batch": [event("a"), event("bad"), event("c")]});
    for (rule, status) in [("person=bad: reject", 207), ("person=bad: reject200", 200)] {
        let mut bench = Bench::with(|settings| settings.faults = rules(&[rule]));
        let response = bench.send("POST", "/api/v2/batch", &batch);
        assert_eq!(response.status, status);
        let errors = response.body_json()["errors"].clone();
        assert_eq!(errors.as_array().map(Vec::len), Some(1));
        assert_eq!(errors[0]["batch_index"], 1);
        assert_eq!(bench.emulator.people().len(), 2);
        assert_eq!(bench.send("POST", "/api/v2/batch", &batch).body_json(), json!({}));
    }
    let mut bench = Bench::with(|settings| settings.faults = rules(&["person=bad: reject"]));
    assert_eq!(statuses(&mut bench, &["bad", "bad"]), [400, 200], "v1 has one item");
}

#[test]
fn a_share_is_spread_evenly_and_the_same_in_every_run() {
    let run = || {
        let mut bench =
            Bench::with(|settings| settings.faults = rules(&["share=0.1: 500, repeat"]));
        statuses(&mut bench, &["a"; 2000])
    };
    let first = run();
    let failed = first.iter().filter(|status| **status == 500).count();
    assert!((150..250).contains(&failed), "{failed} of 2000");
    assert_eq!(first, run());
}

#[test]
fn the_long_form_says_everything() {
    let mut bench = Bench::new();
    let given = json!([
        {"when": {"path": "/api/v1"}, "steps": [
            {"status": 301, "headers": {"location": "https://elsewhere.example.com/"}},
            {"status": 500, "applied": true, "body": "oops", "times": 1},
        ]},
        "person=a: 503",
    ]);
    let set = bench.send("POST", "/emulator/faults", &given);
    assert_eq!((set.status, set.body_json()["rules"].as_array().map(Vec::len)), (200, Some(2)));
    let moved = bench.send("PUT", "/api/v1/customers/a", &json!({}));
    assert!(moved.headers.iter().any(|(name, _)| name == "location"));
    assert!(bench.emulator.people().is_empty());
    let failed = bench.send("PUT", "/api/v1/customers/a", &json!({}));
    assert_eq!((failed.status, failed.body.as_ref()), (500, b"oops".as_slice()));
    assert_eq!(bench.emulator.people().len(), 1, "done, and answered as if not");
    assert_eq!(statuses(&mut bench, &["a", "a"]), [503, 200]);
    assert_eq!(bench.send("GET", "/emulator/faults", &json!({})).body_json()["rules"], json!([]));
}

#[test]
fn a_rule_that_cannot_be_read_says_why() {
    let table = [
        ("", "no step"),
        ("person=a:", "no step"),
        ("boom", "step \"boom\" cannot be read"),
        ("99", "step \"99\" cannot be read"),
        ("500*0", "how many times"),
        ("slow", "needs milliseconds"),
        ("repeat, 500", "repeat comes last"),
        ("colour=red: 500", "condition \"colour=red\""),
        ("share=2: 500", "not a number from 0 to 1"),
    ];
    for (text, expected) in table {
        let problem = FaultRule::parse(text).unwrap_err();
        assert!(problem.contains(expected), "{text:?}: {problem}");
        let mut bench = Bench::new();
        assert_eq!(bench.send("POST", "/emulator/faults", &json!([text])).status, 400, "{text:?}");
    }
}

#[test]
fn requests_beyond_the_rate_are_told_when_to_come_again() {
    let mut bench = Bench::with(|settings| {
        settings.rate_limit = Some(2);
        settings.retry_after = 7;
    });
    assert_eq!(statuses(&mut bench, &["a", "b", "c"]), [200, 200, 429]);
    let response = bench.send("POST", "/api/v2/batch", &json!({"batch": []}));
    assert!(response.headers.contains(&("retry-after".into(), "7".into())));
    assert_eq!(bench.later(Duration::from_secs(1)).emulator.people().len(), 2);
    assert_eq!(statuses(&mut bench, &["c"]), [200]);
}

#[test]
fn views_are_never_faulty() {
    let mut bench = Bench::with(|settings| settings.faults = rules(&["500, repeat"]));
    assert_eq!(bench.send("GET", "/emulator/people", &json!({})).status, 200);
}
