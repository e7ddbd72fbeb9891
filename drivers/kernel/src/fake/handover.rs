//! Links that go from one namespace into another.

use super::rules::World;
use crate::{
    Error, Handover, Key, Object, Result,
    object::{Link, LinkKind},
};

impl World {
    /// As Linux does it: the addresses on it are lost, and its other end knows where it is.
    pub(super) fn hand_over(&mut self, handover: &Handover) -> Result<()> {
        let key = Key::Link(handover.from.clone(), handover.link.clone());
        let there = Key::Link(handover.to.clone(), handover.name.clone());
        let missing = |what: String| Error::NoSuch {
            object: key.clone().into(),
            missing: what,
        };
        if let crate::Netns::Pinned(path) = &handover.to
            && self.objects.get(&Key::Namespace(path.clone())).is_none()
        {
            return Err(missing(handover.to.to_string()));
        }
        let taken = self.objects.get(&there).is_some();
        let Some(Object::Link(link)) = self.objects.get(&key).cloned() else {
            return match taken {
                true => Ok(()),
                false => Err(missing(format!("link {:?}", handover.link.as_str()))),
            };
        };
        if taken && there != key {
            return Err(Error::Exists(there.into()));
        }
        self.forget_on(&link);
        let mark = self.marks.remove(&key);
        self.objects.remove(&key);
        let moved = Link {
            netns: handover.to.clone(),
            name: handover.name.clone(),
            mac: handover.mac.or(link.mac),
            master: None,
            up: false,
            ..link
        };
        self.put(Object::Link(moved));
        if let Some(mark) = mark {
            self.marks.insert(there, mark);
        }
        self.tell_other_end(handover);
        Ok(())
    }

    fn forget_on(&mut self, gone: &Link) {
        let on =
            |netns: &crate::Netns, link: &model::InterfaceName| (netns, link) == (&gone.netns, &gone.name);
        let lost = self.objects.objects().filter(|object| match object {
            Object::Address(o) => on(&o.netns, &o.link),
            Object::Route(o) => on(&o.netns, &o.link),
            Object::Neighbor(o) => on(&o.netns, &o.link),
            Object::Proxy(o) => on(&o.netns, &o.link),
            Object::Fdb(o) => on(&o.netns, &o.link),
            _ => false,
        });
        let lost: Vec<_> = lost.map(Object::key).collect();
        for key in lost {
            self.take(&key);
        }
    }

    fn tell_other_end(&mut self, handover: &Handover) {
        let makers: Vec<Link> = self
            .objects
            .objects()
            .filter_map(|object| match object {
                Object::Link(link) => Some(link.clone()),
                _ => None,
            })
            .collect();
        for mut link in makers {
            if let LinkKind::Veth { peer, .. } = &mut link.kind
                && (&peer.netns, &peer.name) == (&handover.from, &handover.link)
            {
                peer.netns = handover.to.clone();
                peer.name = handover.name.clone();
                self.put(Object::Link(link));
            }
        }
    }
}
