//! Bad input gets the right status and one clear line, and changes nothing.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use netlab::{Api, Single};
use serde_json::{Value, json};

type Test = anyhow::Result<()>;

/// Everything that a refused request must leave as it was.
fn everything(api: &Api) -> anyhow::Result<[Value; 3]> {
    Ok([
        api.get("/networks")?,
        api.get("/containers/json?all=1")?,
        api.get("/images/json")?,
    ])
}

fn network(name: &str, subnet: &str) -> Value {
    json!({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})
}

/// A path to post to, a body, and the status and part of the message that answer it.
type Refusal = (&'static str, Value, u16, &'static str);

fn network_refusals() -> Vec<Refusal> {
    let with = |part: Value| json!({"Name": "x", "IPAM": {"Config": [part]}});
    let options = |options: Value| json!({"Name": "x", "Driver": "bridge", "Options": options});
    vec![
        (
            "/networks/create",
            network("x", "10.50.0.1/24"),
            400,
            "it should be 10.50.0.0/24",
        ),
        ("/networks/create", network("x", "10.40.0.128/25"), 403, "taken"),
        ("/networks/create", network("x", "10.50.0.0/32"), 400, "too small"),
        ("/networks/create", network("x", "nonsense"), 400, "nonsense"),
        (
            "/networks/create",
            with(json!({"Subnet": "10.50.0.0/24", "Gateway": "10.51.0.1"})),
            400,
            "10.51.0.1",
        ),
        (
            "/networks/create",
            with(json!({"Subnet": "10.50.0.0/24", "IPRange": "10.51.0.0/25"})),
            400,
            "10.51.0.0/25",
        ),
        (
            "/networks/create",
            with(json!({"Subnet": "10.50.0.0/24", "AuxiliaryAddresses": {"a": "10.51.0.1"}})),
            400,
            "10.51.0.1",
        ),
        (
            "/networks/create",
            json!({"Name": "x", "Driver": "bridg"}),
            404,
            "did you mean",
        ),
        (
            "/networks/create",
            options(json!({"com.docker.network.bridge.enable_ic": "true"})),
            400,
            "did you mean",
        ),
        (
            "/networks/create",
            options(json!({"com.docker.network.bridge.enable_icc": "perhaps"})),
            400,
            "perhaps",
        ),
        ("/networks/create", json!({"Name": "taken"}), 409, "taken"),
        ("/networks/create", json!({"Name": ""}), 400, "name"),
        ("/networks/create", json!({"Name": "a/b"}), 400, "a/b"),
        ("/networks/create", json!({"Name": 7}), 400, ""),
    ]
}

fn endpoint_refusals() -> Vec<Refusal> {
    let at = |ip: &str| {
        let endpoint = json!({"IPAMConfig": {"IPv4Address": ip}});
        json!({"Container": "holder", "EndpointConfig": endpoint})
    };
    vec![
        (
            "/networks/taken/connect",
            json!({"Container": "absent"}),
            404,
            "absent",
        ),
        (
            "/networks/absent/connect",
            json!({"Container": "holder"}),
            404,
            "absent",
        ),
        ("/networks/plain/connect", at("10.99.0.1"), 400, "10.99.0.1"),
        ("/networks/plain/connect", at("10.41.0.1"), 403, "gateway"),
        (
            "/networks/taken/disconnect",
            json!({"Container": "absent", "Force": false}),
            404,
            "absent",
        ),
    ]
}

/// Options of C.2, each with a value that it can't have.
fn option_refusals() -> Vec<Refusal> {
    let rows = [
        ("com.docker.network.bridge.gateway_mode_ipv4", "sideways"),
        ("com.docker.network.bridge.gateway_mode_ipv6", "upside-down"),
        ("com.docker.network.bridge.host_binding_ipv4", "everywhere"),
        ("com.docker.network.bridge.inhibit_ipv4", "perhaps"),
        ("com.docker.network.bridge.name", "a-name-that-is-too-long"),
        ("com.docker.network.driver.mtu", "-1"),
        ("com.docker.network.host_ipv4", "fd00::1"),
        ("cnm.firewall", "closed"),
        ("cnm.dns.host", "perhaps"),
        ("cnm.dns.forward.corp.example", "nowhere"),
        ("cnm.dns.record.printer", "10.1.2"),
    ];
    let refusal = |(key, value): (&'static str, &'static str)| {
        let mut options = serde_json::Map::new();
        options.insert(key.to_owned(), value.into());
        let body = json!({"Name": "x", "Driver": "bridge", "Options": options});
        ("/networks/create", body, 400, value)
    };
    rows.into_iter().map(refusal).collect()
}

fn port_refusals() -> Vec<Refusal> {
    let create = |bindings: Value| json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"PortBindings": bindings}});
    let at = "/containers/create?name=xx";
    let more = "/containers/holder/ports";
    let bindings = |bindings: Value| json!({"PortBindings": bindings});
    vec![
        (at, create(json!({"80/icmp": [{}]})), 400, "icmp"),
        (at, create(json!({"0/tcp": [{}]})), 400, "0"),
        (at, create(json!({"99999/tcp": [{}]})), 400, "99999"),
        (
            at,
            create(json!({"80/tcp": [{"HostPort": "99999"}]})),
            400,
            "99999",
        ),
        (
            at,
            create(json!({"80/tcp": [{"HostPort": "90-80"}]})),
            400,
            "90-80",
        ),
        (
            at,
            create(json!({"80/tcp": [{"HostIp": "nowhere"}]})),
            400,
            "nowhere",
        ),
        (
            at,
            create(json!({"80/tcp": [{"Exposure": "closed"}]})),
            400,
            "closed",
        ),
        (
            at,
            json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Links": ["absent:db"]}}),
            400,
            "absent",
        ),
        (
            at,
            json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Dns": ["nowhere"]}}),
            400,
            "nowhere",
        ),
        (
            at,
            json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"ExtraHosts": ["printer"]}}),
            400,
            "printer",
        ),
        (
            more,
            bindings(json!({"80/tcp": [{"HostPort": "99999"}]})),
            400,
            "99999",
        ),
        (more, bindings(json!({})), 400, ""),
        (
            "/containers/absent/ports",
            bindings(json!({"80/tcp": [{}]})),
            404,
            "absent",
        ),
        (
            more,
            bindings(json!({"80/tcp": [{"HostPort": "8080"}]})),
            409,
            "publisher",
        ),
    ]
}

fn update_refusals() -> Vec<Refusal> {
    let at = "/networks/plain/update";
    let subnet = |subnet: &str| json!({"Subnets": [{"Subnet": subnet}]});
    vec![
        ("/networks/absent/update", json!({"MTU": 1400}), 404, "absent"),
        (
            "/networks/bridge/update",
            json!({"Name": "x"}),
            403,
            "pre-defined",
        ),
        (at, json!({"Name": "taken"}), 409, "taken"),
        (at, json!({"Name": "a/b"}), 400, "a/b"),
        (at, json!({"MTU": 5}), 400, "5"),
        (at, subnet("10.41.0.128/25"), 403, "10.41.0.128/25"),
        (at, subnet("10.42.0.1/24"), 400, "10.42.0.0/24"),
        (at, subnet("nonsense"), 400, "nonsense"),
    ]
}

fn other_refusals() -> Vec<Refusal> {
    vec![
        (
            "/containers/create?name=xx",
            json!({"Image": "absent"}),
            404,
            "No such image: absent:latest",
        ),
        (
            "/containers/create?name=xx",
            json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "absent"}}),
            400,
            "absent",
        ),
        (
            "/containers/create?name=holder",
            json!({"Image": "busybox", "Cmd": ["true"]}),
            409,
            "already in use",
        ),
        (
            "/containers/create?name=-x",
            json!({"Image": "busybox"}),
            400,
            "-x",
        ),
        ("/containers/absent/start", Value::Null, 404, "absent"),
        (
            "/containers/holder/kill?signal=NONSENSE",
            Value::Null,
            400,
            "NONSENSE",
        ),
        ("/containers/holder/exec", json!({"Cmd": []}), 400, ""),
        ("/v1.99/networks/create", json!({"Name": "x"}), 400, "1.99"),
        ("/v1.10/networks/create", json!({"Name": "x"}), 400, "1.10"),
        ("/nonsense", Value::Null, 404, "not found"),
    ]
}

#[test]
fn each_wrong_request_is_refused_with_its_reason_and_nothing_changes() -> Test {
    let host = Single::start(&[])?;
    let api = host.daemon.api();
    api.post("/networks/create", &network("taken", "10.40.0.0/24"))?;
    host.daemon.ok("network create --subnet 10.41.0.0/24 plain")?;
    host.daemon
        .ok("run -d --name holder --network taken --ip 10.40.0.5 busybox sleep 600")?;
    host.daemon
        .ok("run -d --name publisher --network taken -p 8080:80 busybox sleep 600")?;
    let before = everything(&api)?;

    let rows = network_refusals()
        .into_iter()
        .chain(endpoint_refusals())
        .chain(option_refusals())
        .chain(port_refusals())
        .chain(update_refusals())
        .chain(other_refusals());
    let mut wrong = Vec::new();
    for (path, body, status, message) in rows {
        let answer = api.call("POST".parse()?, path, Some(&body))?;
        let (got, said) = (answer.status.as_u16(), answer.message());
        if got != status || !said.contains(message) || said.is_empty() {
            wrong.push(format!(
                "POST {path} {body}: {got} {said:?}, not {status} {message:?}"
            ));
        }
    }
    let delete = |path: &str| api.call("DELETE".parse()?, path, None);
    for (path, status, message) in [
        ("/networks/taken", 403, "holder"),
        ("/networks/bridge", 403, "pre-defined"),
        ("/networks/absent", 404, "absent"),
        ("/containers/holder", 409, "running"),
        ("/images/busybox", 409, "using"),
    ] {
        let answer = delete(path)?;
        let (got, said) = (answer.status.as_u16(), answer.message());
        if got != status || !said.contains(message) {
            wrong.push(format!("DELETE {path}: {got} {said:?}, not {status} {message:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut after = everything(&api)?;
    let mut before = before;
    // How long a container has been up is told in words.
    for state in [&mut before, &mut after] {
        for container in state[1].as_array_mut().into_iter().flatten() {
            container["Status"].take();
        }
    }
    assert_eq!(after, before, "nothing changed");
    host.daemon.ok("rm -f holder publisher")?;
    Ok(())
}

#[test]
fn everything_that_is_wrong_with_a_network_is_said_at_once() -> Test {
    let host = Single::start(&[])?;
    let body = json!({"Name": "x", "IPAM": {"Config": [
        {"Subnet": "10.50.0.1/24"},
        {"Subnet": "10.60.0.0/24", "Gateway": "10.51.0.1", "IPRange": "10.61.0.0/25", "AuxiliaryAddresses": {"a": "10.62.0.1"}},
    ]}});
    let answer = host
        .daemon
        .api()
        .call("POST".parse()?, "/networks/create", Some(&body))?;
    let said = answer.message();
    assert_eq!(answer.status.as_u16(), 400, "{said}");
    for part in [
        "invalid network config",
        "10.50.0.0/24",
        "10.51.0.1",
        "10.61.0.0/25",
        "10.62.0.1",
    ] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    Ok(())
}

#[test]
fn of_two_starts_that_want_one_port_one_wins_and_the_other_is_told() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    for name in ["one", "two"] {
        docker.ok(&format!("create --name {name} -p 8080:80 busybox sleep 600"))?;
    }
    let ends = std::thread::scope(|scope| {
        let starting = ["one", "two"].map(|name| scope.spawn(move || docker.line(&format!("start {name}"))));
        starting.map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    });
    let [one, two] = ends;
    let (one, two) = (one?, two?);
    assert_eq!(
        (one.code == 0) as u8 + (two.code == 0) as u8,
        1,
        "{one:?} {two:?}"
    );
    let told = if one.code == 0 { two.stderr } else { one.stderr };
    assert!(told.contains("port is already allocated"), "{told}");
    docker.ok("rm -f one two")?;
    Ok(())
}

#[test]
fn an_id_prefix_that_fits_two_networks_is_refused() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    // Among seventeen ids two share their first digit.
    for number in 0..17 {
        docker.ok(&format!("network create n{number}"))?;
    }
    let ids = docker.ok("network ls -q --no-trunc")?;
    let mut firsts: Vec<&str> = ids.lines().map(|id| &id[..1]).collect();
    firsts.sort_unstable();
    let twice = firsts
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
        .expect("two of seventeen");
    let refused = docker.refused(&format!("network inspect {twice}"))?;
    assert!(refused.contains("ambiguous"), "{refused}");
    Ok(())
}

/// Sends raw bytes and reads the answer's head.
fn raw(host: &Single, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(host.daemon.socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(bytes)?;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[test]
fn malformed_json_and_bodies_that_never_end_are_refused_in_time() -> Test {
    let host = Single::start(&[])?;
    let head = "POST /networks/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let malformed = raw(
        &host,
        format!("{head}Content-Length: 9\r\n\r\n{{\"Name\": ").as_bytes(),
    )?;
    assert!(malformed.starts_with("HTTP/1.1 400"), "{malformed}");
    let plain = "POST /networks/create HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    assert!(raw(&host, plain.as_bytes())?.starts_with("HTTP/1.1 4"));
    let huge = raw(
        &host,
        format!("{head}Content-Length: 99999999999\r\n\r\n{{").as_bytes(),
    )?;
    assert!(huge.starts_with("HTTP/1.1 413"), "{huge}");
    // Half a body, and then nothing: the daemon gives up by itself.
    let half = raw(&host, format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes())?;
    assert!(
        half.starts_with("HTTP/1.1 408") || half.starts_with("HTTP/1.1 400"),
        "{half}"
    );
    host.daemon.ok("network ls")?;
    Ok(())
}

#[test]
fn hostile_and_truncated_archives_are_refused_whole() -> Test {
    let host = Single::start(&[])?;
    let folder = host.daemon.host().folder().join("hostile");
    std::fs::create_dir(&folder)?;
    let make = "
        mkdir -p t && echo x > t/file && ln -s /etc t/link
        tar cf absolute.tar -P --transform 's,^t/file,/etc/cnm-was-here,' t/file
        tar cf dots.tar -P --transform 's,^t/file,../../cnm-was-here,' t/file
        mknod t/device c 1 3 && tar cf device.tar -C t device
        tar cf escape.tar -C t link && tar rf escape.tar -P --transform 's,^t/file,link/cnm-was-here,' t/file
        head -c 100000 /dev/urandom > t/noise && tar cf whole.tar -C t noise && head -c 50000 whole.tar > truncated.tar
        head -c 3000 /dev/urandom > nonsense.tar";
    host.daemon
        .host()
        .run("sh", &["-ec", &format!("cd {}; {make}", folder.display())])?
        .ok()?;
    let before = host.daemon.ok("images -aq")?;
    for name in ["absolute", "dots", "device", "escape", "truncated", "nonsense"] {
        let file = folder.join(format!("{name}.tar"));
        let finished = host
            .daemon
            .docker(&["import", &file.to_string_lossy(), "hostile:1"])?;
        assert_ne!(finished.code, 0, "import of {name}.tar: {finished:?}");
        assert!(!finished.stderr.trim().is_empty(), "{name}: {finished:?}");
        let loaded = host.daemon.docker(&["load", "-i", &file.to_string_lossy()])?;
        assert_ne!(loaded.code, 0, "load of {name}.tar: {loaded:?}");
    }
    assert_eq!(host.daemon.ok("images -aq")?, before);
    assert!(!std::path::Path::new("/etc/cnm-was-here").exists());
    Ok(())
}
