//! System call filters: compiled once for each profile, kept as the kernel's own programs, and loaded from there.
//!
//! Compiling the default profile takes 9 ms, loading what came of it 0.3: nearly all containers of a host have the same
//! one. A kept program has the whole profile written in front of it and is used for that very profile only.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, ScmpVersion,
};
use oci_spec::runtime::LinuxSeccomp;
use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use serde_json::Value;
use shim_protocol::Launch;

/// Bytes of one instruction (`struct sock_filter`), and how many a program may have (`BPF_MAXINSNS`).
const INSTRUCTION: usize = 8;
const MOST: usize = 4096;

/// How many programs are kept: somebody's profiles may be without end.
const KEPT: usize = 64;

/// Where the programs are kept: beside the directories of all shims.
pub(crate) fn kept(launch: &Launch) -> PathBuf {
    launch.state.parent().unwrap_or(&launch.state).join("filters")
}

/// A filter as the kernel takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program(Vec<u8>);

impl Program {
    /// The program of a profile, from `kept` or else compiled. None for a profile that asks for more than a program can
    /// say: flags, or a listener that decides.
    pub(crate) fn of(profile: &LinuxSeccomp, kept: &Path) -> Result<Option<Self>> {
        let profile = serde_json::to_value(profile).context("reading the system call filter")?;
        if asks_for_more(&profile) {
            return Ok(None);
        }
        let version = ScmpVersion::current().context("asking for the version of libseccomp")?;
        let head = format!("{version} {} {profile}\n", std::env::consts::ARCH);
        let mut hasher = DefaultHasher::new();
        head.hash(&mut hasher);
        let path = kept.join(format!("{:016x}", hasher.finish()));
        if let Some(program) = read(&path, head.as_bytes()) {
            return Ok(Some(program));
        }
        let program = compile(&profile)?;
        // Without it the next container takes a little longer.
        let _ = keep(&path, head.as_bytes(), &program);
        Ok(Some(program))
    }

    /// Has the kernel filter this process' calls from now on. Takes privileges, or the promise never to gain any.
    pub(crate) fn load(&self) -> io::Result<()> {
        let instructions: Vec<_> = self.0.chunks_exact(INSTRUCTION).map(instruction).collect();
        crate::fork::filter_calls(&instructions)
    }
}

fn instruction(bytes: &[u8]) -> nix::libc::sock_filter {
    nix::libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}

fn asks_for_more(profile: &Value) -> bool {
    let given = |key: &str| match &profile[key] {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    };
    let rules = profile["syscalls"].as_array().into_iter().flatten();
    let mut actions = rules
        .map(|rule| &rule["action"])
        .chain([&profile["defaultAction"]]);
    given("flags") || given("listenerPath") || actions.any(|action| action == "SCMP_ACT_NOTIFY")
}

fn compile(profile: &Value) -> Result<Program> {
    let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"])?;
    let mut filter = ScmpFilterContext::new(default).context("making a system call filter")?;
    for name in list(&profile["architectures"]) {
        let architecture: ScmpArch = text(name)?.parse().context("reading an architecture")?;
        filter.add_arch(architecture).context("adding an architecture")?;
    }
    for rule in list(&profile["syscalls"]) {
        let action = action(&rule["action"], &rule["errnoRet"])?;
        // The library refuses what changes nothing.
        if action != default {
            add(&mut filter, rule, action)?;
        }
    }
    let mut file = fs::File::from(memfd_create("filter", MemfdFlags::CLOEXEC)?);
    filter
        .export_bpf(&file)
        .context("compiling a system call filter")?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    ensure!(is_program(&bytes), "the compiled system call filter is none");
    Ok(Program(bytes))
}

fn add(filter: &mut ScmpFilterContext, rule: &Value, action: ScmpAction) -> Result<()> {
    let conditions: Vec<_> = list(&rule["args"]).map(condition).collect::<Result<_>>()?;
    let mut arguments: Vec<_> = conditions.iter().map(|(argument, _)| argument).collect();
    arguments.sort_unstable();
    let twice = arguments.windows(2).any(|pair| pair[0] == pair[1]);
    let conditions: Vec<_> = conditions.into_iter().map(|(_, condition)| condition).collect();
    for name in list(&rule["names"]) {
        // A call that this architecture or library doesn't know can't be made by that name either.
        let Ok(call) = ScmpSyscall::from_name(text(name)?) else {
            continue;
        };
        // One rule compares an argument once; several comparisons of one are alternatives, as in runc.
        let rules: Vec<&[ScmpArgCompare]> = match twice {
            true => conditions.chunks(1).collect(),
            false => vec![&conditions],
        };
        for conditions in rules {
            filter
                .add_rule_conditional(action, call, conditions)
                .with_context(|| format!("filtering {name}"))?;
        }
    }
    Ok(())
}

/// An argument's number, and what it is compared with. In a masked comparison the spec's `value` is the mask and its
/// `valueTwo` what must be left.
fn condition(argument: &Value) -> Result<(u32, ScmpArgCompare)> {
    let number = |key: &str| argument[key].as_u64();
    let index = number("index").context("an argument without a number")?;
    let index = u32::try_from(index)?;
    let value = number("value").context("an argument without a value")?;
    let operator: ScmpCompareOp = text(&argument["op"])?.parse().context("reading a comparison")?;
    let condition = match operator {
        ScmpCompareOp::MaskedEqual(_) => {
            let left = number("valueTwo").unwrap_or_default();
            ScmpArgCompare::new(index, ScmpCompareOp::MaskedEqual(value), left)
        }
        operator => ScmpArgCompare::new(index, operator, value),
    };
    Ok((index, condition))
}

fn action(name: &Value, errno: &Value) -> Result<ScmpAction> {
    let errno = errno.as_i64().map_or(Ok(nix::libc::EPERM), i32::try_from)?;
    ScmpAction::from_str(text(name)?, Some(errno)).context("reading an action of a system call filter")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Result<&str> {
    match value.as_str() {
        Some(text) => Ok(text),
        None => bail!("{value} in a system call filter is no text"),
    }
}

fn is_program(bytes: &[u8]) -> bool {
    let count = bytes.len() / INSTRUCTION;
    bytes.len().is_multiple_of(INSTRUCTION) && (1..=MOST).contains(&count)
}

/// What was kept for this very profile, by nobody but the owner of this process.
fn read(path: &Path, head: &[u8]) -> Option<Program> {
    let mut file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return None;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let program = bytes.strip_prefix(head)?;
    is_program(program).then(|| Program(program.to_vec()))
}

/// Written aside and renamed, so that nobody reads half of one.
fn keep(path: &Path, head: &[u8], program: &Program) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::read_dir(folder)?.count() >= KEPT {
        return Ok(());
    }
    let aside = path.with_extension(std::process::id().to_string());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)?;
    let written = file
        .write_all(head)
        .and_then(|()| file.write_all(&program.0))
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

#[cfg(test)]
mod tests;
