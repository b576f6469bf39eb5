//! What a replay knows before it is sent: of the journal of the Segue that it is for, which may be running.

use serde_json::{Value, json};

use crate::offline::{desk, segue};
use crate::support::{Segue, now, track};

/// The configuration of the plans: the source has the name that it has at the server.
const CONFIG: &str = "destination = \"emulator\"\n[[source]]\nname = \"web\"\nkind = \"segment\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_knows_what_the_running_segue_has_seen() {
    let server = Segue::start().await;
    let order = |user: &str, message: &str, order: &str| {
        json!({"type": "track", "event": "Order Completed", "messageId": message, "userId": user,
            "timestamp": now(), "properties": {"order_id": order, "total": 10}})
    };
    let (seen, first) = (track("ann", "Quiz Answered", "m1"), order("ann", "m2", "7"));
    server
        .send(&json!({"type": "identify", "userId": "ann", "anonymousId": "browser",
        "messageId": "m0", "timestamp": now(), "traits": {"email": "ann@example.com"}}))
        .await;
    server.send(&seen).await;
    server.send(&first).await;
    server.settled().await;
    let desk = desk();
    let visit = json!({"type": "track", "event": "Quiz Answered", "messageId": "m5",
        "anonymousId": "browser", "timestamp": now()});
    let stranger = json!({"type": "track", "event": "Quiz Answered", "messageId": "m6",
        "anonymousId": "another", "timestamp": now()});
    let guest = json!({"type": "identify", "messageId": "m7", "timestamp": now(),
        "traits": {"email": "Ann@example.com"}});
    let archive = [seen, order("ann", "m3", "7"), order("bob", "m4", "8"), visit, stranger, guest];
    let lines: Vec<String> = archive.iter().map(Value::to_string).collect();
    std::fs::write(desk.path().join("archive.ndjson"), lines.join("\n")).unwrap();
    std::fs::write(desk.path().join("plan.toml"), CONFIG).unwrap();
    let data = server.folder.path().join("data").display().to_string();
    let folder = desk.path().to_path_buf();
    let plan = move |more: &[&str]| {
        let words = ["replay", "archive.ndjson", "--config", "plan.toml", "--json"];
        let done = segue(&folder, &[&words, more].concat());
        assert_eq!(done.code, 0, "{}", done.err);
        serde_json::from_str::<Value>(&done.out).unwrap()
    };

    let plans = tokio::task::spawn_blocking(move || {
        let knowing = plan(&["--data-dir", &data]);
        (plan(&[]), knowing, plan(&["--data-dir", &data, "--existing-only"]))
    });
    let (alone, knowing, existing) = plans.await.unwrap();

    assert_eq!(alone["outcomes"], json!({"delivered": 6}));
    assert_eq!(alone["new_people"], Value::Null);
    assert_eq!(
        knowing["outcomes"],
        json!({"delivered": 4, "dropped duplicate": 1, "dropped duplicate_key": 1})
    );
    let joined = &knowing["identity"]["its anonymous id was seen with this person before"];
    assert_eq!(joined, &json!(1), "{}", knowing["identity"]);
    assert_eq!((&knowing["people"], &knowing["new_people"]), (&json!(2), &json!(1)), "only bob");
    assert_eq!(existing["events"], 4, "neither bob nor a visitor whom nobody knows");
    assert_eq!((&existing["people"], &existing["new_people"]), (&json!(1), &json!(0)));
    server.send(&track("ann", "Quiz Answered", "m8")).await;
    server.settled().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_may_be_laid_over_the_journal_of_a_segue_that_is_stopped() {
    let server = Segue::start().await;
    let seen = track("ann", "Quiz Answered", "m1");
    server.send(&seen).await;
    server.settled().await;
    let stopped = server.stop().await;
    let desk = desk();
    std::fs::write(desk.path().join("archive.ndjson"), seen.to_string()).unwrap();
    std::fs::write(desk.path().join("plan.toml"), CONFIG).unwrap();
    let words = |data: &str| {
        let data = stopped.path().join(data).display().to_string();
        let words = ["replay", "archive.ndjson", "--config", "plan.toml", "--data-dir"];
        segue(desk.path(), &[&words[..], &[&data]].concat())
    };

    let plan = words("data");
    let nothing = words("nothing");
    let unknown = segue(desk.path(), &["replay", "archive.ndjson", "--existing-only"]);

    assert!(plan.out.contains("1  dropped duplicate"), "{}{}", plan.out, plan.err);
    assert!(nothing.err.contains("there is no journal in"), "{}", nothing.err);
    assert_eq!((nothing.code, unknown.code), (2, 2));
    assert!(unknown.err.contains("--people FILE"), "{}", unknown.err);
    let again = Segue::start_in(stopped, "").await;
    again.send(&track("ann", "Quiz Answered", "m2")).await;
    again.settled().await;
    again.stop().await;
}
