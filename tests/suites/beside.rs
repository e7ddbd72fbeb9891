//! One host with other people's programs on it, the real ones of Debian: dockerd, ufw, firewalld. Nobody disturbs the
//! other.

#[path = "beside/shared.rs"]
mod shared;

use std::iter;

use netlab::{Backend, Dockerd, Firewalld, prepare_ufw};
use shared::{Shared, Test, both_work, on_each_backend, our_own_work, run_ours, run_theirs};

#[test]
fn beside_a_dockerd_that_was_there_before() -> Test {
    on_each_backend(|backend| {
        let mut shared = Shared::new(&["dockerd"], backend)?;
        let mut docker = Dockerd::start(&shared.host, &[])?;
        run_theirs(&docker)?;
        let before = shared.others()?;
        shared.start_ours()?;
        run_ours(&shared)?;
        shared.untouched(&before)?;
        both_work(&shared, &docker)?;

        shared.ours().ok("network create more")?;
        shared.ours().ok("network rm more")?;
        docker.ok("network create more")?;
        docker.ok("network rm more")?;
        shared.untouched(&before)?;

        shared.restart_ours()?;
        shared.untouched(&before)?;
        both_work(&shared, &docker)?;

        docker.stop()?;
        our_own_work(&shared)?;
        docker.start_again()?;
        shared.untouched_in_any_order(&before)?;

        docker.kill()?;
        our_own_work(&shared)?;
        docker.start_again()?;
        both_work(&shared, &docker)?;

        shared.ours().ok("rm -f ours near")?;
        shared.ours().ok("network rm lan")?;
        shared.untouched_in_any_order(&before)
    })
}

#[test]
fn beside_a_dockerd_that_comes_later() -> Test {
    on_each_backend(|backend| {
        let mut shared = Shared::new(&["dockerd"], backend)?;
        shared.start_ours()?;
        run_ours(&shared)?;
        let docker = Dockerd::start(&shared.host, &[])?;
        run_theirs(&docker)?;
        both_work(&shared, &docker)
    })
}

#[test]
fn beside_newer_dockerds() -> Test {
    // One of sid joins in where somebody brought it: what sid has changes every day, so nothing here rests on it.
    let newest = Some("dockerd-28").filter(|package| shared::is_brought(package));
    for package in iter::once("dockerd-26").chain(newest) {
        // Their rules are of one kind up to 27, and of another from 28 on.
        on_each_backend(|backend| {
            if package == "dockerd-26" && backend == Backend::Iptables {
                return Ok(());
            }
            let mut shared = Shared::new(&[package, "dockerd"], backend)?;
            let mut docker = Dockerd::start(&shared.host, &[])?;
            run_theirs(&docker)?;
            let before = shared.others()?;
            shared.start_ours()?;
            run_ours(&shared)?;
            shared.untouched(&before)?;
            both_work(&shared, &docker)?;
            docker.stop()?;
            docker.start_again()?;
            both_work(&shared, &docker)
        })?;
    }
    Ok(())
}

#[test]
fn beside_a_dockerd_with_legacy_iptables() -> Test {
    on_each_backend(|backend| {
        let mut shared = Shared::new(&["dockerd"], backend)?;
        shared.use_legacy_iptables()?;
        let mut docker = Dockerd::start(&shared.host, &[])?;
        run_theirs(&docker)?;
        let before = shared.others()?;
        assert!(before.contains("DOCKER-USER"), "{before}");
        shared.start_ours()?;
        run_ours(&shared)?;
        shared.untouched(&before)?;
        both_work(&shared, &docker)?;
        docker.stop()?;
        docker.start_again()?;
        both_work(&shared, &docker)?;
        shared.flush("iptables -F")?;
        our_own_work(&shared)
    })
}

#[test]
fn what_is_flushed_beside_a_dockerd_is_back() -> Test {
    on_each_backend(|backend| {
        let mut shared = Shared::new(&["dockerd"], backend)?;
        let mut docker = Dockerd::start(&shared.host, &[])?;
        run_theirs(&docker)?;
        shared.start_ours()?;
        run_ours(&shared)?;
        for line in ["iptables -F", "iptables -t nat -F", "nft flush ruleset"] {
            shared.flush(line)?;
            our_own_work(&shared)?;
        }
        // dockerd heals only by a restart.
        docker.stop()?;
        docker.start_again()?;
        both_work(&shared, &docker)
    })
}

#[test]
fn beside_ufw() -> Test {
    // What ufw makes of a host where it is alone.
    let alone = Shared::new(&["ufw"], Backend::Nftables)?;
    prepare_ufw(&alone.host)?;
    let mut expected = Vec::new();
    for line in UFW {
        alone.run(line)?;
        expected.push(alone.others()?);
    }
    drop(alone);
    on_each_backend(|backend| {
        let mut shared = Shared::new(&["ufw"], backend)?;
        prepare_ufw(&shared.host)?;
        shared.start_ours()?;
        run_ours(&shared)?;
        for (line, expected) in UFW.iter().zip(&expected) {
            shared.run(line)?;
            our_own_work(&shared)?;
            shared.untouched(expected)?;
        }
        Ok(())
    })
}

const UFW: [&str; 6] = [
    "ufw --force enable",
    "ufw allow 22/tcp",
    "ufw route deny from 10.9.9.9",
    "ufw reload",
    "ufw disable",
    "ufw --force enable",
];

#[test]
fn beside_firewalld() -> Test {
    on_each_backend(|backend| {
        let mut shared = Shared::new(&["firewalld"], backend)?;
        let mut firewalld = Firewalld::start(&shared.host)?;
        shared.start_ours()?;
        run_ours(&shared)?;
        our_own_work(&shared)?;
        firewalld.cmd("--reload")?;
        our_own_work(&shared)?;
        shared.restart_ours()?;
        our_own_work(&shared)?;
        firewalld.stop()?;
        our_own_work(&shared)?;
        firewalld.start_again()?;
        our_own_work(&shared)
    })
}

#[test]
fn beside_all_of_them_at_once() -> Test {
    on_each_backend(|backend| {
        let mut shared = Shared::new(&["dockerd", "firewalld", "ufw"], backend)?;
        prepare_ufw(&shared.host)?;
        let firewalld = Firewalld::start(&shared.host)?;
        let docker = Dockerd::start(&shared.host, &[])?;
        run_theirs(&docker)?;
        shared.run("ufw --force enable")?;
        shared.start_ours()?;
        run_ours(&shared)?;
        both_work(&shared, &docker)?;
        firewalld.cmd("--reload")?;
        both_work(&shared, &docker)?;
        shared.run("ufw reload")?;
        both_work(&shared, &docker)
    })
}

/// A host whose administrator forwards only what she has named, as in an `/etc/nftables.conf`.
const FORWARDS_NOTHING: &str = "add table inet filter; add chain inet filter forward { type filter hook forward priority filter; policy drop; }";

#[test]
fn a_chain_that_drops_is_told_of_until_it_lets_containers_pass() -> Test {
    on_each_backend(|backend| {
        let mut shared = Shared::new(&[], backend)?;
        shared.start_ours()?;
        run_ours(&shared)?;
        assert_eq!(shared.warnings()?, "");
        shared.nft(FORWARDS_NOTHING)?;
        let before = shared.others()?;
        let warning = shared.warning()?;
        shared.untouched(&before)?;
        // It names the rules that would do, and nobody but the administrator adds them.
        let rules: Vec<_> = warning
            .match_indices("nft insert rule ")
            .map(|(at, _)| &warning[at..])
            .collect();
        for rule in rules {
            let (rule, _) = rule.split_once(" accept").expect("a whole rule");
            shared.run(&format!("{rule} accept"))?;
        }
        our_own_work(&shared)?;
        shared.no_warning()
    })
}

#[test]
fn an_adopted_bridge_passes_a_policy_that_drops() -> Test {
    on_each_backend(|backend| {
        let mut shared = Shared::new(&[], backend)?;
        for line in [
            "ip link add lan0 type bridge",
            "ip link set lan0 up",
            "iptables -P FORWARD DROP",
        ] {
            shared.run(line)?;
        }
        shared.start_ours()?;
        let ours = shared.ours();
        ours.ok("network create --opt com.docker.network.bridge.name=lan0 lan")?;
        ours.web("ours", "--network lan -p 8080:80")?;
        ours.web("near", "--network lan")?;
        our_own_work(&shared)
    })
}
