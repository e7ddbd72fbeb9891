//! Ordered `key=value` pairs: user labels, and drivers' raw options as typed.

use std::collections::BTreeMap;

/// Pairs in key order, so that two equal sets read the same.
pub type Labels = BTreeMap<String, String>;
