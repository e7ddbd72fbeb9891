//! The keys that leave a container running: `ctrl-p,ctrl-q` unless told otherwise.

/// The sequence used when none is given.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// Parses `ctrl-p,ctrl-q`, `a,b`, `ctrl-@`: what bytes the keys send.
pub fn parse(text: &str) -> Result<Vec<u8>, String> {
    text.split(',').map(key).collect()
}

fn key(name: &str) -> Result<u8, String> {
    let unknown = || {
        format!("unknown key {name:?} in the detach keys: write a letter or ctrl-LETTER, with commas between")
    };
    let byte = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        _ => None,
    };
    if let Some(letter) = name.strip_prefix("ctrl-") {
        let letter = byte(letter).ok_or_else(unknown)?.to_ascii_lowercase();
        return match letter {
            b'a'..=b'z' => Ok(letter - b'a' + 1),
            b'@' => Ok(0),
            b'[' | b'\\' | b']' | b'^' | b'_' => Ok(letter - b'[' + 27),
            _ => Err(unknown()),
        };
    }
    match name {
        "DEL" => Ok(127),
        _ => byte(name).ok_or_else(unknown),
    }
}

/// Watches what is typed for the sequence.
#[derive(Debug)]
pub struct Watcher {
    keys: Vec<u8>,
    matched: usize,
}

/// What has to happen with typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Send these on.
    Send(Vec<u8>),
    /// Send these, then leave.
    Detach(Vec<u8>),
}

impl Watcher {
    /// For this sequence.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes typed bytes; what may be the beginning of the sequence is held back.
    pub fn feed(&mut self, bytes: &[u8]) -> Typed {
        let mut send = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Typed::Detach(send);
                }
                continue;
            }
            send.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            if self.keys.first() == Some(byte) {
                self.matched = 1;
            } else {
                send.push(*byte);
            }
        }
        Typed::Send(send)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_letters_and_control_letters() {
        let cases: [(&str, Option<&[u8]>); 8] = [
            (DEFAULT, Some(&[16, 17])),
            ("a,b", Some(b"ab")),
            ("ctrl-@", Some(&[0])),
            ("ctrl-[,ctrl-_", Some(&[27, 31])),
            ("DEL", Some(&[127])),
            ("ctrl-", None),
            ("ctrl-1", None),
            ("ab", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn only_the_whole_sequence_detaches_and_nothing_is_lost() {
        let mut watcher = Watcher::new(vec![16, 17]);
        assert_eq!(watcher.feed(b"abc"), Typed::Send(b"abc".to_vec()));
        assert_eq!(watcher.feed(&[16]), Typed::Send(vec![]));
        assert_eq!(watcher.feed(b"x"), Typed::Send(vec![16, b'x']));
        assert_eq!(watcher.feed(&[16, 16]), Typed::Send(vec![16]));
        assert_eq!(watcher.feed(&[17, b'z']), Typed::Detach(vec![]));
        assert_eq!(watcher.feed(b"ok\x10\x11"), Typed::Detach(b"ok".to_vec()));
    }
}
