//! What nf_tables says: whatever it is, it reads as something that we could have written or as somebody else's.

use fuzz::run;

use super::{attributes::Received, connection, read};
use crate::ruleset::Family;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A datagram as the kernel sends it, of one chain.
fn chain() -> Vec<u8> {
    let mut attributes = Vec::new();
    for (number, value) in [
        (1, &b"cnm-1\0"[..]),
        (3, b"forward\0"),
        (5, &[0, 0, 0, 1]),
        (7, b"filter\0"),
    ] {
        crate::linux::raw::push(&mut attributes, number, value);
    }
    let mut hook = Vec::new();
    for (number, value) in [(1, &[0, 0, 0, 2][..]), (2, &[0, 0, 0, 0])] {
        crate::linux::raw::push(&mut hook, number, value);
    }
    crate::linux::raw::push(&mut attributes, 4, &hook);
    let mut bytes = u32::try_from(20 + attributes.len())
        .expect("short")
        .to_ne_bytes()
        .to_vec();
    bytes.extend([3, 10, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

#[test]
fn answers() {
    run("nf-tables", HERE, &[&chain()], |bytes| {
        let answers = connection::split(bytes).map_err(|error| error.kind())?;
        let objects = answers.iter().filter_map(|answer| match &answer.content {
            connection::Content::Object { family, attributes } => Some((*family, attributes.as_slice())),
            _ => None,
        });
        let kinds: Vec<_> = objects
            .map(|(family, bytes)| {
                let attributes = Received::read(bytes);
                let set = read::set(family, &attributes);
                if let Some(set) = &set {
                    read::elements(set, &[(family, bytes.to_vec())]);
                }
                for known in [Family::Inet, Family::Ip, Family::Ip6] {
                    read::rule(known, &attributes);
                }
                read::comment(bytes);
                read::set_comment(bytes);
                (
                    read::table(family, &attributes).is_some(),
                    read::chain(family, &attributes).is_some(),
                    set.is_some(),
                )
            })
            .collect();
        Ok::<_, std::io::ErrorKind>(kinds)
    });
}
