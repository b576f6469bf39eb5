//! Customer.io.
pub mod mapping;
pub mod operation;
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
