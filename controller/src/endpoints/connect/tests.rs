//! Names and interfaces.
