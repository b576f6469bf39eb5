//! People as the views and tests see them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::activity::rfc3339;
use super::workspace::{Device, EventRecord};
use crate::clock::Time;

/// A person with everything that is known about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Person {
    /// Customer.io's own id.
    pub cio_id: String,
    /// The sender's id.
    pub id: Option<String>,
    /// The e-mail address, as it was set.
    pub email: Option<String>,
    /// The phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// All other attributes.
    pub attributes: BTreeMap<String, Value>,
    /// The time, in seconds, of the update that set each attribute.
    pub attribute_times: BTreeMap<String, i64>,
    /// When the person came to be here.
    #[serde(serialize_with = "rfc3339")]
    pub created: Time,
    /// The newest time, in seconds, of an update; older updates are stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_edit: Option<i64>,
    /// The anonymous ids that are this person's.
    pub anonymous_ids: Vec<String>,
    /// Its devices.
    pub devices: Vec<Device>,
    /// Type and id of the objects it is related to.
    pub objects: Vec<(String, String)>,
    /// Its events, in the order of receipt.
    pub events: Vec<EventRecord>,
}

impl Person {
    /// An attribute; `null` when the person does not have it.
    pub fn attribute(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or(&Value::Null)
    }
}
