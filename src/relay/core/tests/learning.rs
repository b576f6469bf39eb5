//! What events teach and take back again: pairs, merges, business keys, people who are gone.

use super::*;

const ONE_ORDER: &str =
    r#"fn on_track(event, ctx) { event.dedupe_by("order", event.properties.order_id); event }"#;

/// A track event that happened now.
fn event(world: &World, name: &str, id: &str, who: Value) -> Value {
    let mut body = json!({"type": "track", "event": name, "messageId": id,
        "timestamp": world.clock.now().to_string()});
    body.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
    body
}

/// One telling of the order number 7.
fn order(world: &World, id: &str, who: Value) -> Value {
    let mut body = event(world, "Order Completed", id, who);
    body["properties"] = json!({"order_id": "7"});
    body
}

/// Customer.io refuses those items, and takes all others.
fn refusing(which: impl Fn(&Value) -> bool) -> impl FnMut(&[Value]) -> Answer {
    move |items| {
        let refused = (0..).zip(items).filter(|(_, item)| which(item));
        let error = |(index, _)| ItemError {
            index,
            reason: "invalid".into(),
            field: "attributes".into(),
            message: "no".into(),
        };
        Answer::Accepted { rejected: refused.map(error).collect() }
    }
}

/// Customer.io fails for whoever is known by this identifier.
fn failing_for(kind: &'static str, id: &'static str) -> impl Fn(&[Value]) -> Answer + Copy {
    move |items| match items.iter().any(|item| item["identifiers"][kind] == id) {
        true => Answer::TryAgain { status: Some(500), retry_after: None, unknown_fate: true },
        false => fine(items),
    }
}

impl World {
    /// Some minutes in which another person's events go through.
    fn minutes(&mut self, answer: impl Fn(&[Value]) -> Answer + Copy) {
        for _ in 0..300 {
            self.track("other", "tick");
            self.run(answer);
            self.advance(Duration::from_secs(1));
        }
        self.sent.retain(|item| item["name"] != "tick");
    }

    /// Everything that waits comes back, and Customer.io is well.
    fn heal(&mut self) {
        for _ in 0..5 {
            self.advance(Duration::from_secs(600));
            self.run(fine);
        }
    }

    /// What was sent: to whom, and what.
    fn told(&self) -> Vec<String> {
        let who = |item: &Value| {
            let ids = item["identifiers"].as_object().cloned().unwrap_or_default();
            ids.into_iter().map(|(kind, id)| format!("{kind} {}", id.as_str().unwrap())).collect()
        };
        let names = self.names().into_iter().zip(self.sent.iter().map(who));
        names.map(|(name, who): (_, String)| format!("{who}: {name}")).collect()
    }

    fn fact(&self, name: &str) -> Option<String> {
        let found = self.journal.load(&[FactKey(name.into())], self.clock.now()).unwrap();
        found[0].as_ref().map(|fact| fact.value.clone())
    }
}

#[test]
fn an_order_that_fails_while_its_copy_names_the_person_is_sent_once() {
    for (what, restarts, waits) in [
        ("after a restart", true, Duration::ZERO),
        ("without one", false, Duration::ZERO),
        ("when it has become too old to start anything", false, Duration::from_secs(2 * 3600)),
    ] {
        let mut world = World::new(ONE_ORDER);
        let mut first = order(&world, "a", json!({"anonymousId": "dev"}));
        let mut copy = order(&world, "b", json!({"userId": "u1"}));
        if !waits.is_zero() {
            first["event"] = json!("Added to Cart");
            copy["event"] = json!("Added to Cart");
        }
        let name = first["event"].as_str().unwrap().to_owned();
        world.accept(first);
        world.run(failing_for("anonymous_id", "dev"));
        world.accept(copy);
        world.run(failing_for("anonymous_id", "dev"));
        if restarts {
            world.core = world.restarted();
            world.after = None;
        }
        world.minutes(failing_for("anonymous_id", "dev"));
        world.advance(waits);
        world.heal();
        world.advance(Duration::from_secs(73 * 3600));
        world.heal();
        let orders = world.names().iter().filter(|sent| **sent == name).count();
        assert_eq!(orders, 1, "{what}: {:?}", world.told());
        assert_eq!(world.journal.pending().total(), 0, "{what}");
    }
}

#[test]
fn a_copy_that_waits_or_is_redriven_does_not_send_the_order_again() {
    let mut world = World::new(ONE_ORDER);
    world.accept(order(&world, "a", json!({"anonymousId": "dev"})));
    world.run(fine);
    world.accept(event(&world, "Bad", "bad", json!({"userId": "u1"})));
    world.minutes(failing_for("id", "u1"));
    world.accept(order(&world, "b", json!({"userId": "u1"})));
    world.minutes(failing_for("id", "u1"));
    assert_eq!(world.journal.pending().retry, 2);
    world.core = world.restarted();
    world.heal();
    let told = ["anonymous_id dev: Order Completed", "id u1: Bad", "id u1: identify"];
    assert_eq!(world.told(), told, "it waited behind its person");

    let mut world = World::new(ONE_ORDER);
    world.accept(order(&world, "a", json!({"anonymousId": "dev"})));
    world.accept(order(&world, "b", json!({"userId": "u1"})));
    world.run(refusing(|item| item["action"] == "identify"));
    assert_eq!((world.total("delivered"), world.total("dead_lettered")), (1, 1));
    world.sent.clear();
    world.redrive();
    world.run(fine);
    assert_eq!(world.told(), ["id u1: identify"], "it was redriven");
}

#[test]
fn a_copy_takes_nobodys_device_over() {
    let mut world = World::new(ONE_ORDER);
    let identify = |user: &str, anonymous: &str| json!({"type": "identify", "userId": user, "anonymousId": anonymous, "timestamp": START});
    world.accept(identify("u1", "kiosk"));
    world.accept(identify("u2", "kiosk"));
    world.accept(order(&world, "a", json!({"anonymousId": "kiosk"})));
    world.accept(order(&world, "b", json!({"userId": "u3"})));
    let other = |mut order: Value| {
        order["properties"]["order_id"] = json!("8");
        order
    };
    world.accept(other(order(&world, "c", json!({"anonymousId": "dev"}))));
    world.accept(identify("p1", "dev"));
    world.accept(other(order(&world, "d", json!({"userId": "p2"}))));
    world.run(fine);
    world.sent.clear();
    world.accept(event(&world, "View", "e", json!({"anonymousId": "kiosk"})));
    world.accept(event(&world, "View", "f", json!({"anonymousId": "dev"})));
    world.run(fine);
    let nobodys = ["anonymous_id kiosk: View", "anonymous_id dev: View"];
    assert_eq!(world.told(), nobodys, "each was seen with two people");
}

#[test]
fn a_copy_that_opted_out_tells_nothing() {
    let mut world = World::new(ONE_ORDER);
    world.accept(order(&world, "a", json!({"anonymousId": "dev"})));
    let no = json!({"userId": "u1", "integrations": {"Customer.io": false}});
    world.accept(order(&world, "b", no));
    world.run(fine);
    assert_eq!(world.told(), ["anonymous_id dev: Order Completed"]);
    assert_eq!(world.fact("link:dev"), None);
}

#[test]
fn a_pair_counts_as_told_when_customer_io_has_taken_it() {
    let is_identify = |item: &Value| item["action"] == "identify";
    let is_first = |item: &Value| item["name"] == "First";
    for (what, refused, expected) in [
        (
            "the pair was refused",
            is_identify as fn(&Value) -> bool,
            ["id u: identify", "id u: Second"].as_slice(),
        ),
        ("the event was refused", is_first, &["id u: Second"]),
    ] {
        let mut world = World::plain();
        let both = json!({"userId": "u", "anonymousId": "a"});
        world.accept(event(&world, "First", "1", both.clone()));
        world.run(refusing(refused));
        assert_eq!(world.total("dead_lettered"), 1, "{what}");
        world.sent.clear();
        world.accept(event(&world, "Second", "2", both));
        world.run(fine);
        assert_eq!(world.told(), expected, "{what}");
    }
}

#[test]
fn a_pair_that_was_refused_after_days_out_of_line_is_told_by_the_next_event() {
    let mut world = World::plain();
    let both = json!({"userId": "hot", "anonymousId": "a"});
    world.accept(event(&world, "First", "1", both.clone()));
    world.minutes(failing_for("id", "hot"));
    assert!(world.fact("link:a").is_some(), "those who come meanwhile are hers");
    world.core = world.restarted();
    world.advance(Duration::from_secs(600));
    world.run(refusing(|item| item["identifiers"]["id"] == "hot"));
    assert_eq!(world.total("dead_lettered"), 1);
    assert_eq!(world.fact("link:a"), None);
    world.sent.clear();
    world.accept(event(&world, "Second", "2", both));
    world.run(fine);
    assert_eq!(world.told(), ["id hot: identify", "id hot: Second"]);
}

#[test]
fn a_pair_that_was_parked_before_it_was_sent_is_told_by_the_next_event() {
    let mut world = World::plain();
    let both = json!({"userId": "u", "anonymousId": "a"});
    world.accept(event(&world, "Added to Cart", "1", both.clone()));
    world.run(|_| Answer::Unauthorized { status: 401 });
    world.advance(Duration::from_secs(2 * 3600));
    world.run(fine);
    assert_eq!(world.journal.pending().parked, 1);
    world.sent.clear();
    world.accept(event(&world, "Logged In", "2", both));
    world.run(fine);
    assert_eq!(world.told(), ["id u: identify", "id u: Logged In"]);
}

#[test]
fn what_another_event_has_shown_since_is_not_taken_back() {
    let mut world = World::plain();
    world.accept(event(&world, "First", "1", json!({"userId": "u", "anonymousId": "a"})));
    world.accept(event(&world, "Second", "2", json!({"userId": "v", "anonymousId": "a"})));
    world.run(refusing(|item| item["identifiers"]["id"] == "u"));
    world.sent.clear();
    world.accept(event(&world, "View", "3", json!({"anonymousId": "a"})));
    world.run(fine);
    assert_eq!(world.told(), ["anonymous_id a: View"], "it is contested");
}

#[test]
fn a_merge_that_was_refused_leaves_two_people() {
    let mut world = World::plain();
    let alias = |user: &str, old: &str| json!({"type": "alias", "userId": user, "previousId": old, "messageId": format!("{user} {old}"), "timestamp": START});
    world.accept(alias("middle", "old"));
    world.run(fine);
    world.accept(alias("new", "old"));
    world.run(refusing(|item| item["action"] == "merge"));
    world.sent.clear();
    world.track("old", "View");
    world.run(fine);
    assert_eq!(world.told(), ["id middle: View"]);
    world.sent.clear();
    world.redrive();
    world.run(fine);
    world.track("old", "View");
    world.run(fine);
    assert_eq!(world.names(), ["merge", "View"]);
    assert_eq!(world.told()[1], "id new: View");
}

/// A deletion of this person that happens now.
fn deletion(world: &World, id: &str, who: Value) -> Value {
    event(world, "User Deleted", id, who)
}

#[test]
fn neither_the_browser_nor_the_address_of_a_deleted_person_brings_it_back() {
    for restarts in [false, true] {
        let mut world = World::new(
            r#"fn on_track(event, ctx) {
                if event.properties.email != () { event.identify_as(#{email: event.properties.email}); }
                event
            }"#,
        );
        for email in ["old@x.io", "ann@x.io"] {
            world.accept(json!({"type": "identify", "userId": "u", "anonymousId": "a",
                "messageId": email, "timestamp": START, "traits": {"email": email}}));
        }
        world.run(fine);
        let before = event(&world, "Before", "before", json!({"anonymousId": "a"}));
        world.advance(Duration::from_secs(60));
        world.accept(deletion(&world, "d", json!({"userId": "u"})));
        world.run(fine);
        for email in ["old@x.io", "ann@x.io"] {
            assert_eq!(world.fact(&format!("alias:email:{email}")), None, "{email}");
        }
        if restarts {
            world.core = world.restarted();
        }
        world.advance(Duration::from_secs(60));
        world.sent.clear();
        world.accept(before);
        world.accept(event(&world, "View", "1", json!({"anonymousId": "a"})));
        for (id, email) in [("2", "ann@x.io"), ("3", "old@x.io")] {
            let mut guest = event(&world, "Order", id, json!({}));
            guest["properties"] = json!({"email": email});
            world.accept(guest);
        }
        world.run(fine);
        let told = ["anonymous_id a: View", "email ann@x.io: Order", "email old@x.io: Order"];
        assert_eq!(world.told(), told, "restarts: {restarts}");
        assert_eq!(world.total("dropped"), 1, "what happened before the deletion");

        world.sent.clear();
        world.accept(event(&world, "Back", "4", json!({"userId": "u", "anonymousId": "a"})));
        world.run(fine);
        world.accept(event(&world, "View", "5", json!({"anonymousId": "a"})));
        world.run(fine);
        let told = ["id u: identify", "id u: Back", "id u: View"];
        assert_eq!(world.told(), told, "who comes back is told again; restarts: {restarts}");
    }
}

#[test]
fn who_was_merged_into_a_deleted_person_is_not_sent_as_that_person_afterwards() {
    let mut world = World::plain();
    world.accept(json!({"type": "alias", "userId": "u", "previousId": "old", "messageId": "1", "timestamp": START}));
    world.accept(json!({"type": "identify", "userId": "old", "anonymousId": "a", "messageId": "2", "timestamp": START}));
    world.run(fine);
    world.advance(Duration::from_secs(60));
    world.accept(deletion(&world, "d", json!({"userId": "u"})));
    world.run(fine);
    world.sent.clear();
    world.advance(Duration::from_secs(60));
    world.accept(event(&world, "View", "3", json!({"anonymousId": "a"})));
    world.accept(event(&world, "View", "4", json!({"userId": "old"})));
    world.run(fine);
    assert_eq!(world.told(), ["anonymous_id a: View", "id old: View"]);
}

#[test]
fn a_deletion_creates_nobody_and_learns_nothing() {
    for name in ["User Deleted", "User Suppressed", "User Unsuppressed"] {
        let mut world = World::plain();
        let both = json!({"userId": "u", "anonymousId": "a"});
        world.accept(event(&world, name, "1", both));
        world.run(fine);
        assert_eq!(world.sent.len(), 1, "{name}: {:?}", world.told());
        assert_eq!(world.fact("link:a"), None, "{name}");
    }
}

#[test]
fn a_deletion_that_is_refused_forgets_nothing() {
    let mut world = World::plain();
    world.accept(json!({"type": "identify", "userId": "u", "anonymousId": "a", "messageId": "1",
        "timestamp": START, "traits": {"email": "ann@x.io"}}));
    world.run(fine);
    world.accept(deletion(&world, "d", json!({"userId": "u"})));
    world.run(refusing(|item| item["action"] == "delete"));
    for fact in ["person:id:u", "alias:email:ann@x.io", "link:a"] {
        assert!(world.fact(fact).is_some(), "{fact}");
    }
    world.sent.clear();
    world.accept(event(&world, "View", "2", json!({"anonymousId": "a"})));
    world.accept(json!({"type": "identify", "messageId": "3", "traits": {"email": "ann@x.io"}}));
    world.run(fine);
    assert_eq!(world.told(), ["id u: View", "id u: identify"]);
}

#[test]
fn a_deletion_that_is_refused_does_not_undo_one_before() {
    let mut world = World::plain();
    world.accept(deletion(&world, "d1", json!({"userId": "u"})));
    world.run(fine);
    world.advance(Duration::from_secs(60));
    world.accept(deletion(&world, "d2", json!({"userId": "u"})));
    world.run(refusing(|item| item["action"] == "delete"));
    world.sent.clear();
    world.accept(json!({"type": "track", "event": "old", "userId": "u", "messageId": "o", "timestamp": "2026-03-14T11:59:59Z"}));
    world.run(fine);
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn who_was_deleted_stays_deleted_whatever_becomes_of_the_rest_of_the_event() {
    let script = r#"fn on_track(event, ctx) {
        if event.event != "User Deleted" { return event; }
        let rest = event.copy(); rest.event = "Account Closed"; rest.userId = "team";
        [event, rest]
    }"#;
    let is_rest = |item: &Value| item["name"] == "Account Closed";
    for (what, refused) in [("refused", is_rest as fn(&Value) -> bool), ("late", |_| false)] {
        let mut world = World::new(script);
        world.accept(deletion(&world, "d", json!({"userId": "u"})));
        world.run(refusing(refused));
        world.advance(Duration::from_secs(2));
        world.run(refusing(refused));
        let gone = world.journal.gone().unwrap();
        assert_eq!(gone.len(), 1, "{what}: it is written down");
        world.sent.clear();
        world.accept(json!({"type": "track", "event": "old", "userId": "u", "messageId": "o", "timestamp": "2026-03-14T11:59:59Z"}));
        world.run(fine);
        assert_eq!(world.told(), [""; 0], "{what}");
    }
}
