//! Bends inputs.

/// Bytes that parsers stumble over: bounds of numbers, ends, quotes, brackets, half letters.
const WORDS: [&[u8]; 40] = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff",
    b"\0\x01",
    b"\x04\0",
    b"\xc0\x0c",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\"",
    b"\\",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"-",
    b"/",
    b".",
    b"%",
    b"=",
    b"0",
    b"-1",
    b"65535",
    b"65536",
    b"4294967296",
    b"18446744073709551616",
    b"1e999",
    b"null",
    b"::",
];

/// Draws numbers that look random (xorshift64*), and bends inputs by them.
pub(crate) struct Mutator(u64);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below this one, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap_or_default() % end.max(1)
    }

    /// A piece of an input, as two places in it.
    fn piece(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let end = (start + 1 + self.below(16)).min(length);
        start.min(end)..end
    }

    /// One of the inputs, bent a few times.
    pub(crate) fn bend(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(6) {
            self.bend_once(&mut input, inputs);
        }
        input
    }

    fn bend_once(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let byte = self.next().to_le_bytes()[0];
        match self.below(10) {
            0 => input.truncate(at),
            1 => input.insert(at, byte),
            2 => drop(input.drain(self.piece(input.len()))),
            3 => {
                let piece = input[self.piece(input.len())].to_vec();
                input.splice(at..at, piece);
            }
            4 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            5 => {
                let word = WORDS[self.below(WORDS.len())];
                let end = (at + word.len()).min(input.len());
                input.splice(at..end, word.iter().copied());
            }
            6 => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            7 => {
                // Lengths are short numbers: one more or less is what goes wrong.
                if let Some(there) = input.get_mut(at) {
                    *there = there.wrapping_add(byte % 9).wrapping_sub(4);
                }
            }
            8 => {
                if let Some(there) = input.get_mut(at) {
                    *there ^= 1 << (byte % 8);
                }
            }
            _ => {
                if let Some(there) = input.get_mut(at) {
                    *there = byte;
                }
            }
        }
    }
}
