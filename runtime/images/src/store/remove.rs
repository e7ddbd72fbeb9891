//! Removal: a name goes; with its last name the image; with its last image a layer.

use super::{
    State, Store,
    find::{find, is_prefix},
    open::Unused,
};
use crate::{Digest, Error, ImageId, Reference, Result};

/// A container that needs an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// How messages call it.
    pub container: String,
    /// Whether it runs: then no force helps.
    pub running: bool,
}

/// One thing that a removal took away, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name.
    Untagged(Reference),
    /// An image.
    Image(ImageId),
    /// A layer.
    Layer(Digest),
}

impl Store {
    /// Removes what `name` says: one of several names is only untagged, the last one takes the image along. By its id
    /// an image goes with all its names, if they are of one repository or `force` is given.
    ///
    /// `users` tells who needs an image. It is asked under the store's lock and must not call the store. With `force`,
    /// stopped users are no obstacle to the names; the image itself stays, without a name, for them.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        users: &dyn Fn(ImageId) -> Vec<User>,
    ) -> Result<Vec<Removed>> {
        let mut state = self.state();
        let id = find(&state, name)?;
        let going = names_to_go(&state, name, id, force)?;
        let whole = state.index.names_of(id).all(|known| going.contains(known));
        let users = if whole { users(id) } else { Vec::new() };
        let obstacle = users
            .iter()
            .find(|user| user.running)
            .or(users.first().filter(|_| !force));
        if let Some(user) = obstacle {
            let (user, running) = (user.container.clone(), user.running);
            return Err(Error::InUse {
                name: name.to_owned(),
                id,
                user,
                running,
            });
        }
        let mut next = state.index.clone();
        next.names.retain(|known, _| !going.contains(known));
        let deleted = whole && users.is_empty();
        if deleted {
            next.images.remove(&id);
        }
        self.replace_index(&mut state, next)?;
        let mut removed: Vec<_> = going.into_iter().map(Removed::Untagged).collect();
        if deleted {
            let unused = self.forget(&mut state, id);
            drop(state);
            unused.discard();
            removed.push(Removed::Image(id));
            removed.extend(unused.layers.into_iter().map(Removed::Layer));
        }
        Ok(removed)
    }

    fn forget(&self, state: &mut State, id: ImageId) -> Unused {
        state.images.remove(&id);
        let path = self.root.join("images").join(format!("{}.json", id.hex()));
        // The index no longer names it: a leftover is swept at the next start.
        std::fs::remove_file(path).unwrap_or_default();
        self.collect(state)
    }
}

/// A name goes alone; an id takes all names along. A digest's name goes with the last tag of its repository.
fn names_to_go(state: &State, name: &str, id: ImageId, force: bool) -> Result<Vec<Reference>> {
    let all: Vec<_> = state.index.names_of(id).cloned().collect();
    let named = name
        .parse()
        .ok()
        .filter(|reference| state.index.names.get(reference) == Some(&id));
    if let Some(named) = named {
        let last = !all.iter().any(|other| {
            other.digest().is_none() && *other != named && other.repository() == named.repository()
        });
        let along =
            |other: &Reference| last && other.digest().is_some() && other.repository() == named.repository();
        return Ok(all
            .into_iter()
            .filter(|other| *other == named || along(other))
            .collect());
    }
    debug_assert!(
        is_prefix(name.strip_prefix("sha256:").unwrap_or(name)),
        "found by id"
    );
    let several = all
        .windows(2)
        .any(|pair| pair[0].repository() != pair[1].repository());
    if several && !force {
        return Err(Error::Referenced { id });
    }
    Ok(all)
}
