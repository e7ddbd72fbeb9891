//! A set of kernel objects by key.

use std::collections::BTreeMap;

use crate::{Key, Object};

/// Objects by key, in an order of no meaning (dependency order is [`crate::plan`]'s work).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelState {
    objects: BTreeMap<Key, Object>,
}

impl KernelState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an object in, replacing the one of its key.
    pub fn insert(&mut self, object: Object) -> Option<Object> {
        self.objects.insert(object.key(), object)
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        self.objects.remove(key)
    }

    /// The object of a key.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys()
    }

    /// Keys with their objects, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter()
    }

    /// Objects in key order.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The objects for which this holds.
    #[must_use]
    pub fn filtered(&self, holds: impl Fn(&Key, &Object) -> bool) -> Self {
        let objects = self.objects.iter().filter(|(key, object)| holds(key, object));
        Self {
            objects: objects
                .map(|(key, object)| (key.clone(), object.clone()))
                .collect(),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl FromIterator<Object> for KernelState {
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        let mut state = Self::new();
        state.extend(objects);
        state
    }
}

impl Extend<Object> for KernelState {
    fn extend<I: IntoIterator<Item = Object>>(&mut self, objects: I) {
        for object in objects {
            self.insert(object);
        }
    }
}
