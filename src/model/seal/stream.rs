//! A file of age as its plaintext comes, whose length nobody knows before the end.

use super::recipient::Recipient;
use super::{CHUNK_LEN, Sealer};

/// Seals one plaintext for somebody. Memory is one chunk.
pub struct SealStream {
    sealer: Sealer,
    chunk: Vec<u8>,
    counter: u64,
    head_given: bool,
}

impl SealStream {
    /// A file for `to`. `seed` must be secret and random, and never used for another plaintext.
    pub fn new(to: &Recipient, seed: &[u8; 32]) -> Self {
        Self { sealer: Sealer::for_recipient(to, seed), chunk: Vec::new(), counter: 0, head_given: false }
    }

    /// Takes plaintext, and puts what it makes of the file behind `out`.
    pub fn push(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.chunk.len() == CHUNK_LEN {
                self.put(false, out);
            }
            let (now, later) = plain.split_at(plain.len().min(CHUNK_LEN - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            plain = later;
        }
    }

    /// Puts the rest of the file behind `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.put(true, out);
    }

    fn put(&mut self, last: bool, out: &mut Vec<u8>) {
        if !self.head_given {
            out.extend_from_slice(self.sealer.head());
            self.head_given = true;
        }
        self.sealer.seal_chunk(self.counter, last, &mut self.chunk);
        self.counter += 1;
        out.append(&mut self.chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::seal::{Opener, SecretPrekey};

    #[test]
    fn a_plaintext_of_any_length_comes_back() {
        let secret = SecretPrekey::from_seed(&[7; 32]);
        let to = Recipient::PostQuantum(secret.public().clone());
        for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN, 3 * CHUNK_LEN + 5] {
            let plain: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            for step in [999, CHUNK_LEN, 4 * CHUNK_LEN] {
                let (mut stream, mut file) = (SealStream::new(&to, &[1; 32]), Vec::new());
                plain.chunks(step).for_each(|piece| stream.push(piece, &mut file));
                stream.finish(&mut file);
                let mut opener = Opener::new(secret.share());
                let mut opened = opener.push(&file).unwrap();
                opened.extend(opener.finish().unwrap());
                assert!(opened == plain, "{len} bytes by {step}");
            }
        }
    }

    #[test]
    fn one_seed_gives_each_reader_other_keys() {
        let file = |seed: u8| {
            let (mut stream, mut file) =
                (SealStream::new(&Recipient::Classic([seed; 32]), &[1; 32]), Vec::new());
            stream.push(b"a letter", &mut file);
            stream.finish(&mut file);
            file
        };
        let (one, other) = (file(9), file(10));
        assert_ne!(one[30..70], other[30..70], "one share for two readers");
        assert_ne!(one[one.len() - 30..], other[other.len() - 30..]);
    }
}
