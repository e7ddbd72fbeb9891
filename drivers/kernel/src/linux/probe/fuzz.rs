//! What comes over the segment while an address is asked for.

use fuzz::run;
use model::MacAddress;

use super::frame::{announcement, claim};

#[test]
fn frames() {
    let mac = MacAddress::new([2, 0, 0, 0, 0, 1]).expect("an address");
    let v4 = announcement(mac, [192, 0, 2, 1].into());
    let v6 = announcement(mac, "fd00::1".parse().expect("an address"));
    run("frames", env!("CARGO_MANIFEST_DIR"), &[&v4, &v6], |bytes| {
        claim(bytes).is_some()
    });
}
