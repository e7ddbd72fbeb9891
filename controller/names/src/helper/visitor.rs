//! One thread that goes into sandboxes to open sockets there.
//!
//! A namespace belongs to a thread, so ours can't go itself; and a thread for every question that is sent on from
//! inside would cost more than the question. Between two visits the thread is at home: standing in a namespace, it
//! would keep it alive.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

/// The way to the thread, which is started when it is needed.
static VISITOR: Mutex<Option<Sender<Errand>>> = Mutex::new(None);

struct Errand {
    netns: PathBuf,
    family: AddressFamily,
    kind: SockType,
    done: Sender<io::Result<OwnedFd>>,
}

/// A socket that belongs to the namespace pinned at `netns`, closed on exec.
pub(super) fn socket_in(netns: &Path, family: AddressFamily, kind: SockType) -> io::Result<OwnedFd> {
    // A thread that could not come home has ended: the second one is a new one.
    for _ in 0..2 {
        let (done, answer) = channel();
        let errand = Errand {
            netns: netns.to_owned(),
            family,
            kind,
            done,
        };
        if visitor()?.send(errand).is_ok()
            && let Ok(answer) = answer.recv()
        {
            return answer;
        }
        *VISITOR.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    Err(io::Error::other("nobody can go into the namespace"))
}

fn visitor() -> io::Result<Sender<Errand>> {
    let mut visitor = VISITOR.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(visitor) = &*visitor {
        return Ok(visitor.clone());
    }
    let (errands, received) = channel();
    let home = kernel::netns::current()?;
    thread::Builder::new()
        .name("visitor".to_owned())
        .stack_size(256 << 10)
        .spawn(move || run(&received, &home))?;
    *visitor = Some(errands.clone());
    Ok(errands)
}

fn run(errands: &Receiver<Errand>, home: &OwnedFd) {
    while let Ok(errand) = errands.recv() {
        let opened = visit(&errand);
        let back = setns(home.as_fd(), CloneFlags::CLONE_NEWNET);
        // Nobody may be waiting any more.
        let _ = errand.done.send(opened);
        if let Err(errno) = back {
            tracing::error!(%errno, "the visitor of sandboxes can't come back");
            return;
        }
    }
}

fn visit(errand: &Errand) -> io::Result<OwnedFd> {
    let netns = kernel::netns::open(&errand.netns).map_err(io::Error::other)?;
    setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)?;
    Ok(socket(errand.family, errand.kind, SockFlag::SOCK_CLOEXEC, None)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use nix::sched::unshare;

    use super::*;

    fn own() -> u64 {
        std::fs::metadata("/proc/thread-self/ns/net")
            .expect("a namespace")
            .ino()
    }

    #[test]
    fn sockets_are_opened_where_they_are_wanted_and_a_namespace_that_is_gone_is_told() {
        let home = own();
        let elsewhere = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace: these tests need root");
            let path = PathBuf::from(format!("/proc/self/task/{}/ns/net", nix::unistd::gettid()));
            let socket = |path: &Path| socket_in(path, AddressFamily::Inet, SockType::Datagram);
            let inside = socket(&path).expect("a socket inside");
            let gone = socket(Path::new("/nonexistent"));
            let again = socket(&path).expect("the visitor goes on");
            (own(), inside, again, gone.is_err())
        });
        let (other, inside, again, told) = elsewhere.join().expect("no panic");
        assert!(told && other != home);
        // Without an interface that is up there is no way out: so these are not ours.
        for socket in [inside, again] {
            let socket = std::net::UdpSocket::from(socket);
            assert!(socket.connect("127.0.0.1:9").is_err());
        }
        assert_eq!(own(), home);
    }
}
