//! A process's standard streams, made before the process is: so a client can be attached before anything runs.

use std::{
    fs::File,
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    fd::AsFd,
    pipe::{PipeFlags, pipe_with},
};

/// The process's ends.
#[derive(Debug)]
pub(crate) struct Stdio {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) errors: OwnedFd,
    input_is_pipe: bool,
}

/// The shim's ends; they never block.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) input: Option<OwnedFd>,
    pub(crate) output: OwnedFd,
    pub(crate) errors: OwnedFd,
}

/// Makes three pipes, or two and no input.
pub(crate) fn pipes(input: bool) -> io::Result<(Stdio, Ends)> {
    let (their_input, our_input) = if input {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&write, true)?;
        (read, Some(write))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let ((our_output, output), (our_errors, errors)) = (output()?, output()?);
    let input_is_pipe = our_input.is_some();
    Ok((
        Stdio {
            input: their_input,
            output,
            errors,
            input_is_pipe,
        },
        Ends {
            input: our_input,
            output: our_output,
            errors: our_errors,
        },
    ))
}

fn output() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

impl Stdio {
    /// Those that are pipes of its own.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let input = self.input_is_pipe.then(|| self.input.as_fd());
        [self.output.as_fd(), self.errors.as_fd()]
            .into_iter()
            .chain(input)
    }

    /// All three.
    pub(crate) fn all(&self) -> [&OwnedFd; 3] {
        [&self.input, &self.output, &self.errors]
    }
}
