//! `Invitation`: where to write to and a secret good once, as a short link or as words to be read out.
//!
//! ```text
//! onionskin:invite/<local part>@<56 characters>/<32 characters>     base32 of secret (16 bytes) ‖ check (4 bytes)
//! check = the start of SHA-256("onionskin/1 invitation" ‖ 0 ‖ onion key ‖ local part ‖ 0 ‖ secret)
//! ```
//!
//! The 36 words (BIP39, English) are 396 bits: onion key (256), secret (128), and the first 12 bits of the same hash
//! with an empty local part. They name no local part; who takes them up writes to `postmaster`, which every node has.

use crate::model::address::{LocalPart, MailAddress, MailAddressError};
use crate::model::identity::{list_word, nearest, suggested};
use bip39::Language;
use data_encoding::BASE32_NOPAD;
use onion::OnionAddress;
use sha2::{Digest as _, Sha256};

/// How many words there are.
pub const WORDS: usize = 36;
/// Longest text in which an invitation is looked for, in bytes: 36 numbered words have about 450.
const TEXT_LEN_MAX: usize = 4096;
const SCHEME: &str = "onionskin:invite/";
const CONTEXT: &[u8] = b"onionskin/1 invitation\0";
const BITS_PER_WORD: usize = 11;
const CHECK_LEN: usize = 4;

/// An invitation. Whoever has it can take it up: it is shown to its person, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Whose node.
    pub inviter: OnionAddress,
    /// Under which name the inviter is written to; words have none.
    pub name: Option<LocalPart>,
    /// The secret.
    pub secret: [u8; 16],
}

/// Why a text is no invitation. Shows a wrong word, so it is for the screen, never for a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// It is neither a link nor words.
    #[error("an invitation is a link that begins with {SCHEME} or {WORDS} words")]
    Form,
    /// The address in the link.
    #[error("the address in the link is wrong: {0}")]
    Address(#[from] MailAddressError),
    /// The last part of the link.
    #[error("the last part of the link has 32 letters and digits; something is missing or wrong there")]
    Secret,
    /// The parts of the link do not belong together.
    #[error("the link was changed on its way: its parts do not belong together")]
    Check,
    /// A word that is not on the list.
    #[error("word {position}, \"{word}\", is none of the words that are used{}", suggested(.near))]
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
    #[error("together the words are not right: one is wrong, or two are swapped")]
    Words,
}

impl Invitation {
    /// The link.
    pub fn link(&self) -> String {
        let host = self.inviter.host();
        let secret = [&self.secret[..], &self.digest(self.local())[..CHECK_LEN]].concat();
        format!(
            "{SCHEME}{}@{}/{}",
            self.local(),
            host.trim_end_matches(".onion"),
            BASE32_NOPAD.encode(&secret).to_ascii_lowercase()
        )
    }

    /// The words.
    pub fn words(&self) -> [&'static str; WORDS] {
        let digest = self.digest("");
        let bytes = [&self.inviter.public_key()[..], &self.secret, &digest[..2]].concat();
        let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
        std::array::from_fn(|word| {
            let bits = word * BITS_PER_WORD..(word + 1) * BITS_PER_WORD;
            Language::English.word_list()[bits.fold(0, |index, at| index << 1 | bit(at))]
        })
    }

    /// Where the answer goes.
    pub fn address(&self) -> MailAddress {
        let local = LocalPart::parse(self.local()).expect("it is a local part, or that of every node");
        MailAddress { local, onion: self.inviter }
    }

    /// Reads a link or words, as people pass them on: broken into lines, in any case, numbered.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let text = text.trim();
        if text.len() > TEXT_LEN_MAX {
            return Err(InvitationError::Form);
        }
        let begins = text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME));
        match begins {
            true => Self::from_link(&text[SCHEME.len()..]),
            false if text.is_empty() || text.contains([':', '/', '@']) => Err(InvitationError::Form),
            false => Self::from_words(text),
        }
    }

    fn from_link(rest: &str) -> Result<Self, InvitationError> {
        let rest: String = rest.split_whitespace().collect();
        let (address, secret) = rest.rsplit_once('/').ok_or(InvitationError::Form)?;
        let host = if address.to_ascii_lowercase().ends_with(".onion") { "" } else { ".onion" };
        let address = MailAddress::parse(&format!("{address}{host}"))?;
        let bytes = BASE32_NOPAD
            .decode(secret.to_ascii_uppercase().as_bytes())
            .map_err(|_| InvitationError::Secret)?;
        let (secret, check) = bytes.split_first_chunk().ok_or(InvitationError::Secret)?;
        if check.len() != CHECK_LEN {
            return Err(InvitationError::Secret);
        }
        let found = Self { inviter: address.onion, name: Some(address.local), secret: *secret };
        if found.digest(found.local())[..CHECK_LEN] == *check {
            Ok(found)
        } else {
            Err(InvitationError::Check)
        }
    }

    fn from_words(text: &str) -> Result<Self, InvitationError> {
        let text = text.to_lowercase();
        let separators = |letter: char| letter.is_whitespace() || ",;.)(-|\"'".contains(letter);
        let words = text.split(separators).map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let mut bytes = vec![0u8; (WORDS * BITS_PER_WORD).div_ceil(8)];
        for (at, word) in words.iter().enumerate() {
            let whole = list_word(word).ok_or_else(|| InvitationError::Unknown {
                position: at + 1,
                word: word.chars().take(20).collect(),
                near: nearest(word),
            })?;
            let index = Language::English.word_list().binary_search(&whole).unwrap_or_default();
            for bit in (0..BITS_PER_WORD).filter(|bit| index >> (BITS_PER_WORD - 1 - bit) & 1 == 1) {
                let at = at * BITS_PER_WORD + bit;
                if let Some(byte) = bytes.get_mut(at / 8) {
                    *byte |= 1 << (7 - at % 8);
                }
            }
        }
        if words.len() != WORDS {
            return Err(InvitationError::Count(words.len()));
        }
        let (key, rest) = bytes.split_first_chunk().expect("there are 50 bytes");
        let (secret, check) = rest.split_first_chunk().expect("there are 18 bytes");
        // A key that is none is as wrong as a check that fails: the words would not have been made.
        let inviter = OnionAddress::from_public_key(*key).map_err(|_| InvitationError::Words)?;
        let found = Self { inviter, name: None, secret: *secret };
        let digest = found.digest("");
        if [digest[0], digest[1] & 0xf0] == *check { Ok(found) } else { Err(InvitationError::Words) }
    }

    fn local(&self) -> &str {
        self.name.as_ref().map_or("postmaster", LocalPart::as_str)
    }

    fn digest(&self, local: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [CONTEXT, self.inviter.public_key(), local.as_bytes(), b"\0", &self.secret] {
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an invitation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid";

    fn invitation(secret: [u8; 16]) -> Invitation {
        let address = MailAddress::parse(&format!("ann.lee@{HOST}.onion")).unwrap();
        Invitation { inviter: address.onion, name: Some(address.local), secret }
    }

    #[test]
    fn the_link_never_changes_and_is_read_however_it_was_passed_on() {
        let made = invitation([7; 16]);
        let link = made.link();
        // Worked out a second time from the head comment alone, in another language.
        assert_eq!(link, format!("onionskin:invite/ann.lee@{HOST}/a4dqobyha4dqobyha4dqobyha5apni6f"));
        assert_eq!(made.address().full(), format!("ann.lee@{HOST}.onion"));
        let broken = format!("{}\r\n  {}", &link[..50], &link[50..]);
        let with_suffix = link.replace(HOST, &format!("{HOST}.onion"));
        for text in [link.clone(), link.to_uppercase(), broken, with_suffix, format!(" {link}\n")] {
            assert_eq!(Invitation::parse(&text), Ok(made.clone()), "{text}");
        }
    }

    #[test]
    fn a_broken_link_is_refused_for_its_reason() {
        let link = invitation([7; 16]).link();
        let error = |text: &str| Invitation::parse(text).expect_err(text);
        assert_eq!(error(&link.replace("ann.lee@", "bob@")), InvitationError::Check);
        assert_eq!(error(&link.replace("/a4dq", "/a5dq")), InvitationError::Check);
        assert_eq!(error(&link[..link.len() - 1]), InvitationError::Secret);
        assert_eq!(error(&link[..link.len() - 8]), InvitationError::Secret);
        assert_eq!(error(&format!("{link}aaaaaaaa")), InvitationError::Secret);
        assert_eq!(error(&link.replace("/a4dq", "/a1dq")), InvitationError::Secret);
        assert!(matches!(error(&link.replace("@2gz", "@3gz")), InvitationError::Address(_)));
        assert_eq!(error("onionskin:invite/"), InvitationError::Form);
        for text in ["", "https://example.org/x", "ann@example.org", &"x".repeat(5000)] {
            assert_eq!(error(text), InvitationError::Form);
        }
    }

    #[test]
    fn words_are_read_as_people_write_them_and_a_wrong_one_is_named() {
        let made = invitation([9; 16]);
        let words = made.words();
        let numbered: String =
            words.iter().enumerate().map(|(at, word)| format!("{}. {word}\n", at + 1)).collect();
        let read = Invitation::parse(&numbered.to_uppercase()).unwrap();
        assert_eq!((read.inviter, read.secret, &read.name), (made.inviter, made.secret, &None));
        assert_eq!(read.address().full(), format!("postmaster@{HOST}.onion"));
        assert_eq!(Invitation::parse(&words[1..].join(" ")), Err(InvitationError::Count(35)));
        let mut wrong = words.map(str::to_owned);
        wrong[4] = "abadon".to_owned();
        let error = Invitation::parse(&wrong.join(" ")).unwrap_err().to_string();
        assert!(error.starts_with("word 5, \"abadon\"") && error.contains("abandon"), "{error}");
        let mut swapped = words;
        swapped.swap(0, 30);
        assert_eq!(Invitation::parse(&swapped.join(" ")), Err(InvitationError::Words));
    }

    proptest! {
        #[test]
        fn any_secret_comes_back_by_link_and_by_words(secret: [u8; 16]) {
            let made = invitation(secret);
            prop_assert_eq!(Invitation::parse(&made.link()), Ok(made.clone()));
            prop_assert_eq!(Invitation::parse(&made.words().join(" ")).unwrap().secret, secret);
        }

        #[test]
        fn any_text_is_answered_without_panic(text in "(onionskin:invite/)?[\\PCabz0-9@/ \n.]{0,90}") {
            prop_assert!(Invitation::parse(&text).is_err());
        }
    }
}
