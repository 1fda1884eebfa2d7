//! How long a seal is: the plaintext is padded, so that its length tells little about the letter.

use super::{CHUNK_LEN, HEAD_LEN, inside};
use crate::model::aead::TAG_LEN;

/// Shortest plaintext once padded.
const LEN_MIN: u64 = 4096;
/// Up to here lengths are powers of two; above it PADMÉ's.
const POWERS_TO: u64 = 64 * 1024;

/// Length of a plaintext of `len` bytes once it is padded: 4, 8, 16, 32 or 64 KiB, and above that the next length
/// that PADMÉ (Nikitin and others 2019) allows, which is at most a thirty-second more.
///
/// Saturates: lengths near 2^64 are nobody's.
pub fn padded_len(len: u64) -> u64 {
    if len <= POWERS_TO {
        return len.max(LEN_MIN).next_power_of_two();
    }
    let exponent = len.ilog2();
    let free_bits = exponent - (exponent.ilog2() + 1);
    let mask = (1 << free_bits) - 1;
    len.saturating_add(mask) & !mask
}

/// Length of the seal of a plaintext (already padded) of `len` bytes: head, chunks and their tags.
pub fn sealed_len(len: u64) -> u64 {
    let chunks = len.div_ceil(CHUNK_LEN as u64).max(1);
    len.saturating_add(HEAD_LEN as u64).saturating_add(chunks.saturating_mul(TAG_LEN as u64))
}

/// The longest that the seal of a letter of at most `letter_len` bytes can be.
pub fn sealed_len_max(letter_len: u64) -> u64 {
    sealed_len(padded_len(letter_len.saturating_add(inside::PREFIX_LEN_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_lengths_are_those_of_the_table() {
        let kib = 1024;
        for (len, padded) in [
            (0, 4 * kib),
            (1, 4 * kib),
            (4096, 4 * kib),
            (4097, 8 * kib),
            (8192, 8 * kib),
            (8193, 16 * kib),
            (20_000, 32 * kib),
            (32_769, 64 * kib),
            (65_536, 64 * kib),
            (65_537, 66 * kib),
            (67_584, 66 * kib),
            (67_585, 68 * kib),
            (100_000, 98 * kib),
            (131_071, 128 * kib),
            (131_073, 132 * kib),
            (1_000_000, 1_015_808),
            (1_048_577, 1_081_344),
            (10_485_760, 10_485_760),
            (10_485_761, 10_747_904),
            (52_428_800, 52_428_800),
            (52_428_801, 53_477_376),
        ] {
            assert_eq!(padded_len(len), padded, "{len}");
        }
    }

    #[test]
    fn padding_never_shortens_is_stable_and_costs_little() {
        let mut last = 0;
        for step in 0..400_000_u64 {
            let len = step * 331;
            let padded = padded_len(len);
            assert!(padded >= len && padded >= last, "{len}");
            assert_eq!(padded_len(padded), padded, "{len}");
            assert!(len <= POWERS_TO || (padded - len) * 32 <= len, "{len}");
            last = padded;
        }
        assert!(padded_len(u64::MAX) > u64::MAX / 2);
    }

    #[test]
    fn a_seal_is_as_long_as_its_chunks_and_their_tags() {
        let head = HEAD_LEN as u64;
        assert_eq!(head, 1643);
        assert_eq!(sealed_len(0), head + 16);
        assert_eq!(sealed_len(65_536), head + 65_536 + 16);
        assert_eq!(sealed_len(65_537), head + 65_537 + 32);
        assert!(sealed_len_max(u64::MAX) > u64::MAX / 2);
    }
}
