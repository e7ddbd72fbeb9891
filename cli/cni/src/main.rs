//! `cnm-cni`: reads what is asked, has it done, prints the answer.
#![forbid(unsafe_code)]

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
};

use cni::{Environment, Failure, MAX_CONFIG};

const ABOUT: &str = "\
cnm-cni: plugin of the Container Network Interface (specification 0.3.0 to 1.1.0) for networks of cnm

Container runtimes start it with CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS, VERSION), CNI_CONTAINERID, CNI_NETNS,
CNI_IFNAME and CNI_ARGS in the environment and a network's configuration on stdin:

  { \"cniVersion\": \"1.0.0\", \"name\": \"lan\", \"type\": \"cnm-cni\", \"network\": \"lan\" }

Put it into the folder of CNI plugins (/opt/cni/bin, or /usr/lib/cni). More: deploy/cni.md
";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => return say(ABOUT),
        Some("--version" | "-v") => return say(concat!("cnm-cni ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => {}
    }
    let mut stdin = Vec::new();
    let limit = u64::try_from(MAX_CONFIG).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut stdin);
    let environment = Environment::read(|name| std::env::var(name).ok());
    let answer = match read {
        Ok(_) => cni::run(&environment, &stdin),
        Err(error) => Err(Failure::io("reading the network's configuration", &error)),
    };
    match answer {
        Ok(text) => say(&text),
        Err(failure) => {
            say(&failure.to_json(&stdin));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    // Without a reader there is nobody to tell.
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
