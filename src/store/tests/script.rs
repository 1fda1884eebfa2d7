//! One submission and one delivery, as the node does them, and what must be found of them afterwards.

use super::*;
use crate::model::letter::LetterId;
use crate::store::MessageIdHash;
use onion::OnionAddress;
use std::sync::LazyLock;

pub(super) const PREFIX: &[u8] = b"Bcc: eve@example\r\n";
const MESSAGE_ID: &[u8] = b"<1@example>";

/// An entry of the queue, as far as the store is concerned.
pub(super) type Entry = (String, u32);

pub(super) fn author() -> OnionAddress {
    OnionAddress::parse("2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion").unwrap()
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    NotAsked,
    Refused,
    Accepted,
}

fn answer<T>(result: &Result<T, StoreError>) -> Answer {
    if result.is_ok() { Answer::Accepted } else { Answer::Refused }
}

/// Three chunks and a bit, so that some are written before the transaction and one by it.
pub(super) fn submitted() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..200_000u32).map(|n| (n * 7 % 253) as u8).collect());
    &BYTES
}

pub(super) fn delivered() -> Vec<u8> {
    b"Subject: hello\r\n\r\nA small letter.\r\n".repeat(40)
}

/// Letter, copy in Sent and two queue entries, in one commit.
pub(super) fn submit(store: &Store) -> Result<(), StoreError> {
    let sent =
        now(store.read(|rx| rx.mailboxes().special(SpecialUse::Sent)))?.ok_or(StoreError::NoMailbox)?;
    let mut writer = store.letter_writer();
    for piece in submitted().chunks(30_000) {
        now(writer.write(piece))?;
    }
    let body = now(writer.finish())?;
    now(store.write(move |tx| {
        let letter = tx.letters().add(&body, PREFIX)?;
        let sent_id = Some(MessageIdHash::of(MESSAGE_ID));
        let flags = Flags::system(Flags::SEEN);
        tx.messages().append(sent, &NewMessage { letter, flags, internal_date: NOW, sent_id })?;
        for recipient in ["ann", "bob"] {
            tx.queue().push(letter, &(recipient.to_owned(), 0u32))?;
        }
        Ok(())
    }))
}

/// Letter, seen key and INBOX, in one commit; a letter seen before is not filed again, but accepted.
pub(super) fn deliver(store: &Store) -> Result<(), StoreError> {
    let inbox =
        now(store.read(|rx| rx.mailboxes().special(SpecialUse::Inbox)))?.ok_or(StoreError::NoMailbox)?;
    let body = now(store.letter(&delivered()))?;
    now(store.write(move |tx| {
        if tx.seen().insert(&author(), &LetterId([5; 16]), NOW)? {
            let letter = tx.letters().add(&body, b"")?;
            let flags = Flags::default();
            let message = NewMessage { letter, flags, internal_date: NOW, sent_id: None };
            tx.messages().append(inbox, &message)?;
        }
        Ok(())
    }))
}

/// Opens the store and does both. Stops using it when it says so.
pub(super) fn run(disk: &SimDisk) -> (Answer, Answer) {
    let Ok(store) = open(disk) else { return (Answer::NotAsked, Answer::NotAsked) };
    let submission = submit(&store);
    let delivery = deliver(&store);
    // What has failed once may not be acknowledged later.
    if matches!(submission, Err(StoreError::MustReopen)) {
        assert!(matches!(delivery, Err(StoreError::MustReopen)));
    }
    (answer(&submission), answer(&delivery))
}

/// Says what is wrong with the store after the answers given; `Ok` if nothing.
pub(super) fn judge(store: &Store, answers: (Answer, Answer)) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let sent = contents(store, special(store, SpecialUse::Sent)).map_err(text)?;
    let queue = now(store.read(|rx| rx.queue().list::<Entry>())).map_err(text)?;
    match (sent.len(), queue.len()) {
        (1, 2) => judge_submission(store, &sent[0], &queue)?,
        (0, 0) if answers.0 == Answer::Accepted => return Err("the submission is lost".into()),
        (0, 0) => {}
        found => return Err(format!("half a submission: {found:?}")),
    }
    let inbox = contents(store, special(store, SpecialUse::Inbox)).map_err(text)?;
    let seen = now(store.read(|rx| rx.seen().contains(&author(), &LetterId([5; 16])))).map_err(text)?;
    match (inbox.len(), seen) {
        (1, true) if inbox[0] == delivered() => {}
        (1, true) => return Err("the delivery has other bytes".into()),
        (0, false) if answers.1 == Answer::Accepted => return Err("the delivery is lost".into()),
        (0, false) => {}
        found => return Err(format!("half a delivery: {found:?}")),
    }
    let letters = now(store.read(|rx| rx.letters().count())).map_err(text)?;
    let used = sent.len() + inbox.len();
    if letters == used as u64 { Ok(()) } else { Err(format!("{letters} letters kept, {used} used")) }
}

fn judge_submission(
    store: &Store,
    sent: &[u8],
    queue: &[(crate::store::QueueNo, crate::model::letter::LetterNo, Entry)],
) -> Result<(), String> {
    if sent != [PREFIX, submitted()].concat() {
        return Err("the copy in Sent has other bytes".into());
    }
    if queue.iter().map(|(_, _, (to, _))| to.as_str()).ne(["ann", "bob"]) {
        return Err("the queue has other recipients".into());
    }
    let letter = read_all(store, queue[0].1).map_err(|error| error.to_string())?;
    let copy = now(store.read(|rx| rx.sent_ids().find(&MessageIdHash::of(MESSAGE_ID))));
    match copy.map_err(|error| error.to_string())? {
        Some((_, Uid(1))) if letter == sent => Ok(()),
        _ => Err("the queue, Sent and the Message-ID do not name one letter".into()),
    }
}
