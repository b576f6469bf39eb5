//! Objects and who is related to them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{Context, PersonKey, Workspace};
use crate::emulator::activity::{Did, Entry};
use crate::emulator::operation::{
    Identifier, ObjectAction, ObjectCall, ObjectName, ObjectRelationship,
};
use crate::spec::Object;

#[derive(Clone, Debug)]
pub(super) struct Thing {
    cio_object_id: String,
    object_type_id: String,
    object_id: String,
    attributes: BTreeMap<String, Value>,
    people: BTreeMap<PersonKey, Object>,
    visitors: BTreeMap<String, Object>,
}

/// An object as stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectRecord {
    /// Customer.io's own id.
    pub cio_object_id: String,
    /// The type.
    pub object_type_id: String,
    /// The sender's id, unique within the type.
    pub object_id: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// The people related to it, by their `cio_id`, with the attributes of the relationship.
    pub people: BTreeMap<String, Object>,
    /// The visitors related to it, by their anonymous id.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub visitors: BTreeSet<String>,
}

impl Workspace {
    /// Every object.
    pub(in crate::emulator) fn object_records(&self) -> Vec<ObjectRecord> {
        self.objects.values().map(|thing| self.object_record(thing)).collect()
    }

    fn object_record(&self, thing: &Thing) -> ObjectRecord {
        let people = thing.people.iter();
        ObjectRecord {
            cio_object_id: thing.cio_object_id.clone(),
            object_type_id: thing.object_type_id.clone(),
            object_id: thing.object_id.clone(),
            attributes: thing.attributes.clone(),
            people: people
                .map(|(key, with)| (self.cio_id(*key).to_owned(), with.clone()))
                .collect(),
            visitors: thing.visitors.keys().cloned().collect(),
        }
    }

    /// The objects of a person.
    pub(super) fn objects_of(&self, numbers: &BTreeSet<u64>) -> Vec<(String, String)> {
        numbers
            .iter()
            .filter_map(|number| self.objects.get(number))
            .map(|thing| (thing.object_type_id.clone(), thing.object_id.clone()))
            .collect()
    }

    /// Adds or removes relationships of a person.
    pub(super) fn relate(
        &mut self,
        who: &Identifier,
        relationships: Vec<ObjectRelationship>,
        remove: bool,
        cx: Context<'_>,
    ) -> Vec<Entry> {
        let found = match self.find_or_create(who, cx) {
            Ok(found) => found,
            Err(ignored) => return vec![*ignored],
        };
        let changed = self.relate_person(found.key, relationships, remove);
        let outcome = if changed { Did::ChangedRelationships } else { Did::Unchanged };
        let own = Entry::new(outcome).on(self.cio_id(found.key)).named(who);
        std::iter::once(own).chain(found.created).collect()
    }

    /// Adds or removes relationships of a person that was found; whether anything changed.
    pub(super) fn relate_person(
        &mut self,
        key: PersonKey,
        relationships: Vec<ObjectRelationship>,
        remove: bool,
    ) -> bool {
        let mut changed = false;
        for ObjectRelationship { object, attributes } in relationships {
            let found = self.find_object(&object);
            if remove {
                let Some(number) = found else { continue };
                changed |= self.drop_relationship(number, key);
            } else if let Some(number) = found.or_else(|| self.create_object(object)) {
                changed |= self.add_relationship(number, key, attributes);
            }
        }
        changed
    }

    /// Does something to an object.
    pub(super) fn change_object(&mut self, call: ObjectCall, cx: Context<'_>) -> Vec<Entry> {
        let found = self.find_object(&call.object);
        let ignored = |reason: &str| vec![Entry::new(Did::Ignored).because(reason)];
        if call.action == ObjectAction::Delete {
            let Some(number) = found else { return ignored("there is no such object") };
            self.delete_object(number);
            return vec![Entry::new(Did::DeletedObject)];
        }
        let (number, created) = match found {
            Some(number) => (number, false),
            None if call.action == ObjectAction::DeleteRelationships => {
                return ignored("there is no such object");
            }
            None => match self.create_object(call.object) {
                Some(number) => (number, true),
                None => return ignored("there is no object with this cio_object_id"),
            },
        };
        let mut changed = Vec::new();
        if let Some(thing) = self.objects.get_mut(&number)
            && matches!(call.action, ObjectAction::Identify | ObjectAction::IdentifyAnonymous)
        {
            for (name, value) in call.attributes {
                let blank = value.is_null() || value.as_str().is_some_and(str::is_empty);
                let old = if blank {
                    thing.attributes.remove(&name)
                } else {
                    thing.attributes.insert(name.clone(), value.clone())
                };
                if old != Some(value) && !(blank && old.is_none()) {
                    changed.push(name);
                }
            }
        }
        let mut effects = Vec::new();
        let mut related = false;
        for (who, attributes) in call.people {
            let (changed, effect) = self.relate_object(number, call.action, (who, attributes), cx);
            related |= changed;
            effects.extend(effect);
        }
        let outcome = match (created, changed.is_empty() && !related) {
            (true, _) => Did::CreatedObject,
            (false, false) => Did::UpdatedObject,
            (false, true) => Did::Unchanged,
        };
        std::iter::once(Entry::new(outcome).changing(changed)).chain(effects).collect()
    }

    /// One person of an object's call: whether anything changed, and what else happened.
    fn relate_object(
        &mut self,
        number: u64,
        action: ObjectAction,
        (who, attributes): (Identifier, Object),
        cx: Context<'_>,
    ) -> (bool, Option<Entry>) {
        if self.suppressed.contains_key(&who.key()) {
            return (false, Some(Entry::new(Did::Suppressed).named(&who)));
        }
        if action == ObjectAction::DeleteRelationships {
            let key = self.find(&who);
            return (key.is_some_and(|key| self.drop_relationship(number, key)), None);
        }
        match (&who, self.find(&who)) {
            (Identifier::AnonymousId(anonymous_id), None) => {
                (self.relate_visitor(number, anonymous_id, attributes), None)
            }
            _ => match self.find_or_create(&who, cx) {
                Ok(found) => (self.add_relationship(number, found.key, attributes), found.created),
                Err(ignored) => (false, Some(*ignored)),
            },
        }
    }

    /// Whether the relationship of a visitor is a new one.
    fn relate_visitor(&mut self, number: u64, anonymous_id: &str, attributes: Object) -> bool {
        let visitor = self.visitors.entry(anonymous_id.to_owned()).or_default();
        visitor.objects.insert(number);
        self.objects.get_mut(&number).is_some_and(|thing| {
            let old = thing.visitors.insert(anonymous_id.to_owned(), attributes.clone());
            old != Some(attributes)
        })
    }

    /// The relationship of a visitor becomes the person's.
    pub(super) fn relate_visitor_object(
        &mut self,
        number: u64,
        key: PersonKey,
        anonymous_id: &str,
    ) {
        if let Some(thing) = self.objects.get_mut(&number) {
            let attributes = thing.visitors.remove(anonymous_id).unwrap_or_default();
            thing.people.entry(key).or_insert(attributes);
        }
    }

    pub(super) fn move_relationship(&mut self, number: u64, from: PersonKey, to: PersonKey) {
        if let Some(thing) = self.objects.get_mut(&number)
            && let Some(attributes) = thing.people.remove(&from)
        {
            thing.people.entry(to).or_insert(attributes);
        }
    }

    /// Whether there was a relationship to remove.
    pub(super) fn drop_relationship(&mut self, number: u64, key: PersonKey) -> bool {
        if let Some(profile) = self.people.get_mut(&key) {
            profile.objects.remove(&number);
        }
        self.objects.get_mut(&number).is_some_and(|thing| thing.people.remove(&key).is_some())
    }

    fn add_relationship(&mut self, number: u64, key: PersonKey, attributes: Object) -> bool {
        if let Some(profile) = self.people.get_mut(&key) {
            profile.objects.insert(number);
        }
        self.objects.get_mut(&number).is_some_and(|thing| {
            let old = thing.people.insert(key, attributes.clone());
            old != Some(attributes)
        })
    }

    fn find_object(&self, name: &ObjectName) -> Option<u64> {
        match name {
            ObjectName::Key { .. } => self.object_numbers.get(name).copied(),
            ObjectName::CioObjectId(id) => {
                let number = u64::from_str_radix(id.strip_prefix("ob")?, 16).ok()?;
                self.objects.get(&number).filter(|thing| thing.cio_object_id == *id)?;
                Some(number)
            }
        }
    }

    /// A new object; none for a name that only Customer.io gives.
    fn create_object(&mut self, name: ObjectName) -> Option<u64> {
        let ObjectName::Key { object_type_id, object_id } = &name else { return None };
        self.last_object += 1;
        let number = self.last_object;
        let thing = Thing {
            cio_object_id: format!("ob{number:08x}"),
            object_type_id: object_type_id.clone(),
            object_id: object_id.clone(),
            attributes: BTreeMap::new(),
            people: BTreeMap::new(),
            visitors: BTreeMap::new(),
        };
        self.objects.insert(number, thing);
        self.object_numbers.insert(name, number);
        Some(number)
    }

    fn delete_object(&mut self, number: u64) {
        let Some(thing) = self.objects.remove(&number) else { return };
        let Thing { object_type_id, object_id, people, visitors, .. } = thing;
        self.object_numbers.remove(&ObjectName::Key { object_type_id, object_id });
        for key in people.keys() {
            if let Some(profile) = self.people.get_mut(key) {
                profile.objects.remove(&number);
            }
        }
        for anonymous_id in visitors.keys() {
            if let Some(visitor) = self.visitors.get_mut(anonymous_id) {
                visitor.objects.remove(&number);
            }
        }
    }
}
