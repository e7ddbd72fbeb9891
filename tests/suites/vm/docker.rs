//! ipvlan and macvlan of a stock Docker daemon that has us for a plugin.

use anyhow::ensure;

use super::{Test, pair::Site};

#[test]
fn a_docker_daemon_has_our_ipvlan_and_macvlan() -> Test {
    let (site, _lab) = Site::alone("dockerd", &[])?;
    for (driver, more) in [
        ("ipvlan", "-o parent=eth0"),
        ("ipvlan", "-o parent=eth0 -o ipvlan_mode=l3s"),
        ("macvlan", "-o parent=eth0.50"),
    ] {
        site.network(
            "seg",
            &format!(
                "-o cnm.driver={driver} {more} --subnet 198.18.0.0/24 --ip-range 198.18.0.128/25 --gateway 198.18.0.254"
            ),
        )?;
        site.sleeper("one", "--network seg --ip 198.18.0.140")?;
        site.sleeper("two", "--network seg")?;
        site.reaches("one", "two")?;
        site.reaches("two", "198.18.0.140")?;
        let link = site.ok("exec one ip -o link show dev eth0")?;
        ensure!(link.contains("UP"), "{link}");
        if more == "-o parent=eth0" {
            site.reaches("one", "198.18.0.254")?;
        }
        site.ok("network disconnect seg two")?;
        site.ok("network connect seg two")?;
        site.reaches("two", "one")?;
        site.ok("rm -f one two")?;
        site.ok("network rm seg")?;
        site.nothing_is_left()?;
        let links = site.run("ip -o link")?;
        ensure!(!links.contains("eth0.50@"), "{links}");
    }
    let refused = site.refused(&super::pair::create(
        "seg",
        "-o cnm.driver=ipvlan -o parent=eth0 -o ipvlan_mode=l4 --subnet 198.18.0.0/24",
    ))?;
    ensure!(refused.contains("not an ipvlan mode"), "{refused}");
    Ok(())
}
