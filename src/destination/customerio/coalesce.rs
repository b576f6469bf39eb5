//! Two identifies of one person, one right behind the other, as one.
//!
//! Customer.io counts time in seconds and does not promise to work in the order in which items stand, so
//! two changes of the same second may end up in either order. As one item they cannot.
//!
//! Not here: which items stand behind each other ([`crate::delivery`]).

use serde_json::Value;

use super::limits;
use crate::spec::Object;

/// How an item of a v2 batch begins that identifies a person.
const IDENTIFY: &[u8] = br#"{"type":"person","action":"identify","#;

/// Attributes that instruct, or of which each one counts.
const NOT_OVERWRITTEN: [&str; 3] = ["anonymous_id", "_update", "cio_relationships"];

/// Subscriptions: all of them, and with a dot behind it one of them.
const PREFERENCES: &str = "cio_subscription_preferences";

/// Whether an item of a v2 batch identifies a person.
pub fn is_identify(item: &[u8]) -> bool {
    item.starts_with(IDENTIFY)
}

/// Both identifies as one: the later one's attributes over those of the earlier one. `None` where that
/// would not be the same: they name different people, the later one is older, one of them does more than
/// to set attributes that the other one may overwrite, or both together are too large.
pub fn coalesce(earlier: &[u8], later: &[u8]) -> Option<Vec<u8>> {
    let mut earlier: Object = serde_json::from_slice(earlier).ok()?;
    let later: Object = serde_json::from_slice(later).ok()?;
    let time = |item: &Object| item.get("timestamp").and_then(Value::as_i64);
    let relates = |item: &Object| item.contains_key("cio_relationships");
    if earlier.get("identifiers") != later.get("identifiers")
        || time(&later)? < time(&earlier)?
        || relates(&earlier)
        || relates(&later)
    {
        return None;
    }
    let over = later.get("attributes")?.as_object()?;
    let attributes = earlier.get_mut("attributes")?.as_object_mut()?;
    for name in NOT_OVERWRITTEN {
        let (before, after) = (attributes.get(name), over.get(name));
        // An anonymous id may be told by one of them alone.
        let told_once = name == "anonymous_id" && (before.is_none() || after.is_none());
        if before != after && !told_once {
            return None;
        }
    }
    // One topic and all of them at once: which of the two counts would be open.
    let prefers = |object: &Object| object.keys().any(|name| name.starts_with(PREFERENCES));
    if prefers(attributes) && prefers(over) {
        return None;
    }
    for (name, value) in over {
        attributes.insert(name.clone(), value.clone());
    }
    if attributes.len() > limits::ATTRIBUTES {
        return None;
    }
    earlier.insert("timestamp".into(), later.get("timestamp")?.clone());
    let both = serde_json::to_vec(&earlier).ok()?;
    (both.len() <= limits::ITEM_BYTES).then_some(both)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identify(id: &str, timestamp: i64, attributes: Value) -> Vec<u8> {
        let item = json!({"type": "person", "action": "identify", "identifiers": {"id": id},
            "timestamp": timestamp, "attributes": attributes});
        serde_json::to_vec(&item).unwrap()
    }

    fn both(earlier: &[u8], later: &[u8]) -> Option<Value> {
        Some(serde_json::from_slice(&coalesce(earlier, later)?).unwrap())
    }

    #[test]
    fn the_later_value_wins_and_the_rest_stays() {
        let first = identify("u", 7, json!({"plan": "free", "city": "Bern", "gone": "x"}));
        let second = identify("u", 7, json!({"plan": "paid", "anonymous_id": "a", "gone": null}));
        assert!(is_identify(&first));
        let one = both(&first, &second).unwrap();
        let expected = json!({"plan": "paid", "city": "Bern", "gone": null, "anonymous_id": "a"});
        assert_eq!((&one["attributes"], &one["timestamp"]), (&expected, &json!(7)));
    }

    #[test]
    fn what_would_not_be_the_same_stays_two() {
        let none = || json!({});
        let table = [
            ("two people", identify("u", 7, none()), identify("v", 7, none())),
            ("the later one is older", identify("u", 7, none()), identify("u", 6, none())),
            (
                "two anonymous ids",
                identify("u", 7, json!({"anonymous_id": "a"})),
                identify("u", 7, json!({"anonymous_id": "b"})),
            ),
            (
                "only one may create",
                identify("u", 7, json!({"_update": true})),
                identify("u", 7, none()),
            ),
            (
                "too large together",
                identify("u", 7, json!({"a": "x".repeat(20_000)})),
                identify("u", 7, json!({"b": "x".repeat(20_000)})),
            ),
        ];
        for (what, first, second) in table {
            assert_eq!(both(&first, &second), None, "{what}");
        }
    }
}
