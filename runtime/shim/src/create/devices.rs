//! Which devices a container may use where no controller of version 1 says so: a small program that the kernel asks at
//! each opening and each making of a device. libcontainer would need two more libraries for it, one of them in C.

use std::{fs::File, io, os::fd::AsFd as _};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Spec};
use rustix::process::{Resource, Rlimit, setrlimit};
use shim_protocol::{Launch, cgroup::Cgroup};

use crate::fork::{self, Instruction};

const MAKE: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MAKE | READ | WRITE;

const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// What every container may: make nodes, use those without hardware behind them, and its own terminals.
const ALWAYS: [Rule; 11] = [
    always(CHARACTER, None, None, MAKE),
    always(BLOCK, None, None, MAKE),
    always(CHARACTER, Some(1), Some(3), ALL),
    always(CHARACTER, Some(1), Some(5), ALL),
    always(CHARACTER, Some(1), Some(7), ALL),
    always(CHARACTER, Some(1), Some(8), ALL),
    always(CHARACTER, Some(1), Some(9), ALL),
    always(CHARACTER, Some(5), Some(0), ALL),
    always(CHARACTER, Some(5), Some(1), ALL),
    always(CHARACTER, Some(5), Some(2), ALL),
    always(CHARACTER, Some(136), None, ALL),
];

const fn always(kind: i32, major: Option<i32>, minor: Option<i32>, access: i32) -> Rule {
    Rule {
        allow: true,
        kind: Some(kind),
        major,
        minor,
        access,
    }
}

/// Has the kernel keep other devices than the spec allows from the container, whose cgroup is there.
pub(super) fn keep(launch: &Launch, spec: &Spec) -> io::Result<()> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let Some(rules) = resources.and_then(|resources| resources.devices().as_ref()) else {
        return Ok(());
    };
    let cgroup = Cgroup::locate(&launch.cgroup)?;
    let unified = cgroup
        .directory("devices")
        .filter(|_| cgroup.is_unified("devices"));
    let (Some(directory), Some(program)) = (unified, program(rules)) else {
        return Ok(());
    };
    // Older kernels count programs as locked memory. This process ends in a moment, and the container's was made before.
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    let _ = setrlimit(Resource::Memlock, unlimited);
    fork::filter_devices(&program, File::open(directory)?.as_fd())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<i32>,
    major: Option<i32>,
    minor: Option<i32>,
    access: i32,
}

impl Rule {
    fn of(rule: &LinuxDeviceCgroup) -> Self {
        let number = |given: Option<i64>| {
            given
                .filter(|number| *number >= 0)
                // Nobody has a number like that.
                .map(|number| i32::try_from(number).unwrap_or(i32::MAX))
        };
        let access = rule.access().as_deref().unwrap_or("rwm");
        Self {
            allow: rule.allow(),
            kind: match rule.typ() {
                Some(LinuxDeviceType::B) => Some(BLOCK),
                Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(CHARACTER),
                _ => None,
            },
            major: number(rule.major()),
            minor: number(rule.minor()),
            access: [('m', MAKE), ('r', READ), ('w', WRITE)]
                .iter()
                .filter(|(letter, _)| access.contains(*letter))
                .fold(0, |all, (_, bit)| all | bit),
        }
    }
}

/// Where the program keeps what it is asked: kind and access in one number, then major and minor.
const ASKED: u8 = 1;
const KIND: u8 = 2;
/// Of the access, what no rule has allowed yet.
const LEFT: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The program; none where everything is allowed. The last rule that speaks of something counts, as with version 1.
fn program(rules: &[LinuxDeviceCgroup]) -> Option<Vec<Instruction>> {
    let rules: Vec<_> = rules.iter().map(Rule::of).chain(ALWAYS).collect();
    if rules.iter().all(|rule| rule.allow) {
        return None;
    }
    let mut all = vec![
        Instruction::load(KIND, ASKED, 0),
        Instruction::copy(LEFT, KIND),
        Instruction::shift_right(LEFT, 16),
        Instruction::and(KIND, 0xffff),
        Instruction::load(MAJOR, ASKED, 4),
        Instruction::load(MINOR, ASKED, 8),
    ];
    for rule in rules.iter().rev() {
        let conditions = [(KIND, rule.kind), (MAJOR, rule.major), (MINOR, rule.minor)];
        let conditions = conditions
            .iter()
            .filter_map(|(what, value)| Some((*what, (*value)?)));
        let then = outcome(rule);
        let count = conditions.clone().count();
        for (place, (what, value)) in conditions.enumerate() {
            all.push(Instruction::unless_equal(
                what,
                value,
                count - place - 1 + then.len(),
            ));
        }
        all.extend(then);
        if count == 0 && rule.access == ALL {
            // The kernel refuses programs with a part that is never reached.
            return Some(all);
        }
    }
    all.extend(answer(false));
    Some(all)
}

fn outcome(rule: &Rule) -> Vec<Instruction> {
    let answer = answer(rule.allow);
    let part = match (rule.access, rule.allow) {
        (ALL, _) => vec![],
        (access, true) => vec![
            Instruction::and(LEFT, !access),
            Instruction::unless_equal(LEFT, 0, answer.len()),
        ],
        (access, false) => vec![
            Instruction::if_any(LEFT, access, 1),
            Instruction::skip(answer.len()),
        ],
    };
    part.into_iter().chain(answer).collect()
}

fn answer(allow: bool) -> [Instruction; 2] {
    [Instruction::set(0, i32::from(allow)), Instruction::end()]
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    use super::*;

    fn rule(text: &str) -> LinuxDeviceCgroup {
        let words: Vec<_> = text.split(' ').collect();
        let number = |text: &str| text.parse::<i64>().unwrap_or(-1);
        let (major, minor) = words[2].split_once(':').unwrap();
        LinuxDeviceCgroupBuilder::default()
            .allow(words[0] == "allow")
            .typ(match words[1] {
                "b" => LinuxDeviceType::B,
                "c" => LinuxDeviceType::C,
                _ => LinuxDeviceType::A,
            })
            .major(number(major))
            .minor(number(minor))
            .access(words[3])
            .build()
            .unwrap()
    }

    /// What the kernel would come to.
    fn run(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> i64 {
        let asked = [(access << 16) | kind, major, minor];
        let mut registers = [0_i64; 6];
        let mut at = 0;
        loop {
            let one = program[at];
            let (to, from) = (usize::from(one.registers & 15), usize::from(one.registers >> 4));
            let value = i64::from(one.immediate);
            let offset = usize::try_from(one.offset).unwrap();
            at += 1;
            match one.code {
                0x61 => registers[to] = i64::from(asked[offset / 4]),
                0xbc => registers[to] = registers[from] & 0xffff_ffff,
                0x74 => registers[to] >>= value,
                0x54 => registers[to] &= value & 0xffff_ffff,
                0x55 => at += if registers[to] == value { 0 } else { offset },
                0x45 => at += if registers[to] & value == 0 { 0 } else { offset },
                0x05 => at += offset,
                0xb7 => registers[to] = value,
                0x95 => return registers[0],
                other => panic!("{other:#x} is no instruction of ours"),
            }
        }
    }

    #[test]
    fn the_last_rule_that_speaks_of_something_counts() {
        let rules = [
            "deny a *:* rwm",
            "allow c 1:11 r",
            "allow b 8:* rwm",
            "deny b 8:1 w",
            "allow c 10:* r",
            "allow c 10:5 w",
        ];
        let rules: Vec<_> = rules.iter().map(|text| rule(text)).collect();
        let program = program(&rules).expect("not all is allowed");
        let (b, c) = (BLOCK, CHARACTER);
        for (kind, access, major, minor, expected) in [
            (c, READ, 1, 3, 1),
            (c, READ | WRITE, 1, 3, 1),
            (c, READ, 1, 11, 1),
            (c, WRITE, 1, 11, 0),
            (c, READ | WRITE, 1, 11, 0),
            (c, MAKE, 1, 11, 1),
            (b, READ, 1, 11, 0),
            (b, READ | WRITE, 8, 0, 1),
            (b, READ, 8, 1, 1),
            (b, READ | WRITE, 8, 1, 0),
            (b, WRITE, 8, 1, 0),
            (b, MAKE, 254, 0, 1),
            (b, READ, 254, 0, 0),
            (b, MAKE | READ, 254, 0, 0),
            (c, READ | WRITE, 10, 5, 1),
            (c, READ | WRITE, 10, 6, 0),
            (c, READ | WRITE, 136, 7, 1),
            (c, READ, 5, 3, 0),
        ] {
            assert_eq!(
                run(&program, kind, access, major, minor),
                expected,
                "{kind} {access} {major}:{minor}"
            );
        }
    }

    #[test]
    fn a_privileged_container_needs_no_program_and_no_part_of_one_is_never_reached() {
        assert_eq!(program(&[rule("allow a *:* rwm")]), None);
        let closed = program(&[rule("deny a *:* rwm")]).expect("a program");
        let open = program(&[rule("deny a *:* rwm"), rule("allow a *:* rwm")]).expect("a program");
        for program in [&closed, &open] {
            assert_eq!(
                program.iter().filter(|one| one.code == 0x95).count(),
                ALWAYS.len() + 1
            );
        }
        assert_eq!(run(&open, BLOCK, READ, 254, 0), 1);
        assert_eq!(run(&closed, BLOCK, READ, 254, 0), 0);
    }
}
