//! What an event shows about the data that it belongs to, however it ends.
//!
//! Not here: what is made of it over many events ([`crate::data_health`]).

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde_json::Value;

use crate::clock::Time;
use crate::guard::{Class, Kind};
use crate::pipeline::Part;
use crate::spec::TimeOrigin;

/// Where orders have their number.
const ORDER_IDS: [&str; 4] = ["order_id", "orderId", "order_number", "id"];

/// What one event shows. No text of the event is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    /// What it is to a campaign.
    pub kind: Kind,
    /// The guard's class.
    pub class: Class,
    /// When it happened.
    pub happened: Time,
    /// How old it was when it came in.
    pub age: Duration,
    /// Whether its device's clock was certainly wrong.
    pub clock_wrong: bool,
    /// Whether nobody says when it happened.
    pub without_time: bool,
    /// Whether it is about an order.
    pub order: bool,
    /// Whether it is about an order that it does not number.
    pub order_without_id: bool,
}

impl Sighting {
    /// What a part shows.
    pub(super) fn of(part: &Part) -> Self {
        let (event, case) = (&part.event, &part.case);
        let kind = case.kind;
        let time = event.time();
        let order = kind == Kind::Exit && case.canonical.starts_with("order_");
        let is_numbered = || {
            let properties = event.properties();
            ORDER_IDS.iter().any(|name| {
                match properties.and_then(|properties| properties.get(*name)) {
                    Some(Value::String(id)) => !id.trim().is_empty(),
                    Some(Value::Number(_)) => true,
                    _ => false,
                }
            })
        };
        Self {
            kind,
            class: part.verdict.class,
            happened: time.age_basis(),
            age: case.accepted_at.since(time.age_basis()),
            clock_wrong: part.verdict.clock_wrong,
            without_time: case.time.origin == TimeOrigin::Received,
            order,
            order_without_id: order && !is_numbered(),
        }
    }
}

/// Tells texts apart, without keeping them.
pub fn hashed(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
