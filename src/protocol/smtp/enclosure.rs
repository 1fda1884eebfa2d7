//! What rides inside a reply, in base64 (RFC 4648 section 4, with padding) over several lines: a Card, a receipt.
//!
//! Promises that what is read was whole and within its limit; what it says is for others to verify.

use crate::protocol::smtp::limits;
use crate::protocol::smtp::reply::Reply;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The first line of a reply that brings a Card.
const CARD: &str = "Card";
/// What a line with a piece of a receipt begins with.
const RECEIPT: &str = "RECEIPT ";

/// The text of the reply that brings `card`; `None` if there is nothing in it or too much.
pub(super) fn card_text(card: &[u8]) -> Option<String> {
    let fits = !card.is_empty() && card.len() <= limits::CARD_LEN_MAX;
    fits.then(|| lines(CARD.to_owned(), "", card))
}

/// The Card in a reply of several lines; what the first one says is for people.
pub(super) fn read_card(reply: &Reply) -> Option<Vec<u8>> {
    decode(reply.text.split('\n').skip(1), limits::CARD_LEN_MAX)
}

/// `text` and the receipt behind it; `text` alone if there is nothing in the receipt or too much.
pub(super) fn receipt_text(text: &str, receipt: &[u8]) -> String {
    let receipt = if receipt.len() <= limits::RECEIPT_LEN_MAX { receipt } else { &[] };
    lines(text.to_owned(), RECEIPT, receipt)
}

/// The receipt in a reply, if there is one.
pub(super) fn read_receipt(reply: &Reply) -> Option<Vec<u8>> {
    let pieces = reply.text.split('\n').filter_map(|line| line.strip_prefix(RECEIPT));
    decode(pieces, limits::RECEIPT_LEN_MAX)
}

/// `first`, and a line for each piece of the base64 with `word` in front.
fn lines(first: String, word: &str, bytes: &[u8]) -> String {
    let base64 = STANDARD.encode(bytes);
    let mut text = first;
    let mut rest = &base64[..];
    while !rest.is_empty() {
        let (piece, others) = rest.split_at(rest.len().min(limits::BASE64_LINE_LEN_MAX - word.len()));
        text.push('\n');
        text.push_str(word);
        text.push_str(piece);
        rest = others;
    }
    text
}

/// Puts the pieces together; `None` if they are no base64, none at all, or more than `len_max` bytes.
fn decode<'a>(pieces: impl Iterator<Item = &'a str>, len_max: usize) -> Option<Vec<u8>> {
    let base64: String = pieces.collect();
    STANDARD.decode(base64).ok().filter(|bytes| (1..=len_max).contains(&bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(text: String) -> Reply {
        Reply::new(250, 0, 0, "").saying(text)
    }

    #[test]
    fn a_card_begins_on_the_second_line_and_has_pieces_of_any_length() {
        let text = card_text(&[0xff; 400]).unwrap();
        let lens: Vec<usize> = text.split('\n').map(str::len).collect();
        assert_eq!(lens, [4, 480, 536 - 480]);
        assert_eq!(read_card(&reply("Card\nYW\nI=".to_owned())), Some(b"ab".to_vec()));
        for none in ["", "Card", "YWI=", "Card\n", "Card\nYWI", "Card\nYWI=\nYWI=", "Card\nYW I=", "Card\n*"]
        {
            assert_eq!(read_card(&reply(none.to_owned())), None, "{none:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_neither_written_nor_read() {
        assert_eq!(card_text(&[]), None);
        assert_eq!(card_text(&[1; limits::CARD_LEN_MAX + 1]), None);
        assert!(card_text(&[1; limits::CARD_LEN_MAX]).unwrap().len() < limits::CARD_TEXT_LEN_MAX);
        let long = lines(CARD.to_owned(), "", &[1; limits::CARD_LEN_MAX + 1]);
        assert_eq!(read_card(&reply(long)), None);
        assert_eq!(receipt_text("kept", &[1; limits::RECEIPT_LEN_MAX + 1]), "kept");
        let long = lines("kept".to_owned(), RECEIPT, &[1; limits::RECEIPT_LEN_MAX + 1]);
        assert_eq!(read_receipt(&reply(long)), None);
    }

    #[test]
    fn other_words_beside_a_receipt_are_nobodys_affair() {
        let text = "kept\nRECEIPT YW\nand thanks\nRECEIPT I=\nRECEIPTS x";
        assert_eq!(read_receipt(&reply(text.to_owned())), Some(b"ab".to_vec()));
        for none in ["kept", "RECEIPT", "kept\nRECEIPT ", "kept\nRECEIPT YWI", "kept\nreceipt YWI="] {
            assert_eq!(read_receipt(&reply(none.to_owned())), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 1..2000)) {
            prop_assert_eq!(read_card(&reply(card_text(&bytes).unwrap())), Some(bytes.clone()));
            let text = receipt_text("kept", &bytes);
            prop_assert!(text.split('\n').all(|line| line.len() <= limits::BASE64_LINE_LEN_MAX));
            prop_assert_eq!(read_receipt(&reply(text)), Some(bytes));
        }
    }
}
