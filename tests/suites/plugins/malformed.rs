//! Plugins that do what they are asked and then answer nonsense: the operation fails, the plugin is named, what was done
//! is undone, and nothing else notices. What all the malformations come to is in the tests of `plugin-proto`.

use netlab::Daemon;

use crate::{Test, stub::Stub, with_stub};

/// Ways to say it, each of another kind.
const ANSWERS: [(&str, &[u8]); 6] = [
    (
        "cut short",
        b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"Err\":",
    ),
    (
        "cut JSON",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"Err\":",
    ),
    ("no object", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull"),
    (
        "garbage",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n{}",
    ),
    ("no HTTP", b"\0\xff\x1b[2J"),
    ("nothing", b""),
];

/// Answers of the right form with something in them that can't be.
const VALUES: [(&str, &[u8]); 4] = [
    (
        "Join",
        b"HTTP/1.0 200 OK\r\n\r\n{\"InterfaceName\":{\"SrcName\":\"../../x\",\"DstPrefix\":\"eth\"}}",
    ),
    (
        "Join",
        b"HTTP/1.0 200 OK\r\n\r\n{\"InterfaceName\":{\"SrcName\":\"nobody\",\"DstPrefix\":\"eth\"}}",
    ),
    ("Join", b"HTTP/1.0 200 OK\r\n\r\n{\"Gateway\":\"999.1.1.1\"}"),
    (
        "CreateEndpoint",
        b"HTTP/1.0 200 OK\r\n\r\n{\"Interface\":{\"Address\":\"10.99.0.7/24\"}}",
    ),
];

/// A container can't start, and nothing is left of the attempt.
fn no_container(docker: &Daemon, stub: &Stub, method: &str, what: &str) -> anyhow::Result<Vec<String>> {
    stub.calls();
    let told = docker.refused("run --name one --network lan busybox true")?;
    assert!(told.contains("\"stub\""), "{method}, {what}: {told}");
    docker.ok("rm one")?;
    let links = docker.host().run("ip", &["-o", "link"])?.ok()?;
    assert_eq!(links.lines().count(), 4, "lo, eth0 and two bridges: {links}");
    let attached = docker.ok("network inspect -f {{.Containers}} lan")?;
    assert_eq!(attached.trim(), "map[]", "{method}, {what}");
    Ok(stub.methods())
}

#[test]
fn nonsense_is_named_and_what_was_done_is_undone() -> Test {
    let (single, stub) = with_stub("stub")?;
    let docker = &single.daemon;
    for (what, bytes) in ANSWERS {
        for method in ["CreateNetwork", "RequestPool"] {
            stub.bend(method, Some(bytes));
            stub.calls();
            let told =
                docker.refused("network create -d stub --ipam-driver stub --subnet 10.66.0.0/24 no")?;
            assert!(
                told.contains("\"stub\"") && told.contains(method),
                "{what}: {told}"
            );
            assert!(!told.contains('\u{1b}'), "{what}: {told:?}");
            stub.bend(method, None);
            let calls = stub.methods();
            let undone = match method {
                "CreateNetwork" => "NetworkDriver.DeleteNetwork",
                _ => continue,
            };
            assert!(
                calls.iter().any(|called| called == undone),
                "{method}, {what}: {calls:?}"
            );
            assert_eq!(calls.last().map(String::as_str), Some("IpamDriver.ReleasePool"));
        }
    }
    docker.ok("network create -d stub --ipam-driver stub lan")?;
    for (what, bytes) in ANSWERS {
        for (method, undone) in [
            (
                "CreateEndpoint",
                &["NetworkDriver.DeleteEndpoint", "IpamDriver.ReleaseAddress"][..],
            ),
            (
                "Join",
                &[
                    "NetworkDriver.Leave",
                    "NetworkDriver.DeleteEndpoint",
                    "IpamDriver.ReleaseAddress",
                ],
            ),
            ("RequestAddress", &[]),
        ] {
            stub.bend(method, Some(bytes));
            let calls = no_container(docker, &stub, method, what)?;
            stub.bend(method, None);
            let after = calls
                .iter()
                .skip_while(|called| !called.ends_with(method))
                .skip(1);
            let after: Vec<_> = after.filter(|called| *called != "Plugin.Activate").collect();
            assert_eq!(after, undone, "after {method}, {what}");
        }
    }
    for (method, bytes) in VALUES {
        stub.bend(method, Some(bytes));
        no_container(docker, &stub, method, &String::from_utf8_lossy(bytes))?;
        stub.bend(method, None);
    }
    docker.ok("run --rm --network lan busybox true")?;
    docker.ok("network rm lan")?;
    Ok(())
}
