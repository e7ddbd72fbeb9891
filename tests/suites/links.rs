//! Links, old (N12) and new (N13), and what they open where containers else can't reach each other.

use std::time::Duration;

use netlab::{on_each_backend, wait_for};

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

#[test]
fn n12_an_old_link_gives_variables_and_a_line_of_the_hosts_file() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        let id = docker.web("db", "--expose 80 -e COLOUR=red")?;
        docker.ok("run -d -P --name web --link db:webdb busybox sleep 600")?;
        let address = docker.address_of("db", "bridge")?;
        let variables = docker.ok("exec web env")?;
        for line in [
            "WEBDB_NAME=/web/webdb".to_owned(),
            format!("WEBDB_PORT=tcp://{address}:80"),
            format!("WEBDB_PORT_80_TCP=tcp://{address}:80"),
            format!("WEBDB_PORT_80_TCP_ADDR={address}"),
            "WEBDB_PORT_80_TCP_PORT=80".to_owned(),
            "WEBDB_PORT_80_TCP_PROTO=tcp".to_owned(),
            "WEBDB_ENV_COLOUR=red".to_owned(),
        ] {
            contains(&variables, &line);
        }
        let hosts = docker.ok("exec web cat /etc/hosts")?;
        let line = hosts
            .lines()
            .find(|line| line.contains("webdb"))
            .unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, [address.as_str(), "webdb", &id[..12], "db"], "{hosts}");
        assert_eq!(docker.ok("exec web wget -q -O - -T 2 http://webdb/")?, "db");
        docker.ok("rm -f web db")?;
        Ok(())
    })
}

#[test]
fn n12_the_hosts_file_follows_a_source_that_comes_back_with_another_address() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("run -d --name db busybox sleep 600")?;
        docker.ok("run -d --name web --link db:webdb busybox sleep 600")?;
        let old = docker.address_of("db", "bridge")?;
        docker.ok("stop -t 0 db")?;
        // Somebody else takes the address meanwhile, if it isn't kept for db.
        docker.ok("run -d --name squatter busybox sleep 600")?;
        docker.ok("start db")?;
        let new = docker.address_of("db", "bridge")?;
        wait_for("the hosts file", Duration::from_secs(5), || {
            let hosts = docker.ok("exec web cat /etc/hosts")?;
            let line = hosts
                .lines()
                .find(|line| line.contains("webdb"))
                .unwrap_or_default();
            anyhow::ensure!(line.starts_with(&format!("{new}\t")), "{old} → {new}: {hosts}");
            Ok(())
        })?;
        docker.ok("exec web ping -c1 -W5 webdb")?;
        docker.ok("rm -f web db squatter")?;
        Ok(())
    })
}

#[test]
fn n12_with_icc_off_the_link_alone_opens_the_exposed_ports() -> Test {
    on_each_backend(&["--icc=false"], |host| {
        let docker = &host.daemon;
        docker.web("db", "--expose 80")?;
        docker.ok("run -d --name web --link db:webdb busybox sleep 600")?;
        docker.ok("run -d --name stranger busybox sleep 600")?;
        let address = docker.address_of("db", "bridge")?;
        let ask = |who: &str| format!("exec {who} wget -q -O - -T 2 http://{address}/");
        assert_eq!(docker.ok(&ask("web"))?, "db");
        docker.refused(&ask("stranger"))?;
        // Only what is exposed: nothing listens there, but a refusal would come at once and from db itself.
        docker.refused(&format!("exec web ping -c1 -W1 {address}"))?;
        docker.ok("rm -f web")?;
        docker.ok("run -d --name web busybox sleep 600")?;
        docker.refused(&ask("web"))?;
        docker.ok("rm -f web db stranger")?;
        Ok(())
    })
}

#[test]
fn rm_link_takes_the_name_and_what_it_opened_and_leaves_both_containers() -> Test {
    on_each_backend(&["--icc=false"], |host| {
        let docker = &host.daemon;
        docker.web("db", "--expose 80")?;
        docker.ok("run -d --name web --link db:webdb --link db:json busybox sleep 600")?;
        let address = docker.address_of("db", "bridge")?;
        let ask = format!("exec web wget -q -O - -T 2 http://{address}/");
        assert_eq!(docker.ok(&ask)?, "db");
        for (link, why) in [
            ("web", "cannot remove the default link name"),
            ("web/nothing", "No such container: web/nothing"),
            ("absent/webdb", "No such container: absent/webdb"),
        ] {
            contains(&docker.refused(&format!("rm --link {link}"))?, why);
        }
        assert_eq!(docker.ok("rm --link /web/webdb")?, "/web/webdb");
        let links = ["inspect", "-f", "{{json .HostConfig.Links}}", "web"];
        assert_eq!(docker.docker(&links)?.ok()?, r#"["/db:/web/json"]"#);
        assert!(!docker.ok("exec web cat /etc/hosts")?.contains("webdb"));
        // The other link to the same container still opens its ports; with the last one they are closed.
        assert_eq!(docker.ok(&ask)?, "db");
        docker.ok("rm --link web/json")?;
        docker.refused(&ask)?;
        assert!(!docker.ok("exec web cat /etc/hosts")?.contains(&address));
        // Its environment is what it was started with, and a restart knows of no link.
        contains(&docker.ok("exec web env")?, "WEBDB_PORT_80_TCP_PORT=80");
        docker.ok("restart -t 0 web")?;
        docker.refused(&ask)?;
        assert!(!docker.ok("exec web env")?.contains("WEBDB"));
        assert_eq!(docker.ok("ps --format {{.Names}}")?.lines().count(), 2);
        docker.ok("rm -f web db")?;
        Ok(())
    })
}

#[test]
fn n11_icc_off_keeps_containers_apart_and_lets_them_out() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --opt com.docker.network.bridge.enable_icc=false apart")?;
        docker.web("one", "--network apart -p 8080:80")?;
        docker.ok("run -d --name two --network apart busybox sleep 600")?;
        docker.refused("exec two wget -q -O - -T 2 http://one/")?;
        docker.refused("exec two ping -c1 -W1 one")?;
        docker.ok("exec two ping -c1 -W5 203.0.113.1")?;
        let url = format!("http://{}:8080/", docker.host().address());
        assert_eq!(
            host.lab.outside_host().fetch(&url)?,
            "one",
            "published ports stay"
        );
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn n13_a_new_link_is_an_alias_that_one_container_sees_even_before_the_other_exists() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create lan")?;
        docker.ok("run -d --name container1 --network lan --link container2:c2 busybox sleep 600")?;
        docker.ok("run -d --name other --network lan busybox sleep 600")?;
        docker.refused("exec container1 ping -c1 -W1 c2")?;
        docker.ok("run -d --name container2 --network lan busybox sleep 600")?;
        docker.ok("exec container1 ping -c1 -W5 c2")?;
        docker.ok("exec container1 ping -c1 -W5 container2")?;
        docker.refused("exec other ping -c1 -W1 c2")?;
        let hosts = docker.ok("exec container1 cat /etc/hosts")?;
        assert!(
            !hosts.split_whitespace().any(|word| word == "c2"),
            "it comes from DNS: {hosts}"
        );
        docker.ok("rm -f container1 container2 other")?;
        Ok(())
    })
}

#[test]
fn links_to_nobody_are_refused() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        let said = docker.refused("run -d --name web --link absent:db busybox sleep 600")?;
        contains(&said, "absent");
        docker.ok("create --name stopped busybox sleep 600")?;
        let said = docker.refused("run -d --name late --link stopped:db busybox sleep 600")?;
        contains(&said, "stopped");
        let _ = docker.line("rm -f web late stopped")?;
        Ok(())
    })
}
