//! Customer.io.
pub mod mapping;
mod operation;
mod person;
pub use operation::Encoded;
pub use person::{PersonId, Subject, Who};
pub mod response;
use serde::{Deserialize, Serialize};
/// Region.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// US
    #[default]
    Us,
    /// EU
    Eu,
}
/// Transport.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// v2
    #[default]
    V2,
    /// v1
    V1,
}
