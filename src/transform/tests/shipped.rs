//! The shipped scripts: what they repair, and that they do no harm.

use serde_json::{Value, json};

use super::*;
use crate::contract;
use crate::transform::shipped;

fn shipped_with(vars: &[(&str, &str)]) -> Runner {
    let mut files: Vec<(String, String)> =
        shipped::FILES.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
    for (name, value) in vars {
        let manifest = &mut files[0].1;
        let line = manifest
            .lines()
            .find(|line| line.starts_with(&format!("{name} =")))
            .unwrap()
            .to_owned();
        *manifest = manifest.replace(&line, &format!("{name} = {value}"));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    runner(&files)
}

fn one(runner: &mut Runner, event: Event) -> Scripted {
    let mut made = events(runner.run(event, &context()));
    assert_eq!(made.len(), 1);
    made.remove(0)
}

fn props(scripted: &Scripted) -> Value {
    Value::Object(scripted.event.properties().cloned().unwrap_or_default())
}

fn violations(scripted: &Scripted) -> Vec<(&str, &str)> {
    scripted.hints.violations.iter().map(|v| (v.kind.as_str(), v.path.as_str())).collect()
}

#[test]
fn a_messy_order_comes_out_clean() {
    let order = track(
        "orderCompleted",
        json!({
            "orderId": 1001, "order_total": "$1,249.00", "revenue": 1200, "value": "49,00 €", "currencyCode": "usd",
            "line_items": [
                {"productId": 7, "title": "Cleanser", "qty": "2", "unitPrice": "$49.00"},
                {"product_id": "P-2", "name": "Soap", "quantity": 1, "price": 24.5},
            ],
        }),
    );
    let made = one(&mut shipped_with(&[]), order);
    assert_eq!(made.event.name(), Some("Order Completed"));
    assert_eq!(
        props(&made),
        json!({
            "revenue": 1200, "value": 49.0, "order_id": "1001", "currency": "USD", "total": 1249.0,
            "products": [
                {"product_id": "7", "name": "Cleanser", "quantity": 2, "price": 49.0},
                {"product_id": "P-2", "name": "Soap", "quantity": 1, "price": 24.5},
            ],
        })
    );
    let key = BusinessKey { name: "order_completed".into(), parts: vec!["1001".into()] };
    assert_eq!(made.hints.dedupe_by, Some(key));
    assert_eq!(violations(&made), []);
}

#[test]
fn names_follow_the_preset_and_each_fold_is_switched_by_itself() {
    #[rustfmt::skip]
    let table: [(&[(&str, &str)], &str, &str); 13] = [
        (&[], "order_completed", "Order Completed"),
        (&[], "Purchase", "Order Completed"),
        (&[], "Product Added", "Added to Cart"),
        (&[], "Quiz finished", "Quiz finished"),
        (&[("names", "\"snake\"")], "Purchase", "order_completed"),
        (&[("names", "\"snake\"")], "Order Completed", "order_completed"),
        (&[("names", "\"snake\"")], "Quiz finished", "Quiz finished"),
        (&[("names", "\"as_sent\"")], "Purchase", "Purchase"),
        (&[("names", "\"as_sent\"")], "order_completed", "order_completed"),
        (&[("synonyms", "false")], "Purchase", "Purchase"),
        (&[("synonyms", "false")], "orderCompleted", "Order Completed"),
        (&[("spellings", "false")], "orderCompleted", "orderCompleted"),
        (&[("spellings", "false")], "Purchase", "Order Completed"),
    ];
    for (vars, sent, expected) in table {
        let made = one(&mut shipped_with(vars), track(sent, json!({})));
        assert_eq!(made.event.name(), Some(expected), "{vars:?} {sent}");
    }
}

#[test]
fn the_scripts_do_no_harm() {
    let sent = json!({
        "order_id": "A-1", "total": "forty nine", "revenue": "1,299", "tax": null, "shipping": "free",
        "value": 0, "cart_total": "49", "discount": {"amount": 5}, "currency": null, "order_total": "12",
        "products": [{"price": "1.299", "quantity": "some", "sku": null}, "no map", null],
        "big": 12345678901234567890123u128.to_string(), "id": "row-7",
    });
    let made = one(&mut shipped_with(&[]), track("Order Completed", sent.clone()));
    let mut expected = sent;
    expected["cart_total"] = json!(49.0);
    assert_eq!(props(&made), expected);
    assert_eq!(
        violations(&made),
        [
            ("unreadable_money", "properties.total"),
            ("unreadable_money", "properties.revenue"),
            ("unreadable_money", "properties.shipping"),
            ("unreadable_money", "properties.discount"),
            ("unreadable_money", "properties.products[0].price"),
            ("unreadable_whole_number", "properties.products[0].quantity"),
        ]
    );
}

#[test]
fn a_locale_settles_what_three_digits_mean() {
    for (locale, expected) in [("\"en\"", 1299.0), ("\"de\"", 1.299)] {
        let made = one(
            &mut shipped_with(&[("locale", locale)]),
            track("Order Completed", json!({"total": "1,299"})),
        );
        assert_eq!(made.event.properties().unwrap()["total"].as_f64(), Some(expected), "{locale}");
    }
}

#[test]
fn only_business_events_are_touched() {
    let sent = json!({"orderId": 7, "value": "$5.00", "items": [1]});
    let made = one(&mut shipped_with(&[]), track("Quiz Finished", sent.clone()));
    assert_eq!(props(&made), sent);
}

#[test]
fn people_come_out_clean_and_nobody_is_unsubscribed() {
    let identify = event(&json!({"type": "identify", "userId": "u1", "traits": {
        "email": " Ann@Example.COM ", "phone_number": "(415) 555-2671", "country": "United States",
        "accepts_marketing": "no", "sms_consent": 0, "newsletter": "pending",
        "createdAt": "2026-01-02 03:04:05", "created_at": 1767323045, "nickname": null,
    }}));
    let made = one(&mut shipped_with(&[]), identify);
    assert_eq!(
        Value::Object(made.event.traits().unwrap().clone()),
        json!({
            "email": "ann@example.com", "country": "United States", "accepts_marketing": false,
            "sms_consent": false, "newsletter": "pending", "createdAt": "2026-01-02T03:04:05.000Z",
            "created_at": 1767323045, "nickname": null, "phone": "+14155552671",
        })
    );
    assert_eq!(violations(&made), [("unreadable_yes_or_no", "traits.newsletter")]);
}

#[test]
fn a_phone_without_a_country_stays_as_it_is() {
    let identify = |traits| event(&json!({"type": "identify", "userId": "u1", "traits": traits}));
    let made = one(&mut shipped_with(&[]), identify(json!({"phone": "415 555 2671"})));
    assert_eq!(made.event.traits().unwrap()["phone"], "415 555 2671");
    assert_eq!(violations(&made), [("unreadable_phone", "traits.phone")]);
    let mut home = shipped_with(&[("default_region", "\"US\"")]);
    let made = one(&mut home, identify(json!({"phone": "415 555 2671"})));
    assert_eq!(made.event.traits().unwrap()["phone"], "+14155552671");
}

#[test]
fn a_guests_order_names_the_person_by_email() {
    let guest = |name: &str, user: Value| {
        event(&json!({"type": "track", "event": name, "userId": user,
        "anonymousId": "a1", "properties": {"order_id": "1", "email": "Ann@Example.com"}}))
    };
    let table = [
        ("Purchase", Value::Null, true),
        ("Checkout Started", Value::Null, true),
        ("Purchase", json!("u1"), false),
        ("Product Viewed", Value::Null, false),
    ];
    for (name, user, expected) in table {
        let made = one(&mut shipped_with(&[]), guest(name, user.clone()));
        let email = made.hints.identify_as.and_then(|person| person.email);
        assert_eq!(email.as_deref(), expected.then_some("ann@example.com"), "{name} {user}");
    }
}

#[test]
fn refunds_are_never_duplicates_of_each_other() {
    let made =
        one(&mut shipped_with(&[]), track("Refund", json!({"order_id": "1", "total": "5.00"})));
    assert_eq!(made.hints.dedupe_by, None);
    assert_eq!(made.event.name(), Some("Order Refunded"));
}

#[test]
fn other_calls_pass_as_they_are() {
    for body in [
        json!({"type": "page", "userId": "u", "name": "Home", "properties": {"value": "$5"}}),
        json!({"type": "group", "userId": "u", "groupId": "g", "traits": {"email": " X@Y.ZZ "}}),
        json!({"type": "alias", "userId": "u", "previousId": "p"}),
        json!({"type": "delete", "userId": "u"}),
    ] {
        let before = event(&body);
        let made = one(&mut shipped_with(&[]), before.clone());
        assert_eq!(made.event.fields(), before.fields());
    }
}

#[test]
fn the_shipped_contracts_only_report() {
    let bundle = Bundle::shipped().unwrap();
    let contracts = bundle.contracts();
    let events: Vec<&str> = contracts.all().into_keys().collect();
    assert_eq!(
        events,
        [
            "added_to_cart",
            "checkout_started",
            "order_cancelled",
            "order_completed",
            "order_refunded",
            "product_viewed",
            "subscription_cancelled",
            "subscription_created",
            "subscription_paused",
            "subscription_renewed",
        ]
    );
    assert_eq!(contracts.rules(), contract::Rules::default());
    for (key, contract) in contracts.all() {
        assert_eq!(contract.policy, contract::Policy::Deliver, "{key}");
        assert!(!contract.omits_additional, "{key}");
        assert!(contract.dictionary().iter().any(|row| row.required), "{key}");
        let undescribed = contract
            .dictionary()
            .into_iter()
            .find(|row| row.description.is_empty() && row.allowed.is_empty());
        assert_eq!(undescribed, None, "{key}");
    }
}

#[test]
fn schemas_are_checked_with_the_folder_they_are_part_of() {
    let stage = ("10_a.rhai", "fn on_track(event, ctx) { event }");
    let load = |file: &str, text: &str| bundle_of(&[stage, (file, text)]);
    let good = r#"{"properties": {"order_id": {"type": "string"}}}"#;

    let findings = load("schemas/order_completed.json", "{\n \"proprties\": {}\n}").unwrap_err();
    assert_eq!(
        findings[0].to_string(),
        "error: \"proprties\" is no keyword that Segue knows\n  \
         --> schemas/order_completed.json:2:2\n   |\n 2 |  \"proprties\": {}\n   |  ^\n  \
         hint: did you mean \"properties\"?"
    );
    let findings = load("schemas/Purchase.json", good).unwrap_err();
    assert!(
        findings[0].hint.as_ref().unwrap().contains("schemas/order_completed.json"),
        "{findings:?}"
    );

    let strict = good.replacen('{', r#"{"on_violation": "dead_letter", "#, 1);
    let bundle = load("schemas/order_completed.json", &strict).unwrap();
    assert!(bundle.warnings()[0].message.contains("exit event"), "{:?}", bundle.warnings());
    let bundle = load("schemas/quiz.json", &strict).unwrap();
    assert_eq!(bundle.warnings(), []);
    assert_ne!(load("schemas/quiz.json", good).unwrap().hash(), bundle.hash());

    let manifest = ("transforms.toml", "[contracts]\non_violation = \"omit\"");
    let bundle = bundle_of(&[stage, manifest, ("schemas/quiz.json", good)]).unwrap();
    assert_eq!(bundle.contracts().all()["quiz"].policy, contract::Policy::Omit);
}
