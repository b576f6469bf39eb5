//! Who is who, case by case.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::journal::testing::ForgetfulJournal;
use crate::spec::{Arrival, Ingress, RawCall, Vendor, normalise};

struct World {
    facts: Facts,
    now: Time,
    config: IdentityConfig,
    seen: u32,
}

impl World {
    fn new() -> Self {
        Self {
            facts: Facts::new(Arc::new(ForgetfulJournal)),
            now: Time::parse("2026-03-14T12:00:00Z").unwrap(),
            config: IdentityConfig::default(),
            seen: 0,
        }
    }

    fn later(&mut self, days: u64) {
        self.now = self.now.plus(Duration::from_secs(days * 24 * 3600));
    }

    /// Resolves an event the way the Segment mapping names people.
    fn see(&mut self, mut body: Value) -> Resolution {
        self.seen += 1;
        body["messageId"] = json!(self.seen);
        self.see_again(&body)
    }

    /// Resolves this very event, again.
    fn see_again(&mut self, body: &Value) -> Resolution {
        let arrival =
            Arrival { ingress: Ingress::Webhook, accepted_at: self.now, ..Arrival::default() };
        let event =
            normalise(&mut RawCall::new(arrival, Bytes::from(body.to_string())), Vendor::Segment)
                .unwrap();
        let subject = Subject {
            person: event.user_id().map(PersonId::from_text).or_else(|| email_of(&event)),
            anonymous: event.anonymous_id().map(Into::into),
        };
        let question = Question { event: &event, subject, identify_as: None, config: &self.config };
        resolve(&question, &mut self.facts, self.now).unwrap()
    }

    fn track(&mut self, ids: Value) -> Resolution {
        let mut body = json!({"type": "track", "event": "E"});
        body.as_object_mut().unwrap().extend(ids.as_object().unwrap().clone());
        self.see(body)
    }
}

fn person(resolution: &Resolution) -> Option<String> {
    resolution.subject.person.as_ref().map(PersonId::to_text)
}

#[test]
fn an_anonymous_event_belongs_to_the_person_once_any_call_showed_both_ids() {
    let mut world = World::new();
    let before = world.track(json!({"anonymousId": "a"}));
    assert_eq!((person(&before), before.subject.anonymous.as_deref()), (None, Some("a")));

    let both = world.track(json!({"anonymousId": "a", "userId": "u"}));
    assert!(both.tell_first, "no identify said so: Customer.io must be told");
    assert_eq!(both.keys, ["id:u".into(), Arc::<str>::from("anonymous:a")]);

    let after = world.track(json!({"anonymousId": "a"}));
    assert_eq!(person(&after).as_deref(), Some("u"));
    assert_eq!(after.keys, [Arc::<str>::from("id:u")]);
    assert!(!world.track(json!({"anonymousId": "a", "userId": "u"})).tell_first, "it was told");
}

#[test]
fn an_event_that_is_processed_again_tells_it_again() {
    let mut world = World::new();
    let both =
        json!({"type": "track", "event": "E", "messageId": "m", "anonymousId": "a", "userId": "u"});
    assert!(world.see_again(&both).tell_first);
    assert!(world.see_again(&both).tell_first, "the first time it may not have arrived");
}

#[test]
fn an_identify_tells_it_itself() {
    let mut world = World::new();
    let identify = world.see(json!({"type": "identify", "anonymousId": "a", "userId": "u"}));
    assert!(!identify.tell_first);
    assert_eq!(identify.subject.anonymous.as_deref(), Some("a"));
}

#[test]
fn an_anonymous_id_of_two_people_belongs_to_neither() {
    let mut world = World::new();
    world.track(json!({"anonymousId": "a", "userId": "u1"}));
    let second = world.track(json!({"anonymousId": "a", "userId": "u2"}));
    assert!(second.newly_contested);
    assert_eq!((person(&second).as_deref(), second.subject.anonymous), (Some("u2"), None));

    let alone = world.track(json!({"anonymousId": "a"}));
    assert_eq!((person(&alone), alone.subject.anonymous.as_deref()), (None, Some("a")));
    let first = world.track(json!({"anonymousId": "a", "userId": "u1"}));
    assert_eq!(first.subject.anonymous, None);
    assert!(!first.newly_contested, "it is reported once");
}

#[test]
fn a_pair_holds_thirty_days_after_it_was_last_seen() {
    let mut world = World::new();
    world.track(json!({"anonymousId": "a", "userId": "u"}));
    world.later(20);
    assert_eq!(person(&world.track(json!({"anonymousId": "a"}))).as_deref(), Some("u"));
    world.later(20);
    assert_eq!(person(&world.track(json!({"anonymousId": "a"}))).as_deref(), Some("u"));
    world.later(31);
    assert_eq!(person(&world.track(json!({"anonymousId": "a"}))), None);
}

#[test]
fn who_was_known_by_an_address_alone_is_the_person_that_names_it() {
    let mut world = World::new();
    world.see(
        json!({"type": "identify", "anonymousId": "a", "traits": {"email": "Ann@Example.com"}}),
    );
    let joined =
        world.see(json!({"type": "identify", "anonymousId": "b", "userId": "u", "traits": {"email": "ann@example.com"}}));
    assert!(joined.keys.contains(&"email:ann@example.com".into()), "one queue: {:?}", joined.keys);
    assert_eq!(person(&world.track(json!({"anonymousId": "a"}))).as_deref(), Some("u"));
}

#[test]
fn an_address_that_becomes_an_id_is_nobody_else() {
    let mut world = World::new();
    world.see(
        json!({"type": "identify", "anonymousId": "a", "traits": {"email": "ann@example.com"}}),
    );
    let upgraded = world.track(json!({"anonymousId": "a", "userId": "u"}));
    assert!(!upgraded.newly_contested);
    assert_eq!(person(&world.track(json!({"anonymousId": "a"}))).as_deref(), Some("u"));
}

#[test]
fn after_a_merge_the_old_id_is_the_new_person() {
    let mut world = World::new();
    let merge = world.see(json!({"type": "alias", "userId": "new", "previousId": "old"}));
    assert_eq!(merge.keys, ["id:new".into(), Arc::<str>::from("id:old")]);
    assert_eq!(person(&world.track(json!({"userId": "old"}))).as_deref(), Some("new"));
}

#[test]
fn merges_in_a_circle_end() {
    let mut world = World::new();
    world.see(json!({"type": "alias", "userId": "b", "previousId": "a"}));
    world.see(json!({"type": "alias", "userId": "a", "previousId": "b"}));
    assert!(person(&world.track(json!({"userId": "a"}))).is_some());
}

#[test]
fn configured_junk_is_nobody() {
    let mut world = World::new();
    world.config.junk = vec!["test-*".into(), "0000".into()];
    for id in ["test-7", "0000"] {
        let seen = world.track(json!({"userId": id, "anonymousId": "a"}));
        assert_eq!(person(&seen), None, "{id}");
    }
}

#[test]
fn a_device_that_two_people_go_on_using_stays_contested() {
    let mut world = World::new();
    for user in ["first", "second"] {
        world.track(json!({"anonymousId": "tablet", "userId": user}));
    }
    for day in 0..100 {
        world.later(1);
        match day % 3 {
            0 => world.track(json!({"anonymousId": "tablet", "userId": "first"})),
            1 => world.track(json!({"anonymousId": "tablet", "userId": "second"})),
            _ => world.track(json!({"anonymousId": "tablet"})),
        };
        let nobody = world.track(json!({"anonymousId": "tablet"}));
        assert_eq!(person(&nobody), None, "day {day}");
    }
    world.later(31);
    let new_owner = world.track(json!({"anonymousId": "tablet", "userId": "third"}));
    assert_eq!(new_owner.subject.anonymous.as_deref(), Some("tablet"), "a month of silence");
}
