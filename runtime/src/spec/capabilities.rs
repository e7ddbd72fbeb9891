//! Which capabilities a container gets: Docker's fourteen, more or fewer as asked, never more than we have.

use oci_spec::runtime::{Capabilities, Capability};

use super::SpecError;

/// The capabilities in the kernel's order: a capability's place is its number.
const ALL: [Capability; 41] = {
    use Capability::*;
    [
        Chown,
        DacOverride,
        DacReadSearch,
        Fowner,
        Fsetid,
        Kill,
        Setgid,
        Setuid,
        Setpcap,
        LinuxImmutable,
        NetBindService,
        NetBroadcast,
        NetAdmin,
        NetRaw,
        IpcLock,
        IpcOwner,
        SysModule,
        SysRawio,
        SysChroot,
        SysPtrace,
        SysPacct,
        SysAdmin,
        SysBoot,
        SysNice,
        SysResource,
        SysTime,
        SysTtyConfig,
        Mknod,
        Lease,
        AuditWrite,
        AuditControl,
        Setfcap,
        MacOverride,
        MacAdmin,
        Syslog,
        WakeAlarm,
        BlockSuspend,
        AuditRead,
        Perfmon,
        Bpf,
        CheckpointRestore,
    ]
};

/// What a container may do unless told otherwise.
const DEFAULT: [Capability; 14] = {
    use Capability::*;
    [
        Chown,
        DacOverride,
        Fsetid,
        Fowner,
        Mknod,
        NetRaw,
        Setgid,
        Setuid,
        Setfcap,
        Setpcap,
        NetBindService,
        SysChroot,
        Kill,
        AuditWrite,
    ]
};

/// Those of a kernel's bit mask.
pub(super) fn from_mask(mask: u64) -> Capabilities {
    ALL.iter()
        .enumerate()
        .filter(|(number, _)| mask >> number & 1 == 1)
        .map(|(_, capability)| *capability)
        .collect()
}

/// Decides what a container gets, of what we have.
pub(super) fn decide(
    privileged: bool,
    add: &[String],
    drop: &[String],
    ours: &Capabilities,
) -> Result<Capabilities, SpecError> {
    let (add_all, add) = parse("CapAdd", add)?;
    let (drop_all, drop) = parse("CapDrop", drop)?;
    let wanted: Capabilities = match (privileged || add_all, drop_all) {
        (true, _) if privileged => ALL.into(),
        (true, _) => ALL.into_iter().filter(|one| !drop.contains(one)).collect(),
        (false, true) => add,
        (false, false) => DEFAULT
            .into_iter()
            .filter(|one| !drop.contains(one))
            .chain(add)
            .collect(),
    };
    Ok(wanted.intersection(ours).copied().collect())
}

fn parse(list: &'static str, names: &[String]) -> Result<(bool, Capabilities), SpecError> {
    let all = names.iter().any(|name| name.eq_ignore_ascii_case("all"));
    let each = names
        .iter()
        .filter(|name| !name.eq_ignore_ascii_case("all"))
        .map(|name| named(list, name));
    Ok((all, each.collect::<Result<_, _>>()?))
}

fn named(list: &'static str, name: &str) -> Result<Capability, SpecError> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    plain.parse().map_err(|_| SpecError::Capability {
        list,
        name: format!("CAP_{plain}"),
    })
}

/// As the spec's JSON names it.
pub(super) fn name(capability: Capability) -> String {
    format!("CAP_{capability}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(add: &[&str], drop: &[&str]) -> Result<Vec<String>, SpecError> {
        let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let ours = from_mask(u64::MAX);
        let mut names: Vec<_> = decide(false, &text(add), &text(drop), &ours)?
            .into_iter()
            .map(name)
            .collect();
        names.sort();
        Ok(names)
    }

    #[test]
    fn the_default_is_fourteen() {
        let names = decided(&[], &[]).unwrap();
        assert_eq!(names.len(), 14);
        assert!(names.contains(&"CAP_NET_BIND_SERVICE".to_owned()));
        assert!(!names.contains(&"CAP_SYS_ADMIN".to_owned()));
    }

    #[test]
    fn names_may_have_the_prefix_and_any_case() {
        assert_eq!(decided(&["net_admin"], &["ALL"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert_eq!(decided(&["CAP_NET_ADMIN"], &["all"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert_eq!(decided(&["ALL"], &["CAP_CHOWN"]).unwrap().len(), 40);
        assert_eq!(
            decided(&["fly"], &[]).unwrap_err().to_string(),
            "invalid CapAdd: unknown capability: \"CAP_FLY\""
        );
    }

    #[test]
    fn nobody_gets_what_we_do_not_have() {
        let ours = from_mask(1 << 0 | 1 << 5);
        let given = decide(true, &[], &[], &ours).unwrap();
        assert_eq!(given, Capabilities::from([Capability::Chown, Capability::Kill]));
    }
}
