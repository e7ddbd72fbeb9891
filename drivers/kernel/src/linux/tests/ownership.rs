//! Signs of ownership, and which namespace is the host.

use std::thread;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
};
use nix::sched::{CloneFlags, unshare};

use super::{Linux, apart};
use crate::{
    Kernel, Mark, Netns, Object, Owner, Step,
    contract::objects::*,
    linux::netlink::{CREATE, Connection},
};

fn mark() -> Mark {
    Mark {
        node: model::NodeId::random(),
        owner: Owner::Network(model::NetworkId::random()),
    }
}

#[test]
fn a_link_whose_maker_died_before_marking_it_is_found_and_removed() {
    apart(|| {
        let (kernel, mark) = (Linux::here().expect("a kernel"), mark());
        let mut unmarked = LinkMessage::default();
        unmarked.attributes = vec![
            LinkAttribute::IfName("br".to_owned()),
            LinkAttribute::Group(Mark::group(mark.node)),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        Connection::here()
            .expect("a socket")
            .change(RouteNetlinkMessage::NewLink(unmarked), CREATE)
            .expect("a bridge without an alias");
        let owned = kernel
            .observe_owned(&Netns::Host, mark.node)
            .expect("listing what is ours");
        let [(found, object)] = owned.as_slice() else {
            panic!("{owned:?}");
        };
        assert_eq!((found.owner, found.node), (Owner::Host, mark.node));
        kernel
            .apply(&mark, &[Step::Remove(object.clone())])
            .expect("removing it");
        assert!(kernel.settle(std::time::Duration::from_secs(10)));
        let left = kernel.observe(&[object.key()]).expect("looking");
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn the_host_is_the_makers_namespace_from_whichever_thread() {
    apart(|| {
        let (kernel, mark) = (Linux::here().expect("a kernel"), mark());
        let link = Object::Link(bridge(&Netns::Host, "br"));
        thread::scope(|scope| {
            let elsewhere = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("another namespace");
                kernel
                    .apply(&mark, &[Step::Create(link.clone())])
                    .expect("making a bridge from elsewhere");
                Linux::here().expect("another kernel")
            });
            let other = elsewhere.join().expect("the other thread");
            let there = other.observe(&[link.key()]).expect("looking there");
            assert!(there.is_empty(), "it was made where the thread was");
        });
        let here = kernel.observe(&[link.key()]).expect("looking here");
        assert_eq!(here.len(), 1);
    });
}
