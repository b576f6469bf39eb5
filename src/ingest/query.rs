//! The query of a URL, decoded.

use actix_web::web;

/// Names and values in the order in which they stand in the URL.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query. Bytes that are no UTF-8 are replaced; nothing is an error.
    pub(super) fn parse(query: &str) -> Self {
        Self(web::Query::from_query(query).map(web::Query::into_inner).unwrap_or_default())
    }

    /// The first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All names with their values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
