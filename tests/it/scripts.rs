//! Scripts that go wrong.
