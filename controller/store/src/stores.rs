//! Which store a record of which scope lives in.

use std::sync::Arc;

use model::Scope;

use crate::Store;

/// The stores of one host.
#[derive(Debug, Clone)]
pub struct Stores {
    /// This host's own.
    pub local: Arc<dyn Store>,
    /// Shared by the cluster; none on a host that stands alone.
    pub global: Option<Arc<dyn Store>>,
}

impl Stores {
    /// The stores of a host that stands alone: one file serves both scopes.
    pub fn alone(local: Arc<dyn Store>) -> Self {
        Self { local, global: None }
    }

    /// The store for records of a scope.
    pub fn of(&self, scope: Scope) -> &Arc<dyn Store> {
        match (scope, &self.global) {
            (Scope::Global, Some(global)) => global,
            (Scope::Global, None) | (Scope::Local, _) => &self.local,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn a_host_alone_keeps_global_records_in_its_own_store() {
        let stores = Stores::alone(Arc::new(Memory::new()));
        assert!(Arc::ptr_eq(stores.of(Scope::Global), &stores.local));
        assert!(Arc::ptr_eq(stores.of(Scope::Local), &stores.local));
    }

    #[test]
    fn a_host_of_a_cluster_keeps_global_records_in_the_shared_store() {
        let global: Arc<dyn Store> = Arc::new(Memory::new());
        let stores = Stores {
            local: Arc::new(Memory::new()),
            global: Some(Arc::clone(&global)),
        };
        assert!(Arc::ptr_eq(stores.of(Scope::Global), &global));
        assert!(Arc::ptr_eq(stores.of(Scope::Local), &stores.local));
    }
}
