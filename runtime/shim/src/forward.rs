//! Sends each line to somebody else's log: systemd's journal or a syslog daemon.
//!
//! The container never waits: a line that the other side can't take at once is lost there, and stands in our own file.

use std::{
    io::{self, Write},
    net::{TcpStream, ToSocketAddrs as _, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    time::Duration,
};

use shim_protocol::{Forward, ForwardTo, SyslogTls, stream::StreamKind};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

mod tls;

/// A start waits so long for a log at an address.
const PATIENCE: Duration = Duration::from_secs(5);
/// syslog's numbers.
const INFO: u8 = 6;
const ERROR: u8 = 3;

/// The way there.
#[derive(Debug)]
enum Way {
    Datagrams(UnixDatagram),
    Local(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<tls::Secured>),
}

/// Somebody else's log.
#[derive(Debug)]
pub(crate) struct Forwarding {
    config: Forward,
    way: Way,
    /// Begun lines of standard output and standard error.
    begun: [Vec<u8>; 2],
}

/// A longer line is sent in parts.
const LONGEST: usize = 16 << 10;

impl Forwarding {
    /// Finds it.
    ///
    /// # Errors
    /// When nobody is there: a start tells.
    pub(crate) fn open(config: Forward) -> io::Result<Self> {
        let way = match &config.to {
            ForwardTo::Journal(socket) => datagrams(socket)?,
            ForwardTo::Syslog { address, tls, .. } => syslog(address, &tls.clone().unwrap_or_default())?,
        };
        Ok(Self {
            config,
            way,
            begun: [Vec::new(), Vec::new()],
        })
    }

    /// Sends every line that ends in these bytes.
    pub(crate) fn write(&mut self, kind: StreamKind, bytes: &[u8]) -> io::Result<()> {
        let at = usize::from(kind == StreamKind::Stderr);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun[at].extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun[at].len() >= LONGEST {
                self.flush(kind)?;
            }
        }
        Ok(())
    }

    /// Sends a line that was begun and will not be ended.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.flush(StreamKind::Stdout)?;
        self.flush(StreamKind::Stderr)?;
        match &mut self.way {
            Way::Tls(secured) => secured.finish(),
            _ => Ok(()),
        }
    }

    fn flush(&mut self, kind: StreamKind) -> io::Result<()> {
        let line = std::mem::take(&mut self.begun[usize::from(kind == StreamKind::Stderr)]);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if line.is_empty() {
            return Ok(());
        }
        let message = match &self.config.to {
            ForwardTo::Journal(_) => journal(&self.config, kind, line),
            ForwardTo::Syslog {
                facility, structured, ..
            } => {
                let now = OffsetDateTime::now_utc();
                syslog_line(&self.config.tag, *facility, *structured, kind, line, now)
            }
        };
        let sent = match &mut self.way {
            Way::Datagrams(socket) => socket.send(&message).map(drop),
            Way::Udp(socket) => socket.send(&message).map(drop),
            Way::Local(stream) => stream.write_all(&[&message[..], b"\n"].concat()),
            Way::Tcp(stream) => stream.write_all(&[&message[..], b"\n"].concat()),
            Way::Tls(secured) => secured.send(&framed(&self.config.to, &message)),
        };
        match sent {
            // It has no room now: the container goes on.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}

fn datagrams(socket: &Path) -> io::Result<Way> {
    let way = UnixDatagram::unbound()?;
    way.connect(socket)?;
    way.set_nonblocking(true)?;
    Ok(Way::Datagrams(way))
}

/// A structured line has its length in front (RFC 5425), another one its end behind.
fn framed(to: &ForwardTo, message: &[u8]) -> Vec<u8> {
    match to {
        ForwardTo::Syslog { structured: true, .. } => {
            [message.len().to_string().as_bytes(), b" ", message].concat()
        }
        _ => [message, b"\n"].concat(),
    }
}

fn syslog(address: &str, tls: &SyslogTls) -> io::Result<Way> {
    let unknown = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{address:?} is no syslog address"),
        )
    };
    let (kind, place) = address.split_once("://").ok_or_else(unknown)?;
    let target = || {
        let with_port = if place.contains(':') {
            place.to_owned()
        } else {
            format!("{place}:514")
        };
        with_port.to_socket_addrs()?.next().ok_or_else(unknown)
    };
    match kind {
        "unix" | "unixgram" => match datagrams(Path::new(place)) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => {
                let stream = UnixStream::connect(place)?;
                stream.set_nonblocking(true)?;
                Ok(Way::Local(stream))
            }
            other => other,
        },
        "udp" => {
            let target = target()?;
            let socket = UdpSocket::bind(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            Ok(Way::Udp(socket))
        }
        "tcp" => {
            let stream = TcpStream::connect_timeout(&target()?, PATIENCE)?;
            stream.set_nonblocking(true)?;
            Ok(Way::Tcp(stream))
        }
        "tcp+tls" => {
            let stream = TcpStream::connect_timeout(&target()?, PATIENCE)?;
            let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
            Ok(Way::Tls(Box::new(tls::Secured::open(stream, host, tls)?)))
        }
        _ => Err(unknown()),
    }
}

/// The journal's own form: `NAME=value` a line, or the length and the bytes where these have a line end.
fn journal(config: &Forward, kind: StreamKind, line: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(line.len() + 512);
    let mut field = |name: &str, value: &[u8]| {
        message.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            message.push(b'\n');
            message.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            message.push(b'=');
        }
        message.extend_from_slice(value);
        message.push(b'\n');
    };
    field("MESSAGE", line);
    field("PRIORITY", severity(kind).to_string().as_bytes());
    field("CONTAINER_TAG", config.tag.as_bytes());
    field("SYSLOG_IDENTIFIER", config.tag.as_bytes());
    for (name, value) in &config.fields {
        field(name, value.as_bytes());
    }
    message
}

fn severity(kind: StreamKind) -> u8 {
    if kind == StreamKind::Stderr { ERROR } else { INFO }
}

fn syslog_line(
    tag: &str,
    facility: u8,
    structured: bool,
    kind: StreamKind,
    line: &[u8],
    now: OffsetDateTime,
) -> Vec<u8> {
    let priority = u32::from(facility) * 8 + u32::from(severity(kind));
    let process = std::process::id();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let head = if structured {
        let time = now.format(&Rfc3339).unwrap_or_default();
        format!("<{priority}>1 {time} {host} {tag} {process} {tag} - ")
    } else {
        let form = format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second]");
        let time = now.format(&form).unwrap_or_default();
        format!("<{priority}>{time} {host} {tag}[{process}]: ")
    };
    [head.as_bytes(), line].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(to: ForwardTo) -> Forward {
        Forward {
            to,
            tag: "abc".to_owned(),
            fields: vec![("CONTAINER_NAME".to_owned(), "web".to_owned())],
        }
    }

    #[test]
    fn lines_reach_a_journal_and_a_syslog() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("log");
        let listener = UnixDatagram::bind(&socket).unwrap();
        let mut buffer = [0; 4096];
        let mut heard = || {
            let count = listener.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        let mut journal = Forwarding::open(config(ForwardTo::Journal(socket.clone()))).unwrap();
        journal.write(StreamKind::Stdout, b"one\ntw").unwrap();
        let first = heard();
        assert!(
            first.starts_with("MESSAGE=one\nPRIORITY=6\n") && first.contains("CONTAINER_NAME=web\n"),
            "{first}"
        );
        journal.finish().unwrap();
        assert!(heard().starts_with("MESSAGE=tw\n"));
        let address = format!("unix://{}", socket.display());
        let to = |structured| ForwardTo::Syslog {
            address: address.clone(),
            facility: 3,
            structured,
            tls: None,
        };
        Forwarding::open(config(to(false)))
            .unwrap()
            .write(StreamKind::Stderr, b"bad\n")
            .unwrap();
        let line = heard();
        assert!(
            line.starts_with("<27>") && line.ends_with("]: bad") && line.contains(" abc["),
            "{line}"
        );
        Forwarding::open(config(to(true)))
            .unwrap()
            .write(StreamKind::Stdout, b"ok\n")
            .unwrap();
        assert!(heard().starts_with("<30>1 "));
    }

    #[test]
    fn who_is_not_there_is_said() {
        for address in [
            "unix:///nowhere/log",
            "tcp://127.0.0.1:1",
            "tcp+tls://127.0.0.1:1",
            "carrier://pigeon",
            "nothing",
        ] {
            assert!(syslog(address, &SyslogTls::default()).is_err(), "{address}");
        }
    }

    #[test]
    fn a_message_with_a_line_end_has_its_length() {
        let text = journal(
            &config(ForwardTo::Journal("/x".into())),
            StreamKind::Stdout,
            b"a\nb",
        );
        assert!(text.starts_with(b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"));
    }
}
