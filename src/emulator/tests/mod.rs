//! What the emulator answers and keeps, by topic.
