//! Fields of an object by name.
//!
//! The objects of an event are small, and hashing a name costs more than looking at a handful of
//! them: this is where most of a script's time went. Large objects are asked by hash as ever.

use serde_json::Value;

use super::Object;

/// Up to so many fields are looked at one after the other.
const SMALL: usize = 16;

/// The value of a field.
pub(crate) fn field<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    if object.len() > SMALL {
        return object.get(name);
    }
    object.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
}

/// The value of a field, to be changed.
pub(crate) fn field_mut<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Value> {
    if object.len() > SMALL {
        return object.get_mut(name);
    }
    object.iter_mut().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_objects_of_every_size() {
        let mut object = Object::new();
        for count in 0..40 {
            assert_eq!(field(&object, "absent"), None, "{count} fields");
            object.insert(format!("key {count}"), count.into());
            for at in 0..=count {
                let name = format!("key {at}");
                assert_eq!(field(&object, &name), Some(&at.into()), "{count} fields");
                assert_eq!(field_mut(&mut object, &name), Some(&mut at.into()), "{count} fields");
            }
        }
    }
}
