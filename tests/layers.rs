//! Arrows between our crates point one way: this reads `cargo metadata` and fails when one points up.
//!
//! The table is the architecture's picture in text. A new edge is a decision: add it here in the commit that needs it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate with the crates of ours it may use. Development dependencies are free: tests may look down from anywhere.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("api-types", &[]),
    ("store", &["model"]),
    ("kernel", &["model"]),
    ("plugin-proto", &[]),
    ("dns", &["model"]),
    ("ports", &["model"]),
    ("ipam", &["model", "store", "plugin-proto"]),
    ("dhcp", &["model"]),
    ("drivers", &["model", "kernel", "plugin-proto"]),
    (
        "controller",
        &["model", "ports", "store", "ipam", "dhcp", "drivers", "kernel"],
    ),
    ("names", &["model", "dns", "kernel"]),
    ("images", &["model"]),
    ("registry", &[]),
    ("shim-protocol", &[]),
    ("runtime", &["model", "shim-protocol"]),
    ("shim", &["shim-protocol"]),
    (
        "engine",
        &[
            "model",
            "store",
            "controller",
            "runtime",
            "images",
            "registry",
            "plugin-proto",
        ],
    ),
    ("plugin", &["model", "store", "plugin-proto", "controller"]),
    ("api", &["model", "api-types", "engine"]),
    (
        "daemon",
        &[
            "model",
            "store",
            "ipam",
            "drivers",
            "kernel",
            "plugin-proto",
            "controller",
            "names",
            "runtime",
            "images",
            "engine",
            "plugin",
            "api",
        ],
    ),
    ("fuzz", &[]),
    ("netlab", &[]),
    ("bench", &["model", "kernel", "store", "plugin-proto", "netlab"]),
    ("demo", &["netlab"]),
    ("cni", &["api-types"]),
    ("cli", &["api-types", "demo"]),
    ("system-tests", &[]),
];

#[test]
fn every_arrow_between_our_crates_is_in_the_table() {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata of this workspace");
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ALLOWED
        .iter()
        .map(|(name, uses)| (*name, uses.iter().copied().collect()))
        .collect();
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();

    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(uses) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the table", package.name));
            continue;
        };
        let normal = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development);
        for dependency in normal
            .map(|dependency| dependency.name.as_str())
            .filter(|name| ours.contains(name))
        {
            if !uses.contains(dependency) {
                wrong.push(format!("{} → {dependency}", package.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not allowed by the table in tests/layers.rs: {wrong:#?}"
    );
}
