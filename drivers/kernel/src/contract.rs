//! What every kernel must do: run on the fake and on Linux, so that the fake can't lie.
//!
//! `kernel_contract!` makes a test of each case. A case gets a fresh host and a folder for pins; nothing of it is seen
//! by any other.

mod cases;
mod ensuring;
mod moving;
pub(crate) mod objects;
mod uppers;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use model::{EndpointId, NetworkId, NodeId};

use crate::{Error, Failure, Kernel, KernelState, Key, Mark, Netns, Object, Owner, Step, plan::satisfied};

pub(crate) use cases::*;
pub(crate) use ensuring::*;
pub(crate) use moving::*;
pub(crate) use uppers::*;

/// How long anything that the kernel does behind our back may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a case works on.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    kernel: &'a dyn Kernel,
    pins: &'a Path,
    mark: Mark,
}

impl<'a> Case<'a> {
    /// A kernel whose host is fresh, and a folder that exists only for this case.
    pub(crate) fn new(kernel: &'a dyn Kernel, pins: &'a Path) -> Self {
        Self {
            kernel,
            pins,
            mark: Mark {
                node: NodeId::random(),
                owner: Owner::Network(NetworkId::random()),
            },
        }
    }

    fn pin(&self, name: &str) -> PathBuf {
        self.pins.join(name)
    }

    fn endpoint_mark(&self) -> Mark {
        Mark {
            owner: Owner::Endpoint(EndpointId::random()),
            ..self.mark
        }
    }

    fn apply(&self, steps: &[Step]) -> Result<(), Failure> {
        self.kernel.apply(&self.mark, steps)
    }

    fn create(&self, object: &Object) -> Result<(), Error> {
        self.apply(&[Step::Create(object.clone())])
            .map_err(|failure| failure.error)
    }

    fn remove(&self, object: &Object) -> Result<(), Error> {
        self.apply(&[Step::Remove(object.clone())])
            .map_err(|failure| failure.error)
    }

    fn change(&self, from: &Object, to: &Object) -> Result<(), Error> {
        let (from, to) = (from.clone(), to.clone());
        self.apply(&[Step::Change { from, to }])
            .map_err(|failure| failure.error)
    }

    /// Makes objects that a case starts from.
    fn given(&self, objects: &[&Object]) {
        for object in objects {
            if let Err(error) = self.create(object) {
                panic!("making what the case starts from: {error:?}");
            }
        }
    }

    fn observe(&self, object: &Object) -> Option<Object> {
        let state = self
            .kernel
            .observe(&[object.key()])
            .expect("looking an object up");
        state.get(&object.key()).cloned()
    }

    /// Whether it is there as it is wanted.
    fn holds(&self, object: &Object) -> bool {
        self.observe(object)
            .is_some_and(|there| satisfied(&there, object))
    }

    fn is_there(&self, object: &Object) -> bool {
        self.observe(object).is_some()
    }

    /// Waits for what the kernel does in its own time.
    fn eventually(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds() {
            assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
            std::thread::yield_now();
        }
    }

    fn nothing_of(&self, objects: &KernelState) {
        assert!(self.kernel.settle(DEADLINE), "the kernel is still removing links");
        let keys: Vec<Key> = objects
            .keys()
            .filter(|key| !matches!(key, Key::Sysctl(Netns::Host, _)))
            .cloned()
            .collect();
        let left = self.kernel.observe(&keys).expect("looking up what is left");
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

/// Makes a test of every case. `$run` is called with a case; it makes a kernel and hands the case a [`Case`].
macro_rules! kernel_contract {
    ($run:path: $($case:ident),+ $(,)?) => {
        $(
            #[test]
            fn $case() {
                $run($crate::contract::$case);
            }
        )+
    };
    ($run:path) => {
        $crate::contract::kernel_contract! { $run:
            every_object_is_made_once_seen_and_removed,
            a_link_needs_its_namespace_and_its_master,
            an_end_that_exists_elsewhere_is_refused,
            a_pair_goes_together,
            a_namespace_takes_what_is_in_it,
            a_removed_bridge_frees_its_name_and_its_ports,
            a_link_takes_what_is_on_it,
            a_route_needs_a_link_that_is_up_and_a_reachable_next_hop,
            addresses_and_entries_need_their_link,
            forwarding_entries_need_a_tunnel_or_a_port,
            one_vni_has_one_tunnel,
            a_tunnel_is_made_from_the_host_in_its_own_namespace,
            a_removed_network_frees_its_vni_at_once,
            links_change_in_place,
            routes_and_entries_change_in_place,
            a_sysctl_belongs_to_its_namespace,
            what_is_not_ours_is_not_removed,
            a_node_finds_what_it_owns,
            a_links_static_entries_are_listed,
            the_first_failure_stops_and_tells_what_was_done,
            ensuring_twice_changes_nothing,
            ensuring_repairs_what_somebody_took_away,
            ensuring_walks_back_from_a_failure,
            ensuring_does_not_take_over_another_kind_of_link,
            adopted_links_are_only_tuned,
            many_entries_are_one_plan,
            a_survey_stands_for_many_looks,
            removing_what_is_gone_is_no_error,
            firewall_steps_are_all_or_none,
            a_users_chain_is_made_once_and_left_alone,
            routes_and_mtu_of_the_host_are_known,
            errors_name_their_object,
            a_link_on_another_is_made_where_it_belongs_and_goes_with_it,
            one_that_passes_through_has_its_link_for_itself,
            one_may_be_called_like_the_one_below,
            kinds_are_asked_for,
            a_link_moves_under_a_new_name_and_back,
            what_can_not_move_stays_where_it_is,
        }
    };
}
pub(crate) use kernel_contract;
