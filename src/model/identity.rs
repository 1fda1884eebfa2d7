//! An identity: its recovery words, and the two keys that come from them by one-way paths.
//!
//! ```text
//! 32 random bytes = 24 words (BIP39, English) -> S = BIP39 seed (PBKDF2-HMAC-SHA512, 2048 rounds, no passphrase)
//! identity seed = HKDF-SHA256(ikm S, salt "onionskin", info "onionskin identity key v1"), 32 bytes
//! recovery seed = HKDF-SHA256(ikm S, salt "onionskin", info "onionskin recovery key v1"), 32 bytes
//! ```
//!
//! Both are ed25519 seeds (RFC 8032). Promises that secrets are wiped when dropped and can be neither copied nor
//! printed, and that only the *public* half of the recovery key is kept. Where the record lies is left to the store.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::policy::OwnNames;
use crate::model::statement::{RecoverySigned, Revocation, Standalone, StatementError, Successor, Verified};
use crate::model::statement::{sign_as_identity, sign_as_recovery};
use crate::model::time::UnixTime;
use bip39::{Language, Mnemonic};
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How many recovery words there are: 256 bits and a checksum of 8.
pub const WORDS: usize = 24;
/// Longest text in which recovery words are looked for, in bytes: 24 numbered words have about 300.
const WORDS_TEXT_LEN_MAX: usize = 4096;
/// From this length on, the first letters name a word of the list alone (BIP39, "Wordlist").
const WORD_PREFIX_LEN: usize = 4;
/// How many words are suggested for a wrong one.
const SUGGESTIONS: usize = 3;
const SALT: &[u8] = b"onionskin";
const IDENTITY_INFO: &[u8] = b"onionskin identity key v1";
const RECOVERY_INFO: &[u8] = b"onionskin recovery key v1";

/// The 24 words from which an identity can be made again. Wiped when dropped.
pub struct RecoveryWords {
    entropy: Zeroizing<[u8; 32]>,
}

/// Why a text holds no recovery words. Shows the wrong word, so it is for the screen, never for a log.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A word that is not on the list.
    #[error("word {position}, \"{word}\", is not a recovery word{}", suggested(.near))]
    Unknown {
        /// Which word, from 1.
        position: usize,
        /// As it was written.
        word: String,
        /// The nearest words of the list, the nearest first.
        near: Vec<&'static str>,
    },
    /// Too few or too many words.
    #[error("there are {0} words; {WORDS} are needed")]
    Count(usize),
    /// All words are on the list, but they do not belong together.
    #[error(
        "each word is a recovery word, but together they are not right: one is wrong, or two are swapped"
    )]
    Checksum,
}

impl std::fmt::Debug for WordsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown { position, .. } => write!(f, "Unknown {{ position: {position} }}"),
            Self::Count(count) => write!(f, "Count({count})"),
            Self::Checksum => f.write_str("Checksum"),
        }
    }
}

pub(super) fn suggested(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!(" (perhaps: {})", near.join(", ")) }
}

impl RecoveryWords {
    /// Makes the words of 32 random bytes.
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        Self { entropy: Zeroizing::new(entropy) }
    }

    /// Reads words as people write them down: any case, white space, line breaks, numbering and commas; a word may
    /// be cut to its first four letters or more.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        let text = Zeroizing::new(text[..text.floor_char_boundary(WORDS_TEXT_LEN_MAX)].to_lowercase());
        let separators = |letter: char| letter.is_whitespace() || ",;.:)(-|\"'".contains(letter);
        let mut phrase = Zeroizing::new(String::with_capacity(WORDS * 9));
        let mut count = 0;
        for word in text.split(separators).map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit())) {
            if word.is_empty() {
                continue;
            }
            count += 1;
            let whole = list_word(word).ok_or_else(|| WordsError::Unknown {
                position: count,
                word: word.chars().take(20).collect(),
                near: nearest(word),
            })?;
            if count <= WORDS {
                phrase.push_str(whole);
                phrase.push(' ');
            }
        }
        if count != WORDS {
            return Err(WordsError::Count(count));
        }
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, phrase.trim_end())
            .map_err(|_| WordsError::Checksum)?;
        let (bytes, _) = mnemonic.to_entropy_array();
        let bytes = Zeroizing::new(bytes);
        let mut entropy = Zeroizing::new([0; 32]);
        entropy.copy_from_slice(&bytes[..32]);
        Ok(Self { entropy })
    }

    /// The words, in order: to be shown once and written down.
    pub fn words(&self) -> [&'static str; WORDS] {
        let mut words = [""; WORDS];
        for (place, word) in words.iter_mut().zip(self.mnemonic().words()) {
            *place = word;
        }
        words
    }

    /// Signs a revocation or a successor of the identity that these words make.
    pub fn sign_statement<T: RecoverySigned>(&self, statement: &T) -> Result<Verified<T>, StatementError> {
        let seeds = self.derive();
        let author = onion_of(&SigningKey::from_bytes(&seeds.identity));
        sign_as_recovery(&SigningKey::from_bytes(&seeds.recovery), &author, statement)
    }

    /// The revocation of the identity that these words make, made at this time.
    pub fn revocation(
        &self,
        since: UnixTime,
        now: UnixTime,
        reason: &str,
    ) -> Result<Verified<Revocation>, StatementError> {
        let (recovery, made) = (self.recovery_key(), now.to_the_hour());
        self.sign_statement(&Revocation { recovery, since, made, reason: reason.to_owned() })
    }

    /// The statement that `new` comes after the identity that these words make, made at this time.
    pub fn successor(&self, new: OnionAddress, now: UnixTime) -> Result<Verified<Successor>, StatementError> {
        self.sign_statement(&Successor { recovery: self.recovery_key(), new, made: now.to_the_hour() })
    }

    fn recovery_key(&self) -> [u8; 32] {
        SigningKey::from_bytes(&self.derive().recovery).verifying_key().to_bytes()
    }

    fn mnemonic(&self) -> Mnemonic {
        Mnemonic::from_entropy_in(Language::English, &*self.entropy).expect("32 bytes make 24 words")
    }

    fn derive(&self) -> Seeds {
        let seed = Zeroizing::new(self.mnemonic().to_seed_normalized(""));
        let paths = Hkdf::<Sha256>::new(Some(SALT), &*seed);
        let mut seeds = Seeds { identity: [0; 32], recovery: [0; 32] };
        paths.expand(IDENTITY_INFO, &mut seeds.identity).expect("32 bytes are within HKDF's reach");
        paths.expand(RECOVERY_INFO, &mut seeds.recovery).expect("32 bytes are within HKDF's reach");
        seeds
    }
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct Seeds {
    identity: [u8; 32],
    recovery: [u8; 32],
}

/// The word of the list that `word` is, or is the beginning of.
pub(super) fn list_word(word: &str) -> Option<&'static str> {
    let list = Language::English.word_list();
    if let Ok(at) = list.binary_search(&word) {
        return Some(list[at]);
    }
    if word.len() < WORD_PREFIX_LEN {
        return None;
    }
    let mut candidates = list.iter().filter(|listed| listed.starts_with(word));
    candidates.next().filter(|_| candidates.next().is_none()).copied()
}

/// The words of the list with the fewest changed letters, at most two changes away.
pub(super) fn nearest(word: &str) -> Vec<&'static str> {
    const CHANGES_MAX: usize = 2;
    let mut near: Vec<(usize, &'static str)> = Language::English
        .word_list()
        .iter()
        .map(|listed| (changes(word, listed), *listed))
        .filter(|(distance, _)| *distance <= CHANGES_MAX)
        .collect();
    near.sort_unstable();
    near.into_iter().take(SUGGESTIONS).map(|(_, listed)| listed).collect()
}

/// Edit distance (Levenshtein), for words of at most 20 letters; farther for longer ones.
fn changes(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(20).collect();
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (line, letter) in to.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for at in 0..from.len() {
            let swapped = diagonal + usize::from(from[at] != letter);
            diagonal = row[at + 1];
            row[at + 1] = swapped.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[from.len()]
}

/// What is kept of an identity, inside the encrypted store. Wiped when dropped.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct IdentityRecord {
    /// The ed25519 seed of the identity key, which is the onion's key too.
    #[serde(with = "serde_bytes")]
    seed: [u8; 32],
    /// The public half of the recovery key; its private half exists only in the words.
    #[serde(with = "serde_bytes")]
    recovery: [u8; 32],
    /// Local parts, the main one first.
    #[zeroize(skip)]
    names: Vec<LocalPart>,
    /// When the identity came to be on this machine.
    #[zeroize(skip)]
    created: UnixTime,
}

/// Why a kept record gives no identity.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no record.
    #[error("the identity record cannot be read: {0}")]
    Format(#[from] serde_cbor::Error),
    /// The record has no local part, or too many.
    #[error("the identity record has no usable name")]
    Names,
}

/// One identity: its key and its names. Not to be copied, printed or serialised; wiped when dropped.
pub struct Identity {
    key: SigningKey,
    recovery: [u8; 32],
    names: OwnNames,
    created: UnixTime,
}

impl Identity {
    /// Makes the identity of these words. The same words and name always give the same address.
    pub fn from_words(words: &RecoveryWords, name: LocalPart, created: UnixTime) -> Self {
        let seeds = words.derive();
        let recovery = SigningKey::from_bytes(&seeds.recovery).verifying_key().to_bytes();
        let key = SigningKey::from_bytes(&seeds.identity);
        let names = OwnNames::new(onion_of(&key), [name]).expect("one name is enough");
        Self { key, recovery, names, created }
    }

    /// Reads the CBOR of a kept record.
    pub fn from_record(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: IdentityRecord = serde_cbor::from_slice(bytes)?;
        let key = SigningKey::from_bytes(&record.seed);
        let names = OwnNames::new(onion_of(&key), record.names.iter().cloned()).ok_or(RecordError::Names)?;
        Ok(Self { key, recovery: record.recovery, names, created: record.created })
    }

    /// The CBOR to keep, wiped when dropped.
    pub fn to_record(&self) -> Zeroizing<Vec<u8>> {
        let record = IdentityRecord {
            seed: self.key.to_bytes(),
            recovery: self.recovery,
            names: self.names.locals().to_vec(),
            created: self.created,
        };
        // Room for everything at once: a vector that grows leaves copies of the seed behind.
        let room = 256 + self.names.locals().len() * 80;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        serde_cbor::to_writer(&mut *bytes, &record).expect("a record of plain fields is CBOR");
        bytes
    }

    /// The main address.
    pub fn address(&self) -> MailAddress {
        self.names.main()
    }

    /// All addresses.
    pub fn names(&self) -> &OwnNames {
        &self.names
    }

    /// The onion address.
    pub fn onion(&self) -> OnionAddress {
        *self.names.onion()
    }

    /// The ed25519 seed, for `onion::HostKey` alone.
    pub fn host_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The public half of the recovery key, to which every Card will commit.
    pub fn recovery_key(&self) -> &[u8; 32] {
        &self.recovery
    }

    /// When the identity came to be on this machine.
    pub fn created(&self) -> UnixTime {
        self.created
    }

    /// Signs a Card or a certificate.
    pub fn sign_statement<T: Standalone>(&self, statement: &T) -> Result<Verified<T>, StatementError> {
        sign_as_identity(&self.key, statement)
    }

    /// Signs a proof for AUTH ONION-ED25519 (pure ed25519, RFC 8032). The caller puts a context string of its own
    /// in front, so that a proof can be taken for nothing else.
    pub fn sign_proof(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

fn onion_of(key: &SigningKey) -> OnionAddress {
    OnionAddress::from_public_key(key.verifying_key().to_bytes())
        .expect("a key made from a seed is torsion-free")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZERO_WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
        abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

    fn error_of(text: &str) -> WordsError {
        RecoveryWords::parse(text).err().expect("refused")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn identity(words: &RecoveryWords) -> Identity {
        Identity::from_words(words, LocalPart::parse("ann").unwrap(), UnixTime(7))
    }

    /// Worked out a second time from the head comment alone, in another language.
    #[test]
    fn the_derivation_never_changes() {
        let counting = "abandon amount liar amount expire adjust cage candy arch gather drum bullet absurd math \
            era live bid rhythm alien crouch range attend journey unaware";
        for (words, seed, recovery, onion) in [
            (
                ZERO_WORDS,
                "bef67fd0ddae42d9faedfd084909bf3df7e5959bcf2859fcc845a8d21f30430c",
                "28a83fd91c08fdf75aad65c4259a201bc5ff6f9f3423bcdbbed412ec7cf4243f",
                "4jm24aknqgxf5conav37ver6ozvohf6enmn4isjlhnstpta37if4itad.onion",
            ),
            (
                counting,
                "18727fced6e4e37ffafd89b9a923af21abd64ba89cd568656b2bd95a74efc316",
                "5f8bd55f88c038e604d54cedfd6414866a8d457893fe37f5e3ed2c5535233229",
                "ho5kwcqqgm7ptxwcuc7ehozjdj3qfg5e4yi3lepyt5pm5wfkzkszmjqd.onion",
            ),
        ] {
            let identity = identity(&RecoveryWords::parse(words).unwrap());
            assert_eq!(hex(&*identity.host_seed()), seed);
            assert_eq!(hex(identity.recovery_key()), recovery);
            assert_eq!(identity.onion().host(), onion);
        }
    }

    #[test]
    fn words_are_read_as_people_write_them() {
        let words = RecoveryWords::from_entropy([0; 32]).words();
        assert_eq!(words.join(" "), ZERO_WORDS);
        let numbered: String =
            words.iter().enumerate().map(|(at, word)| format!("{}. {word}\r\n", at + 1)).collect();
        let glued: String =
            words.iter().enumerate().map(|(at, word)| format!("{}){word}, ", at + 1)).collect();
        let short: String = words.iter().map(|word| format!("{} ", &word[..word.len().min(4)])).collect();
        for text in [numbered, glued, short, ZERO_WORDS.to_uppercase(), format!("\t{ZERO_WORDS}\n\n")] {
            assert_eq!(
                RecoveryWords::parse(&text).map(|words| words.entropy.to_vec()),
                Ok(vec![0; 32]),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_word_is_named_and_near_ones_suggested() {
        let wrong = ZERO_WORDS.replacen("abandon", "abadon", 1);
        let WordsError::Unknown { position, word, near } = error_of(&wrong) else {
            panic!("an unknown word")
        };
        assert_eq!((position, word.as_str(), near.first()), (1, "abadon", Some(&"abandon")));
        let text = error_of(&ZERO_WORDS.replace(" art", " w\u{f6}rd")).to_string();
        assert!(text.starts_with("word 24, \"w\u{f6}rd\", is not a recovery word (perhaps: word"), "{text}");
        assert_eq!(
            error_of(&ZERO_WORDS.replace(" art", " qqqqqqqqq")).to_string(),
            "word 24, \"qqqqqqqqq\", is not a recovery word"
        );
        assert!(!format!("{:?}", error_of(&wrong)).contains("aba"), "a log never shows a word");
    }

    #[test]
    fn a_wrong_number_and_a_wrong_checksum_are_told_apart() {
        assert_eq!(error_of(""), WordsError::Count(0));
        assert_eq!(error_of(&ZERO_WORDS.replace(" art", "")), WordsError::Count(23));
        assert_eq!(error_of(&format!("{ZERO_WORDS} art")), WordsError::Count(25));
        assert_eq!(error_of(&ZERO_WORDS.replace(" art", " able")), WordsError::Checksum);
        assert!(matches!(
            error_of(&ZERO_WORDS.repeat(500)),
            WordsError::Unknown { .. } | WordsError::Count(_)
        ));
    }

    #[test]
    fn a_record_brings_the_identity_back_without_the_recovery_key() {
        let words = RecoveryWords::from_entropy([9; 32]);
        let before = identity(&words);
        let bytes = before.to_record();
        assert!(bytes.capacity() >= bytes.len() && bytes.len() < 256, "the record was written in one place");
        let after = Identity::from_record(&bytes).unwrap();
        assert_eq!(after.address(), before.address());
        assert_eq!(after.recovery_key(), before.recovery_key());
        assert_eq!(after.created(), UnixTime(7));
        assert_eq!(*after.host_seed(), *before.host_seed());
        assert!(!bytes.windows(32).any(|window| window == words.derive().recovery));
        assert!(!bytes.windows(32).any(|window| window == *words.entropy));
    }

    #[test]
    fn a_record_of_a_later_version_or_without_a_name_is_judged() {
        #[derive(Serialize)]
        struct Later<'a> {
            #[serde(with = "serde_bytes")]
            seed: [u8; 32],
            #[serde(with = "serde_bytes")]
            recovery: [u8; 32],
            names: &'a [&'a str],
            created: u64,
            device: &'a str,
        }
        let record = |names: &[&str]| {
            let later = Later { seed: [1; 32], recovery: [2; 32], names, created: 3, device: "d" };
            Identity::from_record(&serde_cbor::to_vec(&later).unwrap())
        };
        assert_eq!(record(&["ann", "bob"]).unwrap().names().locals().len(), 2);
        assert!(matches!(record(&[]), Err(RecordError::Names)));
        assert!(matches!(record(&["a b"]), Err(RecordError::Format(_))));
        assert!(matches!(Identity::from_record(b""), Err(RecordError::Format(_))));
    }

    #[test]
    fn a_proof_verifies_under_the_onion_and_over_nothing_else() {
        let identity = identity(&RecoveryWords::from_entropy([3; 32]));
        let key = ed25519_dalek::VerifyingKey::from_bytes(identity.onion().public_key()).unwrap();
        let proof = ed25519_dalek::Signature::from_bytes(&identity.sign_proof(b"context, me, you"));
        assert!(key.verify_strict(b"context, me, you", &proof).is_ok());
        assert!(key.verify_strict(b"context, me, yon", &proof).is_err());
    }

    /// Does not compile if the type is `Clone`, `Debug` or serialisable: the probe would be ambiguous.
    macro_rules! neither_copied_nor_printed {
        ($type:ty) => {{
            trait Probe<Which> {
                fn probe() -> bool {
                    true
                }
            }
            struct Cloned;
            struct Printed;
            struct Written;
            impl<T> Probe<()> for T {}
            impl<T: Clone> Probe<Cloned> for T {}
            impl<T: std::fmt::Debug> Probe<Printed> for T {}
            impl<T: Serialize> Probe<Written> for T {}
            <$type as Probe<_>>::probe()
        }};
    }

    #[test]
    fn secrets_can_be_neither_copied_nor_printed() {
        assert!(neither_copied_nor_printed!(Identity));
        assert!(neither_copied_nor_printed!(RecoveryWords));
    }

    proptest! {
        #[test]
        fn words_bring_back_their_entropy(entropy: [u8; 32]) {
            let words = RecoveryWords::from_entropy(entropy).words();
            let back = RecoveryWords::parse(&words.join("\n")).unwrap();
            prop_assert_eq!(*back.entropy, entropy);
        }

        #[test]
        fn any_text_is_answered_without_panic(text in "[\\PCabcdz0-9 \n.]{0,60}") {
            prop_assert!(RecoveryWords::parse(&text).is_err());
        }
    }
}
