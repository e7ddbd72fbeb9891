//! Announcements of nf_tables: whose table was changed, and by which socket.

use crate::{
    damage::Damage,
    linux::{
        nft::{announced_family, announced_table},
        own::Own,
    },
    ruleset::Table,
};

/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u8 = 10;
/// `NFT_MSG_NEWGEN`: the end of each transaction, which says nothing of what it did.
const GENERATION: u8 = 15;
const HEADER: usize = 16;
/// Family, version and resource id, in front of the attributes.
const FAMILY_HEADER: usize = 4;

/// Reads the messages of a datagram.
pub(in crate::linux) fn read(mut datagram: &[u8], own: &Own, damage: &mut Damage) {
    while let Some(length) = number(datagram, 0) {
        let length = length as usize;
        let Some(message) = datagram.get(..length).filter(|message| message.len() >= HEADER) else {
            return;
        };
        read_one(message, own, damage);
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn read_one(message: &[u8], own: &Own, damage: &mut Damage) {
    let [kind, subsystem] = [message[4], message[5]];
    if subsystem != SUBSYSTEM || kind == GENERATION {
        return;
    }
    let (Some(port), Some(family), Some(attributes)) = (
        number(message, 12),
        message.get(HEADER),
        message.get(HEADER + FAMILY_HEADER..),
    ) else {
        return;
    };
    let Some(name) = announced_table(attributes) else {
        return;
    };
    let table = announced_family(*family).map(|family| Table { family, name });
    match table {
        Some(table) if own.is_damage(port, &table) => damage.rules = true,
        // Another daemon like us, whose chains never drop what isn't theirs.
        Some(table) if table.name.starts_with("cnm") => {}
        // Families that we have no word for, as bridge and netdev, don't see what we forward.
        Some(_) if !own.has_port(port) => damage.others = true,
        _ => {}
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message about a table, as a socket's change of it is announced.
    fn announcement(kind: u8, port: u32, family: u8, table: &str) -> Vec<u8> {
        let mut attribute = vec![0, 0, 1, 0];
        attribute.extend(table.as_bytes());
        attribute.push(0);
        attribute[0] = u8::try_from(attribute.len()).expect("a short name");
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        let mut message = vec![0, 0, 0, 0, kind, SUBSYSTEM, 0, 0, 0, 0, 0, 0];
        message.extend(port.to_ne_bytes());
        message.extend([family, 0, 0, 0]);
        message.extend(attribute);
        message[0] = u8::try_from(message.len()).expect("a short message");
        message
    }

    #[test]
    fn what_others_do_is_told_by_whose_table_it_is() {
        let own = Own::default();
        own.add_port(7);
        own.add_table(&Table::inet("cnm-1"));
        let rows = [
            ("our table by somebody", 2, 8, 1, "cnm-1", (true, false)),
            ("our table by us", 2, 7, 1, "cnm-1", (false, false)),
            (
                "the end of a transaction",
                GENERATION,
                8,
                1,
                "cnm-1",
                (false, false),
            ),
            ("another daemon's table", 9, 8, 1, "cnm-2", (false, false)),
            ("iptables' table", 6, 8, 2, "filter", (false, true)),
            ("iptables' table by us", 6, 7, 2, "filter", (false, false)),
            ("a table of bridges", 6, 8, 7, "filter", (false, false)),
        ];
        for (name, kind, port, family, table, (rules, others)) in rows {
            let mut damage = Damage::default();
            read(&announcement(kind, port, family, table), &own, &mut damage);
            assert_eq!((damage.rules, damage.others), (rules, others), "{name}");
        }
    }

    #[test]
    fn a_garbled_announcement_is_passed_over() {
        let own = Own::default();
        let whole = announcement(6, 8, 2, "filter");
        for length in 0..whole.len() {
            let mut damage = Damage::default();
            read(&whole[..length], &own, &mut damage);
            assert!(damage.is_none());
        }
        let mut damage = Damage::default();
        read(&[0; 64], &own, &mut damage);
        read(&[0xff; 64], &own, &mut damage);
        assert!(damage.is_none());
    }
}
