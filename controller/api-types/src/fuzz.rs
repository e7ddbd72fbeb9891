//! What clients write beside JSON.

use fuzz::run;

use crate::{Filters, detach_keys};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn filters() {
    let good: [&[u8]; 3] = [
        b"{\"label\":[\"a=b\"],\"name\":[\"x\"]}",
        b"{\"label\":{\"a=b\":true},\"dangling\":{\"false\":true}}",
        b"",
    ];
    run("filters", HERE, &good, |bytes| {
        Filters::parse(&String::from_utf8_lossy(bytes)).map_err(|error| error.to_string())
    });
}

#[test]
fn detaching_keys() {
    run(
        "detaching-keys",
        HERE,
        &[b"ctrl-p,ctrl-q", b"a,ctrl-@,ctrl-[,ctrl-_"],
        |bytes| detach_keys::parse(&String::from_utf8_lossy(bytes)),
    );
}
