//! Finding and executing a container's command, with the reasons people know when that can't be.

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::execve;
use oci_spec::runtime::Process;
use rustix::{
    fs::{Access, AtFlags, CWD, FileType, accessat, stat},
    io::Errno,
};
use shim_protocol::{Failure, FailureKind};

use crate::fork;

/// Finds the program of a process, as seen from where and as whom it will run.
pub(crate) fn find(process: &Process) -> Result<PathBuf, Failure> {
    let name = process
        .args()
        .as_ref()
        .and_then(|args| args.first())
        .map_or("", String::as_str);
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(name.into()),
            Err(Errno::NOENT) => Err(not_found(format!(
                "exec: {name:?}: stat {name}: no such file or directory"
            ))),
            Err(Errno::ISDIR) => Err(not_executable(format!("exec: {name:?}: is a directory"))),
            Err(Errno::ACCESS | Errno::PERM) => {
                Err(not_executable(format!("exec: {name:?}: permission denied")))
            }
            Err(errno) => Err(not_executable(format!("exec: {name:?}: {}", text(errno)))),
        };
    }
    let env = process.env().as_deref().unwrap_or_default();
    let path = env
        .iter()
        .rev()
        .find_map(|one| one.strip_prefix("PATH="))
        .unwrap_or_default();
    let places = path
        .split(':')
        .map(|directory| Path::new(if directory.is_empty() { "." } else { directory }));
    places
        .map(|directory| directory.join(name))
        .find(|candidate| !name.is_empty() && check(candidate).is_ok())
        .ok_or_else(|| not_found(format!("exec: {name:?}: executable file not found in $PATH")))
}

fn check(path: &Path) -> Result<(), Errno> {
    if FileType::from_raw_mode(stat(path)?.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// Becomes the command. Returns only when that can't be.
pub(crate) fn execute(process: &Process) -> Failure {
    let program = match find(process) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let strings = |list: &Option<Vec<String>>| {
        list.iter()
            .flatten()
            .map(|text| CString::new(text.as_bytes()))
            .collect::<Result<Vec<_>, _>>()
    };
    let (Ok(path), Ok(args), Ok(env)) = (
        CString::new(program.as_os_str().as_bytes()),
        strings(process.args()),
        strings(process.env()),
    ) else {
        return not_executable("exec: an argument or a variable has a zero byte".to_owned());
    };
    fork::default_signals();
    let Err(errno) = execve(&path, &args, &env);
    let errno = Errno::from_raw_os_error(errno as i32);
    let message = format!("exec {}: {}", program.display(), text(errno));
    if errno == Errno::NOENT {
        not_found(message)
    } else {
        not_executable(message)
    }
}

/// Why a process can't be where it is to work.
pub(crate) fn no_directory(path: &Path, errno: Errno) -> Failure {
    let message = format!(
        "chdir to cwd ({path:?}) set in config.json failed: {}",
        text(errno)
    );
    if errno == Errno::NOENT {
        not_found(message)
    } else {
        not_executable(message)
    }
}

fn text(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "no such file or directory".to_owned(),
        Errno::ACCESS => "permission denied".to_owned(),
        Errno::NOEXEC => "exec format error".to_owned(),
        Errno::TOOBIG => "argument list too long".to_owned(),
        other => other.to_string(),
    }
}

fn not_found(message: String) -> Failure {
    Failure::new(FailureKind::CommandNotFound, message)
}

fn not_executable(message: String) -> Failure {
    Failure::new(FailureKind::CommandNotExecutable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(args: &[&str], path: &str) -> Process {
        let mut process = Process::default();
        process.set_args(Some(args.iter().map(|arg| (*arg).to_owned()).collect()));
        process.set_env(Some(vec![format!("PATH={path}")]));
        process
    }

    #[test]
    fn a_command_is_found_in_the_path_or_the_reason_is_said() {
        let missing = |text: &str| Err(not_found(text.to_owned()));
        let refused = |text: &str| Err(not_executable(text.to_owned()));
        let table = [
            ("sh", "/nowhere:/bin", Ok("/bin/sh".into())),
            ("/bin/sh", "", Ok("/bin/sh".into())),
            (
                "sh",
                "/nowhere",
                missing(r#"exec: "sh": executable file not found in $PATH"#),
            ),
            (
                "",
                "/bin",
                missing(r#"exec: "": executable file not found in $PATH"#),
            ),
            (
                "/no/sh",
                "/bin",
                missing(r#"exec: "/no/sh": stat /no/sh: no such file or directory"#),
            ),
            ("/etc", "/bin", refused(r#"exec: "/etc": is a directory"#)),
            (
                "/etc/passwd",
                "/bin",
                refused(r#"exec: "/etc/passwd": permission denied"#),
            ),
        ];
        for (name, path, expected) in table {
            assert_eq!(find(&process(&[name], path)), expected, "{name:?} in {path:?}");
        }
    }
}
