//! What comes in is odd, and neither lost nor taken for something else.

use serde_json::{Value, json};

use crate::support::{Segue, eventually};

/// A body of the operator's listener.
async fn asked(segue: &Segue, path: &str) -> Value {
    let url = format!("http://{}{path}", segue.app.admin_addr().unwrap());
    let answer = segue.http.get(url).send().await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_no_calls_are_a_dead_letter_each() {
    let segue = Segue::start().await;
    for number in 0..5 {
        let event = json!({"type": "track", "event": "A", "messageId": number.to_string()});
        segue.send(&json!({ "payload": event })).await;
    }
    segue.settled().await;

    assert_eq!((segue.total("dead_lettered"), segue.total("dropped")), (5, 0));
    segue.assert_conservation();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_read_is_noticed_and_found() {
    let segue = Segue::start().await;
    segue
        .send(&json!({"type": "track", "event": "orderCompleted", "userId": "u1",
            "messageId": "m-broken", "context": "none", "properties": {"order_id": "1"}}))
        .await;
    segue.settled().await;

    let story = asked(&segue, "/api/why?of=m-broken").await;
    assert!(story.to_string().contains("invalid_event"), "{story}");
    eventually("health to say so", async || {
        let health = asked(&segue, "/health").await.to_string();
        health.contains("exit_dead_letters").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_looking_at_events_gives_the_place_back() {
    let segue = Segue::start().await;
    let url = format!("http://{}/api/tap?outcome=rejected", segue.app.admin_addr().unwrap());
    for _ in 0..4 {
        let listening = segue.http.get(&url).send().await.unwrap();
        assert_eq!(listening.status(), 200);
        drop(listening);
    }

    eventually("a place to be free", async || {
        let answer = segue.http.get(&url).send().await.unwrap();
        (answer.status() == 200).then_some(())
    })
    .await;
}
