//! Placeholder until the mapping lands.
use std::time::Duration;
/// What an answer means.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Accepted but for the rejected.
    Accepted {
        /// Items refused.
        rejected: Vec<ItemError>,
    },
    /// The whole request is malformed.
    Refused {
        /// Status.
        status: u16,
        /// Message.
        message: String,
    },
    /// 413
    TooLarge,
    /// 401, 403
    Unauthorized {
        /// Status.
        status: u16,
    },
    /// Later.
    TryAgain {
        /// Status; none: network.
        status: Option<u16>,
        /// Retry-After
        retry_after: Option<Duration>,
        /// May have been processed.
        unknown_fate: bool,
    },
}
/// One refused item.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemError {
    /// Place in the batch.
    pub index: usize,
    /// reason
    pub reason: String,
    /// field
    pub field: String,
    /// message
    pub message: String,
}
