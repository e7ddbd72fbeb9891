//! Pure: the frames of address resolution that matter here, as bytes. Ethernet, ARP (RFC 826, RFC 5227), ICMPv6 neighbour
//! discovery (RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::MacAddress;

/// Ethernet's numbers for what is inside.
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;

const BROADCAST: [u8; 6] = [0xff; 6];
/// Where what an Ethernet frame carries begins.
const PAYLOAD: usize = 14;
/// Ethernet and IPv4: hardware, protocol, and the lengths of their addresses.
const ARP_KIND: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
/// ICMPv6 and its messages.
const ICMP: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Of an ICMPv6 message in its frame, behind Ethernet's and IPv6's headers.
const MESSAGE: usize = PAYLOAD + 40;
/// The option with the link-layer address of an advertisement's target, of 8 bytes.
const TARGET_LINK: [u8; 2] = [2, 1];

/// The frame that asks whether anybody has this address.
pub(super) fn probe(own: MacAddress, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(own, address),
        IpAddr::V6(address) => solicitation(own, address),
    }
}

/// The frame that tells everybody who has this address: an ARP announcement (RFC 5227, 3), an unsolicited neighbour
/// advertisement that overrides what was known (RFC 4861, 7.2.6).
pub(super) fn announcement(own: MacAddress, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => {
            let mut frame = arp(own, address);
            frame[PAYLOAD + 14..PAYLOAD + 18].copy_from_slice(&address.octets());
            frame
        }
        IpAddr::V6(address) => unsolicited(own, address),
    }
}

fn unsolicited(own: MacAddress, address: Ipv6Addr) -> Vec<u8> {
    /// The flag "override": what was known of the address is to be forgotten.
    const OVERRIDE: u8 = 0x20;
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend(TARGET_LINK);
    message.extend(own.octets());
    discovery([0x33, 0x33, 0, 0, 0, 1], own, (address, all_nodes), message)
}

/// A message of neighbour discovery in its frame.
fn discovery(
    to_mac: [u8; 6],
    own: MacAddress,
    (from, to): (Ipv6Addr, Ipv6Addr),
    mut message: Vec<u8>,
) -> Vec<u8> {
    let sum = checksum(from, to, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet(to_mac, own, IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(
        u16::try_from(message.len())
            .expect("32 bytes at most")
            .to_be_bytes(),
    );
    frame.extend([ICMP, 255]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: [u8; 6], from: MacAddress, kind: u16) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(from.octets());
    frame.extend(kind.to_be_bytes());
    frame
}

fn arp(own: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, own, ARP);
    frame.extend(ARP_KIND);
    frame.extend(1_u16.to_be_bytes());
    frame.extend(own.octets());
    frame.extend(Ipv4Addr::UNSPECIFIED.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// To those whose addresses end alike (RFC 4291, 2.7.1); from `::`, so that the answer goes to all.
fn solicitation(own: MacAddress, address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let to = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    );
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    let way = (Ipv6Addr::UNSPECIFIED, to);
    discovery([0x33, 0x33, 0xff, a, b, c], own, way, message)
}

/// Of a message of even length (RFC 8200, 8.1).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).expect("a short message");
    let mut all = from.octets().to_vec();
    all.extend(to.octets());
    all.extend(length.to_be_bytes());
    all.extend([0, 0, 0, ICMP]);
    all.extend(message);
    let words = all
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// Which address a frame claims for its sender, and the sender: what it has, or is about to take.
pub(super) fn claim(frame: &[u8]) -> Option<(IpAddr, MacAddress)> {
    match u16::from_be_bytes(array(frame, 12)?) {
        ARP => arp_claim(frame),
        IPV6 => advertised(frame),
        _ => None,
    }
}

/// Whether a frame that claims an address only asks for it: nobody has it yet, as far as its sender knows.
pub(super) fn is_question(frame: &[u8]) -> bool {
    match array(frame, 12).map(u16::from_be_bytes) {
        Some(ARP) => array::<4>(frame, PAYLOAD + 14) == Some(Ipv4Addr::UNSPECIFIED.octets()),
        Some(IPV6) => frame.get(MESSAGE) == Some(&SOLICITATION),
        _ => false,
    }
}

fn arp_claim(frame: &[u8]) -> Option<(IpAddr, MacAddress)> {
    if array::<6>(frame, PAYLOAD)? != ARP_KIND {
        return None;
    }
    let sender = MacAddress::new(array(frame, PAYLOAD + 8)?).ok()?;
    let of = Ipv4Addr::from(array::<4>(frame, PAYLOAD + 14)?);
    let target = Ipv4Addr::from(array::<4>(frame, PAYLOAD + 24)?);
    // A probe of somebody else's is from nobody, and for what he is about to take.
    let address = if of.is_unspecified() { target } else { of };
    Some((address.into(), sender))
}

fn advertised(frame: &[u8]) -> Option<(IpAddr, MacAddress)> {
    let header = frame.get(PAYLOAD..MESSAGE)?;
    // Behind extension headers there is none that a router would let be (RFC 6980).
    if header[6] != ICMP || header[7] != 255 {
        return None;
    }
    let from = Ipv6Addr::from(array::<16>(header, 8)?);
    let kind = *frame.get(MESSAGE)?;
    let about = Ipv6Addr::from(array::<16>(frame, MESSAGE + 8)?);
    let sender = array(frame, 6)?;
    let mac = match kind {
        ADVERTISEMENT => match array::<2>(frame, MESSAGE + 24) {
            Some(TARGET_LINK) => array(frame, MESSAGE + 26)?,
            _ => sender,
        },
        SOLICITATION if from.is_unspecified() => sender,
        _ => return None,
    };
    Some((about.into(), MacAddress::new(mac).ok()?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn mac(bytes: [u8; 6]) -> MacAddress {
        MacAddress::new(bytes).expect("an address of one station")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_probe_is_from_nobody_and_to_everybody() {
        let frame = probe(mac(OWN), ip("192.0.2.7"));
        let wanted = "ffffffffffff0200000000010806\
                      0001080006040001020000000001000000000000000000 00c0000207";
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, wanted.replace(' ', ""));
    }

    #[test]
    fn an_announcement_is_for_everybody_and_overrides() {
        let told = announcement(mac(OWN), ip("192.0.2.7"));
        assert_eq!(told[..6], BROADCAST);
        assert_eq!(told[PAYLOAD + 14..PAYLOAD + 18], told[PAYLOAD + 24..PAYLOAD + 28]);
        assert_eq!(claim(&told), Some((ip("192.0.2.7"), mac(OWN))));

        let told = announcement(mac(OWN), ip("2001:db8::7"));
        assert_eq!(claim(&told), Some((ip("2001:db8::7"), mac(OWN))));
        let header = |at: usize| Ipv6Addr::from(array::<16>(&told, PAYLOAD + at).expect("whole"));
        assert_eq!(header(24), "ff02::1".parse::<Ipv6Addr>().expect("an address"));
        assert_eq!(checksum(header(8), header(24), &told[MESSAGE..]), 0);
        assert_eq!(told[MESSAGE + 4], 0x20, "it overrides, and answers nobody");
    }

    #[test]
    fn a_solicitation_has_a_right_checksum_and_its_own_group() {
        let frame = probe(mac(OWN), ip("2001:db8::12:3456"));
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let to = Ipv6Addr::from(array::<16>(&frame, PAYLOAD + 24).expect("whole"));
        assert_eq!(to, "ff02::1:ff12:3456".parse::<Ipv6Addr>().expect("an address"));
        // Over a message with its own checksum in it the sum comes out as nought.
        assert_eq!(checksum(Ipv6Addr::UNSPECIFIED, to, &frame[MESSAGE..]), 0);
    }

    #[test]
    fn answers_and_others_probes_are_claims_and_questions_are_none() {
        let mut reply = probe(mac(OTHER), ip("192.0.2.7"));
        reply[PAYLOAD + 7] = 2;
        reply[PAYLOAD + 14..PAYLOAD + 18].copy_from_slice(&[192, 0, 2, 8]);
        assert_eq!(claim(&reply), Some((ip("192.0.2.8"), mac(OTHER))));
        let theirs = probe(mac(OTHER), ip("192.0.2.7"));
        assert_eq!(claim(&theirs), Some((ip("192.0.2.7"), mac(OTHER))));
        assert!(is_question(&theirs) && !is_question(&reply));

        let asked = probe(mac(OTHER), ip("fd00::7"));
        assert_eq!(claim(&asked), Some((ip("fd00::7"), mac(OTHER))));
        let mut told = asked.clone();
        told[MESSAGE] = ADVERTISEMENT;
        told[6..12].copy_from_slice(&OWN);
        told.extend(TARGET_LINK);
        told.extend(OTHER);
        assert_eq!(
            claim(&told),
            Some((ip("fd00::7"), mac(OTHER))),
            "the target's, not the sender's"
        );
        assert!(is_question(&asked) && !is_question(&told));
        let mut usual = asked;
        usual[PAYLOAD + 8..PAYLOAD + 24].copy_from_slice(&[0xfd; 16]);
        assert_eq!(claim(&usual), None, "somebody looks for a neighbour");
        let mut far = told.clone();
        far[PAYLOAD + 7] = 64;
        assert_eq!(claim(&far), None, "it came by way of a router");
    }

    #[test]
    fn no_frame_is_too_short_to_be_read() {
        for full in [probe(mac(OWN), ip("192.0.2.7")), probe(mac(OWN), ip("fd00::7"))] {
            for length in 0..full.len() {
                assert_eq!(claim(&full[..length]), None);
            }
        }
    }
}
