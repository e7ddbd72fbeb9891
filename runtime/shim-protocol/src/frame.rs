//! Messages on a byte stream: a length of four bytes, least significant first, then JSON.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// No message is larger. An exec's environment is bounded by the kernel to a fraction of it.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Encodes a message with its length.
///
/// # Errors
/// `InvalidData` when it is larger than [`MAX_MESSAGE`] or can't be JSON.
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > MAX_MESSAGE {
        return Err(too_large(length));
    }
    let length = u32::try_from(length).map_err(|_| too_large(length))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Takes the first message from `bytes`: its value and how many bytes it took; nothing if it is not all there.
///
/// # Errors
/// `InvalidData` when the length is beyond [`MAX_MESSAGE`] or the text is not such a message.
pub fn decode<Message: DeserializeOwned>(bytes: &[u8]) -> io::Result<Option<(Message, usize)>> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_MESSAGE {
        return Err(too_large(length));
    }
    let Some(text) = rest.get(..length) else {
        return Ok(None);
    };
    Ok(Some((serde_json::from_slice(text)?, 4 + length)))
}

/// Writes one message.
///
/// # Errors
/// Those of the stream, and of [`encode`].
pub fn write(stream: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&encode(message)?)
}

/// Reads one message, and not a byte more.
///
/// # Errors
/// Those of the stream, and of [`decode`].
pub fn read<Message: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Message> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(too_large(length));
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn too_large(length: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a message of {length} bytes is too large"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_only_when_it_is_all_there() {
        let bytes = encode(&"hello").unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(decode::<String>(&bytes[..cut]).unwrap(), None, "{cut} bytes");
        }
        let more = [&bytes[..], b"rest"].concat();
        assert_eq!(
            decode::<String>(&more).unwrap(),
            Some(("hello".into(), bytes.len()))
        );
        assert_eq!(read::<String>(&mut more.as_slice()).unwrap(), "hello");
    }

    #[test]
    fn a_length_beyond_the_limit_and_text_that_is_no_message_are_refused() {
        assert!(decode::<String>(&[255; 8]).is_err());
        assert!(decode::<String>(&[1, 0, 0, 0, b'{']).is_err());
        assert!(read::<String>(&mut [255u8; 8].as_slice()).is_err());
    }
}
