//! Closes the gap between what is and what should be, and walks back when it can't.
//!
//! Optimistic: a new object is made exclusively and looked at only if the kernel says that it exists, so the cost
//! follows what changed and not what is there. Only what is there without us (sysctls, adopted links, a veth's other
//! end) is looked up first, because undo needs to know how it was.

use model::InterfaceName;

use crate::{
    Error, Failure, Kernel, KernelState, Key, Mark, Netns, Object, Result, Step, Survey,
    object::{Link, LinkKind},
    plan,
    plan::{comes_with_its_maker, link_of_sysctl, satisfied},
};

/// Brings the objects of `desired` about. On failure everything done is undone; what could not be is in
/// [`Error::NotUndone`] together with the reason. Calling again repairs, or changes nothing.
pub fn ensure(kernel: &dyn Kernel, mark: &Mark, desired: &KernelState) -> Result<()> {
    if has_its_namespace(kernel, desired)? {
        return ensure_surveyed(kernel, mark, &Survey::default(), desired);
    }
    let known: Vec<_> = desired
        .objects()
        .filter(|object| there_before_us(object, desired))
        .map(Object::key)
        .collect();
    let actual = observe(kernel, &known)?;
    let mut attempt = Attempt::new(kernel, mark);
    attempt
        .close_gap(&actual, desired)
        .map_err(|error| attempt.walk_back(error))
}

/// Goes from objects that are there to others, in one plan: what is gone and what is new of a firewall change in one
/// transaction, so that nothing which both have in other words is ever missing. On failure all is as before.
pub fn exchange(kernel: &dyn Kernel, mark: &Mark, gone: &KernelState, new: &KernelState) -> Result<()> {
    let known: Vec<_> = new
        .objects()
        .filter(|object| there_before_us(object, new))
        .map(Object::key)
        .collect();
    let mut actual = observe(kernel, &known)?;
    actual.extend(gone.objects().cloned());
    let mut attempt = Attempt::new(kernel, mark);
    let done = match attempt.apply(plan(&actual, new)) {
        Err(Error::Exists(_)) => {
            let keys: Vec<_> = gone.keys().chain(new.keys()).cloned().collect();
            let actual = kernel.observe(&keys)?;
            refuse_foreign(&actual, new)?;
            attempt.apply(plan(&actual, new))
        }
        answer => answer,
    };
    done.map_err(|error| attempt.walk_back(error))
}

/// The same where most of it is there already, as after a restart: what `survey` saw is compared without another look,
/// the rest is looked up first. A transaction that the kernel refuses because something exists costs it a grace period.
pub fn ensure_surveyed(
    kernel: &dyn Kernel,
    mark: &Mark,
    survey: &Survey,
    desired: &KernelState,
) -> Result<()> {
    let (seen, unseen): (Vec<_>, Vec<_>) = desired.keys().partition(|key| survey.tells_of(key));
    let unseen: Vec<_> = unseen.into_iter().cloned().collect();
    let mut actual = observe(kernel, &unseen)?;
    actual.extend(seen.into_iter().filter_map(|key| survey.get(key)).cloned());
    let mut attempt = Attempt::new(kernel, mark);
    attempt
        .close_surveyed_gap(&actual, desired)
        .map_err(|error| attempt.walk_back(error))
}

fn observe(kernel: &dyn Kernel, keys: &[Key]) -> Result<KernelState> {
    match keys.is_empty() {
        true => Ok(KernelState::new()),
        false => kernel.observe(keys),
    }
}

/// Whether a namespace that is wanted is there: then what is wanted in it most likely is too.
fn has_its_namespace(kernel: &dyn Kernel, desired: &KernelState) -> Result<bool> {
    let namespaces = desired.keys().filter(|key| matches!(key, Key::Namespace(_)));
    let namespaces: Vec<_> = namespaces.cloned().collect();
    Ok(!observe(kernel, &namespaces)?.is_empty())
}

/// Removes objects, dependents first. What is gone already is no error; on a failure the rest is removed all the same.
pub fn remove(kernel: &dyn Kernel, mark: &Mark, objects: &KernelState) -> Result<()> {
    let steps = plan(objects, &KernelState::new());
    let mut errors = carry_on(kernel, mark, steps);
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => Err(Error::Several(errors)),
    }
}

/// Objects that exist whether we want them or not, in namespaces that exist already.
fn there_before_us(object: &Object, desired: &KernelState) -> bool {
    let by_nature = match object {
        Object::Sysctl(_) => true,
        Object::Link(Link { kind, .. }) => matches!(kind, LinkKind::Existing | LinkKind::VethPeer),
        _ => false,
    };
    by_nature && !in_new_namespace(object, desired) && !on_new_link(object, desired)
}

/// Should the link be there after all, then making it fails before anything of it is touched.
fn on_new_link(object: &Object, desired: &KernelState) -> bool {
    let link = match object {
        Object::Sysctl(sysctl) => link_of_sysctl(&sysctl.name)
            .and_then(|link| InterfaceName::new(link).ok())
            .and_then(|link| desired.get(&Key::Link(sysctl.netns.clone(), link))),
        object => Some(object),
    };
    link.is_some_and(|link| match link {
        Object::Link(Link {
            kind: LinkKind::Existing | LinkKind::VethPeer,
            ..
        }) => comes_with_its_maker(link, desired),
        Object::Link(_) => true,
        _ => false,
    })
}

fn in_new_namespace(object: &Object, desired: &KernelState) -> bool {
    match object.key().netns() {
        Netns::Pinned(path) => desired.get(&Key::Namespace(path)).is_some(),
        Netns::Host | Netns::Numbered(_) => false,
    }
}

struct Attempt<'a> {
    kernel: &'a dyn Kernel,
    mark: &'a Mark,
    done: Vec<Step>,
}

impl<'a> Attempt<'a> {
    fn new(kernel: &'a dyn Kernel, mark: &'a Mark) -> Self {
        Self {
            kernel,
            mark,
            done: Vec::new(),
        }
    }

    /// Applies the plan; where something exists unexpectedly, looks at everything and plans once more.
    fn close_gap(&mut self, actual: &KernelState, desired: &KernelState) -> Result<()> {
        match self.apply(plan(actual, desired)) {
            Err(Error::Exists(_)) => self.look_and_close(desired),
            answer => answer,
        }
    }

    /// The same when `actual` is all that there is, or was when it was surveyed.
    fn close_surveyed_gap(&mut self, actual: &KernelState, desired: &KernelState) -> Result<()> {
        refuse_foreign(actual, desired)?;
        if astray(self.kernel, actual, desired)?.is_empty() {
            return self.close_gap(actual, desired);
        }
        self.look_and_close(desired)
    }

    fn look_and_close(&mut self, desired: &KernelState) -> Result<()> {
        let keys: Vec<_> = desired.keys().cloned().collect();
        let mut actual = self.kernel.observe(&keys)?;
        refuse_foreign(&actual, desired)?;
        let astray = astray(self.kernel, &actual, desired)?;
        if !astray.is_empty() {
            // Never brought back: it led to where nobody is.
            remove(self.kernel, self.mark, &astray)?;
            actual = self.kernel.observe(&keys)?;
        }
        self.apply(plan(&actual, desired))
    }

    fn apply(&mut self, steps: Vec<Step>) -> Result<()> {
        tracing::debug!(steps = steps.len(), owner = ?self.mark.owner, "applying a plan");
        match self.kernel.apply(self.mark, &steps) {
            Ok(()) => {
                self.done.extend(steps);
                Ok(())
            }
            Err(Failure { done, error, .. }) => {
                self.done.extend(done.into_iter().map(|at| steps[at].clone()));
                Err(error)
            }
        }
    }

    fn walk_back(&mut self, error: Error) -> Error {
        let undo: Vec<_> = self.done.drain(..).rev().map(Step::undo).collect();
        let left = carry_on(self.kernel, self.mark, undo);
        match left.is_empty() {
            true => error,
            false => Error::NotUndone {
                error: Box::new(error),
                left,
            },
        }
    }
}

/// A link of our name but of another kind was made by somebody else: replacing it would take it from them.
fn refuse_foreign(actual: &KernelState, desired: &KernelState) -> Result<()> {
    let foreign = desired
        .objects()
        .find(|wanted| match (actual.get(&wanted.key()), wanted) {
            (Some(Object::Link(there)), Object::Link(wanted)) => !comparable(&there.kind, &wanted.kind),
            _ => false,
        });
    foreign.map_or(Ok(()), |object| Err(Error::Foreign(object.key().into())))
}

/// The pairs whose other end is in another namespace than where it is wanted, as when a container's was made anew while
/// somebody keeps the old one. What the end is called there doesn't count: a container may rename it.
fn astray(kernel: &dyn Kernel, actual: &KernelState, desired: &KernelState) -> Result<KernelState> {
    let mut astray = KernelState::new();
    for wanted in desired.objects() {
        if let Some(there) = actual.get(&wanted.key())
            && let (Object::Link(link), Some(is), Some(should)) = (there, other_end(there), other_end(wanted))
            && is_elsewhere(kernel, &link.netns, is, should)?
        {
            astray.insert(there.clone());
        }
    }
    Ok(astray)
}

fn other_end(object: &Object) -> Option<&Netns> {
    match object {
        Object::Link(Link {
            kind: LinkKind::Veth { peer, .. },
            ..
        }) => Some(&peer.netns),
        _ => None,
    }
}

fn is_elsewhere(kernel: &dyn Kernel, from: &Netns, is: &Netns, should: &Netns) -> Result<bool> {
    match is {
        Netns::Numbered(number) if *number >= 0 => match kernel.number_of(from, should) {
            Ok(wanted) => Ok(wanted != Some(*number)),
            // Without the namespace where it should be there is nothing to bring it to.
            Err(Error::NoSuch { .. }) => Ok(false),
            Err(error) => Err(error),
        },
        // It is ending, and takes the pair along.
        Netns::Numbered(_) => Ok(true),
        known => Ok(known != should),
    }
}

fn comparable(there: &LinkKind, wanted: &LinkKind) -> bool {
    use LinkKind::{Dummy, Existing, Upper, Veth, VethPeer, Vxlan};
    matches!(
        (there, wanted),
        (_, Existing)
            | (LinkKind::Bridge, LinkKind::Bridge)
            | (Veth { .. } | VethPeer, Veth { .. } | VethPeer)
            | (Vxlan(_), Vxlan(_))
            | (Upper(_), Upper(_))
            | (Dummy, Dummy)
    )
}

/// Applies steps, leaving out each one that fails, and returns why they did.
fn carry_on(kernel: &dyn Kernel, mark: &Mark, mut steps: Vec<Step>) -> Vec<Error> {
    let mut errors = Vec::new();
    while let Err(Failure { done, failed, error }) = kernel.apply(mark, &steps) {
        errors.push(error);
        let mut at = 0;
        steps.retain(|_| {
            let open = at != failed && !done.contains(&at);
            at += 1;
            open
        });
    }
    errors
}

/// Whether everything wanted is there.
pub fn holds(kernel: &dyn Kernel, desired: &KernelState) -> Result<bool> {
    let keys: Vec<_> = desired.keys().cloned().collect();
    let actual = kernel.observe(&keys)?;
    Ok(desired.objects().all(|wanted| {
        actual
            .get(&wanted.key())
            .is_some_and(|object| satisfied(object, wanted))
    }))
}

#[cfg(test)]
mod tests;
