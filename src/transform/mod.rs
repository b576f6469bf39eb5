//! Stage 4: the team's Rhai scripts.
