//! What an answer of Customer.io means.
