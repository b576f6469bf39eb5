//! Placeholder until the mapping lands.
/// Encoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoded {
    /// An element of a batch.
    Item(Vec<u8>),
    /// A request of its own.
    Call {
        /// Method
        method: &'static str,
        /// Path
        path: String,
        /// Body
        body: Option<Vec<u8>>,
    },
}
