//! Pure: UDP in IPv4 in Ethernet, as bytes (RFC 768, RFC 791).

use std::{io, net::Ipv4Addr};

use model::MacAddress;

use crate::Datagram;

/// Ethernet's number for what is inside.
pub(super) const IPV4: u16 = 0x0800;
/// Where what an Ethernet frame carries begins.
const PAYLOAD: usize = 14;
/// The lengths of headers without options.
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// IPv4's number for UDP.
const UDP: u8 = 17;

/// The frame that carries a datagram from nobody to everybody.
pub(super) fn broadcast(own: MacAddress, datagram: &Datagram) -> io::Result<Vec<u8>> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let length = u16::try_from(UDP_HEADER + datagram.payload.len()).map_err(too_long)?;
    let whole = u16::try_from(IP_HEADER + usize::from(length)).map_err(too_long)?;
    let mut udp = Vec::with_capacity(length.into());
    for number in [datagram.own_port, datagram.port, length, 0] {
        udp.extend(number.to_be_bytes());
    }
    udp.extend(&datagram.payload);
    let mut pseudo = Vec::with_capacity(udp.len() + 12);
    pseudo.extend(Ipv4Addr::UNSPECIFIED.octets());
    pseudo.extend(Ipv4Addr::BROADCAST.octets());
    pseudo.extend([0, UDP]);
    pseudo.extend(length.to_be_bytes());
    pseudo.extend(&udp);
    // Nought would mean that there is none.
    let sum = match checksum(&pseudo) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut header = vec![0x45, 0x10];
    header.extend(whole.to_be_bytes());
    header.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
    header.extend(Ipv4Addr::UNSPECIFIED.octets());
    header.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0xff; 6];
    frame.extend(own.octets());
    frame.extend(IPV4.to_be_bytes());
    frame.extend(header);
    frame.extend(udp);
    Ok(frame)
}

/// What a frame carries to this port over UDP. Its checksum is not looked at: a sender on the same machine leaves it to
/// hardware that the frame never meets.
pub(super) fn payload(frame: &[u8], port: u16) -> Option<&[u8]> {
    if half(frame, 12)? != IPV4 {
        return None;
    }
    let packet = &frame[PAYLOAD..];
    let header = usize::from(packet.first()? & 0xf) * 4;
    let is_udp = packet[0] >> 4 == 4 && header >= IP_HEADER && *packet.get(9)? == UDP;
    // A later part has no ports, and a first one not all of its payload.
    let is_whole = half(packet, 6)? & 0x3fff == 0;
    let length = usize::from(half(packet, 2)?);
    let udp = packet.get(header..length)?;
    if !is_udp || !is_whole || half(udp, 2)? != port {
        return None;
    }
    udp.get(UDP_HEADER..half(udp, 4)?.into())
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use model::InterfaceName;
    use proptest::prelude::*;

    use super::*;
    use crate::Netns;

    fn datagram(payload: &[u8]) -> Datagram {
        Datagram {
            netns: Netns::Host,
            link: InterfaceName::new("eth0").expect("a name"),
            from: None,
            to: Ipv4Addr::BROADCAST.into(),
            own_port: 68,
            port: 67,
            payload: payload.to_vec(),
        }
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        broadcast(MacAddress::for_owner(b"box"), &datagram(payload)).expect("short enough")
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for said in [&b"what"[..], b"odd", b""] {
            let frame = frame(said);
            assert_eq!(payload(&frame, 67), Some(said));
            assert_eq!(payload(&frame, 68), None, "for another port");
            assert_eq!(checksum(&frame[PAYLOAD..PAYLOAD + IP_HEADER]), 0);
        }
        assert!(broadcast(MacAddress::for_owner(b"box"), &datagram(&[0; 70_000])).is_err());
    }

    #[test]
    fn what_is_behind_the_packet_is_no_part_of_it() {
        let mut padded = frame(b"what");
        padded.extend([0; 30]);
        assert_eq!(payload(&padded, 67), Some(&b"what"[..]));
        let mut part = frame(b"what");
        part[PAYLOAD + 6] = 0x20;
        assert_eq!(payload(&part, 67), None, "more of it follows");
        let mut other = frame(b"what");
        other[PAYLOAD + 9] = 6;
        assert_eq!(payload(&other, 67), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(at in 0..60_usize, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut strange = frame(b"what");
            strange.truncate(at);
            strange.extend(bytes);
            let _ = payload(&strange, 67);
        }
    }
}
