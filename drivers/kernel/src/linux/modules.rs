//! Which parts of the running kernel are missing: its own lists, and for what they leave in doubt a try in a namespace that
//! ends with the thread that made it.

use std::{collections::BTreeSet, fs, io, os::fd::AsFd as _, path::Path, thread};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
};
use nix::{
    libc,
    sched::{CloneFlags, unshare},
};

use super::{
    Linux, conntrack,
    netlink::{CREATE, Connection},
};
use crate::{
    Kernel as _, Key, Mark, Netns, Object, Owner, Step,
    modules::{Evidence, Missing, Module, named_in},
    ruleset::{Action, AddressType, Base, Chain, ChainKind, Hook, Item, Match, Policy, Rule, Table, Test},
};

/// Everything that is missing.
///
/// # Errors
/// When no namespace can be made to try anything in, and the lists leave something in doubt.
pub fn missing() -> io::Result<Vec<Missing>> {
    let lists = Lists::read();
    let mut known: Vec<_> = Module::ALL.map(|module| (module, lists.evidence(module))).into();
    if known.iter().any(|(_, evidence)| evidence.is_in_doubt()) {
        try_all(&mut known)?;
    }
    Ok(known
        .into_iter()
        .filter_map(|(module, evidence)| evidence.missing(module))
        .collect())
}

/// What the kernel says of itself.
struct Lists {
    there: BTreeSet<String>,
    files: BTreeSet<String>,
    by_itself: bool,
}

impl Lists {
    fn read() -> Self {
        let release = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
        let folder = Path::new("/lib/modules").join(release.unwrap_or_default());
        let read = |path: &Path| named_in(&fs::read_to_string(path).unwrap_or_default());
        let mut there = read(Path::new("/proc/modules"));
        there.extend(read(&folder.join("modules.builtin")));
        let loader = fs::read_to_string("/proc/sys/kernel/modprobe").unwrap_or_default();
        Self {
            there,
            files: read(&folder.join("modules.dep")),
            by_itself: !loader.trim().is_empty() && Path::new(loader.trim()).exists(),
        }
    }

    fn evidence(&self, module: Module) -> Evidence {
        let name = module.name();
        let in_sysfs = || Path::new("/sys/module").join(name).exists();
        let in_proc = || module == Module::BridgeNetfilter && Path::new("/proc/sys/net/bridge").exists();
        Evidence {
            there: self.there.contains(name) || in_sysfs() || in_proc(),
            file: self.files.contains(name),
            by_itself: self.by_itself,
            tried: None,
        }
    }
}

fn try_all(known: &mut [(Module, Evidence)]) -> io::Result<()> {
    thread::scope(|scope| {
        let tried = thread::Builder::new()
            .name("kernel-modules".to_owned())
            .spawn_scoped(scope, || {
                unshare(CloneFlags::CLONE_NEWNET)?;
                let mut trial = Trial::new()?;
                for (module, evidence) in known.iter_mut().filter(|(_, evidence)| evidence.is_in_doubt()) {
                    evidence.tried = trial.run(*module);
                }
                Ok(())
            })?;
        tried
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that tries modules panicked")))
    })
}

/// The namespace of the calling thread, to be thrown away.
struct Trial {
    route: Connection,
    linux: Linux,
    mark: Mark,
}

impl Trial {
    fn new() -> io::Result<Self> {
        Ok(Self {
            route: Connection::here()?,
            linux: Linux::here()?,
            mark: Mark {
                node: model::NodeId::random(),
                owner: Owner::Host,
            },
        })
    }

    /// Whether a part works; none where that can't be tried without doing more than looking.
    fn run(&mut self, module: Module) -> Option<bool> {
        if let Some(kind) = module.kind() {
            return Some(self.has_kind(kind));
        }
        Some(match module {
            Module::NfTables => self.takes(ChainKind::Filter, Hook::Forward, None, None),
            Module::NftNat => self.takes(ChainKind::Nat, Hook::Prerouting, None, None),
            Module::NftMasquerade => {
                self.takes(ChainKind::Nat, Hook::Postrouting, None, Some(Action::Masquerade))
            }
            Module::NftFib => self.takes(
                ChainKind::Filter,
                Hook::Prerouting,
                Some(Test::DestinationType(AddressType::Local)),
                None,
            ),
            Module::ConntrackNetlink => conntrack::is_there(self.linux.host.descriptor.as_fd()),
            // Loading it would change what becomes of bridged packets.
            _ => return Some(false),
        })
    }

    /// A request for a link of a kind without all that it needs is refused either way, and says whether the kind is known.
    fn has_kind(&mut self, kind: &str) -> bool {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            // Some kinds need nothing, and are made.
            LinkAttribute::IfName(format!("try-{kind}")),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Other(kind.to_owned()))]),
        ];
        let request = RouteNetlinkMessage::NewLink(message);
        let answer = self.route.change(request, CREATE);
        !answer.is_err_and(|refusal| refusal.source.raw_os_error() == Some(libc::EOPNOTSUPP))
    }

    /// Whether nf_tables takes a chain with this in it.
    fn takes(&self, kind: ChainKind, hook: Hook, test: Option<Test>, action: Option<Action>) -> bool {
        let table = Table::inet("probe");
        let rule = Rule {
            matches: test
                .map(|test| Match { negated: false, test })
                .into_iter()
                .collect(),
            counter: false,
            action,
        };
        let is_rule = !rule.matches.is_empty() || rule.action.is_some();
        let chain = Chain {
            table: table.clone(),
            name: "probe".to_owned(),
            base: Some(Base {
                kind,
                hook,
                priority: 0,
                policy: Policy::Accept,
            }),
            rules: if is_rule { vec![rule] } else { Vec::new() },
            users: false,
        };
        let items = [Item::Table(table.clone()), Item::Chain(chain)];
        let made = items.map(|item| Step::Create(Object::Firewall(Netns::Host, item)));
        let took = self.linux.apply(&self.mark, &made).is_ok();
        let key = Key::Firewall(Netns::Host, crate::ruleset::Key::Table(table.clone()));
        if took && !self.linux.observe(&[key]).is_ok_and(|found| found.is_empty()) {
            let table = Object::Firewall(Netns::Host, Item::Table(table));
            let _ = self.linux.apply(&self.mark, &[Step::Remove(table)]);
        }
        took
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::tests::apart;

    #[test]
    fn what_is_tried_is_what_the_kernel_does() {
        apart(|| {
            let mut trial = Trial::new().expect("sockets");
            for module in Module::ALL {
                let Some(kind) = module.kind() else { continue };
                let link = format!("link add x0 type {kind}");
                let mut command = std::process::Command::new("ip");
                let output = command.args(link.split(' ')).output().expect("ip is there");
                let said = String::from_utf8_lossy(&output.stderr);
                let unknown = said.contains("Unknown device type") || said.contains("not supported");
                assert_eq!(trial.run(module), Some(!unknown), "{kind}: {said}");
                let _ = std::process::Command::new("ip")
                    .args(["link", "del", "x0"])
                    .output();
            }
            for module in [
                Module::NfTables,
                Module::NftNat,
                Module::NftMasquerade,
                Module::NftFib,
            ] {
                assert_eq!(
                    trial.run(module),
                    Some(true),
                    "this machine's tests need {}",
                    module.name()
                );
            }
            let left = trial
                .linux
                .observe_owned(&Netns::Host, trial.mark.node)
                .expect("listed");
            assert!(left.is_empty(), "{left:?}");
        });
    }

    #[test]
    fn looking_changes_nothing_and_finds_no_fault_with_what_the_tests_use() {
        apart(|| {
            let missing = missing().expect("looked");
            let names: Vec<_> = missing.iter().map(|missing| missing.module).collect();
            for module in [Module::Bridge, Module::Veth, Module::NfTables] {
                assert!(!names.contains(&module), "{names:?}");
            }
            let links = std::process::Command::new("ip")
                .args(["-br", "link"])
                .output()
                .expect("ip");
            let links = String::from_utf8_lossy(&links.stdout).into_owned();
            assert!(!links.contains("try-") && !links.contains("x0"), "{links}");
        });
    }
}
