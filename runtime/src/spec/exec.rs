//! What an exec runs in a container that runs.

use std::path::Path;

use oci_spec::runtime::{Process, Spec};
use serde_json::json;

use super::{HostFacts, SpecError, User, build, command, user};
use crate::Result;

/// What the user asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// What to run.
    pub cmd: Vec<String>,
    /// `KEY=value`, over the container's.
    pub env: Vec<String>,
    /// As whom; empty for the container's user.
    pub user: String,
    /// Where; empty for the container's.
    pub working_dir: String,
    /// A terminal.
    pub tty: bool,
    /// Everything this host's root may do.
    pub privileged: bool,
}

/// What an exec in the container with this spec runs; a user's name is looked up in the container whose first
/// process is `pid`.
///
/// # Errors
/// For an empty command, an unknown user, a relative working directory.
pub fn process(container: &Spec, pid: u32, config: &ExecConfig, host: &HostFacts) -> Result<Process> {
    let user = if config.user.is_empty() {
        None
    } else {
        Some(user::resolve(
            Path::new(&format!("/proc/{pid}/root")),
            &config.user,
            &[],
        )?)
    };
    Ok(build_process(container, config, user.as_ref(), host)?)
}

fn build_process(
    container: &Spec,
    config: &ExecConfig,
    user: Option<&User>,
    host: &HostFacts,
) -> std::result::Result<Process, SpecError> {
    let mut process = container.process().clone().unwrap_or_default();
    if config.cmd.is_empty() {
        return Err(SpecError::NoCommand);
    }
    let cwd = command::working_dir(&config.working_dir, &process.cwd().display().to_string())?;
    let mut env = process.env().clone().unwrap_or_default();
    if let Some(user) = user {
        env.retain(|one| !one.starts_with("HOME="));
        process.set_user(build::parse(json!({
            "uid": user.uid, "gid": user.gid, "additionalGids": user.groups,
        }))?);
    }
    if config.tty && !env.iter().any(|one| one.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    command::set_all(&mut env, &config.env);
    if let Some(user) = user {
        command::default_home(&mut env, user);
    }
    if config.privileged {
        process.set_capabilities(Some(build::parse(build::capabilities(&host.bounding))?));
    }
    process
        .set_cwd(cwd.into())
        .set_env(Some(env))
        .set_terminal(Some(config.tty));
    process.set_args(Some(config.cmd.clone()));
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ContainerConfig, ImageDefaults, Place, build};

    #[test]
    fn an_exec_runs_as_the_container_does_unless_told_otherwise() {
        let host = HostFacts::powerful();
        let config = ContainerConfig {
            cmd: Some(vec!["sh".into()]),
            working_dir: "/srv".into(),
            ..Default::default()
        };
        let place = Place {
            rootfs: "/r".into(),
            cgroup: "/c/x".into(),
            users: None,
        };
        let spec = build(
            &config,
            &ImageDefaults::default(),
            &place,
            &User::root(),
            &[],
            &host,
        )
        .unwrap();
        let exec = ExecConfig {
            cmd: vec!["id".into()],
            env: vec!["A=1".into()],
            tty: true,
            ..Default::default()
        };
        let same = build_process(&spec, &exec, None, &host).unwrap();
        assert_eq!(same.cwd(), Path::new("/srv"));
        assert_eq!(
            same.capabilities(),
            spec.process().as_ref().unwrap().capabilities()
        );
        let env = same.env().clone().unwrap();
        assert!(
            env.contains(&"TERM=xterm".into())
                && env.contains(&"A=1".into())
                && env.contains(&"HOME=/root".into())
        );

        let web = User {
            uid: 33,
            gid: 33,
            groups: vec![33],
            home: "/var/www".into(),
        };
        let exec = ExecConfig {
            working_dir: "/".into(),
            privileged: true,
            ..exec
        };
        let other = build_process(&spec, &exec, Some(&web), &host).unwrap();
        assert_eq!((other.user().uid(), other.cwd().as_path()), (33, Path::new("/")));
        assert!(other.env().clone().unwrap().contains(&"HOME=/var/www".into()));
        assert_eq!(
            other
                .capabilities()
                .as_ref()
                .unwrap()
                .bounding()
                .as_ref()
                .unwrap()
                .len(),
            41
        );
        assert_eq!(
            build_process(&spec, &ExecConfig::default(), None, &host),
            Err(SpecError::NoCommand)
        );
    }
}
