//! Inflates compressed messages (RFC 7692), each by itself, with one inflater for all connections.
//!
//! What a server compresses once and sends to a thousand sockets is inflated once: a loader that spent more CPU on it than the server would
//! measure itself.

use std::collections::HashMap;
use std::io;

use flate2::{Decompress, FlushDecompress};

/// What a sync flush ends with; it does not travel.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Messages that are remembered: more than a burst has.
const REMEMBERED_MAX: usize = 256;

/// The inflater and what it has seen lately.
pub struct Inflater {
    inflater: Decompress,
    out: Vec<u8>,
    remembered: HashMap<Vec<u8>, Vec<u8>>,
}

impl Inflater {
    /// Takes messages that inflate to at most this.
    pub fn new(bytes_max: usize) -> Self {
        Self { inflater: Decompress::new(false), out: Vec::with_capacity(bytes_max), remembered: HashMap::new() }
    }

    /// The message; an error if it is none, or too large.
    pub fn message(&mut self, payload: &[u8]) -> io::Result<&[u8]> {
        if !self.remembered.contains_key(payload) {
            self.inflate(payload)?;
            if self.remembered.len() == REMEMBERED_MAX {
                self.remembered.clear();
            }
            self.remembered.insert(payload.to_owned(), self.out.clone());
        }
        self.remembered.get(payload).map(Vec::as_slice).ok_or_else(|| io::Error::other("it was just remembered"))
    }

    fn inflate(&mut self, payload: &[u8]) -> io::Result<()> {
        self.inflater.reset(false);
        self.out.clear();
        for input in [payload, &TAIL] {
            self.inflater.decompress_vec(input, &mut self.out, FlushDecompress::Sync)?;
        }
        if self.inflater.total_in() as usize == payload.len() + TAIL.len() {
            Ok(())
        } else {
            Err(io::Error::other("a compressed message is larger than the loader's buffer"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_inflated_each_by_itself_and_within_bounds() {
        // RFC 7692, section 7.2.3.1.
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut inflater = Inflater::new(6);
        assert_eq!(inflater.message(&hello).expect("a message"), b"Hello");
        assert_eq!(inflater.message(&hello).expect("a message"), b"Hello");
        assert!(Inflater::new(3).message(&hello).is_err());
        assert!(inflater.message(&[0xff; 4]).is_err());
    }
}
