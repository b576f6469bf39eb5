//! Customer.io has a bad day, and nothing is lost.

use serde_json::json;

use crate::support::{Segue, eventually, track};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_delays_everything_and_loses_nothing() {
    let segue = Segue::start().await;
    segue.fail(json!([{"steps": [{"status": 503, "times": 4}, {"reset": true, "times": 2}, {"status": 429, "retry_after": "1"}]}]));

    for number in 0..30 {
        segue.send(&track(&format!("u{}", number % 5), "A", &number.to_string())).await;
    }
    segue.settled().await;

    assert_eq!(segue.events().len(), 30, "each once: a resend carries the same id");
    assert_eq!(segue.total("delivered"), 30);
    segue.assert_conservation();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_customer_io_refuses_is_a_dead_letter_and_its_neighbours_are_delivered() {
    let segue = Segue::start().await;
    segue.fail(json!([{"when": {"person": "u2"}, "steps": [{"reject": {}}], "repeat": true}]));

    let batch = json!([track("u1", "A", "1"), track("u2", "A", "2"), track("u3", "A", "3")]);
    segue.send(&batch).await;
    segue.settled().await;

    assert_eq!((segue.total("delivered"), segue.total("dead_lettered")), (2, 1));
    segue.assert_conservation();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_pause_delivery_and_make_no_dead_letters() {
    let segue = Segue::start().await;
    segue.fail(json!([{"steps": [{"status": 401}], "repeat": true}]));

    for number in 0..10 {
        segue.send(&track("u1", "A", &number.to_string())).await;
    }
    eventually("a request to be refused", async || {
        let emulator = segue.app.emulator().unwrap();
        (emulator.lock().requests().count() > 0).then_some(())
    })
    .await;

    assert_eq!(segue.total("dead_lettered"), 0);
    assert_eq!(segue.app.journal().pending().total(), 10);
    segue.assert_conservation();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_is_halved_until_the_culprit_is_alone() {
    let segue = Segue::start().await;
    segue.fail(json!([{"when": {"person": "u7"}, "steps": [{"status": 400}], "repeat": true}]));

    let batch: Vec<_> =
        (0..16).map(|user| track(&format!("u{user}"), "A", &user.to_string())).collect();
    segue.send(&batch.into()).await;
    segue.settled().await;

    assert_eq!((segue.total("delivered"), segue.total("dead_lettered")), (15, 1));
    segue.assert_conservation();
}
