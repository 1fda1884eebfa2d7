//! What a drop's driver keeps in tests: letters in memory, judged as a true one judges them.

use super::super::server::{Bringer, Deposit, Sending, Step};
use super::super::{HeldLetter, Take};
use super::*;
use crate::model::hold::{MailboxId, Token, TokenKey, class_size_max};
use sha2::{Digest as _, Sha256};

/// The guest's mailbox on the drop (3).
pub(in crate::protocol::smtp) const MAILBOX: MailboxId =
    MailboxId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);

/// A token of the guest's with this nonce.
pub(super) fn token(nonce: u8, class: u8) -> Token {
    TokenKey::new([7; 32]).token(&onion(3), MAILBOX, [nonce; 16], 736, class)
}

/// The id of a letter with this content.
pub(super) fn id_of(content: &[u8]) -> LetterId {
    LetterId(Sha256::digest(content)[..16].try_into().unwrap())
}

/// A letter that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) told: HeldLetter,
    pub(super) content: Vec<u8>,
}

/// All that is held for one collector.
#[derive(Debug)]
pub(in crate::protocol::smtp) struct Shelf {
    /// Who may collect.
    pub(super) collector: OnionAddress,
    pub(super) kept: Vec<Kept>,
    /// Tokens, and the letters that they were spent on.
    pub(super) spent: Vec<(Token, LetterId)>,
    /// Bytes for which there is room.
    pub(super) room: u64,
    /// So many letters are told of at once.
    pub(super) page: usize,
    /// How often it was asked.
    pub(super) asked: usize,
}

const NO_TOKEN: Reply = Reply::new(550, 7, 1, "The token is not good for this letter");
const NOT_YOURS: Reply = Reply::new(550, 7, 1, "Nothing is held here for you");
const NOT_HELD: Reply = Reply::new(550, 1, 1, "No such letter is held here");

impl Shelf {
    pub(super) fn new(collector: OnionAddress) -> Self {
        Self { collector, kept: Vec::new(), spent: Vec::new(), room: 1 << 30, page: 100, asked: 0 }
    }

    /// Puts a letter there for which nothing was paid.
    pub(super) fn hold(&mut self, content: &[u8]) -> LetterId {
        let letter = id_of(content);
        let told = HeldLetter { letter, size: content.len() as u64, key: PREKEY, token: None };
        self.kept.push(Kept { told, content: content.to_vec() });
        letter
    }

    fn may_come(&self, deposit: &Deposit) -> Result<(), Reply> {
        let Deposit { mailbox, token, letter, size, .. } = deposit;
        let used: u64 = self.kept.iter().map(|kept| kept.told.size).sum();
        let others = self.spent.iter().any(|(spent, on)| spent == token && on != letter);
        match () {
            () if *mailbox != MAILBOX => Err(Reply::new(550, 1, 1, "No such mailbox")),
            () if others || !TokenKey::new([7; 32]).made(&onion(3), *mailbox, token) => Err(NO_TOKEN),
            () if *size > class_size_max(token.class) => {
                Err(Reply::new(552, 3, 4, "Too large for its token"))
            }
            () if self.whole(token, letter) => Ok(()),
            () if used + size > self.room => Err(Reply::new(552, 2, 2, "The mailbox is full")),
            () => Ok(()),
        }
    }

    fn whole(&self, token: &Token, letter: &LetterId) -> bool {
        self.spent.contains(&(*token, *letter))
    }

    /// The whole letter, if it is announced again by whoever brought it before.
    pub(super) fn found(&self, sending: &Sending) -> Option<Vec<u8>> {
        let Bringer::Token(token) = sending.from else { return None };
        let kept = self.kept.iter().find(|kept| kept.told.letter == sending.letter)?;
        self.whole(&token, &sending.letter).then(|| kept.content.clone())
    }

    /// Keeps what was left, once.
    pub(super) fn keep(&mut self, deposit: &Deposit, content: &[u8]) -> Result<(), Reply> {
        if id_of(content) != deposit.letter {
            return Err(Reply::new(554, 6, 0, "The letter is not the one that LETTER names"));
        }
        if !self.whole(&deposit.token, &deposit.letter) {
            self.spent.push((deposit.token, deposit.letter));
            let (letter, token) = (deposit.letter, Some(deposit.token.nonce));
            let told = HeldLetter { letter, size: deposit.size, key: deposit.key, token };
            self.kept.push(Kept { told, content: content.to_vec() });
        }
        Ok(())
    }

    fn list(&self, after: Option<LetterId>) -> (Vec<HeldLetter>, bool) {
        let at = self.kept.iter().position(|kept| Some(kept.told.letter) == after).map_or(0, |at| at + 1);
        let told = self.kept[at..].iter().take(self.page).map(|kept| kept.told).collect();
        (told, self.kept.len() - at > self.page)
    }

    fn stretch(&self, take: &Take) -> Option<&[u8]> {
        let kept = self.kept.iter().find(|kept| kept.told.letter == take.letter)?;
        let at = usize::try_from(take.offset).unwrap().min(kept.content.len());
        Some(&kept.content[at..kept.content.len().min(at + take.max)])
    }

    /// Answers what a driver of something else need not know; what was asked, in words.
    pub(super) fn answer(&mut self, step: Step<'_>) -> String {
        self.asked += 1;
        match step {
            Step::Deposit(asked) => {
                let deposit = asked.deposit();
                let words = format!("deposit {} of {}", deposit.letter.to_hex(), deposit.size);
                match self.may_come(&deposit) {
                    Ok(()) => asked.take(),
                    Err(reply) => asked.refuse(reply),
                }
                words
            }
            Step::Held(asked) if asked.who() == self.collector => {
                let (letters, more) = self.list(asked.after());
                asked.answer(&letters, more);
                format!("held: {}", letters.len())
            }
            Step::Take(asked) if asked.who() == self.collector => {
                let take = asked.take();
                match self.stretch(&take) {
                    Some(octets) => asked.answer(octets),
                    None => asked.refuse(NOT_HELD),
                }
                take_word(&take)
            }
            Step::Drop(asked) if asked.who() == self.collector => {
                let dropped = asked.letters().to_vec();
                self.kept.retain(|kept| !dropped.contains(&kept.told.letter));
                asked.done();
                format!("drop {}", dropped.len())
            }
            Step::Revoke(asked) if asked.who() == self.collector => {
                let revoked = asked.revoked().clone();
                asked.done();
                format!("revoke {} of {}", revoked.nonces.len(), revoked.epoch)
            }
            Step::Recall(asked) => {
                let (letter, token) = (asked.letter(), asked.token());
                let other = self.spent.iter().any(|(spent, on)| *on == letter && *spent != token);
                if other || !TokenKey::new([7; 32]).made(&onion(3), MAILBOX, &token) {
                    asked.refuse(NO_TOKEN);
                } else {
                    self.kept.retain(|kept| kept.told.letter != letter);
                    asked.done();
                }
                format!("recall {}", letter.to_hex())
            }
            Step::Held(asked) => {
                asked.refuse(NOT_YOURS);
                "held: not theirs".to_owned()
            }
            Step::Take(asked) => {
                asked.refuse(NOT_YOURS);
                "take: not theirs".to_owned()
            }
            Step::Drop(asked) => {
                asked.refuse(NOT_YOURS);
                "drop: not theirs".to_owned()
            }
            Step::Revoke(asked) => {
                asked.refuse(NOT_YOURS);
                "revoke: not theirs".to_owned()
            }
            step => panic!("{step:?} is no question about holding"),
        }
    }
}

fn take_word(take: &Take) -> String {
    format!("take {} from {}", take.letter.to_hex(), take.offset)
}
