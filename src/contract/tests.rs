//! What a contract finds, what it does about it, and what in a schema cannot be used.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::outcome::DeadCode;
use crate::spec::{Arrival, RawCall, Vendor, normalise};

const ORDER: &str = r#"{
  "type": "object",
  "properties": {
    "order_id": {"type": "string", "minLength": 1},
    "total": {"type": "number", "minimum": 0},
    "status": {"enum": ["open", "paid", 7]},
    "note": {"type": ["string", "null"]},
    "currency": {"pattern": "^[A-Z]{3}$"},
    "products": {
      "type": "array", "minItems": 1,
      "items": {
        "type": "object",
        "properties": {"price": {"type": "number"}, "quantity": {"type": "integer"}},
        "required": ["price"],
        "anyOf": [{"required": ["sku"]}, {"required": ["product_id"]}]
      }
    }
  },
  "required": ["order_id", "products", "kind"]
}"#;

fn contracts(key: &str, text: &str) -> Contracts {
    contracts_by(key, text, Rules::default())
}

fn contracts_by(key: &str, text: &str, rules: Rules) -> Contracts {
    Contracts::read([(key, text)].into_iter(), rules).unwrap()
}

/// The order schema with further keywords at its top.
fn order_with(more: &str) -> Contracts {
    contracts("order_completed", &ORDER.replacen('{', &format!("{{{more},"), 1))
}

fn event(value: Value) -> Event {
    let body = serde_json::to_vec(&value).unwrap().into();
    let mut call = RawCall::new(Arrival::default(), body);
    normalise(&mut call, Vendor::Segment).unwrap()
}

fn order(properties: Value) -> Event {
    event(
        json!({"type": "track", "event": "Order Completed", "userId": "u", "properties": properties}),
    )
}

fn good() -> Value {
    json!({
        "order_id": "A", "total": 1, "status": "paid", "note": null, "currency": "EUR", "kind": 1,
        "products": [{"price": 1.5, "quantity": 2.0, "sku": "S"}, {"price": 0, "product_id": "P"}],
        "more": true,
    })
}

fn found(look: &Look) -> Vec<(&'static str, String)> {
    look.violations.iter().map(|one| (one.kind.as_str(), one.path())).collect()
}

#[test]
fn an_event_that_keeps_its_contract_has_no_violations() {
    let contracts = contracts("order_completed", ORDER);
    let look = contracts.look(&order(good()), "order_completed");
    assert_eq!(found(&look), []);
    assert!(look.planned && look.tells());
    assert_eq!(&*look.event, "order_completed");
}

#[test]
fn every_kind_of_fault_is_found_at_its_place() {
    let contracts = contracts("order_completed", ORDER);
    let (missing, mismatch, rule) =
        ("Required-Missing", "Datatype-Mismatch", "Advance-Rules-Violation");
    type Row<'a> = (&'a str, &'a str, Value, &'a [(&'a str, &'a str)]);
    #[rustfmt::skip]
    let table: [Row<'_>; 14] = [
        ("absent", "order_id", Value::Null, &[(missing, "properties.order_id")]),
        ("without a schema of its own", "kind", Value::Null, &[(missing, "properties.kind")]),
        ("another type", "order_id", json!(7), &[(mismatch, "properties.order_id")]),
        ("a text instead of a number", "total", json!("$49.00"), &[(mismatch, "properties.total")]),
        ("blank", "order_id", json!(""), &[(rule, "properties.order_id")]),
        ("too little", "total", json!(-1), &[(rule, "properties.total")]),
        ("not in the list", "status", json!("lost"), &[(rule, "properties.status")]),
        ("in the list as another number", "status", json!(7.0), &[]),
        ("null for nothing, where it is optional", "currency", Value::Null, &[]),
        ("not like the pattern", "currency", json!("euro"), &[(rule, "properties.currency")]),
        ("an empty list", "products", json!([]), &[(rule, "properties.products")]),
        ("no list", "products", json!({"price": 1}), &[(mismatch, "properties.products")]),
        ("neither of two", "products", json!([{"price": 1, "sku": "S"}, {"price": 1}]),
            &[(missing, "properties.products[1].sku|product_id")]),
        ("in an element", "products", json!(["x", {"price": "1", "quantity": 1.5, "sku": "S"}]),
            &[(mismatch, "properties.products[0]"), (mismatch, "properties.products[1].price"),
              (mismatch, "properties.products[1].quantity")]),
    ];
    for (what, name, value, expected) in table {
        let mut properties = good();
        properties[name] = value;
        let look = contracts.look(&order(properties), "order_completed");
        let expected: Vec<_> =
            expected.iter().map(|(kind, at)| (*kind, (*at).to_owned())).collect();
        assert_eq!(found(&look), expected, "{what}");
    }
}

#[test]
fn an_event_without_properties_misses_them() {
    let bare = event(json!({"type": "track", "event": "Order Completed", "userId": "u"}));
    let look = contracts("order_completed", ORDER).look(&bare, "order_completed");
    let names = ["order_id", "products", "kind"].map(|name| format!("properties.{name}"));
    assert_eq!(found(&look), names.map(|path| ("Required-Missing", path)));
}

#[test]
fn what_is_reported_holds_nothing_of_what_was_sent() {
    let contracts = contracts("order_completed", ORDER);
    let mut sent = good();
    sent["total"] = json!("Ännchen Öß 49,00 <a.b@example.com>");
    sent["order_id"] = json!(123_456);
    let look = contracts.look(&order(sent), "order_completed");
    let texts: Vec<String> = look.violations.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "Datatype-Mismatch at properties.order_id (wanted a text, found the number 000000)",
            "Datatype-Mismatch at properties.total (wanted a number, found the text \
             \"Xxxxxxx Xx 00,00 <x.x@xxxxxxx.xxx>\")",
        ]
    );
}

#[test]
fn elements_of_a_list_are_counted_as_one_property() {
    let mut sent = good();
    sent["products"] = json!([{"price": "x", "sku": "S"}]);
    let look = contracts("order_completed", ORDER).look(&order(sent), "order_completed");
    assert_eq!(look.violations[0].property(), "products[].price");
    let said = Violation::of_script("unreadable_money", "properties.products[12].price");
    assert_eq!(said.property(), "products[].price");
    assert_eq!((said.kind, said.name()), (Kind::Unknown, "unreadable_money"));
}

#[test]
fn more_violations_than_a_person_reads_are_told_as_one() {
    let mut sent = good();
    sent["products"] = vec![json!({"sku": "S"}); 500].into();
    let look = contracts("order_completed", ORDER).look(&order(sent), "order_completed");
    assert_eq!(look.violations.len(), MOST_VIOLATIONS + 1);
    assert_eq!(look.violations.last().unwrap().kind, Kind::Unknown);
}

fn bad() -> Value {
    json!({"order_id": "A", "total": "49", "kind": 1, "more": 1,
        "products": [{"price": "2", "sku": "S"}, "x", {"price": 3, "sku": "T"}]})
}

#[test]
fn by_default_a_violation_changes_nothing() {
    let contracts = contracts("order_completed", ORDER);
    let mut event = order(bad());
    let (look, letter) = contracts.enforce(&mut event, "order_completed");
    assert_eq!(look.violations.len(), 3);
    assert_eq!(letter, None);
    assert_eq!(Value::Object(event.properties().unwrap().clone()), bad());
}

#[test]
fn omit_takes_out_what_is_wrong_and_nothing_else() {
    let contracts = order_with("\"on_violation\": \"omit\"");
    let mut event = order(bad());
    let (look, letter) = contracts.enforce(&mut event, "order_completed");
    assert_eq!((look.violations.len(), letter), (3, None));
    let expected = json!({"order_id": "A", "kind": 1, "more": 1, "products": [{"sku": "S"}, {"price": 3, "sku": "T"}]});
    assert_eq!(Value::Object(event.properties().unwrap().clone()), expected);
}

#[test]
fn additional_properties_are_kept_unless_the_schema_says_omit() {
    let mut sent = good();
    sent["products"][0]["extra"] = json!(1);
    let mut event = order(sent.clone());
    let (look, _) = order_with("\"additional\": \"keep\"").enforce(&mut event, "order_completed");
    assert_eq!(found(&look), []);

    let strict = order_with("\"additional\": \"omit\"");
    let (look, letter) = strict.enforce(&mut event, "order_completed");
    assert_eq!(found(&look), [("Additional-Properties", "properties.more".to_owned())]);
    assert_eq!(look.violations[0].property(), "(additional)");
    assert_eq!(letter, None);
    sent.as_object_mut().unwrap().remove("more");
    assert_eq!(Value::Object(event.properties().unwrap().clone()), sent);

    let told = order_with("\"additionalProperties\": false");
    let mut event = order(good());
    let (look, _) = told.enforce(&mut event, "order_completed");
    assert_eq!(look.violations.len(), 1);
    assert!(event.properties().unwrap().contains_key("more"), "told, but kept");
}

#[test]
fn a_dead_letter_says_what_is_wrong_without_a_value() {
    let contracts = order_with("\"on_violation\": \"dead_letter\"");
    let (_, letter) = contracts.enforce(&mut order(bad()), "order_completed");
    let letter = letter.unwrap();
    assert_eq!(letter.code, DeadCode::ContractViolated);
    assert_eq!(
        letter.message,
        "order_completed breaks its contract: Datatype-Mismatch at properties.total (wanted a number, \
         found the text \"00\"); Datatype-Mismatch at properties.products[0].price (wanted a number, \
         found the text \"0\"); Datatype-Mismatch at properties.products[1] (wanted an object, found \
         the text \"x\"); mend it in a script or at the source, or change schemas/, and redrive"
    );
    assert_eq!(letter.detail.unwrap()["violations"][1]["path"], "properties.products[0].price");
    let (_, letter) = contracts.enforce(&mut order(good()), "order_completed");
    assert_eq!(letter, None);
}

#[test]
fn events_without_a_schema_are_left_alone_reported_or_kept_back() {
    for (unplanned, violations, dies) in [
        (Unplanned::Ignore, 0, false),
        (Unplanned::Report, 1, false),
        (Unplanned::DeadLetter, 1, true),
    ] {
        let rules = Rules { unplanned, ..Rules::default() };
        let contracts = contracts_by("order_completed", ORDER, rules);
        let mut event = event(json!({"type": "track", "event": "Quiz", "userId": "u"}));
        let (look, letter) = contracts.enforce(&mut event, "quiz");
        assert_eq!((look.violations.len(), letter.is_some()), (violations, dies), "{unplanned:?}");
        assert_eq!((look.planned, &*look.event), (false, "(other)"));
        let page = super::tests::event(json!({"type": "page", "name": "Home", "userId": "u"}));
        assert!(!contracts.look(&page, "home").tells(), "a page is no tracked event");
    }
}

#[test]
fn a_schema_of_identify_is_about_traits() {
    let text = r#"{"properties": {"email": {"type": "string"}}, "required": ["email"]}"#;
    let contracts = contracts("identify", text);
    let person = event(json!({"type": "identify", "userId": "u", "traits": {"plan": 1}}));
    assert_eq!(found(&contracts.look(&person, "")), [("Required-Missing", "traits.email".into())]);
    let track = event(json!({"type": "track", "event": "identify", "userId": "u"}));
    assert!(!contracts.look(&track, "identify").planned, "an event of that name is another thing");
}

#[test]
fn a_schema_that_cannot_be_used_is_refused_with_its_place() {
    #[rustfmt::skip]
    let table = [
        ("no JSON", "{\n  \"properties\": {,}\n}", 2, 18, "key must be a string", ""),
        ("no object", "[]", 1, 1, "must be an object", ""),
        ("about nothing", "{}", 1, 1, "names no property", "order_id"),
        ("a slip", "{\n \"properties\": {\"a\": {\"minlength\": 3}}\n}", 2, 23, "no keyword", "did you mean \"minLength\"?"),
        ("not supported", "{\n \"properties\": {\"a\": {\"oneOf\": []}}}", 2, 23, "no keyword", "anyOf"),
        ("too deep", "{\n \"properties\": {\"a\": {\"additional\": \"omit\"}}}", 2, 23, "no keyword", "top of the file"),
        ("no type", "{\"properties\": {\n\"a\": {\"type\": \"text\"}}}", 2, 7, "\"text\" is no type", "string"),
        ("no policy", "{\"properties\": {\"a\": {}},\n\"on_violation\": \"drop\"}", 2, 1, "no policy", "dead_letter"),
        ("neither", "{\"properties\": {\"a\": {}},\n\"additional\": true}", 2, 1, "cannot be true", "omit"),
        ("no list", "{\"properties\": {\"a\": {}},\n\"required\": \"a\"}", 2, 1, "list of names", "[\"order_id\"]"),
        ("no pattern", "{\"properties\": {\"a\": {\n\"pattern\": \"(\"}}}", 2, 1, "unclosed group", ""),
        ("no number", "{\"properties\": {\"a\": {\n\"minimum\": \"1\"}}}", 2, 1, "must be a number, not a text", ""),
        ("no choice", "{\"properties\": {\"a\": {}}, \"anyOf\": [\n{\"type\": \"object\"}]}", 2, 1, "can only say", "required"),
        ("no schema", "{\"properties\": {\n\"a\": \"string\"}}", 2, 1, "must be a schema", ""),
    ];
    for (what, text, line, column, message, hint) in table {
        let faults = Contracts::read([("x", text)].into_iter(), Rules::default()).unwrap_err();
        let fault = &faults[0];
        assert_eq!(fault.file, "schemas/x.json", "{what}");
        assert!(fault.message.contains(message), "{what}: {}", fault.message);
        assert_eq!((fault.line, fault.column), (line, column), "{what}: {}", fault.message);
        let given = fault.hint.clone().unwrap_or_default();
        assert!(given.contains(hint), "{what}: {given}");
    }
}

#[test]
fn every_fault_of_every_file_is_told() {
    let files = [("a", "{\"properties\": {\"x\": {\"type\": 1, \"enum\": []}}}"), ("b", "{")];
    let faults = Contracts::read(files.into_iter(), Rules::default()).unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:?}");
}

#[test]
fn the_dictionary_has_a_row_for_each_property() {
    let contracts = contracts("order_completed", ORDER);
    let rows = contracts.all()["order_completed"].dictionary();
    let rows: Vec<(&str, bool, &str)> =
        rows.iter().map(|row| (row.property.as_str(), row.required, row.types.as_str())).collect();
    assert_eq!(
        rows,
        [
            ("order_id", true, "string"),
            ("total", false, "number"),
            ("status", false, "any"),
            ("note", false, "string or null"),
            ("currency", false, "any"),
            ("products", true, "array"),
            ("products[].price", true, "number"),
            ("products[].quantity", false, "integer"),
            ("products[].sku|product_id", true, "any"),
            ("kind", true, "any"),
        ]
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(Value::from),
        "[a-zA-Z0-9 $.]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let names = prop_oneof![
            Just("order_id"),
            Just("total"),
            Just("products"),
            Just("price"),
            Just("sku"),
            Just("x")
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..4).prop_map(|fields| {
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<Object>()
                    .into()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_omit_leaves_has_no_value_that_breaks_the_contract(sent in any_json()) {
        let contracts = order_with("\"on_violation\": \"omit\", \"additional\": \"omit\"");
        let Value::Object(_) = sent else { return Ok(()) };
        let mut event = order(sent);
        contracts.enforce(&mut event, "order_completed");
        let left = contracts.look(&event, "order_completed");
        let missing = |one: &Violation| {
            // An object that lost its properties may be short of what is required.
            one.kind == Kind::RequiredMissing || one.path() == "properties.products"
        };
        prop_assert!(left.violations.iter().all(missing), "{:?}", left.violations);
    }
}
