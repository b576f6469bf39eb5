//! The loop from journal to outcome.
