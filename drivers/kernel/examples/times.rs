//! Prints how long the usual operations take, in namespaces of its own: `cargo run -p kernel --example times` as root.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kernel::{
    Kernel as _, KernelState, Linux, Mark, Netns, Object, Owner, ensure, netns,
    object::{Address, BridgePort, Link, LinkKind, Neighbor, VethPeer},
    remove,
};
use model::{InterfaceName, MacAddress, NodeId};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

const ROUNDS: usize = 50;
const LIMIT: Duration = Duration::from_secs(10);

type Answer<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[derive(Default)]
struct Times(Vec<(&'static str, Vec<Duration>)>);

impl Times {
    fn of<E>(&mut self, what: &'static str, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let start = Instant::now();
        work()?;
        let took = start.elapsed();
        match self.0.iter_mut().find(|(name, _)| *name == what) {
            Some((_, times)) => times.push(took),
            None => self.0.push((what, vec![took])),
        }
        Ok(())
    }

    #[allow(clippy::print_stdout)]
    fn tell(mut self) {
        for (what, times) in &mut self.0 {
            times.sort_unstable();
            let [median, most] = [times[times.len() / 2], times[times.len() - 1]];
            println!("{median:>10.3?} median {most:>10.3?} most  {what}");
        }
    }
}

fn link(name: &str, kind: LinkKind) -> Answer<Link> {
    Ok(Link {
        netns: Netns::Host,
        name: InterfaceName::new(name)?,
        kind,
        mac: Some(MacAddress::new([2, 0, 0, 0, 0, 1])?),
        mtu: None,
        master: None,
        up: true,
    })
}

fn pair(sandbox: &Netns) -> Answer<Link> {
    let peer = VethPeer {
        netns: sandbox.clone(),
        name: InterfaceName::new("eth0")?,
        mac: Some(MacAddress::new([2, 0, 0, 0, 0, 2])?),
        mtu: Some(1450),
        up: true,
        ipv6: true,
    };
    let port = BridgePort::default();
    Ok(Link {
        master: Some(InterfaceName::new("br")?),
        ..link("veth", LinkKind::Veth { peer, port })?
    })
}

fn inside(sandbox: &Netns) -> Answer<KernelState> {
    let link = InterfaceName::new("eth0")?;
    let address = Address {
        netns: sandbox.clone(),
        link: link.clone(),
        address: "10.1.0.2/24".parse()?,
    };
    let neighbor = Neighbor {
        netns: sandbox.clone(),
        link,
        address: "10.1.0.1".parse()?,
        mac: MacAddress::new([2, 0, 0, 0, 0, 1])?,
    };
    Ok([Object::Address(address), Object::Neighbor(neighbor)]
        .into_iter()
        .collect())
}

fn state(object: Object) -> KernelState {
    [object].into_iter().collect()
}

fn round(times: &mut Times, kernel: &Linux, mark: &Mark, pin: &Path) -> Answer {
    let sandbox = Netns::Pinned(pin.to_owned());
    let namespace = state(Object::Namespace(pin.to_owned()));
    let bridge = state(Object::Link(link("other", LinkKind::Bridge)?));
    let (pair, inside) = (state(Object::Link(pair(&sandbox)?)), inside(&sandbox)?);
    let settled = || kernel.settle(LIMIT).then_some(()).ok_or("still removing links");
    times.of("make and pin a namespace", || ensure(kernel, mark, &namespace))?;
    times.of("make a pair into it, both ends up, one a port", || {
        ensure(kernel, mark, &pair)
    })?;
    times.of("ensure the pair again", || ensure(kernel, mark, &pair))?;
    times.of("an address and a neighbour in the namespace", || {
        ensure(kernel, mark, &inside)
    })?;
    times.of("remove the pair", || remove(kernel, mark, &pair))?;
    times.of("... until the kernel acknowledges", settled)?;
    times.of("make a bridge", || ensure(kernel, mark, &bridge))?;
    times.of("remove the bridge", || remove(kernel, mark, &bridge))?;
    times.of("... until the kernel acknowledges", settled)?;
    times.of("unpin the namespace", || netns::remove(pin))?;
    Ok(())
}

fn main() -> Answer {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    let pins = PathBuf::from(format!("/tmp/cnm-times-{}", std::process::id()));
    let kernel = Linux::here()?;
    let mark = Mark {
        node: NodeId::random(),
        owner: Owner::Host,
    };
    ensure(
        &kernel,
        &mark,
        &state(Object::Link(link("br", LinkKind::Bridge)?)),
    )?;
    let mut times = Times::default();
    for number in 0..ROUNDS {
        round(&mut times, &kernel, &mark, &pins.join(number.to_string()))?;
    }
    std::fs::remove_dir(&pins)?;
    times.tell();
    Ok(())
}
