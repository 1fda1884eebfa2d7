//! Safety words: what two people read to each other on the telephone, to be sure that each has the other's address.
//!
//! Eight words of BIP39's English list (88 bits), the same on both sides. Whoever sits in the middle needs two keys
//! whose words with the two people agree, which by the birthday bound takes 2⁴⁴ tries; each try costs an Argon2id
//! (19 MiB, two passes), so that this is out of reach, and eight words are enough.

use argon2::{Algorithm, Argon2, Params, Version};
use bip39::Language;
use onion::OnionAddress;

/// How many words.
pub const WORDS: usize = 8;
const BITS_PER_WORD: usize = 11;
const CONTEXT: &[u8] = b"onionskin/1 safety words";
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// The words for these two, in whichever order they are named. Takes some 40 ms.
pub fn safety_words(one: &OnionAddress, other: &OnionAddress) -> [&'static str; WORDS] {
    let pair = [*one.min(other).public_key(), *one.max(other).public_key()].concat();
    let mut hash = [0; WORDS * BITS_PER_WORD / 8];
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(hash.len())).expect("these parameters are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(&pair, CONTEXT, &mut hash)
        .expect("the lengths are in range");
    let bit = |at: usize| usize::from(hash[at / 8] >> (7 - at % 8) & 1);
    std::array::from_fn(|word| {
        let index = (0..BITS_PER_WORD).fold(0, |index, at| index << 1 | bit(word * BITS_PER_WORD + at));
        Language::English.word_list()[index]
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::address;
    use super::*;

    #[test]
    fn both_sides_read_the_same_words_and_a_third_key_gives_others() {
        let (ann, bob, eve) = (address(1), address(2), address(3));
        let words = safety_words(&ann, &bob);
        assert_eq!(words, safety_words(&bob, &ann));
        let others = safety_words(&ann, &eve);
        assert!(words.iter().zip(others).filter(|(word, other)| **word == *other).count() < 3);
    }
}
