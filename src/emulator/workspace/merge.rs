//! Merge, delete, suppress: what takes a person away.

use super::{PersonKey, Profile, Workspace};
use crate::emulator::activity::{Did, Entry};
use crate::emulator::operation::Identifier;

impl Workspace {
    /// Merges `secondary` into `primary`; both must be there.
    pub(super) fn merge(&mut self, primary: &Identifier, secondary: &Identifier) -> Entry {
        let ignored = |reason: &str| Entry::new(Did::Ignored).named(primary).because(reason);
        let Some(into) = self.find(primary) else {
            return ignored("the primary person does not exist");
        };
        match self.find(secondary) {
            None => ignored("the secondary person does not exist"),
            Some(from) if from == into => ignored("both are the same person"),
            Some(from) => self.merge_into(into, from).named(primary),
        }
    }

    /// The primary person keeps what it has and gets what it lacks. Merged events stay as they are:
    /// they start nothing.
    pub(super) fn merge_into(&mut self, primary: PersonKey, secondary: PersonKey) -> Entry {
        let Some(gone) = self.take_out(secondary) else { return Entry::new(Did::Ignored) };
        for identifier in gone.identifiers() {
            let lacks =
                self.people.get(&primary).is_some_and(|kept| kept.slot(&identifier).is_none());
            if lacks {
                self.give(primary, &identifier);
            }
        }
        for anonymous_id in &gone.anonymous_ids {
            if let Some(visitor) = self.visitors.get_mut(anonymous_id) {
                visitor.owner = Some(primary);
            }
        }
        for object in &gone.objects {
            self.move_relationship(*object, secondary, primary);
        }
        let cio_id = self.cio_id(primary).to_owned();
        for seq in &gone.events {
            if let Some(event) = self.events.get_mut(seq) {
                event.cio_id = Some(cio_id.clone());
            }
        }
        let mut changed = Vec::new();
        if let Some(kept) = self.people.get_mut(&primary) {
            for (name, attribute) in gone.attributes {
                let has = kept.attributes.get(&name).is_some_and(|own| own.value.is_some());
                if !has && attribute.value.is_some() {
                    changed.push(name.clone());
                    kept.attributes.insert(name, attribute);
                }
            }
            for (token, device) in gone.devices {
                kept.devices.entry(token).or_insert(device);
            }
            kept.last_edit = kept.last_edit.max(gone.last_edit);
            kept.anonymous_ids.extend(gone.anonymous_ids);
            kept.objects.extend(gone.objects);
            kept.events.extend(gone.events);
        }
        Entry::new(Did::MergedPeople).on(&cio_id).changing(changed)
    }

    /// Deletes a person with everything of it; its identifiers can be used again.
    pub(super) fn delete(&mut self, who: &Identifier) -> Entry {
        match self.find(who).and_then(|key| self.erase(key)) {
            Some(gone) => Entry::new(Did::DeletedPerson).on(&gone.cio_id).named(who),
            None => Entry::new(Did::Ignored).named(who).because("nobody has this identifier"),
        }
    }

    /// Deletes a person and blocks its identifiers; an identifier of nobody is blocked alone.
    pub(super) fn suppress(&mut self, who: &Identifier) -> Entry {
        if matches!(who, Identifier::AnonymousId(_)) {
            return Entry::new(Did::Ignored).named(who).because("a visitor cannot be suppressed");
        }
        let gone = self.find(who).and_then(|key| self.erase(key));
        let mut entry = Entry::new(Did::SuppressedPerson).named(who);
        self.last_suppression += 1;
        let mut block = vec![who.clone()];
        if let Some(gone) = gone {
            entry = entry.on(&gone.cio_id);
            block.extend(gone.identifiers());
        }
        for identifier in block {
            self.suppressed.entry(identifier.key()).or_insert(self.last_suppression);
        }
        entry
    }

    /// Unblocks an identifier and those that were blocked with it. The profile stays deleted.
    pub(super) fn unsuppress(&mut self, who: &Identifier) -> Entry {
        let Some(number) = self.suppressed.get(&who.key()).copied() else {
            return Entry::new(Did::Ignored).named(who).because("it is not suppressed");
        };
        self.suppressed.retain(|_, blocked_with| *blocked_with != number);
        Entry::new(Did::UnsuppressedPerson).named(who)
    }

    /// Removes a person with its events and its ties.
    fn erase(&mut self, key: PersonKey) -> Option<Profile> {
        let gone = self.take_out(key)?;
        for seq in &gone.events {
            self.events.remove(seq);
        }
        for anonymous_id in &gone.anonymous_ids {
            self.visitors.remove(anonymous_id);
        }
        for object in &gone.objects {
            self.drop_relationship(*object, key);
        }
        Some(gone)
    }

    /// Takes a profile out, so that none of its identifiers finds it any more.
    fn take_out(&mut self, key: PersonKey) -> Option<Profile> {
        let gone = self.people.remove(&key)?;
        for identifier in gone.identifiers() {
            self.by_identifier.remove(&identifier.key());
        }
        Some(gone)
    }
}
