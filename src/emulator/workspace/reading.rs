//! What the views read from the workspace.

use super::{PersonKey, Workspace};
use crate::emulator::operation::{Identifier, Kind};
use crate::emulator::people::Person;
use crate::emulator::workspace::EventRecord;

impl Workspace {
    /// People, the oldest first, without the first `skipped`.
    pub(in crate::emulator) fn people(&self, skipped: usize) -> impl Iterator<Item = Person> {
        self.people.keys().skip(skipped).filter_map(|key| self.person(*key))
    }

    /// How many people there are.
    pub(in crate::emulator) fn people_count(&self) -> usize {
        self.people.len()
    }

    /// The person with that id, e-mail address, phone number, `cio_id` (with or without its prefix)
    /// or anonymous id, tried in this order.
    pub(in crate::emulator) fn lookup(&self, text: &str) -> Option<Person> {
        let kinds: [Kind; 5] = [
            Identifier::Id,
            Identifier::Email,
            Identifier::Phone,
            Identifier::CioId,
            Identifier::AnonymousId,
        ];
        let bare = text.strip_prefix("cio_").map(|id| Identifier::CioId(id.to_owned()));
        let named = kinds.into_iter().map(|kind| kind(text.to_owned()));
        let key = named.chain(bare).find_map(|who| self.find(&who))?;
        self.person(key)
    }

    /// Every event that is remembered, in the order of receipt.
    pub(in crate::emulator) fn events(&self) -> impl DoubleEndedIterator<Item = &EventRecord> {
        self.events.values()
    }

    /// The events received after `since`.
    pub(in crate::emulator) fn events_since(
        &self,
        since: u64,
    ) -> impl Iterator<Item = &EventRecord> {
        self.events.range(since.saturating_add(1)..).map(|(_, event)| event)
    }

    /// How many events had to be forgotten.
    pub(in crate::emulator) fn forgotten_events(&self) -> u64 {
        self.forgotten_events
    }

    fn person(&self, key: PersonKey) -> Option<Person> {
        let profile = self.people.get(&key)?;
        let set = profile.attributes.iter();
        let set = set.filter_map(|(name, held)| Some((name, held.value.as_ref()?, held.at)));
        Some(Person {
            cio_id: profile.cio_id.clone(),
            id: profile.id.clone(),
            email: profile.email.clone(),
            phone: profile.phone.clone(),
            attributes: set.clone().map(|(name, value, _)| (name.clone(), value.clone())).collect(),
            attribute_times: set.map(|(name, _, at)| (name.clone(), at)).collect(),
            created: profile.created,
            last_edit: Some(profile.last_edit).filter(|at| *at != i64::MIN),
            anonymous_ids: profile.anonymous_ids.iter().cloned().collect(),
            devices: profile.devices.values().cloned().collect(),
            objects: self.objects_of(&profile.objects),
            events: profile.events.iter().filter_map(|seq| self.events.get(seq)).cloned().collect(),
        })
    }
}
