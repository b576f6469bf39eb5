//! What the items of a batch are as elements of a request: each one, or consecutive identifies of a person
//! as one.
//!
//! Not here: which items travel together ([`super::batch`]), what two identifies are as one
//! ([`crate::destination`]).

use std::collections::HashMap;

use bytes::Bytes;

use super::queues::{ItemId, Queues};
use crate::destination::customerio::{Encoded, coalesce};

/// The elements of a request.
#[derive(Debug, Default)]
pub struct Luggage {
    /// The elements, in order.
    pub payloads: Vec<Bytes>,
    /// The element that each item is in.
    pub places: Vec<usize>,
}

/// Packs the items of a batch, in their order.
pub fn pack(queues: &Queues, items: &[ItemId]) -> Luggage {
    let mut luggage = Luggage::default();
    // By key: the last element that is about it.
    let mut last: HashMap<&str, usize> = HashMap::new();
    for &id in items {
        let Some(entry) = queues.entry(id) else { continue };
        let Encoded::Item(bytes) = &entry.item.payload else { continue };
        let keys = entry.item.keys.iter().map(AsRef::as_ref);
        let before = keys.clone().filter_map(|key| last.get(key).copied());
        // Nothing of its people may be between it and the element that it joins.
        let joined = match (before.clone().min(), before.max()) {
            (Some(place), Some(other)) if place == other && coalesce::is_identify(bytes) => {
                let earlier = &luggage.payloads[place];
                let both =
                    coalesce::is_identify(earlier).then(|| coalesce::coalesce(earlier, bytes));
                both.flatten().map(|both| (place, both))
            }
            _ => None,
        };
        let place = joined.as_ref().map_or(luggage.payloads.len(), |(place, _)| *place);
        match joined {
            Some((place, both)) => luggage.payloads[place] = both.into(),
            None => luggage.payloads.push(bytes.clone()),
        }
        last.extend(keys.map(|key| (key, place)));
        luggage.places.push(place);
    }
    luggage
}
