//! Flows as `/proc/net/nf_conntrack` lists them (`CONFIG_NF_CONNTRACK_PROCFS`).
//!
//! The file passes empty places of the table by, so it is the quickest look at few flows. Older kernels begin anew at the
//! table's head with each page of it, so for many it is the slowest.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    net::IpAddr,
};

use super::{IP, NESTED, ORIGINAL, PROTO, family_of, header, push};
use crate::traffic::Flow;

/// So many flows are few.
pub(super) const FEW: u32 = 1024;

/// The file of one namespace.
#[derive(Debug)]
pub(super) struct Listing {
    file: File,
}

/// One flow of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    flow: Flow,
    from_port: u16,
}

impl Listing {
    /// Of the calling thread's namespace.
    pub(super) fn here() -> io::Result<Self> {
        let file = File::open("/proc/thread-self/net/nf_conntrack")?;
        Ok(Self { file })
    }

    /// Those flows that are wanted; none if one of them might be, but its line isn't understood.
    pub(super) fn find(&mut self, is_wanted: impl Fn(&Flow) -> bool) -> io::Result<Option<Vec<Seen>>> {
        let mut text = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut text)?;
        Ok(find(&text, is_wanted))
    }
}

/// Pure: see [`Listing::find`].
fn find(text: &str, is_wanted: impl Fn(&Flow) -> bool) -> Option<Vec<Seen>> {
    let mut found = Vec::new();
    for line in text.lines() {
        let seen = Seen::read(line)?;
        if is_wanted(&seen.flow) {
            // Of what has no ports, or is in a zone, more would have to be said than this does.
            let plain = [6, 17, 132].contains(&seen.flow.protocol) && !line.contains("zone");
            found.push(plain.then_some(seen)?);
        }
    }
    Some(found)
}

impl Seen {
    fn read(line: &str) -> Option<Self> {
        let protocol = line.split_ascii_whitespace().nth(3)?.parse().ok()?;
        let both = |name: &'static str| {
            let mut values = line
                .split_ascii_whitespace()
                .filter_map(move |word| word.strip_prefix(name)?.strip_prefix('='));
            (values.next(), values.next())
        };
        let address = |text: Option<&str>| text?.parse::<IpAddr>().ok();
        let port = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or_default();
        let (from, answers_from) = both("src");
        Some(Self {
            flow: Flow {
                protocol,
                from: address(from)?,
                to: address(both("dst").0)?,
                to_port: port(both("dport").0),
                answers_from: address(answers_from)?,
            },
            from_port: port(both("sport").0),
        })
    }

    /// Asks the kernel for it.
    pub(super) fn request(&self) -> Vec<u8> {
        let Flow { from, to, .. } = self.flow;
        let (mut addresses, mut ports, mut tuple) = (Vec::new(), Vec::new(), Vec::new());
        for (at, address) in [from, to].into_iter().enumerate() {
            let at = u16::from(at == 1);
            match address {
                IpAddr::V4(address) => push(&mut addresses, 1 + at, &address.octets()),
                IpAddr::V6(address) => push(&mut addresses, 3 + at, &address.octets()),
            }
        }
        push(&mut ports, 1, &[self.flow.protocol]);
        push(&mut ports, 2, &self.from_port.to_be_bytes());
        push(&mut ports, 3, &self.flow.to_port.to_be_bytes());
        push(&mut tuple, NESTED | IP, &addresses);
        push(&mut tuple, NESTED | PROTO, &ports);
        let mut request = header(family_of(from.is_ipv4()));
        push(&mut request, NESTED | ORIGINAL, &tuple);
        request
    }
}

/// Whether a listing could be read to its end.
#[cfg(test)]
pub(in crate::linux) fn is_legible(text: &str) -> bool {
    find(text, |_| true).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSLATED: &str = "ipv4     2 tcp      6 431999 ESTABLISHED src=192.0.2.9 dst=10.0.0.1 sport=40000 \
        dport=8080 packets=5 bytes=400 src=172.18.0.2 dst=192.0.2.9 sport=80 dport=40000 packets=4 bytes=300 \
        [ASSURED] mark=0 use=2";
    const SILENT: &str = "ipv6     10 udp      17 29 src=fd00:0000:0000:0000:0000:0000:0000:0001 \
        dst=fd00:0000:0000:0000:0000:0000:0000:0002 sport=5353 dport=53 [UNREPLIED] \
        src=fd00:0000:0000:0000:0000:0000:0000:0002 dst=fd00:0000:0000:0000:0000:0000:0000:0001 sport=53 \
        dport=5353 mark=0 use=2";
    const PING: &str = "ipv4     2 icmp     1 29 src=10.0.0.1 dst=172.18.0.2 type=8 code=0 id=7 \
        src=172.18.0.2 dst=10.0.0.1 type=0 code=0 id=7 mark=0 use=1";

    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let seen = Seen::read(TRANSLATED).unwrap();
        assert_eq!(
            (seen.flow.protocol, seen.from_port, seen.flow.to_port),
            (6, 40000, 8080)
        );
        assert_eq!(seen.flow.from.to_string(), "192.0.2.9");
        assert_eq!(seen.flow.to.to_string(), "10.0.0.1");
        assert_eq!(seen.flow.answers_from.to_string(), "172.18.0.2");
        let seen = Seen::read(SILENT).unwrap();
        assert_eq!(
            (seen.flow.answers_from.to_string().as_str(), seen.flow.to_port),
            ("fd00::2", 53)
        );
        assert_eq!(Seen::read("ipv4 2 tcp 6 10"), None);
    }

    #[test]
    fn what_is_wanted_and_not_understood_is_looked_for_elsewhere() {
        let all = [TRANSLATED, SILENT, PING].join("\n");
        let found =
            |text: &str, protocol| find(text, |flow| flow.protocol == protocol).map(|found| found.len());
        assert_eq!(found("", 6), Some(0));
        assert_eq!(found(&all, 6), Some(1));
        assert_eq!(found(&all, 17), Some(1));
        assert_eq!(found(&all, 1), None, "no ports");
        assert_eq!(
            found(&format!("{all} zone-orig=7"), 6),
            Some(1),
            "another line's zone"
        );
        assert_eq!(
            found(&format!("{PING}\n{TRANSLATED} zone=7"), 6),
            None,
            "in a zone"
        );
        assert_eq!(found(&format!("{TRANSLATED}\nsomething new"), 6), None);
    }
}
