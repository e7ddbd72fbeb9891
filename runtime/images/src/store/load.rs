//! Load: archives that `docker save` and other tools write, with one image or several.
//!
//! Two formats, often both in one archive: Docker's `manifest.json` with the members it names, and an OCI image
//! layout, `index.json` with blobs named by their digests. Docker's is preferred, because it has the names.

use std::{collections::BTreeSet, io::Read};

use serde::Deserialize;

use super::{Ready, Store, Workspace};
use crate::{
    Digest, Document, ImageId, Reference, Refusal, Result,
    archive::Budget,
    document::host_architecture,
    layer,
    spool::{Blob, Spool, parse},
};

/// Indexes within indexes that are followed.
const DEPTH: usize = 4;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: ImageId,
    /// The names it got; none if the archive has none for it.
    pub names: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: Option<u64>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct OciIndex {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct OciManifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// An image of the archive: its configuration, the blobs of its layers lowest first, and its names.
struct Found<'a> {
    what: String,
    config: &'a Blob,
    layers: Vec<(String, &'a Blob)>,
    names: Vec<Reference>,
}

impl Store {
    /// Takes in every image of a saved archive (plain, gzip or zstd), or none.
    pub fn load(&self, input: impl Read) -> Result<Vec<Loaded>> {
        let workspace = Workspace::new(self)?;
        let spool = Spool::read(input, &workspace.folder, &Budget::new(self.limits))?;
        let found = if let Some(manifest) = spool.find("manifest.json")? {
            docker_images(&spool, manifest)?
        } else if let Some(index) = spool.find("index.json")? {
            oci_images(&spool, index)?
        } else {
            return Err(Refusal::NotAnImage.into());
        };
        let (mut staged, mut ready, budget) = (Vec::new(), Vec::new(), Budget::new(self.limits));
        let mut have: BTreeSet<Digest> = self.state().layers.keys().copied().collect();
        for image in found {
            let raw = spool.bytes(image.config, &image.what)?;
            let document: Document = parse(&image.what, &raw)?;
            let diff_ids = &document.rootfs.diff_ids;
            if image.layers.len() != diff_ids.len() {
                let (listed, configured) = (image.layers.len(), diff_ids.len());
                return Err(Refusal::Layers { listed, configured }.into());
            }
            for ((name, blob), wanted) in image.layers.iter().zip(diff_ids) {
                // One that is there already is still read: the archive must be what it says.
                let found = if have.contains(wanted) {
                    layer::digest(blob.open()?, &budget)?.digest
                } else {
                    let (layer, unpacked) = self.stage(blob.open()?, &workspace, &budget)?;
                    staged.push(layer);
                    unpacked.stream.digest
                };
                if found != *wanted {
                    let what = format!("layer {name:?}");
                    return Err(Refusal::Digest {
                        what,
                        wanted: *wanted,
                        found,
                    }
                    .into());
                }
                have.insert(*wanted);
            }
            ready.push(Ready {
                raw,
                document,
                names: image.names,
            });
        }
        let names: Vec<_> = ready.iter().map(|image| image.names.clone()).collect();
        let ids = self.publish(staged, ready)?;
        Ok(ids
            .into_iter()
            .zip(names)
            .map(|(id, names)| Loaded { id, names })
            .collect())
    }
}

fn docker_images<'a>(spool: &'a Spool, manifest: &Blob) -> Result<Vec<Found<'a>>> {
    let manifests: Vec<DockerManifest> = spool.parse(manifest, "manifest.json")?;
    if manifests.is_empty() {
        return Err(Refusal::NotAnImage.into());
    }
    manifests
        .into_iter()
        .map(|manifest| docker_image(spool, manifest))
        .collect()
}

fn docker_image(spool: &Spool, manifest: DockerManifest) -> Result<Found<'_>> {
    let config = spool.member(&manifest.config)?;
    if let Some(digest) = digest_in_name(&manifest.config) {
        config.verify(&manifest.config, digest)?;
    }
    let layers = manifest.layers.unwrap_or_default().into_iter().map(|name| {
        let blob = spool.member(&name)?;
        if let Some(digest) = name.strip_prefix("blobs/sha256/").and_then(Digest::from_hex) {
            blob.verify(&name, digest)?;
        }
        Ok((name, blob))
    });
    Ok(Found {
        what: manifest.config.clone(),
        config,
        layers: layers.collect::<Result<_>>()?,
        names: manifest
            .repo_tags
            .unwrap_or_default()
            .iter()
            .map(|tag| tag.parse())
            .collect::<Result<_>>()?,
    })
}

/// A configuration is called by its digest: `HEX.json`, or `blobs/sha256/HEX`.
fn digest_in_name(name: &str) -> Option<Digest> {
    Digest::from_hex(
        name.strip_suffix(".json")
            .or(name.strip_prefix("blobs/sha256/"))?,
    )
}

fn oci_images<'a>(spool: &'a Spool, index: &Blob) -> Result<Vec<Found<'a>>> {
    let index: OciIndex = spool.parse(index, "index.json")?;
    let mut found = Vec::new();
    for descriptor in &index.manifests {
        let names = annotated_name(descriptor).into_iter().collect();
        found.extend(oci_image(spool, descriptor, names, DEPTH)?);
    }
    if found.is_empty() {
        return Err(Refusal::Platform(format!("linux/{}", host_architecture())).into());
    }
    Ok(found)
}

/// None for what is no image of this machine's platform.
fn oci_image<'a>(
    spool: &'a Spool,
    descriptor: &Descriptor,
    names: Vec<Reference>,
    depth: usize,
) -> Result<Option<Found<'a>>> {
    let ours = |platform: &Platform| platform.os == "linux" && platform.architecture == host_architecture();
    if descriptor
        .platform
        .as_ref()
        .is_some_and(|platform| !ours(platform))
        || depth == 0
    {
        return Ok(None);
    }
    let blob = spool.blob(digest(descriptor)?, descriptor.size)?;
    let what = format!("manifest {}", descriptor.digest);
    if descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list") {
        let index: OciIndex = spool.parse(blob, &what)?;
        for inner in &index.manifests {
            if let Some(found) = oci_image(spool, inner, names.clone(), depth - 1)? {
                return Ok(Some(found));
            }
        }
        return Ok(None);
    }
    let manifest: OciManifest = spool.parse(blob, &what)?;
    let config = spool.blob(digest(&manifest.config)?, manifest.config.size)?;
    let layers = manifest
        .layers
        .iter()
        .map(|layer| Ok((layer.digest.clone(), spool.blob(digest(layer)?, layer.size)?)));
    Ok(Some(Found {
        what,
        config,
        layers: layers.collect::<Result<_>>()?,
        names,
    }))
}

fn digest(descriptor: &Descriptor) -> Result<Digest, Refusal> {
    descriptor
        .digest
        .parse()
        .map_err(|error: crate::digest::DigestError| Refusal::Document {
            name: "index.json".to_owned(),
            reason: error.to_string(),
        })
}

/// The image's name: containerd's annotation has it in full; the specification's may be a bare tag, which names nothing.
fn annotated_name(descriptor: &Descriptor) -> Option<Reference> {
    let annotation = |key: &str| descriptor.annotations.as_ref()?.get(key);
    if let Some(name) = annotation("io.containerd.image.name") {
        return name.parse().ok();
    }
    annotation("org.opencontainers.image.ref.name")
        .filter(|name| name.contains([':', '/']))?
        .parse()
        .ok()
}
