//! Introductions and vouches as letters: text that any mail program shows, and the signed statement beside it.
//!
//! Only of people whom the person knows, and whose Card is pinned. What the person calls somebody stays here: in the
//! letters everybody has the name that their own Card gives.

use crate::model::address::MailAddress;
use crate::model::enclosure::{self, Covering};
use crate::model::statement::{
    Card, Introduction, Standalone, StatementError, Verified, Vouch, sign_as_device,
};
use crate::model::trust::{Method, Tier};
use crate::node::cards;
use crate::node::desk::Desk;
use crate::node::submit::{self, Submitted};
use crate::protocol::smtp::Reply;
use crate::store::StoreError;
use onion::OnionAddress;
use std::sync::Arc;

/// Widest line of a text, in characters.
const COLUMNS: usize = 72;

/// Why somebody cannot be introduced or vouched for.
#[derive(Debug, thiserror::Error)]
pub enum IntroduceError {
    /// The person has not said that they know them.
    #[error("you have not said that you know them")]
    NotKnown(OnionAddress),
    /// Their key was revoked.
    #[error("their key was revoked")]
    Revoked(OnionAddress),
    /// Their Card is not here.
    #[error("their Card is not here yet")]
    NoCard(OnionAddress),
    /// The statement cannot be made.
    #[error("it cannot be signed: {0}")]
    Statement(#[from] StatementError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The letter was not taken.
    #[error("{0}")]
    Letter(Reply),
}

/// Somebody who can be introduced.
struct Party {
    address: MailAddress,
    card: Verified<Card>,
}

impl Party {
    async fn find(desk: &Desk, who: OnionAddress) -> Result<Self, IntroduceError> {
        let read = move |rx: &crate::store::Rx<'_>| {
            Ok((rx.contacts().get(&who)?.unwrap_or_default(), cards::pinned(rx, &who)?))
        };
        let (contact, card) = desk.store().read(read).await?;
        if contact.revoked.is_some() {
            return Err(IntroduceError::Revoked(who));
        }
        if contact.decision.is_none_or(|decision| decision.tier < Tier::Known) {
            return Err(IntroduceError::NotKnown(who));
        }
        let card = card.ok_or(IntroduceError::NoCard(who))?;
        let local = card.names.first().cloned().ok_or(IntroduceError::NoCard(who))?;
        Ok(Self { address: MailAddress { local, onion: who }, card })
    }

    fn name(&self) -> &str {
        self.address.local.as_str()
    }
}

/// Introduces two contacts to each other: a letter to each, with the other's Card. `note` is for both.
pub async fn introduce(
    desk: &Arc<Desk>,
    first: OnionAddress,
    second: OnionAddress,
    method: Method,
    note: &str,
) -> Result<[Submitted; 2], IntroduceError> {
    let (first, second) = (Party::find(desk, first).await?, Party::find(desk, second).await?);
    // Both are made before either goes out.
    let to_first = introduction(desk, &first, &second, method, note)?;
    let to_second = introduction(desk, &second, &first, method, note)?;
    Ok([post(desk, &first, &to_first).await?, post(desk, &second, &to_second).await?])
}

/// Vouches to somebody that their address is theirs. If `show`, they may show that to others.
pub async fn vouch(
    desk: &Arc<Desk>,
    who: OnionAddress,
    method: Method,
    show: bool,
) -> Result<Submitted, IntroduceError> {
    let subject = Party::find(desk, who).await?;
    let made = desk.now().to_the_hour();
    let vouch = Vouch { subject: who, method, made, until: made.plus(method.lasts()), show };
    let own = desk.identity().address();
    let text = vouch_text(own.local.as_str(), &subject, method, show);
    let letter = letter(desk, &subject, &format!("{} vouches for you", own.local.as_str()), &text, &vouch)?;
    post(desk, &subject, &letter).await
}

fn introduction(
    desk: &Desk,
    to: &Party,
    subject: &Party,
    method: Method,
    note: &str,
) -> Result<Vec<u8>, IntroduceError> {
    let made = desk.now().to_the_hour();
    let introduction = Introduction {
        to: to.address.onion,
        subject: subject.address.onion,
        card: subject.card.bytes().to_vec(),
        method,
        made,
        until: made.plus(method.lasts()),
        note: note.to_owned(),
    };
    let own = desk.identity().address();
    let own = own.local.as_str();
    let text = introduction_text(own, subject, method, note);
    letter(desk, to, &format!("{own} introduces {} to you", subject.name()), &text, &introduction)
}

/// A whole letter with one statement.
fn letter<T: Standalone>(
    desk: &Desk,
    to: &Party,
    subject: &str,
    text: &str,
    statement: &T,
) -> Result<Vec<u8>, IntroduceError> {
    let signed = sign_as_device(&desk.keyring().device(), statement)?;
    Ok(enclosure::letter(&Covering {
        from: &desk.identity().address(),
        to: &to.address,
        subject,
        text,
        statements: &[(T::KIND, signed.bytes())],
        now: desk.now(),
        random: desk.draw(),
    }))
}

async fn post(desk: &Arc<Desk>, to: &Party, letter: &[u8]) -> Result<Submitted, IntroduceError> {
    submit::post(desk, &to.address, letter, "you wrote to them").await.map_err(IntroduceError::Letter)
}

fn introduction_text(own: &str, subject: &Party, method: Method, note: &str) -> String {
    let (name, address) = (subject.name(), subject.address.full());
    let said = match note.trim() {
        "" => String::new(),
        note => format!("{own} says:\n\n{}\n", wrapped(note, 4)),
    };
    format!(
        "{own} introduces {name} to you:\n\n    {address}\n\n\
         That this is the address of {name}, {own} has {method}.\n\n{said}\
         The introduction is in this letter, signed, with the key of {name}: you can\n\
         write at once. If you trust {own}, the letters of {name} come to your INBOX\n\
         from now on; if you do not, nothing changes.\n\n{words}",
        method = has_checked(method),
        words = words(&address),
    )
}

fn vouch_text(own: &str, subject: &Party, method: Method, show: bool) -> String {
    let address = subject.address.full();
    let shown = if show {
        "If you know them, your node keeps the vouch and shows it, together with your\n\
         Card, to people who do not have it yet. Whoever trusts them may count it as\n\
         one of the two reasons to take you for introduced.\n"
    } else {
        "It is for you alone: if you know them, your node keeps it, and shows it to\nnobody.\n"
    };
    format!(
        "{own} vouches, signed in this letter, that this is your address:\n\n    {address}\n\n\
         That it is, {own} has {method}.\n\n{shown}\n{words}",
        method = has_checked(method),
        words = words("ADDRESS"),
    )
}

/// How an address was checked, behind "has".
fn has_checked(method: Method) -> &'static str {
    match method {
        Method::InPerson => "checked in person",
        Method::Voice => "checked by voice, with safety words",
        Method::Mail => "only learnt by mail, and not checked otherwise",
    }
}

/// How people make sure of an address themselves.
fn words(address: &str) -> String {
    format!(
        "To be sure that nobody stands between the two of you, read each other the\n\
         words that this shows, in a voice you know:\n\n    onionskin trust words {address}\n"
    )
}

/// A text on lines of a letter's width, set in by `indent`; its own line breaks stay.
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    for paragraph in text.lines() {
        let mut line = " ".repeat(indent);
        for word in paragraph.split_whitespace() {
            if line.chars().count() + word.chars().count() >= COLUMNS && line.trim() != "" {
                out.push_str(line.trim_end());
                out.push('\n');
                line = " ".repeat(indent);
            }
            if line.trim() != "" {
                line.push(' ');
            }
            line.push_str(word);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_keeps_its_paragraphs_and_no_line_is_too_long_for_mail() {
        let note = format!("one two\n\n{}{}", "word ".repeat(190), "x".repeat(500));
        let text = wrapped(&note, 4);
        assert!(text.starts_with("    one two\n\n    word"), "{text}");
        let words = |line: &&str| line.split_whitespace().count() > 1;
        assert!(text.lines().filter(words).all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(text.lines().all(|line| line.len() < 998));
    }
}
