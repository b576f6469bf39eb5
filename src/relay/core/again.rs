//! What an event that comes back has done already, and what it holds.
//!
//! Scripts may have changed while it waited, so its parts are known again by what they are. A part that
//! has taken the number of another one must not take its id for Customer.io too: it would be taken for
//! a copy of it and be lost.

use std::borrow::Cow;

use super::Core;
use crate::clock::Time;
use crate::guard::Case;
use crate::guard::keys::Holder;
use crate::identity;
use crate::journal::{DonePart, Fact, FactKey, JournalError, Stored};
use crate::pipeline::Part;
use crate::relay::ledger::Unsettled;

/// What a part is among the events that scripts make.
pub(in crate::relay) fn what(case: &Case) -> String {
    format!("{} {}", case.call.as_str(), case.canonical)
}

/// How many of the parts before this one are the same.
pub(super) fn nth(parts: &[Part], part: &Part) -> u32 {
    let before = parts.iter().take_while(|other| other.index != part.index);
    let same = before.filter(|other| {
        other.case.call == part.case.call && other.case.canonical == part.case.canonical
    });
    u32::try_from(same.count()).unwrap_or(u32::MAX)
}

/// The part as it is to be sent, or `None` when it was delivered before.
pub(super) fn to_send<'p>(done: &[DonePart], part: &'p Part, nth: u32) -> Option<Cow<'p, Part>> {
    if done.is_empty() {
        return Some(Cow::Borrowed(part));
    }
    let what = what(&part.case);
    if done.iter().any(|done| done.what == what && done.nth == nth) {
        return None;
    }
    if done.iter().all(|done| done.index != part.index) {
        return Some(Cow::Borrowed(part));
    }
    let mut apart = part.clone();
    apart.event.set_apart();
    Some(Cow::Owned(apart))
}

impl Core {
    /// What an event that ends, or waits for days, takes back of what it taught: the business keys that it
    /// held, and that of which Customer.io was not told. What another event has taught since stays.
    pub(super) fn untaught(
        &mut self,
        event: &Unsettled,
        now: Time,
    ) -> Vec<(FactKey, Option<Fact>)> {
        let mut untaught: Vec<_> = event.given_up().into_iter().map(|key| (key, None)).collect();
        for (key, fact, by) in event.untold() {
            // Where the journal cannot be read, it stays.
            let known = self.facts.get(&key, now).ok().flatten();
            if known.is_some_and(|known| identity::told_by(&key, &known, by).is_some()) {
                let before = identity::untold(&key, &fact, now);
                untaught.push((key, before));
            }
        }
        untaught
    }

    /// Gives up the business keys that the event held while it waited and is not sent with now: the
    /// next copy must be able to take them over.
    pub(super) fn give_up_unused(
        &mut self,
        stored: &Stored,
        still_held: &[FactKey],
        event: &mut Unsettled,
        now: Time,
    ) -> Result<(), JournalError> {
        for held in &stored.attempts.holds {
            let key = FactKey(held.key.clone());
            if still_held.contains(&key) {
                continue;
            }
            let holder = self.facts.get(&key, now)?.and_then(|fact| Holder::from_fact(&fact));
            if holder.is_some_and(|holder| holder.owner() == held.owner) {
                self.facts.teach(key.clone(), None);
                event.taught.push((key, None));
            }
        }
        Ok(())
    }
}
