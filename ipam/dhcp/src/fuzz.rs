//! What a server on the segment, or whoever poses as one, sends.

use fuzz::run;
use model::MacAddress;

use crate::message::read;

#[test]
fn replies() {
    let mac = MacAddress::new([2, 0, 0, 0, 0, 1]).expect("an address");
    let mut good = vec![2, 1, 6, 0, 0x12, 0x34, 0x56, 0x78];
    good.resize(28, 0);
    good[16..20].copy_from_slice(&[192, 0, 2, 7]);
    good.extend([2, 0, 0, 0, 0, 1]);
    good.resize(236, 0);
    good.extend([
        0x63, 0x82, 0x53, 0x63, 53, 1, 5, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0,
    ]);
    good.extend([
        3, 4, 192, 0, 2, 1, 6, 4, 192, 0, 2, 1, 121, 8, 24, 198, 51, 100, 192, 0, 2, 1, 52, 1, 3, 255,
    ]);
    assert!(read(&good, 0x1234_5678, mac).is_some(), "a good one");
    run("replies", env!("CARGO_MANIFEST_DIR"), &[&good], |bytes| {
        read(bytes, 0x1234_5678, mac)
    });
}
