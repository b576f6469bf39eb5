//! Stage 5: what an old, repeated or replayed event may still do.
