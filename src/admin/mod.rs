//! The operator's surface: metrics, health, dead letters.
