//! Links the shim at a fixed address.
//!
//! There is one shim for each container. At a random address the dynamic linker must correct every pointer in the
//! program's constants, and each shim keeps its own copy of those pages (about 0.7 MiB, most of what a shim needs
//! at all); at a fixed one they are the file's, shared by all. Libraries, heap and stack stay at random addresses.

fn main() {
    println!("cargo::rustc-link-arg-bins=-no-pie");
    println!("cargo::rerun-if-changed=build.rs");
}
