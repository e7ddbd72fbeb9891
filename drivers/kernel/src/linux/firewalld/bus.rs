//! As much of D-Bus as asking a service with words and hearing a word takes.
//!
//! Messages are as in the D-Bus specification 0.43, "Message Protocol": a header of aligned fields, then the arguments,
//! all in the byte order that the first byte names. We write little-endian, and so does who answers on this machine.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

/// Where the system's bus listens.
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// A service that does not answer by then is not waited for: it is asked again with the timer.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer that we ask for is longer.
const LONGEST: usize = 1 << 20;

const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;

/// Fields of a header, with the type of each.
const PATH: (u8, &str) = (1, "o");
const INTERFACE: (u8, &str) = (2, "s");
const MEMBER: (u8, &str) = (3, "s");
const DESTINATION: (u8, &str) = (6, "s");
const SIGNATURE: (u8, &str) = (8, "g");
const REPLY_SERIAL: u8 = 5;

/// A connection to the system's bus.
pub(super) struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    kind: u8,
    to: u32,
    /// The first argument, where it is text.
    text: String,
}

impl Bus {
    /// Connects as the user that this process runs as.
    pub(super) fn system() -> io::Result<Self> {
        let stream = UnixStream::connect(SOCKET)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut bus = Self {
            stream: BufReader::new(stream),
            serial: 0,
        };
        let user: String = nix::unistd::geteuid()
            .to_string()
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        bus.write(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut line = String::new();
        bus.stream.read_line(&mut line)?;
        if !line.starts_with("OK ") {
            return Err(io::Error::other(format!("the bus says {:?}", line.trim())));
        }
        bus.write(b"BEGIN\r\n")?;
        let itself = "org.freedesktop.DBus";
        bus.call((itself, "/org/freedesktop/DBus", itself), "Hello", &[])?;
        Ok(bus)
    }

    /// Calls a method of a service, by its name, path and interface, with text as arguments: the text that it answers.
    pub(super) fn call(
        &mut self,
        service: (&str, &str, &str),
        method: &str,
        arguments: &[&str],
    ) -> io::Result<String> {
        self.serial += 1;
        self.write(&message(self.serial, service, method, arguments))?;
        loop {
            let answer = self.read()?;
            match answer.kind {
                REPLY if answer.to == self.serial => return Ok(answer.text),
                ERROR if answer.to == self.serial => return Err(io::Error::other(answer.text)),
                // A signal, which the bus sends to everybody.
                _ => {}
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn read(&mut self) -> io::Result<Answer> {
        let mut whole = vec![0; 16];
        self.stream.read_exact(&mut whole)?;
        let length = length(&whole).filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| io::Error::other("the bus sends what is no answer"))?;
        whole.resize(length, 0);
        self.stream.read_exact(&mut whole[16..])?;
        read(&whole).ok_or_else(|| io::Error::other("the bus sends half an answer"))
    }
}

/// A call as bytes.
fn message(serial: u32, service: (&str, &str, &str), method: &str, arguments: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for argument in arguments {
        put_text(&mut body, argument);
    }
    let mut message = vec![b'l', CALL, 0, 1];
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(serial.to_le_bytes());
    message.extend([0; 4]);
    let (name, path, interface) = service;
    for (field, value) in [
        (PATH, path),
        (DESTINATION, name),
        (INTERFACE, interface),
        (MEMBER, method),
    ] {
        put_field(&mut message, field, value);
    }
    if !arguments.is_empty() {
        put_field(&mut message, SIGNATURE, &"s".repeat(arguments.len()));
    }
    let fields = (message.len() - 16) as u32;
    message[12..16].copy_from_slice(&fields.to_le_bytes());
    align(&mut message, 8);
    message.extend(body);
    message
}

fn put_field(into: &mut Vec<u8>, (number, kind): (u8, &str), value: &str) {
    align(into, 8);
    into.push(number);
    put_signature(into, kind);
    match kind {
        "g" => put_signature(into, value),
        _ => put_text(into, value),
    }
}

fn put_signature(into: &mut Vec<u8>, text: &str) {
    into.push(text.len() as u8);
    into.extend(text.as_bytes());
    into.push(0);
}

fn put_text(into: &mut Vec<u8>, text: &str) {
    align(into, 4);
    into.extend((text.len() as u32).to_le_bytes());
    into.extend(text.as_bytes());
    into.push(0);
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

/// The length of a whole message by its first 16 bytes; none in the other byte order, which nobody here writes.
fn length(head: &[u8]) -> Option<usize> {
    let (body, fields) = (number(head, 4)? as usize, number(head, 12)? as usize);
    (head.first() == Some(&b'l')).then(|| (16 + fields).next_multiple_of(8) + body)
}

pub(super) fn read(message: &[u8]) -> Option<Answer> {
    let end = 16 + number(message, 12)? as usize;
    let (mut at, mut to, mut signature) = (16, 0, "");
    while at < end {
        at = at.next_multiple_of(8);
        let field = *message.get(at)?;
        let (kind, next) = signature_at(message, at + 1)?;
        at = match kind {
            "g" => {
                let (value, next) = signature_at(message, next)?;
                if field == SIGNATURE.0 {
                    signature = value;
                }
                next
            }
            "u" => {
                let place = next.next_multiple_of(4);
                if field == REPLY_SERIAL {
                    to = number(message, place)?;
                }
                place + 4
            }
            "s" | "o" => {
                let place = next.next_multiple_of(4);
                place + 5 + number(message, place)? as usize
            }
            _ => return None,
        };
    }
    let body = end.next_multiple_of(8);
    let text = if signature.starts_with('s') {
        let length = number(message, body)? as usize;
        String::from_utf8_lossy(message.get(body + 4..body + 4 + length)?).into_owned()
    } else {
        String::new()
    };
    Some(Answer {
        kind: *message.get(1)?,
        to,
        text,
    })
}

/// A signature, and what comes behind it.
fn signature_at(message: &[u8], at: usize) -> Option<(&str, usize)> {
    let length = usize::from(*message.get(at)?);
    let text = message.get(at + 1..at + 1 + length)?;
    Some((std::str::from_utf8(text).ok()?, at + 2 + length))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: (&str, &str, &str) = ("a.b", "/a", "a.b.c");

    #[test]
    fn a_call_is_as_long_as_its_head_says_and_each_field_is_aligned() {
        let call = message(7, SERVICE, "add", &["zone", "br-1"]);
        assert_eq!(length(&call), Some(call.len()));
        assert_eq!(number(&call, 8), Some(7));
        let body = call.len() - number(&call, 4).expect("a length") as usize;
        assert_eq!(body % 8, 0);
        assert_eq!(&call[body..], b"\x04\0\0\0zone\0\0\0\0\x04\0\0\0br-1\0");
    }

    /// An answer as a bus writes it: to a call, with text.
    fn answer(kind: u8, to: u32, text: &str) -> Vec<u8> {
        let mut out = vec![b'l', kind, 0, 1];
        let mut body = Vec::new();
        put_text(&mut body, text);
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(9_u32.to_le_bytes());
        out.extend([0; 4]);
        put_field(&mut out, DESTINATION, ":1.5");
        align(&mut out, 8);
        out.extend([REPLY_SERIAL, 1, b'u', 0]);
        out.extend(to.to_le_bytes());
        put_field(&mut out, SIGNATURE, "s");
        let fields = (out.len() - 16) as u32;
        out[12..16].copy_from_slice(&fields.to_le_bytes());
        align(&mut out, 8);
        out.extend(body);
        out
    }

    #[test]
    fn an_answer_tells_which_call_it_is_to_and_its_text() {
        for (kind, text) in [(REPLY, "trusted"), (REPLY, ""), (ERROR, "ZONE_CONFLICT")] {
            let bytes = answer(kind, 3, text);
            let expected = Answer {
                kind,
                to: 3,
                text: text.to_owned(),
            };
            assert_eq!(length(&bytes), Some(bytes.len()));
            assert_eq!(read(&bytes), Some(expected));
        }
    }

    #[test]
    fn a_garbled_answer_is_none() {
        let bytes = answer(REPLY, 3, "trusted");
        for length in 0..bytes.len() - 1 {
            assert_eq!(read(&bytes[..length]), None, "{length} bytes of it");
        }
        assert_eq!(length(&[0xff; 16]), None);
        for at in 12..bytes.len() {
            let mut garbled = bytes.clone();
            garbled[at] = 0xff;
            let _ = read(&garbled);
        }
    }
}
