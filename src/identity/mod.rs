//! Stage 6: whose event it is.
