//! Stage 3: the durable, ordered store of accepted events.
