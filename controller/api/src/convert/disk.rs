//! How much room images take, and what of it they share.

use std::collections::BTreeMap;

use api_types::ImageSummary;
use engine::{Image, ImageId};

use super::image;

/// Bytes of all layers.
pub(crate) fn whole(layers: &BTreeMap<ImageId, u64>) -> i64 {
    number(layers.values().sum())
}

/// Images with what they share with others, and how many containers use them.
pub(crate) fn images(
    images: &[Image],
    layers: &BTreeMap<ImageId, u64>,
    used_by: &dyn Fn(ImageId) -> usize,
) -> Vec<ImageSummary> {
    let mut uses: BTreeMap<ImageId, usize> = BTreeMap::new();
    for layer in images.iter().flat_map(|image| &image.document.rootfs.diff_ids) {
        *uses.entry(*layer).or_default() += 1;
    }
    let shared = |image: &Image| {
        let layers_of = image.document.rootfs.diff_ids.iter();
        let shared = layers_of.filter(|layer| uses.get(layer).is_some_and(|uses| *uses > 1));
        shared.filter_map(|layer| layers.get(layer)).sum()
    };
    let one = |one: &Image| ImageSummary {
        shared_size: number(shared(one)),
        ..image::summary(one, i64::try_from(used_by(one.id)).unwrap_or(i64::MAX))
    };
    images.iter().map(one).collect()
}

fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
