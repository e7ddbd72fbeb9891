//! Bindings at rest. A client writes ten thousand ports as ten thousand bindings, more than a transaction may hold; those
//! that go on where another ends are kept as one, with the note that each was asked for by itself, so that `inspect`
//! shows what was asked.

use model::{PortBinding, PortRange};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One binding, or a run of single ones.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    binding: PortBinding,
    /// Each of its ports is a binding of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    each: bool,
}

pub(super) fn serialize<S: Serializer>(bindings: &[PortBinding], serializer: S) -> Result<S::Ok, S::Error> {
    let mut kept: Vec<Kept> = Vec::new();
    for binding in bindings {
        match kept.last().and_then(|last| longer(last, binding)) {
            Some(run) => {
                kept.pop();
                kept.push(run);
            }
            None => kept.push(Kept {
                binding: binding.clone(),
                each: false,
            }),
        }
    }
    kept.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PortBinding>, D::Error> {
    let kept = Vec::<Kept>::deserialize(deserializer)?;
    Ok(kept.into_iter().flat_map(taken_apart).collect())
}

/// The run with one more port, if the binding is of the very next one.
fn longer(run: &Kept, next: &PortBinding) -> Option<Kept> {
    let before = &run.binding;
    let alone = |binding: &PortBinding| {
        binding.container.count() == 1 && binding.host.is_none_or(|host| host.count() == 1)
    };
    let alike = before.protocol == next.protocol
        && before.host_ip == next.host_ip
        && before.exposure == next.exposure
        && before.host.is_some() == next.host.is_some();
    if !alike || !alone(next) || !(run.each || alone(before)) {
        return None;
    }
    let follows = |run: PortRange, next: PortRange| {
        let is_next = run.last().checked_add(1) == Some(next.first());
        is_next
            .then(|| PortRange::new(run.first(), next.last()).ok())
            .flatten()
    };
    let host = match (before.host, next.host) {
        (Some(run), Some(next)) => Some(follows(run, next)?),
        _ => None,
    };
    Some(Kept {
        binding: PortBinding {
            container: follows(before.container, next.container)?,
            host,
            ..next.clone()
        },
        each: true,
    })
}

fn taken_apart(kept: Kept) -> Vec<PortBinding> {
    if !kept.each {
        return vec![kept.binding];
    }
    let hosts: Vec<_> = kept.binding.host.iter().flat_map(|host| host.iter()).collect();
    let ports = kept.binding.container.iter().enumerate();
    let single = |(at, port): (usize, u16)| {
        Some(PortBinding {
            container: PortRange::single(port).ok()?,
            host: hosts.get(at).and_then(|host| PortRange::single(*host).ok()),
            ..kept.binding.clone()
        })
    };
    ports.filter_map(single).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Row(#[serde(with = "super")] Vec<PortBinding>);

    fn binding(container: &str, host: &str) -> PortBinding {
        PortBinding {
            protocol: model::Protocol::Tcp,
            container: container.parse().expect("ports"),
            host_ip: None,
            host: (!host.is_empty()).then(|| host.parse().expect("ports")),
            exposure: None,
        }
    }

    #[test]
    fn what_was_asked_comes_back_as_it_was() {
        let other = PortBinding {
            host_ip: Some([127, 0, 0, 1].into()),
            ..binding("82", "8082")
        };
        let table = [
            vec![],
            vec![
                binding("80", "8080"),
                binding("81", "8081"),
                other,
                binding("83", "8083"),
            ],
            vec![binding("80", ""), binding("81", ""), binding("82", "8082")],
            vec![
                binding("80-90", "8080-8090"),
                binding("91", "8091"),
                binding("92", "8092"),
            ],
            vec![binding("80", "8080-8090"), binding("81", "8091")],
            vec![
                binding("81", "8081"),
                binding("80", "8080"),
                binding("80", "8080"),
            ],
            vec![binding("65535", "1"), binding("1", "2")],
        ];
        for asked in table {
            let text = serde_json::to_string(&Row(asked.clone())).expect("written");
            let Row(read) = serde_json::from_str(&text).expect("read");
            assert_eq!(read, asked, "{text}");
        }
    }

    #[test]
    fn ten_thousand_are_one_and_what_was_kept_one_by_one_is_read() {
        let asked: Vec<_> = (20_000..30_000_u16)
            .map(|port| binding(&port.to_string(), &port.to_string()))
            .collect();
        let text = serde_json::to_string(&Row(asked.clone())).expect("written");
        assert!(text.len() < 300, "{text}");
        let Row(read) = serde_json::from_str(&text).expect("read");
        assert_eq!(read, asked);
        let before = serde_json::to_string(&asked).expect("written");
        let Row(read) = serde_json::from_str(&before).expect("read");
        assert_eq!(read, asked);
    }
}
