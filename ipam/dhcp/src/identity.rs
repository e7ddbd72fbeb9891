//! By what a server knows a client again.

use model::MacAddress;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The interface's Ethernet address.
    pub mac: MacAddress,
    /// What it is known by instead (option 61); none for its Ethernet address.
    pub client_id: Option<Vec<u8>>,
    /// What it wants to be called (option 12).
    pub hostname: Option<String>,
    /// What kind of client it is (option 60).
    pub vendor_class: Option<String>,
    /// Answers must go to everybody: what is sent to its address alone doesn't arrive before it wears it.
    pub broadcast: bool,
}

/// A name for one of a container's interfaces where all have one Ethernet address (RFC 4361): the container by a UUID, and
/// the network by the number of the interface.
pub fn client_id_of(container: &[u8; 32], network: &[u8; 32]) -> Vec<u8> {
    const WITH_NUMBER: u8 = 255;
    const UUID: [u8; 2] = [0, 4];
    let mut id = vec![WITH_NUMBER];
    id.extend(&network[..4]);
    id.extend(UUID);
    id.extend(&container[..16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_networks_of_a_container_have_two_names() {
        let (one, other) = (client_id_of(&[1; 32], &[2; 32]), client_id_of(&[1; 32], &[3; 32]));
        assert_ne!(one, other);
        assert_eq!(one, client_id_of(&[1; 32], &[2; 32]), "and keep them");
        assert_eq!((one[0], one.len()), (255, 23));
    }
}
