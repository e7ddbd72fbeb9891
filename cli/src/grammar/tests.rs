use std::ffi::OsString;

use serde_json::{Value, json};

use super::{Cli, Command, ContainerCommand, NetworkCommand, arguments, parse};
use crate::commands::container_request::{Surroundings, request};

fn words(line: &str) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        words.push(word.replace('~', " ").into());
    }
    arguments(words)
}

fn typed(line: &str) -> Cli {
    parse(&words(line)).unwrap_or_else(|error| panic!("{line}: {error:?}"))
}

fn network_create(line: &str) -> Result<Value, String> {
    match typed(line).command {
        Command::Network(NetworkCommand::Create(args)) => args
            .request()
            .map(|request| serde_json::to_value(request).expect("JSON")),
        other => panic!("{line}: {other:?}"),
    }
}

fn run(line: &str) -> Value {
    let surroundings = Surroundings {
        variable: &|name| (name == "HOME").then(|| "/root".to_owned()),
        read: &|_| Ok("{}".to_owned()),
        directory: "/home/me".into(),
    };
    let request = match typed(line).command {
        Command::Run(args) | Command::Container(ContainerCommand::Run(args)) => {
            request(&args.options, args.attached().expect("attached"), &surroundings)
        }
        other => panic!("{line}: {other:?}"),
    };
    serde_json::to_value(request.expect(line)).expect("JSON")
}

#[test]
fn the_grammar_holds_together() {
    super::command().debug_assert();
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn net_is_another_name_of_the_program() {
    for line in [
        "net create -d overlay --subnet 172.16.2.0/24 ol1",
        "/usr/bin/net create -d overlay --subnet 172.16.2.0/24 ol1",
        "cnm net create -d overlay --subnet 172.16.2.0/24 ol1",
        "cnm network create --driver=overlay --subnet=172.16.2.0/24 ol1",
        "cnm network create ol1 -doverlay --subnet 172.16.2.0/24",
    ] {
        let request = network_create(line).expect(line);
        assert_eq!(request["Name"], "ol1", "{line}");
        assert_eq!(request["Driver"], "overlay", "{line}");
        assert_eq!(
            request["IPAM"]["Config"],
            json!([{"Subnet": "172.16.2.0/24"}]),
            "{line}"
        );
    }
}

#[test]
fn every_option_of_network_create_reaches_the_request() {
    let line = "cnm network create --attachable --aux-address a=10.1.0.10 --aux-address b=10.1.0.11 --config-from c \
                --config-only -d macvlan --gateway 10.1.0.9 --ingress --internal --ip-range 10.1.1.0/24 \
                --ipam-driver x --ipam-opt k=v --ipv6 --ipv4=false --label l=1 --label m -o p=q --scope local \
                --subnet 10.1.0.0/16,fd00::/64 n";
    let expected = json!({
        "Name": "n", "Driver": "macvlan", "Scope": "local", "EnableIPv4": false, "EnableIPv6": true,
        "IPAM": {
            "Driver": "x", "Options": {"k": "v"},
            "Config": [
                {"Subnet": "10.1.0.0/16", "IPRange": "10.1.1.0/24", "Gateway": "10.1.0.9",
                 "AuxiliaryAddresses": {"a": "10.1.0.10", "b": "10.1.0.11"}},
                {"Subnet": "fd00::/64"},
            ],
        },
        "Internal": true, "Attachable": true, "Ingress": true, "ConfigOnly": true, "ConfigFrom": {"Network": "c"},
        "Options": {"p": "q"}, "Labels": {"l": "1", "m": ""},
    });
    assert_eq!(network_create(line), Ok(expected));
    assert!(network_create("cnm network create --subnet 10.1.0.0/16 --gateway 10.2.0.1 n").is_err());
}

#[test]
fn network_connect_says_what_the_endpoint_should_be_like() {
    let line = "cnm net connect --alias a --alias b --driver-opt k=v --gw-priority -3 --ip 10.0.0.2 --ip6 fd00::2 \
                --link c:d --link-local-ip 169.254.1.1 n box";
    let Command::Network(NetworkCommand::Connect(args)) = typed(line).command else {
        panic!("connect")
    };
    let request = serde_json::to_value(args.request()).expect("JSON");
    let endpoint = &request["EndpointConfig"];
    assert_eq!(request["Container"], "box");
    let ipam = json!({"IPv4Address": "10.0.0.2", "IPv6Address": "fd00::2", "LinkLocalIPs": ["169.254.1.1"]});
    assert_eq!(endpoint["IPAMConfig"], ipam);
    assert_eq!(endpoint["Aliases"], json!(["a", "b"]));
    assert_eq!(endpoint["Links"], json!(["c:d"]));
    assert_eq!(endpoint["DriverOpts"], json!({"k": "v"}));
    assert_eq!(endpoint["GwPriority"], -3);
}

/// A command line, and where in its request which value must be.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn flags_of_run_reach_the_request() {
    let rows: &[Row] = &[
        (
            "cnm run busybox",
            &[
                ("/Image", "\"busybox\""),
                ("/Cmd", "null"),
                ("/HostConfig/NetworkMode", "\"default\""),
            ],
        ),
        (
            "cnm run busybox sh -c echo~-it",
            &[("/Cmd", r#"["sh","-c","echo -it"]"#), ("/Tty", "false")],
        ),
        // What stands behind the image belongs to the command, even if it looks like a flag of ours.
        (
            "cnm run busybox --rm -it --help",
            &[("/Cmd", r#"["--rm","-it","--help"]"#), ("/Tty", "false")],
        ),
        ("cnm run --name x -- busybox -v", &[("/Cmd", r#"["-v"]"#)]),
        (
            "cnm run -it busybox",
            &[
                ("/Tty", "true"),
                ("/OpenStdin", "true"),
                ("/StdinOnce", "true"),
                ("/AttachStdin", "true"),
                ("/AttachStdout", "true"),
            ],
        ),
        (
            "cnm container run -d -i busybox",
            &[
                ("/AttachStdout", "false"),
                ("/AttachStdin", "false"),
                ("/OpenStdin", "true"),
                ("/StdinOnce", "false"),
            ],
        ),
        (
            "cnm run -a STDOUT busybox",
            &[
                ("/AttachStdout", "true"),
                ("/AttachStderr", "false"),
                ("/AttachStdin", "false"),
            ],
        ),
        (
            "cnm run --rm=false -t=1 busybox",
            &[("/HostConfig/AutoRemove", "false"), ("/Tty", "true")],
        ),
        (
            "cnm run -e A=1 -eB=2 -e HOME -e NOPE busybox",
            &[("/Env", r#"["A=1","B=2","HOME=/root"]"#)],
        ),
        ("cnm run --env -x=1 busybox", &[("/Env", r#"["-x=1"]"#)]),
        (
            "cnm run -h box --domainname d -u 1:2 -w /w busybox",
            &[
                ("/Hostname", "\"box\""),
                ("/Domainname", "\"d\""),
                ("/User", "\"1:2\""),
                ("/WorkingDir", "\"/w\""),
            ],
        ),
        (
            "cnm run --entrypoint sh busybox -c x",
            &[("/Entrypoint", r#"["sh"]"#), ("/Cmd", r#"["-c","x"]"#)],
        ),
        ("cnm run --entrypoint= busybox", &[("/Entrypoint", r#"[""]"#)]),
        (
            "cnm run -m 500m --memory-swap -1 --cpus 1.5 -c 512 --cpuset-cpus 0,1 --pids-limit -1 busybox",
            &[
                ("/HostConfig/Memory", "524288000"),
                ("/HostConfig/MemorySwap", "-1"),
                ("/HostConfig/NanoCpus", "1500000000"),
                ("/HostConfig/CpuShares", "512"),
                ("/HostConfig/CpusetCpus", "\"0,1\""),
                ("/HostConfig/PidsLimit", "-1"),
            ],
        ),
        (
            "cnm run --blkio-weight 300 --blkio-weight-device /dev/a:20 --device-read-bps /dev/a:1mb \
             --device-write-bps /dev/a:2k --device-read-iops /dev/a:3 --device-write-iops /dev/b:4 busybox",
            &[
                ("/HostConfig/BlkioWeight", "300"),
                (
                    "/HostConfig/BlkioWeightDevice",
                    r#"[{"Path":"/dev/a","Weight":20}]"#,
                ),
                (
                    "/HostConfig/BlkioDeviceReadBps",
                    r#"[{"Path":"/dev/a","Rate":1048576}]"#,
                ),
                (
                    "/HostConfig/BlkioDeviceWriteBps",
                    r#"[{"Path":"/dev/a","Rate":2048}]"#,
                ),
                (
                    "/HostConfig/BlkioDeviceReadIOps",
                    r#"[{"Path":"/dev/a","Rate":3}]"#,
                ),
                (
                    "/HostConfig/BlkioDeviceWriteIOps",
                    r#"[{"Path":"/dev/b","Rate":4}]"#,
                ),
            ],
        ),
        (
            "cnm run --ulimit nofile=1:2 --ulimit core=0 busybox",
            &[(
                "/HostConfig/Ulimits",
                r#"[{"Name":"nofile","Hard":2,"Soft":1},{"Name":"core","Hard":0,"Soft":0}]"#,
            )],
        ),
        (
            "cnm run --cap-add net_admin --cap-drop ALL --privileged --security-opt seccomp=unconfined busybox",
            &[
                ("/HostConfig/CapAdd", r#"["CAP_NET_ADMIN"]"#),
                ("/HostConfig/CapDrop", r#"["ALL"]"#),
                ("/HostConfig/Privileged", "true"),
                ("/HostConfig/SecurityOpt", r#"["seccomp=unconfined"]"#),
            ],
        ),
        (
            "cnm run --security-opt systempaths=unconfined busybox",
            &[
                ("/HostConfig/MaskedPaths", "[]"),
                ("/HostConfig/ReadonlyPaths", "[]"),
                ("/HostConfig/SecurityOpt", "null"),
            ],
        ),
        (
            "cnm run --read-only --tmpfs /a:size=1m --tmpfs /b -v /tmp:/x:ro -v ./y:/y -v /z --shm-size 1m busybox",
            &[
                ("/HostConfig/ReadonlyRootfs", "true"),
                ("/HostConfig/Tmpfs", r#"{"/a":"size=1m","/b":""}"#),
                ("/HostConfig/Binds", r#"["/tmp:/x:ro","/home/me/y:/y"]"#),
                ("/Volumes", r#"{"/z":{}}"#),
                ("/HostConfig/ShmSize", "1048576"),
            ],
        ),
        (
            "cnm run --sysctl net.a=1 --init --restart on-failure:3 --stop-signal INT --stop-timeout 3 busybox",
            &[
                ("/HostConfig/Sysctls", r#"{"net.a":"1"}"#),
                ("/HostConfig/Init", "true"),
                (
                    "/HostConfig/RestartPolicy",
                    r#"{"Name":"on-failure","MaximumRetryCount":3}"#,
                ),
                ("/StopSignal", "\"INT\""),
                ("/StopTimeout", "3"),
            ],
        ),
        (
            "cnm run -l a=1 --label b --log-driver json-file --log-opt max-size=1m --pid host --ipc host --uts host busybox",
            &[
                ("/Labels", r#"{"a":"1","b":""}"#),
                (
                    "/HostConfig/LogConfig",
                    r#"{"Type":"json-file","Config":{"max-size":"1m"}}"#,
                ),
                ("/HostConfig/PidMode", "\"host\""),
                ("/HostConfig/IpcMode", "\"host\""),
                ("/HostConfig/UTSMode", "\"host\""),
            ],
        ),
        (
            "cnm run --dns 8.8.8.8 --dns-opt ndots:1 --dns-search x --add-host db:10.0.0.1 busybox",
            &[
                ("/HostConfig/Dns", r#"["8.8.8.8"]"#),
                ("/HostConfig/DnsOptions", r#"["ndots:1"]"#),
                ("/HostConfig/DnsSearch", r#"["x"]"#),
                ("/HostConfig/ExtraHosts", r#"["db:10.0.0.1"]"#),
            ],
        ),
        (
            "cnm run -p 8080:80 -p 127.0.0.1::53/udp --expose 90-91 -P busybox",
            &[
                (
                    "/ExposedPorts",
                    r#"{"53/udp":{},"80/tcp":{},"90/tcp":{},"91/tcp":{}}"#,
                ),
                (
                    "/HostConfig/PortBindings",
                    r#"{"53/udp":[{"HostIp":"127.0.0.1","HostPort":""}],"80/tcp":[{"HostIp":"","HostPort":"8080"}]}"#,
                ),
                ("/HostConfig/PublishAllPorts", "true"),
            ],
        ),
        (
            "cnm run --link db:web busybox",
            &[
                ("/HostConfig/Links", r#"["db:web"]"#),
                ("/NetworkingConfig/EndpointsConfig", "{}"),
            ],
        ),
        (
            "cnm run --net host busybox",
            &[
                ("/HostConfig/NetworkMode", "\"host\""),
                ("/NetworkingConfig/EndpointsConfig", "{}"),
            ],
        ),
        (
            "cnm run --net container:a busybox",
            &[
                ("/HostConfig/NetworkMode", "\"container:a\""),
                ("/NetworkingConfig/EndpointsConfig", "{}"),
            ],
        ),
        (
            "cnm run --net ol1 --ip 10.1.1.1 --ip6 fd00::1 --network-alias a --net-alias b --link db \
             --link-local-ip 169.254.1.1 --mac-address 02-42-ac-11-00-02 busybox",
            &[
                ("/HostConfig/NetworkMode", "\"ol1\""),
                (
                    "/NetworkingConfig/EndpointsConfig/ol1/IPAMConfig",
                    r#"{"IPv4Address":"10.1.1.1","IPv6Address":"fd00::1","LinkLocalIPs":["169.254.1.1"]}"#,
                ),
                ("/NetworkingConfig/EndpointsConfig/ol1/Aliases", r#"["a","b"]"#),
                ("/NetworkingConfig/EndpointsConfig/ol1/Links", r#"["db:db"]"#),
                (
                    "/NetworkingConfig/EndpointsConfig/ol1/MacAddress",
                    "\"02:42:ac:11:00:02\"",
                ),
            ],
        ),
        (
            "cnm run --network name=a,alias=x --network b --ip 10.1.1.1 busybox",
            &[
                ("/HostConfig/NetworkMode", "\"a\""),
                ("/NetworkingConfig/EndpointsConfig/a/Aliases", r#"["x"]"#),
                (
                    "/NetworkingConfig/EndpointsConfig/a/IPAMConfig",
                    r#"{"IPv4Address":"10.1.1.1"}"#,
                ),
                ("/NetworkingConfig/EndpointsConfig/b/Aliases", "null"),
            ],
        ),
    ];
    for (line, expectations) in rows {
        let request = run(line);
        for (pointer, expected) in *expectations {
            let got = request.pointer(pointer).unwrap_or(&Value::Null).to_string();
            assert_eq!(&got, expected, "{pointer} of {line}");
        }
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let rows = [
        ("cnm run --rm --restart always busybox", "--restart and --rm"),
        ("cnm run --net ol1 --net host busybox", "user-defined"),
        ("cnm run --net a --net a busybox", "multiple times"),
        (
            "cnm run --net name=a,alias=x --network-alias y busybox",
            "--network-alias",
        ),
        ("cnm run --net name=a,ip=1.2.3.4 --ip 1.2.3.5 busybox", "--ip "),
        ("cnm run --net container:a --ip 1.2.3.5 busybox", "container:a"),
        ("cnm run -v x busybox", "not absolute"),
    ];
    for (line, part) in rows {
        let Command::Run(args) = typed(line).command else {
            panic!("{line}")
        };
        let attached = args.attached().expect("attached");
        let error = request(&args.options, attached, &Surroundings::ours()).expect_err(line);
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn words_that_are_not_in_the_grammar_have_docker_s_exit_status() {
    let rows = [
        ("cnm run --bogus busybox", 125),
        ("cnm run -m zz busybox", 125),
        ("cnm run --cpus abc busybox", 125),
        ("cnm run --blkio-weight x busybox", 125),
        ("cnm run --device-read-bps sda:1mb busybox", 125),
        ("cnm run -e =x busybox", 125),
        ("cnm run --add-host bogus busybox", 125),
        ("cnm run --mac-address bogus busybox", 125),
        ("cnm run --network name=a,bogus=1 busybox", 125),
        ("cnm run --rm=maybe busybox", 125),
        ("cnm ps --bogus", 125),
        ("cnm run", 1),
        ("cnm exec box", 125),
        ("cnm rm", 1),
        ("cnm network create", 1),
        ("cnm network create a b", 1),
        ("cnm network creat", 1),
        ("cnm bogus", 1),
    ];
    for (line, status) in rows {
        assert_eq!(parse(&words(line)).expect_err(line).status(), status, "{line}");
    }
}

#[test]
fn lists_take_their_flags() {
    let lines = [
        "cnm ps -aq",
        "cnm ps -a --no-trunc -s -f name=x -f status=exited -n -1",
        "cnm ps -l --format json",
        "cnm container ls",
        "cnm container list",
        "cnm container ps",
        "cnm images -q",
        "cnm image list --digests b:1",
        "cnm net ls -q --no-trunc -f driver=bridge",
        "cnm network list",
        "cnm net inspect -v -f {{.Id}} a b",
        "cnm net rm a b c",
        "cnm network remove -f a",
        "cnm net prune -f --filter until=24h",
        "cnm net disconnect -f a b",
        "cnm stop -t 3 a b",
        "cnm stop --time=3 a",
        "cnm kill -s HUP a",
        "cnm pause a b",
        "cnm container unpause a b",
        "cnm rm -fv a b",
        "cnm remove a",
        "cnm logs -f --tail=100 -t --since 5m a",
        "cnm logs -n 5 a",
        "cnm exec -it a sh -c x",
        "cnm exec -e A=1 -w / -u 0 a env",
        "cnm attach --no-stdin --sig-proxy=false a",
        "cnm start -ai a",
        "cnm rmi -f a b",
        "cnm import -c CMD~sh rootfs.tar a:b",
        "cnm import - a",
        "cnm load -i x.tar -q",
        "cnm tag a b",
        "cnm inspect --type network -f json a",
        "cnm version -f json",
        "cnm info",
        "cnm system info",
        "cnm events --since 1h --until 0 -f type=network",
        "cnm ping",
        "cnm completion bash",
        "cnm -H unix:///x -D ps",
        "cnm ps -H /x",
        "cnm wait a b",
        "cnm rename a b",
        "cnm restart -t 1 a",
        "cnm create --name x busybox",
        "cnm container prune -f",
        "cnm demo --store consul --keep",
    ];
    for line in lines {
        typed(line);
    }
}

#[test]
fn ports_are_shown_added_and_taken_away() {
    for line in [
        "cnm port web",
        "cnm port web 80/udp",
        "cnm container port web 80",
        "cnm port add web 8080:80",
        "cnm port add --publish-firewall host web 127.0.0.1::80/udp 443:443",
        "cnm port rm web 8080:80",
    ] {
        assert!(
            matches!(
                typed(line).command.in_group(),
                Command::Container(ContainerCommand::Port(_))
            ),
            "{line}"
        );
    }
    for line in [
        "cnm port",
        "cnm port web 80-81",
        "cnm port add web",
        "cnm port add web http:80",
        "cnm port add web 80,firewall=none",
    ] {
        assert!(parse(&words(line)).is_err(), "{line}");
    }
}

#[test]
fn the_firewall_of_all_ports_yields_to_that_of_one() {
    let request = run("cnm run --publish-firewall host -p 80:80 -p 81:81,firewall=open busybox");
    let bindings = &request["HostConfig"]["PortBindings"];
    assert_eq!(bindings["80/tcp"][0]["Exposure"], "host");
    assert_eq!(bindings["81/tcp"][0]["Exposure"], "open");
    let plain = run("cnm run -p 80:80 busybox");
    let binding = plain["HostConfig"]["PortBindings"]["80/tcp"][0]
        .as_object()
        .expect("an object");
    assert!(
        !binding.contains_key("Exposure"),
        "Docker's own daemon need not know"
    );
}
