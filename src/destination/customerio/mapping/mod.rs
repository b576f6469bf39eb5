//! Mappings.
use serde::{Deserialize, Serialize};
/// Mapping.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mapping {
    /// Segment
    #[default]
    Segment,
    /// RudderStack
    Rudderstack,
}
impl From<crate::spec::Vendor> for Mapping {
    fn from(vendor: crate::spec::Vendor) -> Self {
        match vendor {
            crate::spec::Vendor::Segment => Self::Segment,
            crate::spec::Vendor::Rudderstack => Self::Rudderstack,
        }
    }
}
