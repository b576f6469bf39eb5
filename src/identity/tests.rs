//! Who is who, case by case.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::config::PrimaryId;
use crate::journal::testing::ForgetfulJournal;
use crate::spec::{Arrival, Ingress, RawCall, Vendor, normalise};

struct World {
    facts: Facts,
    now: Time,
    config: IdentityConfig,
    seen: u32,
    replaying: bool,
}

impl World {
    fn new() -> Self {
        Self {
            facts: Facts::new(Arc::new(ForgetfulJournal::default())),
            now: Time::parse("2026-03-14T12:00:00Z").unwrap(),
            config: IdentityConfig::default(),
            seen: 0,
            replaying: false,
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
            person: event.user_id().map(PersonId::from_text).or_else(|| people::email_of(&event)),
            anonymous: event.anonymous_id().map(Into::into),
        };
        let seen_at = if self.replaying { event.time().at } else { self.now };
        let question = Question {
            event: &event,
            subject,
            identify_as: None,
            config: &self.config,
            seen_at,
            accepted_at: self.now,
        };
        let resolution = resolve(&question, &mut self.facts, self.now).unwrap();
        for (key, fact) in &resolution.taught {
            self.facts.teach(key.clone(), fact.clone());
        }
        resolution
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
    assert!(both.newly_joined, "no identify said so: Customer.io must be told");
    assert_eq!(both.keys, ["id:u".into(), Arc::<str>::from("anonymous:a")]);

    let after = world.track(json!({"anonymousId": "a"}));
    assert_eq!(person(&after).as_deref(), Some("u"));
    assert_eq!(after.keys, [Arc::<str>::from("id:u")]);
    assert!(!world.track(json!({"anonymousId": "a", "userId": "u"})).newly_joined, "it was told");
}

#[test]
fn an_event_that_is_processed_again_tells_it_again() {
    let mut world = World::new();
    let both =
        json!({"type": "track", "event": "E", "messageId": "m", "anonymousId": "a", "userId": "u"});
    assert!(world.see_again(&both).newly_joined);
    assert!(world.see_again(&both).newly_joined, "the first time it may not have arrived");
}

#[test]
fn an_identify_joins_too() {
    let mut world = World::new();
    let identify = world.see(json!({"type": "identify", "anonymousId": "a", "userId": "u"}));
    assert!(identify.newly_joined);
    assert_eq!(identify.subject.anonymous.as_deref(), Some("a"));
}

#[test]
fn an_anonymous_id_of_two_people_belongs_to_neither() {
    let mut world = World::new();
    world.track(json!({"anonymousId": "a", "userId": "u1"}));
    let second = world.track(json!({"anonymousId": "a", "userId": "u2"}));
    assert!(second.notices.contains(&Notice::AnonymousIdContested));
    assert_eq!((person(&second).as_deref(), second.subject.anonymous), (Some("u2"), None));

    let alone = world.track(json!({"anonymousId": "a"}));
    assert_eq!((person(&alone), alone.subject.anonymous.as_deref()), (None, Some("a")));
    let first = world.track(json!({"anonymousId": "a", "userId": "u1"}));
    assert_eq!(first.subject.anonymous, None);
    assert!(first.notices.is_empty(), "it is reported once");
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
    assert!(upgraded.notices.is_empty());
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

#[test]
fn chains_of_merges_are_followed_to_their_end_and_become_short() {
    let mut world = World::new();
    for step in 0..40 {
        world.see(json!({"type": "alias", "userId": format!("id{}", step + 1), "previousId": format!("id{step}")}));
    }
    let through = world.track(json!({"userId": "id0"}));
    assert_eq!(person(&through).as_deref(), Some("id40"));
    assert_eq!(through.taught.len(), 1, "the next one takes one step");
    let again = world.track(json!({"userId": "id0"}));
    assert_eq!((person(&again).as_deref(), again.taught.len()), (Some("id40"), 0));
}

#[test]
fn whoever_absorbs_an_old_id_absorbs_whom_it_stands_for() {
    let mut world = World::new();
    world.see(json!({"type": "alias", "userId": "a", "previousId": "b"}));
    let merge =
        json!({"type": "alias", "userId": "c", "previousId": "b", "messageId": "the second"});
    for what in ["the first time", "processed again"] {
        let merged = world.see_again(&merge);
        let previous = Previous::Person(PersonId::from_text("a"));
        assert_eq!(merged.previous, Some(previous), "{what}: b is a, and is not there any more");
    }
    for id in ["a", "b"] {
        assert_eq!(person(&world.track(json!({"userId": id}))).as_deref(), Some("c"), "{id}");
    }
}

#[test]
fn an_alias_that_is_used_does_not_run_out() {
    let mut world = World::new();
    world.see(json!({"type": "alias", "userId": "new", "previousId": "old"}));
    for _ in 0..30 {
        world.later(40);
        assert_eq!(person(&world.track(json!({"userId": "old"}))).as_deref(), Some("new"));
    }
}

impl World {
    /// Resolves a track of so many days ago that is part of a replay.
    fn replay(&mut self, days: u64, ids: Value) -> Resolution {
        let at = self.now.minus(Duration::from_secs(days * 24 * 3600));
        let mut body = json!({"type": "track", "event": "E", "timestamp": at.to_string()});
        body.as_object_mut().unwrap().extend(ids.as_object().unwrap().clone());
        self.replaying = true;
        let resolution = self.see(body);
        self.replaying = false;
        resolution
    }
}

#[test]
fn what_a_replay_shows_was_true_when_it_happened() {
    let (a, both) = (json!({"anonymousId": "a"}), json!({"anonymousId": "a", "userId": "u"}));
    let mut world = World::new();
    world.replay(60, both.clone());
    assert_eq!(person(&world.replay(59, a.clone())).as_deref(), Some("u"), "the day after");
    assert_eq!(person(&world.track(a.clone())), None, "two months later");

    let mut world = World::new();
    world.track(both.clone());
    let older = world.replay(200, json!({"anonymousId": "a", "userId": "before"}));
    assert!(older.notices.is_empty(), "it was somebody else's long before");
    assert_eq!(older.subject.anonymous, None, "and is not any more");
    assert_eq!(person(&world.replay(200, a.clone())), None);
    assert_eq!(person(&world.track(a.clone())).as_deref(), Some("u"));

    let mut world = World::new();
    world.track(both);
    let close = world.replay(3, json!({"anonymousId": "a", "userId": "another"}));
    assert!(close.notices.contains(&Notice::AnonymousIdContested), "three days are no other life");
}

fn identify(ids: Value, traits: Value) -> Value {
    let mut body = json!({"type": "identify", "traits": traits});
    body.as_object_mut().unwrap().extend(ids.as_object().unwrap().clone());
    body
}

#[test]
fn the_primary_identifier_names_the_person_and_the_others_stand_for_it() {
    let (email, id) = (json!({"email": "ann@example.com"}), json!({"customer": "c-1"}));
    let both = json!({"email": "ann@example.com", "customer": "c-1"});
    #[rustfmt::skip]
    let table = [
        (PrimaryId::UserId,                    &email, "u"),
        (PrimaryId::Email,                     &email, "ann@example.com"),
        (PrimaryId::Email,                     &id,    "u"),
        (PrimaryId::Trait("customer".into()),  &both,  "c-1"),
        (PrimaryId::Trait("customer".into()),  &email, "u"),
    ];
    for (primary, traits, expected) in table {
        let mut world = World::new();
        world.config.primary = primary.clone();
        let seen = world.see(identify(json!({"userId": "u"}), traits.clone()));
        assert_eq!(person(&seen).as_deref(), Some(expected), "{primary:?} {traits}");
        let track = world.track(json!({"userId": "u"}));
        assert_eq!(person(&track).as_deref(), Some(expected), "{primary:?}: by the user id alone");
        if traits.get("email").is_some() {
            let by_email = world.see(identify(json!({}), email.clone()));
            assert_eq!(person(&by_email).as_deref(), Some(expected), "{primary:?}: by the address");
        }
        assert!(track.notices.is_empty());
    }
}

#[test]
fn another_primary_identifier_makes_another_person_unless_they_are_merged() {
    for merges in [false, true] {
        let mut world = World::new();
        world.config.primary = PrimaryId::Email;
        world.config.merge_email_people = merges;
        let user = || json!({"userId": "u"});
        world.see(identify(user(), json!({"email": "old@example.com"})));
        let changed = world.see(identify(user(), json!({"email": "new@example.com"})));
        let old = merges.then(|| PersonId::Email("old@example.com".into()));
        assert_eq!((person(&changed).as_deref(), changed.merges), (Some("new@example.com"), old));
        let mut expected = vec![Notice::PrimaryIdChanged];
        expected.extend((!merges).then_some(Notice::PeopleNotMerged));
        assert_eq!(changed.notices, expected);
        assert_eq!(person(&world.track(user())).as_deref(), Some("new@example.com"));
    }
}

#[test]
fn an_address_is_one_persons_until_that_person_has_another_one() {
    let mut world = World::new();
    let mut see = |user: &str, email: &str| {
        let seen = world.see(identify(json!({"userId": user}), json!({"email": email})));
        (person(&seen).unwrap(), seen.notices)
    };
    assert_eq!(see("u1", "a@example.com"), ("u1".into(), vec![]));
    assert_eq!(see("u2", "A@example.com"), ("u2".into(), vec![Notice::EmailOfAnotherPerson]));
    assert_eq!(see("u1", "b@example.com"), ("u1".into(), vec![Notice::EmailChanged]));
    assert_eq!(see("u2", "a@example.com"), ("u2".into(), vec![]), "it is free now");
    let alone = world.see(identify(json!({}), json!({"email": "a@example.com"})));
    assert_eq!(person(&alone).as_deref(), Some("u2"));
}

#[test]
fn who_was_there_by_an_address_alone_is_merged_once_or_reported() {
    for merges in [false, true] {
        let mut world = World::new();
        world.config.merge_email_people = merges;
        let email = || json!({"email": "ann@example.com"});
        world.see(identify(json!({"anonymousId": "a"}), email()));
        let mut account = identify(json!({"userId": "u", "anonymousId": "a"}), email());
        account["messageId"] = json!("the account");
        for what in ["the first time", "processed again"] {
            let seen = world.see_again(&account);
            let (merged, notices) = match merges {
                true => (Some(PersonId::Email("ann@example.com".into())), vec![]),
                false if what == "the first time" => (None, vec![Notice::PeopleNotMerged]),
                false => (None, vec![]),
            };
            assert_eq!((seen.merges, seen.notices), (merged, notices), "{what}");
            assert_eq!(seen.subject.anonymous.as_deref(), Some("a"), "the same browser");
        }
        let later = world.see(identify(json!({"userId": "u"}), email()));
        assert_eq!((later.merges, later.notices), (None, vec![]));
    }
    let mut world = World::new();
    world.config.merge_email_people = true;
    let new = world.see(identify(json!({"userId": "u"}), json!({"email": "ann@example.com"})));
    assert_eq!(new.merges, None, "nobody was there");
}

#[test]
fn an_identify_that_is_older_than_the_last_one_is_noticed() {
    let mut world = World::new();
    let mut see = |time: &str| {
        let mut body = identify(json!({"userId": "u"}), json!({"plan": "free"}));
        body["timestamp"] = json!(time);
        world.see(body).notices
    };
    assert_eq!(see("2026-03-14T11:00:00Z"), []);
    assert_eq!(see("2026-03-14T11:00:00Z"), [], "the same second is not older");
    assert_eq!(see("2026-03-14T10:59:59Z"), [Notice::StaleIdentify]);
    assert_eq!(see("2026-03-14T11:00:01Z"), []);
}
