//! Images for the API: the store's verbs on blocking threads, with events and with the containers that need them.

use std::{io::Read, sync::Arc};

use images::{Image, ImageId, Import, Loaded, Reference, Removed, User};
use model::Labels;

use crate::{
    containers::{Core, blocking},
    error::Result,
    event::{Event, Subject},
};

/// The images of this host.
#[derive(Debug, Clone)]
pub struct Images {
    pub(crate) core: Arc<Core>,
}

impl Images {
    /// Takes the archive of a root file system in as an image. `input` is read on a blocking thread.
    ///
    /// # Errors
    /// `Invalid` for an archive that is refused.
    pub async fn import(&self, input: impl Read + Send + 'static, import: Import) -> Result<ImageId> {
        let store = self.core.images.clone();
        let name = import.reference.as_ref().map(Reference::familiar);
        let id = blocking(move || Ok(store.import(input, &import)?)).await?;
        self.tell("import", &id, name.unwrap_or_else(|| id.to_string()))
            .await;
        Ok(id)
    }

    /// Takes in every image of a saved archive, or none. `input` is read on a blocking thread.
    ///
    /// # Errors
    /// `Invalid` for an archive that is refused.
    pub async fn load(&self, input: impl Read + Send + 'static) -> Result<Vec<Loaded>> {
        let store = self.core.images.clone();
        let loaded = blocking(move || Ok(store.load(input)?)).await?;
        for image in &loaded {
            let name = image
                .names
                .first()
                .map_or_else(|| image.id.to_string(), Reference::familiar);
            self.tell("load", &image.id, name).await;
        }
        Ok(loaded)
    }

    /// All images, the newest first.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn list(&self) -> Result<Vec<Image>> {
        let store = self.core.images.clone();
        blocking(move || Ok(store.list())).await
    }

    /// One image, by id, name or unique id prefix.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for an ambiguous prefix.
    pub async fn get(&self, name: &str) -> Result<Image> {
        let (store, name) = (self.core.images.clone(), name.to_owned());
        blocking(move || Ok(store.get(&name)?)).await
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for text that is no name.
    pub async fn tag(&self, name: &str, new: &str) -> Result<()> {
        let (store, name, text) = (self.core.images.clone(), name.to_owned(), new.to_owned());
        let id = blocking(move || Ok(store.tag(&name, &text)?)).await?;
        let new = new
            .parse::<Reference>()
            .map_or_else(|_| new.to_owned(), |reference| reference.familiar());
        self.tell("tag", &id, new).await;
        Ok(())
    }

    /// Takes a name away, and with the last one the image.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while a container needs it.
    pub async fn remove(&self, name: &str, force: bool) -> Result<Vec<Removed>> {
        let (core, name) = (self.core.clone(), name.to_owned());
        let (image, removed) = blocking(move || {
            let image = core.images.get(&name)?;
            let removed = core.images.remove(&name, force, &|image| users(&core, image))?;
            Ok((image, removed))
        })
        .await?;
        for one in &removed {
            // Docker tells of both by the image, not by the name that went.
            match one {
                Removed::Untagged(_) => self.tell_of(&image, "untag", image.id.to_string()),
                Removed::Image(gone) if *gone == image.id => {
                    self.tell_of(&image, "delete", gone.to_string());
                }
                Removed::Image(gone) => self.tell("delete", gone, gone.to_string()).await,
                Removed::Layer(_) => {}
            }
        }
        Ok(removed)
    }

    /// Bytes of every layer, by the digest of its archive.
    pub fn layer_sizes(&self) -> std::collections::BTreeMap<ImageId, u64> {
        self.core.images.layer_sizes()
    }

    /// How many containers use an image.
    pub fn used_by(&self, id: ImageId) -> usize {
        users(&self.core, id).len()
    }

    /// Tells of an image that may be gone by now.
    async fn tell(&self, action: &str, id: &ImageId, name: String) {
        match self.get(&id.to_string()).await {
            Ok(image) => self.tell_of(&image, action, name),
            Err(_) => self.send(id, action, Labels::from([("name".to_owned(), name)])),
        }
    }

    /// With the image's labels, as of everything that has some.
    fn tell_of(&self, image: &Image, action: &str, name: String) {
        let mut attributes = image.document.config.labels.clone();
        attributes.insert("name".to_owned(), name);
        self.send(&image.id, action, attributes);
    }

    fn send(&self, id: &ImageId, action: &str, attributes: Labels) {
        self.core
            .events
            .send(Event::now(Subject::Image, id.to_string(), action, attributes));
    }
}

fn users(core: &Core, image: ImageId) -> Vec<User> {
    let containers = core.registry.all();
    let records = containers.iter().map(|container| container.record());
    records
        .filter(|record| record.image.id == image)
        .map(|record| User {
            container: record.id.short(),
            running: record.state.phase.is_up(),
        })
        .collect()
}
