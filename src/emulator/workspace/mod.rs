//! The workspace: people, visitors, events, objects, and who is who.
//!
//! Applies one valid operation at a time and reports what it did. Nothing here fails: what
//! Customer.io accepts with a 200 and then drops is an entry in the activity log.

mod events;
mod identify;
mod merge;
mod objects;
mod reading;
mod seen;
mod visitors;

pub use events::EventRecord;
pub use objects::ObjectRecord;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;

use super::activity::{Did, Entry, TriggerReason};
use super::operation::{DeviceCall, Identifier, Kind, ObjectName, Operation};
use super::settings::Settings;
use crate::clock::Time;
use crate::spec::Object;
use objects::Thing;
use seen::Seen;
use visitors::Visitor;

/// Numbers people in the order in which they came to be: the smaller is the older.
type PersonKey = u64;

/// What an operation may look at.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) now: Time,
    pub(super) request: u64,
}

/// All data of one workspace.
#[derive(Clone, Debug, Default)]
pub(super) struct Workspace {
    last_person: PersonKey,
    people: BTreeMap<PersonKey, Profile>,
    by_identifier: HashMap<Identifier, PersonKey>,
    visitors: HashMap<String, Visitor>,
    /// Blocked identifiers; those that were blocked together share a number.
    suppressed: HashMap<Identifier, u64>,
    last_suppression: u64,
    objects: BTreeMap<u64, Thing>,
    object_numbers: BTreeMap<ObjectName, u64>,
    last_object: u64,
    events: BTreeMap<u64, EventRecord>,
    last_event: u64,
    forgotten_events: u64,
    seen: Seen,
}

/// One person as stored.
#[derive(Clone, Debug)]
struct Profile {
    cio_id: String,
    id: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    attributes: BTreeMap<String, Attribute>,
    created: Time,
    /// The newest time of an update, in seconds.
    last_edit: i64,
    anonymous_ids: BTreeSet<String>,
    devices: BTreeMap<String, Device>,
    objects: BTreeSet<u64>,
    events: BTreeSet<u64>,
}

/// An attribute with the time of its update. A removed one is remembered without a value, so that an
/// older update does not bring it back.
#[derive(Clone, Debug)]
struct Attribute {
    value: Option<Value>,
    at: i64,
}

/// A device of a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    /// The push token.
    pub token: String,
    /// `ios` or `android`.
    pub platform: String,
    /// When it was last used, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<i64>,
    /// What else was said about it.
    pub attributes: Object,
}

impl Workspace {
    /// Does what a valid operation asks for. The first entry is the operation's own.
    pub(super) fn apply(&mut self, operation: Operation, cx: Context<'_>) -> Vec<Entry> {
        if let Some(entry) = self.blocked(&operation, cx) {
            return vec![entry];
        }
        match operation {
            Operation::Identify(call) => self.identify(call, cx),
            Operation::Event(call) => self.track(call, cx),
            Operation::Delete(who) => vec![self.delete(&who)],
            Operation::Suppress(who) => vec![self.suppress(&who)],
            Operation::Unsuppress(who) => vec![self.unsuppress(&who)],
            Operation::AddDevice { who, device } => self.add_device(&who, device, cx),
            Operation::DeleteDevice { who, token } => vec![self.delete_device(&who, &token)],
            Operation::Merge { primary, secondary } => vec![self.merge(&primary, &secondary)],
            Operation::Relate { who, relationships, remove } => {
                self.relate(&who, relationships, remove, cx)
            }
            Operation::Object(call) => self.change_object(call, cx),
            Operation::Metric { delivery_id, metric } => {
                vec![Entry::new(Did::CountedMetric).because(format!("{metric} of {delivery_id}"))]
            }
            Operation::Segment { people, .. } => {
                vec![Entry::new(Did::ChangedSegment).because(format!("{people} ids"))]
            }
            Operation::Form { form_id, person } => {
                let mut entries =
                    vec![Entry::new(Did::SubmittedForm).because(format!("form {form_id}"))];
                entries.extend(self.identify(person, cx));
                entries
            }
        }
    }

    /// Whether everything that may be kept for ever is at its bound.
    pub(super) fn is_full(&self, settings: &Settings) -> bool {
        let kept =
            self.people.len() + self.visitors.len() + self.objects.len() + self.suppressed.len();
        kept >= settings.history.profiles
    }

    /// An operation on a suppressed person has no effect, whichever of the identifiers it names.
    fn blocked(&self, operation: &Operation, cx: Context<'_>) -> Option<Entry> {
        let is_blocked = |who: &&Identifier| self.suppressed.contains_key(&who.key());
        let blocked = match operation {
            Operation::Identify(call) | Operation::Form { person: call, .. } => {
                std::iter::once(&call.who).chain(&call.claims).find(is_blocked)
            }
            Operation::Event(call) => {
                let blocked = call.who.as_ref().filter(is_blocked)?;
                let event = events::refused(call, TriggerReason::NotStored, cx);
                return Some(Entry::new(Did::Suppressed).named(blocked).with_event(event));
            }
            Operation::Delete(who)
            | Operation::AddDevice { who, .. }
            | Operation::DeleteDevice { who, .. }
            | Operation::Relate { who, .. } => Some(who).filter(is_blocked),
            Operation::Merge { primary, secondary } => {
                [primary, secondary].into_iter().find(is_blocked)
            }
            _ => None,
        };
        blocked.map(|who| Entry::new(Did::Suppressed).named(who))
    }

    /// Who an identifier names.
    fn find(&self, who: &Identifier) -> Option<PersonKey> {
        match who {
            Identifier::AnonymousId(id) => self.visitors.get(id).and_then(|visitor| visitor.owner),
            other => self.by_identifier.get(&other.key()).copied(),
        }
    }

    /// Who an identifier names; a new person where that is allowed, with the entry that says so.
    fn find_or_create(&mut self, who: &Identifier, cx: Context<'_>) -> Result<Found, Box<Entry>> {
        if let Some(key) = self.find(who) {
            return Ok(Found { key, created: None });
        }
        let ignored = |reason: &str| Box::new(Entry::new(Did::Ignored).named(who).because(reason));
        match who {
            Identifier::CioId(_) => Err(ignored("nobody has this cio_id")),
            Identifier::AnonymousId(_) => Err(ignored("nobody is known by this anonymous_id")),
            _ if !cx.settings.implicit_people => Err(ignored("nobody has this identifier")),
            _ => {
                let key = self.create(cx.now);
                self.give(key, who);
                self.set_created_at(key, cx.now.secs());
                let entry = Entry::new(Did::CreatedPerson).on(self.cio_id(key)).named(who);
                Ok(Found { key, created: Some(entry) })
            }
        }
    }

    /// A new person without identifiers.
    fn create(&mut self, now: Time) -> PersonKey {
        self.last_person += 1;
        let key = self.last_person;
        let cio_id = format!("{:08x}", 0x0300_0000 + key);
        self.by_identifier.insert(Identifier::CioId(cio_id.clone()), key);
        let profile = Profile {
            cio_id,
            id: None,
            email: None,
            phone: None,
            attributes: BTreeMap::new(),
            created: now,
            last_edit: i64::MIN,
            anonymous_ids: BTreeSet::new(),
            devices: BTreeMap::new(),
            objects: BTreeSet::new(),
            events: BTreeSet::new(),
        };
        self.people.insert(key, profile);
        key
    }

    /// Makes `who` an identifier of that person, in place of the one of the same kind.
    fn give(&mut self, key: PersonKey, who: &Identifier) {
        let Some(profile) = self.people.get_mut(&key) else { return };
        let (slot, kind): (_, Kind) = match who {
            Identifier::Id(_) => (&mut profile.id, Identifier::Id),
            Identifier::Email(_) => (&mut profile.email, Identifier::Email),
            Identifier::Phone(_) => (&mut profile.phone, Identifier::Phone),
            Identifier::CioId(_) | Identifier::AnonymousId(_) => return,
        };
        if let Some(old) = slot.replace(who.text().to_owned()) {
            self.by_identifier.remove(&kind(old).key());
        }
        self.by_identifier.insert(who.key(), key);
    }

    /// A new person without `created_at` was created now.
    fn set_created_at(&mut self, key: PersonKey, seconds: i64) {
        if let Some(profile) = self.people.get_mut(&key) {
            profile
                .attributes
                .entry("created_at".into())
                .or_insert(Attribute { value: Some(seconds.into()), at: seconds });
        }
    }

    fn cio_id(&self, key: PersonKey) -> &str {
        self.people.get(&key).map_or("", |profile| profile.cio_id.as_str())
    }

    fn add_device(&mut self, who: &Identifier, call: DeviceCall, cx: Context<'_>) -> Vec<Entry> {
        let found = match self.find_or_create(who, cx) {
            Ok(found) => found,
            Err(ignored) => return vec![*ignored],
        };
        let entry = Entry::new(Did::StoredDevice).on(self.cio_id(found.key)).named(who);
        if let Some(profile) = self.people.get_mut(&found.key) {
            let DeviceCall { token, platform, last_used, attributes } = call;
            profile
                .devices
                .insert(token.clone(), Device { token, platform, last_used, attributes });
        }
        std::iter::once(entry).chain(found.created).collect()
    }

    fn delete_device(&mut self, who: &Identifier, token: &str) -> Entry {
        let Some(profile) = self.find(who).and_then(|key| self.people.get_mut(&key)) else {
            return Entry::new(Did::Ignored).named(who).because("nobody has this identifier");
        };
        match profile.devices.remove(token) {
            Some(_) => Entry::new(Did::DeletedDevice).on(&profile.cio_id).named(who),
            None => Entry::new(Did::Ignored)
                .on(&profile.cio_id)
                .named(who)
                .because("the person has no such device"),
        }
    }
}

/// A person that was looked for.
struct Found {
    key: PersonKey,
    created: Option<Entry>,
}

impl Profile {
    /// The identifier of the same kind as `like`.
    fn slot(&self, like: &Identifier) -> Option<&str> {
        match like {
            Identifier::Id(_) => self.id.as_deref(),
            Identifier::Email(_) => self.email.as_deref(),
            Identifier::Phone(_) => self.phone.as_deref(),
            Identifier::CioId(_) => Some(&self.cio_id),
            Identifier::AnonymousId(_) => None,
        }
    }

    fn identifiers(&self) -> Vec<Identifier> {
        let kinds: [(&Option<String>, Kind); 3] = [
            (&self.id, Identifier::Id),
            (&self.email, Identifier::Email),
            (&self.phone, Identifier::Phone),
        ];
        let mut all = vec![Identifier::CioId(self.cio_id.clone())];
        all.extend(kinds.into_iter().filter_map(|(slot, kind)| slot.clone().map(kind)));
        all
    }
}
