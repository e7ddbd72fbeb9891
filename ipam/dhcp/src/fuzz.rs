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

#[test]
fn replies_of_version_6() {
    let who = crate::v6::Identity {
        duid: vec![0, 4, 9],
        interface: 5,
        hostname: None,
    };
    let mut good = vec![7, 0, 0, 1, 0, 1, 0, 3, 0, 4, 9, 0, 2, 0, 3, 0, 4, 1];
    good.extend([
        0, 3, 0, 40, 0, 0, 0, 5, 0, 0, 0, 40, 0, 0, 0, 80, 0, 5, 0, 24, 0x20, 1, 0xd, 0xb8,
    ]);
    good.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 100, 0, 0, 0, 100]);
    good.extend([
        0, 23, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 53, 0, 24, 0, 5, 3,
    ]);
    good.extend(*b"lan\0");
    let lease = |bytes: &[u8]| crate::v6::read(bytes, 1, &who)?.lease(None, model::Timestamp::ZERO);
    assert!(
        lease(&good).is_some_and(|lease| lease.domain.as_deref() == Some("lan")),
        "a good one"
    );
    run("replies-v6", env!("CARGO_MANIFEST_DIR"), &[&good], lease);
}
