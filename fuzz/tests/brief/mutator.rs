//! Mutates inputs as libFuzzer does, without its feedback: the same seed and corpus give the same inputs.

/// Longer inputs are cut: bugs hide in structure, not in bulk.
const INPUT_BYTES_MAX: usize = 2048;

/// Pieces that plain chance would not find.
const PIECES: &[&[u8]] = &[
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\x00",
    b"\x01\x85",
    b"\x81\xfe\x00\x7e",
    b"\x89\x80\x00\x00\x00\x00",
    b"\x88\x02\x03\xe8",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf0\x9f\x98\x80",
    b"\xe2\x82",
    b"\\ud800",
    b"\\u0000",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"\"\":",
    b",",
    b":",
    b"-",
    b"*",
    b"\r\n",
    b"\n",
    b"1e999",
    b"-0",
    b"9007199254740992",
    b"18446744073709551616",
    b"0x",
    b"T24:00:00Z",
    b"9999-12-31",
    b"==",
];

pub struct Mutator {
    random: fastrand::Rng,
    corpus: Vec<Vec<u8>>,
    input: Vec<u8>,
}

impl Mutator {
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), corpus, input: Vec::new() }
    }

    /// The next input: one of the corpus, changed in one to six places. Rather few: what stays well-formed reaches deeper.
    pub fn next_input(&mut self) -> &[u8] {
        let from = self.random.usize(..self.corpus.len());
        self.input.clone_from(&self.corpus[from]);
        let most = self.random.usize(1..=6);
        for _ in 0..self.random.usize(1..=most) {
            self.mutate();
        }
        self.input.truncate(INPUT_BYTES_MAX);
        &self.input
    }

    fn mutate(&mut self) {
        let Self { random, corpus, input } = self;
        let at = random.usize(..=input.len());
        let rest = random.usize(..=input.len() - at);
        let length = rest.min(random.usize(1..=32));
        match random.u8(..9) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 if at < input.len() => input[at] = random.u8(..),
            2 if at < input.len() => input[at] = input[at].wrapping_add(random.u8(..).wrapping_sub(8) % 8),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let copy = input[at..at + length].to_vec();
                let to = random.usize(..=input.len());
                input.splice(to..to, copy);
            }
            5 => {
                let piece = PIECES[random.usize(..PIECES.len())];
                input.splice(at..at, piece.iter().copied());
            }
            6 => {
                let piece = PIECES[random.usize(..PIECES.len())];
                let end = input.len().min(at + piece.len());
                input.splice(at..end, piece.iter().copied());
            }
            7 => {
                let other = &corpus[random.usize(..corpus.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.usize(..=other.len())..]);
            }
            _ => {
                let byte = random.u8(..);
                input.splice(at..at, std::iter::repeat_n(byte, random.usize(1..=16)));
            }
        }
    }
}
