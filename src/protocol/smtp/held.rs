//! What is held: the list that answers HELD, and the line before the octets that answer TAKE, written and read.
//!
//! Promises that a list that is read has one form and is bounded; whether it is true is for the collector to see.

use crate::model::letter::LetterId;
use crate::model::seal::PrekeyId;
use crate::protocol::smtp::limits;
use crate::protocol::smtp::reply::Reply;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// The last line of a list with nothing behind it.
const COMPLETE: &str = "Complete";
/// The last line of a list that is continued behind its last letter.
const MORE: &str = "More";
/// What follows the number of octets.
const OCTETS: &str = " octets follow";

/// A letter that is held for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLetter {
    /// Its id.
    pub letter: LetterId,
    /// Its length in bytes, sealed; not zero.
    pub size: u64,
    /// The prekey that it is sealed with.
    pub key: PrekeyId,
    /// The nonce of the token that paid for it; none if its author needed none.
    pub token: Option<[u8; 16]>,
}

/// Some of what is held, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldList {
    /// At most [`limits::HELD_LETTERS_MAX`], each once.
    pub letters: Vec<HeldLetter>,
    /// There are others behind the last of these.
    pub more: bool,
}

/// A stretch of a held letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// Of this letter.
    pub letter: LetterId,
    /// From this byte of it on.
    pub offset: u64,
    /// So many bytes, or as many as there are; 1 to [`limits::TAKE_LEN_MAX`].
    pub max: usize,
}

impl Take {
    /// The command.
    pub(super) fn line(&self) -> String {
        format!("TAKE {} {} {}", self.letter.to_hex(), self.offset, self.max)
    }
}

/// Tokens that are no good any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Of this epoch.
    pub epoch: u32,
    /// Their names; 1 to [`limits::DROP_LETTERS_MAX`].
    pub nonces: Vec<[u8; 16]>,
}

impl Revoked {
    /// The command.
    pub(super) fn line(&self) -> String {
        let line = format!("REVOKE {}", self.epoch);
        self.nonces.iter().fold(line, |line, nonce| format!("{line} {}", HEXLOWER.encode(nonce)))
    }

    /// Reads what stands behind the verb.
    pub(super) fn parse(argument: &str) -> Option<Self> {
        let (epoch, nonces) = argument.split_once(' ')?;
        let epoch = number(epoch).and_then(|epoch| u32::try_from(epoch).ok())?;
        let nonce = |text: &str| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok();
        let nonces: Vec<[u8; 16]> = nonces.split(' ').map(nonce).collect::<Option<_>>()?;
        (nonces.len() <= limits::DROP_LETTERS_MAX).then_some(Self { epoch, nonces })
    }
}

/// The text of the reply that brings a list. Of a longer one the first letters are told, and that there are more.
pub(super) fn list_text(letters: &[HeldLetter], more: bool) -> String {
    let told = &letters[..letters.len().min(limits::HELD_LETTERS_MAX)];
    let more = more || told.len() < letters.len();
    let mut text = String::new();
    for held in told {
        let token = held.token.map_or_else(|| "-".to_owned(), |nonce| HEXLOWER.encode(&nonce));
        let (letter, key) = (held.letter.to_hex(), held.key.to_hex());
        text.push_str(&format!("{letter} {} {key} {token}\n", held.size));
    }
    text + if more && !told.is_empty() { MORE } else { COMPLETE }
}

/// Reads the list of what is held behind the letter `after`. `None` if it has another form, names a letter twice, or
/// would have the caller ask for the same again.
pub(super) fn read_list(reply: &Reply, after: Option<LetterId>) -> Option<HeldList> {
    let (lines, last) = reply.text.rsplit_once('\n').unwrap_or(("", &reply.text));
    let more = match last {
        COMPLETE => false,
        MORE => true,
        _ => return None,
    };
    let mut letters: Vec<HeldLetter> = Vec::new();
    for line in lines.split('\n').filter(|_| reply.text.contains('\n')) {
        let held = read_letter(line)?;
        let known = letters.iter().any(|other| other.letter == held.letter) || after == Some(held.letter);
        if known || letters.len() >= limits::HELD_LETTERS_MAX {
            return None;
        }
        letters.push(held);
    }
    (!more || !letters.is_empty()).then_some(HeldList { letters, more })
}

fn read_letter(line: &str) -> Option<HeldLetter> {
    let mut words = line.split(' ');
    let letter = LetterId::from_hex(words.next()?)?;
    let size = number(words.next()?).filter(|&size| size > 0)?;
    let key = PrekeyId::from_hex(words.next()?)?;
    let token = match words.next()? {
        "-" => None,
        nonce => Some(HEXLOWER_PERMISSIVE.decode(nonce.as_bytes()).ok()?.try_into().ok()?),
    };
    words.next().is_none().then_some(HeldLetter { letter, size, key, token })
}

/// A decimal number below 2^64 in its shortest form.
fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text == "0" || !text.starts_with('0');
    if plain && shortest { text.parse().ok() } else { None }
}

/// The text of the reply before so many octets.
pub(super) fn octets_text(len: usize) -> String {
    format!("{len}{OCTETS}")
}

/// How many octets follow this reply.
pub(super) fn read_octets(reply: &Reply) -> Option<u64> {
    reply.text.strip_suffix(OCTETS).and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(text: impl Into<String>) -> Reply {
        Reply::new(250, 0, 0, "").saying(text.into())
    }

    fn held(number: u8) -> HeldLetter {
        let token = number.is_multiple_of(2).then_some([number; 16]);
        HeldLetter { letter: LetterId([number; 16]), size: 7, key: PrekeyId([number; 8]), token }
    }

    #[test]
    fn a_list_has_one_form() {
        let line = "01010101010101010101010101010101 7 0101010101010101 -";
        let list = |letters: &[u8], more| {
            let letters = letters.iter().map(|&number| held(number)).collect();
            Some(HeldList { letters, more })
        };
        assert_eq!(list_text(&[held(1)], false), format!("{line}\nComplete"));
        assert_eq!(read_list(&reply(format!("{line}\nMore")), None), list(&[1], true));
        assert_eq!(read_list(&reply("Complete"), None), list(&[], false));
        let others = [
            String::new(),
            "More".to_owned(),
            "complete".to_owned(),
            "\nComplete".to_owned(),
            line.to_owned(),
            format!("{line}\n"),
            format!("{line}\nComplete\n"),
            format!("{line}\nCompleted"),
            format!("{line}\n{line}\nComplete"),
            format!("{line} x\nComplete"),
            format!("{line} \nComplete"),
            format!(" {line}\nComplete"),
            format!("{line}\n\nComplete"),
            format!("Complete\n{line}\nComplete"),
            format!("{}\nComplete", line.replace(" -", "")),
            format!("{}\nComplete", line.replace('-', "--")),
            format!("{}\nComplete", line.replace('-', "0202")),
            format!("{}\nComplete", line.replace(" 7 ", " 0 ")),
            format!("{}\nComplete", line.replace(" 7 ", " 07 ")),
            format!("{}\nComplete", line.replace(" 7 ", " +7 ")),
            format!("{}\nComplete", line.replace(" 7 ", "  ")),
            format!("{}\nComplete", line.replace(" 7 ", " 18446744073709551616 ")),
            format!("{}\nComplete", line.replacen("01", "0x", 1)),
            format!("{}\nComplete", line.replacen("0101", "01", 1)),
        ];
        for other in others {
            assert_eq!(read_list(&reply(other.clone()), None), None, "{other:?}");
        }
    }

    #[test]
    fn a_list_that_would_be_asked_for_again_is_none() {
        let text = list_text(&[held(1), held(2)], true);
        assert!(read_list(&reply(text.clone()), Some(LetterId([3; 16]))).is_some());
        for after in [1, 2] {
            assert_eq!(read_list(&reply(text.clone()), Some(LetterId([after; 16]))), None);
        }
        assert_eq!(list_text(&[], true), "Complete");
    }

    #[test]
    fn a_list_is_bounded_both_ways() {
        let many: Vec<HeldLetter> = (0..=100).map(held).collect();
        let list = read_list(&reply(list_text(&many, false)), None).unwrap();
        assert_eq!((list.letters.len(), list.more), (limits::HELD_LETTERS_MAX, true));
        assert!(list_text(&many, true).len() + limits::REPLY_LINE_LEN_MAX < limits::HELD_TEXT_LEN_MAX);
        let one_more =
            list_text(&many[..100], false).replacen("Complete", "", 1) + &list_text(&many[100..], false);
        assert_eq!(read_list(&reply(one_more), None), None);
    }

    #[test]
    fn the_number_of_octets_has_one_form() {
        assert_eq!(read_octets(&reply(octets_text(0))), Some(0));
        assert_eq!(read_octets(&reply(octets_text(262_144))), Some(262_144));
        for none in [
            "",
            "7",
            " octets follow",
            "07 octets follow",
            "-1 octets follow",
            "7 octets follow\n",
            "x\n7 octets follow",
        ] {
            assert_eq!(read_octets(&reply(none)), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "([0-9a-f -]{0,60}\n){0,3}(Complete|More|[ -~]{0,30})") {
            let _ = read_octets(&reply(text.clone()));
            if let Some(list) = read_list(&reply(text), None) {
                let again = read_list(&reply(list_text(&list.letters, list.more)), None);
                prop_assert_eq!(again, Some(list));
            }
        }
    }
}
