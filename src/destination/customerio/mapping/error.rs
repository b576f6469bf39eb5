//! Why an event cannot be expressed in Customer.io's terms.

use serde_json::json;

use crate::outcome::{DeadCode, DeadLetter, Stage};

/// Why an event became no operation, or one that cannot be sent. Messages name fields, never their
/// values.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MapError {
    /// The event names nobody, and its operation is about somebody.
    #[error("{message}")]
    NoIdentity {
        /// What is missing.
        message: &'static str,
    },
    /// The event lacks what every event of its type has.
    #[error("{message}")]
    Malformed {
        /// What is missing.
        message: &'static str,
    },
    /// The event is complete, but Customer.io has nothing that it could become.
    #[error("{message}")]
    Unmappable {
        /// What stands in the way.
        message: &'static str,
    },
    /// A published limit of Customer.io is exceeded.
    #[error("{field}: {size} {unit}, and Customer.io takes at most {limit}")]
    Limit {
        /// What is too large.
        field: String,
        /// The published limit.
        limit: usize,
        /// The size that was found.
        size: usize,
        /// Bytes or entries.
        unit: &'static str,
    },
}

impl From<MapError> for DeadLetter {
    fn from(error: MapError) -> Self {
        let code = match &error {
            MapError::NoIdentity { .. } => DeadCode::NoIdentity,
            MapError::Malformed { .. } => DeadCode::InvalidEvent,
            MapError::Unmappable { .. } => DeadCode::Unmappable,
            MapError::Limit { .. } => DeadCode::LimitExceeded,
        };
        let letter = Self::new(code, Stage::Mapping, error.to_string());
        match error {
            MapError::Limit { field, limit, size, unit } => letter
                .with_detail(json!({ "field": field, "limit": limit, "size": size, "unit": unit })),
            _ => letter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_explained_with_field_limit_and_size() {
        let error = MapError::Limit { field: "event".into(), limit: 100, size: 102, unit: "bytes" };
        let letter = DeadLetter::from(error);
        assert_eq!(letter.code, DeadCode::LimitExceeded);
        assert_eq!(letter.message, "event: 102 bytes, and Customer.io takes at most 100");
        assert_eq!(letter.detail.unwrap()["size"], 102);
    }
}
