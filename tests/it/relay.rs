//! The whole path: what was taken arrives, once, in order, on the right person.

use serde_json::{Value, json};

use crate::support::{Segue, eventually, track};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_event_arrives_once_whatever_the_vendor_repeats() {
    let segue = Segue::start().await;

    for _ in 0..3 {
        segue.send(&track("u1", "Quiz Answered", "m1")).await;
    }
    segue.settled().await;

    let events = segue.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].name, "Quiz Answered");
    assert_eq!(
        (segue.total("accepted"), segue.total("delivered"), segue.total("dropped")),
        (3, 1, 2)
    );
    segue.assert_conservation();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_event_costs_its_batch_nothing() {
    let segue = Segue::start().await;
    let batch = json!([track("u1", "A", "m1"), {"type": "record", "userId": "u1"}, 42, track("u1", "B", "m2")]);

    segue.send(&batch).await;
    segue.settled().await;

    let names: Vec<String> = segue.events().into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(segue.total("dead_lettered"), 2);
    segue.assert_conservation();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_persons_events_arrive_in_the_order_of_acceptance() {
    let segue = Segue::start().await;
    for round in 0..20 {
        let batch: Vec<Value> =
            (0..50).map(|user| track(&format!("u{user}"), "Step", &format!("{round}"))).collect();
        segue.send(&Value::Array(batch)).await;
    }
    segue.settled().await;

    let events = segue.events();
    assert_eq!(events.len(), 1000);
    for user in 0..50 {
        let id = format!("u{user}");
        let person = segue.app.emulator().unwrap().lock().person(&id).unwrap().cio_id;
        let steps: Vec<u64> = events
            .iter()
            .filter(|event| event.cio_id.as_ref() == Some(&person))
            .map(|event| event.data["n"].as_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(steps, (0..20).collect::<Vec<u64>>(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_visitor_becomes_the_person_who_logs_in() {
    let segue = Segue::start().await;
    segue.send(&json!({"type": "page", "anonymousId": "a1", "messageId": "1", "properties": {"url": "https://shop.example/"}})).await;
    segue.send(&json!({"type": "track", "event": "Logged In", "anonymousId": "a1", "userId": "u1", "messageId": "2"})).await;
    segue.send(&json!({"type": "track", "event": "Quiz Answered", "anonymousId": "a1", "messageId": "3"})).await;
    segue.settled().await;

    let people = segue.app.emulator().unwrap().lock().people();
    assert_eq!(people.len(), 1, "{people:?}");
    let events = segue.events();
    assert_eq!(events.len(), 3);
    let person = Some(&people[0].cio_id);
    assert!(
        events.iter().all(|event| event.cio_id.as_ref() == person),
        "the page view too: {events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_200_survives_a_stop_in_good_order() {
    let segue = Segue::start().await;
    segue.fail(json!([{"steps": [{"status": 503}], "repeat": true}]));
    for number in 0..20 {
        segue.send(&track(&format!("u{number}"), "A", &number.to_string())).await;
    }
    let folder = segue.stop().await;

    let segue = Segue::start_in(folder, "").await;
    eventually("all of them", async || (segue.events().len() == 20).then_some(())).await;
    segue.settled().await;
    segue.assert_conservation();
}
