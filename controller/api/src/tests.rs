//! Routes over a real engine.
