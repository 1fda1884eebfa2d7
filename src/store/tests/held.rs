//! Letters held for guests: one token one letter, room that is counted, and letters that go when all have them.

use super::*;
use crate::model::hold::{self, MailboxId, Token, TokenKey};
use crate::model::letter::LetterId;
use crate::model::seal::PrekeyId;
use crate::store::held::{BoxRecord, Collector, REVOKED_MAX, SpentRecord, Taken};
use onion::OnionAddress;
use sha2::{Digest as _, Sha256};

const BOX: MailboxId = MailboxId([1; 8]);
const DAY: u64 = 86_400;
/// For some letters of a few bytes.
const ROOM: u64 = 10 * STEP;
/// The least that a letter takes.
const STEP: u64 = 4096;

fn onion(seed: u8) -> OnionAddress {
    onion::HostKey::from_seed([seed; 32]).address()
}

fn token(number: u8) -> Token {
    TokenKey::new([7; 32]).token(&onion(4), BOX, [number; 16], 730, hold::CLASS)
}

fn with_box(collectors: &[u8], bytes: u64) -> Store {
    let store = create(&SimDisk::new());
    let collectors = collectors.iter().map(|seed| Collector(onion(*seed))).collect();
    let record = BoxRecord {
        guest: onion(2),
        drop: onion(4),
        drop_seed: [4; 32],
        key: [7; 32],
        collectors,
        bytes,
        days: 30,
        used: 0,
        letters: 0,
        made: NOW,
        over: false,
        revoked: 0,
    };
    now(store.write(move |tx| tx.held().put_mailbox(BOX, &record))).unwrap();
    store
}

fn spent(sealed: &[u8]) -> SpentRecord {
    let kept_until = UnixTime(NOW.0 + 30 * DAY);
    SpentRecord { digest: Sha256::digest(sealed).into(), size: sealed.len() as u64, kept_until, made: NOW }
}

fn id(sealed: &[u8]) -> LetterId {
    spent(sealed).id()
}

fn take(store: &Store, token: Token, sealed: &'static [u8]) -> Taken {
    let body = now(store.letter(sealed)).unwrap();
    now(store.write(move |tx| tx.held().take(BOX, &token, &spent(sealed), PrekeyId([9; 8]), &body))).unwrap()
}

fn listed(store: &Store, collector: usize) -> Vec<LetterId> {
    let (found, _) = now(store.read(move |rx| rx.held().list(BOX, collector, None, 10))).unwrap();
    found.into_iter().map(|record| record.id).collect()
}

fn used(store: &Store) -> (u64, u64) {
    let record = now(store.read(|rx| rx.held().mailbox(BOX))).unwrap().unwrap();
    (record.letters, record.used)
}

#[test]
fn one_token_keeps_one_letter_and_the_same_again_keeps_nothing_more() {
    let store = with_box(&[5], ROOM);
    assert_eq!(take(&store, token(1), b"first"), Taken::Now);
    assert_eq!(take(&store, token(1), b"first"), Taken::Before(spent(b"first")));
    assert_eq!(take(&store, token(1), b"other"), Taken::Spent);
    assert_eq!(take(&store, token(2), b"first"), Taken::Now, "paid for twice, and there once");
    assert_eq!((listed(&store, 0), used(&store)), (vec![id(b"first")], (1, STEP)));
}

#[test]
fn a_letter_goes_once_every_collector_has_it_and_its_token_stays_spent() {
    let store = with_box(&[5, 6], ROOM);
    take(&store, token(1), b"first");
    take(&store, token(2), b"second");
    now(store.write(|tx| tx.held().confirm(BOX, 0, &[id(b"first"), id(b"unknown")]))).unwrap();
    assert_eq!(listed(&store, 0), [id(b"second")]);
    assert_eq!(listed(&store, 1), [id(b"first"), id(b"second")]);
    now(store.write(|tx| tx.held().confirm(BOX, 1, &[id(b"first")]))).unwrap();
    assert_eq!((listed(&store, 1), used(&store)), (vec![id(b"second")], (1, STEP)));
    assert_eq!(
        take(&store, token(1), b"first"),
        Taken::Before(spent(b"first")),
        "collected, so not kept again"
    );
    assert_eq!(used(&store), (1, STEP));
}

#[test]
fn what_does_not_fit_is_refused_and_room_comes_back() {
    let store = with_box(&[5], STEP * 2 - 1);
    assert_eq!(take(&store, token(1), b"123456"), Taken::Now);
    assert_eq!(take(&store, token(2), b"12345"), Taken::Full, "however small, it takes a step");
    now(store.write(|tx| tx.held().confirm(BOX, 0, &[id(b"123456")]))).unwrap();
    assert_eq!(used(&store), (0, 0));
    assert_eq!(take(&store, token(2), b"12345"), Taken::Now);
}

/// What opens the mailbox at a drop: its tokens' key, and who collects.
fn doors(store: &Store, drop: u8, collector: u8) -> (Vec<[u8; 32]>, Option<usize>) {
    let doors = now(store.read(|rx| rx.doors())).unwrap();
    let keys = doors.at(&onion(drop)).iter().map(|door| door.key).collect();
    (keys, doors.collecting(onion(drop), onion(collector)).map(|(_, place)| place))
}

#[test]
fn the_doors_are_those_of_the_mailboxes_that_are_there_now() {
    let store = with_box(&[5, 6], ROOM);
    assert_eq!(doors(&store, 4, 6), (vec![[7; 32]], Some(1)));
    assert_eq!(doors(&store, 3, 6), (vec![], None), "another drop");
    assert_eq!(doors(&store, 4, 7).1, None, "another key");
    take(&store, token(1), b"first");
    let change = |change: fn(BoxRecord) -> BoxRecord| {
        now(store.write(move |tx| {
            let record = tx.held().mailbox(BOX)?.ok_or(StoreError::NoEntry)?;
            tx.held().put_mailbox(BOX, &change(record))
        }))
        .unwrap();
    };
    change(|record| BoxRecord { key: [8; 32], collectors: vec![Collector(onion(7))], ..record });
    assert_eq!(doors(&store, 4, 7), (vec![[8; 32]], Some(0)));
    assert_eq!(doors(&store, 4, 6).1, None, "it collects no more");
    change(|record| BoxRecord { over: true, ..record });
    now(store.write(|tx| tx.held().confirm(BOX, 0, &[id(b"first")]))).unwrap();
    assert_eq!(doors(&store, 4, 7).1, Some(0), "what is there is collected");
    assert!(now(store.write(|tx| tx.held().remove_mailbox(BOX, 10))).unwrap());
    assert_eq!(doors(&store, 4, 7), (vec![], None));
}

#[test]
fn what_was_spent_is_forgotten_a_few_at_a_time_and_the_mailbox_with_the_last() {
    let store = with_box(&[5], ROOM);
    for number in 0..5 {
        take(&store, token(number), b"first");
    }
    let forget = |before| now(store.write(move |tx| tx.held().forget_spent(before, 2))).unwrap();
    assert_eq!((forget(730), forget(731), forget(731)), (0, 2, 2), "those of epoch 730 and no others");
    take(&store, token(5), b"first");
    now(store.write(|tx| {
        let record = tx.held().mailbox(BOX)?.ok_or(StoreError::NoEntry)?;
        tx.held().put_mailbox(BOX, &BoxRecord { over: true, ..record })?;
        tx.held().confirm(BOX, 0, &[id(b"first")])
    }))
    .unwrap();
    let remove = || now(store.write(|tx| tx.held().remove_mailbox(BOX, 2))).unwrap();
    assert_eq!((remove(), remove(), remove()), (false, true, false));
    assert!(now(store.read(|rx| rx.held().spent(BOX, &token(5)))).unwrap().is_none());
}

#[test]
fn its_author_alone_calls_a_letter_back() {
    let store = with_box(&[5], ROOM);
    take(&store, token(1), b"first");
    let recall = |number, id| now(store.write(move |tx| tx.held().recall(BOX, &token(number), &id))).unwrap();
    assert!(!recall(2, id(b"first")), "another token");
    assert!(!recall(1, id(b"other")), "another letter");
    assert_eq!(used(&store), (1, STEP));
    assert!(recall(1, id(b"first")) && recall(1, id(b"first")));
    assert_eq!((listed(&store, 0), used(&store)), (vec![], (0, 0)));
}

#[test]
fn what_is_over_goes_and_a_mailbox_that_is_over_takes_nothing_and_keeps_what_it_has() {
    let store = with_box(&[5], ROOM);
    take(&store, token(1), b"first");
    now(store.write(|tx| {
        let record = tx.held().mailbox(BOX)?.map(|record| BoxRecord { over: true, ..record });
        tx.held().put_mailbox(BOX, &record.ok_or(StoreError::NoEntry)?)?;
        assert!(!tx.held().remove_mailbox(BOX, 10)?);
        Ok(())
    }))
    .unwrap();
    assert_eq!(take(&store, token(2), b"second"), Taken::NoBox);
    let end = NOW.0 + 30 * DAY;
    assert_eq!(now(store.read(|rx| rx.held().next_over())).unwrap(), Some(UnixTime(end)));
    let expire = |at| now(store.write(move |tx| tx.held().expire(UnixTime(at), 10))).unwrap();
    assert_eq!((expire(end), listed(&store, 0)), (0, vec![id(b"first")]));
    assert_eq!((expire(end + 1), listed(&store, 0)), (1, vec![]));
    assert!(now(store.write(|tx| tx.held().remove_mailbox(BOX, 10))).unwrap());
    assert!(now(store.read(|rx| rx.held().spent(BOX, &token(1)))).unwrap().is_none());
}

#[test]
fn long_lists_come_in_pieces_from_behind_a_letter() {
    let store = with_box(&[5], ROOM);
    for (number, letter) in [&b"a"[..], b"b", b"c"].into_iter().enumerate() {
        take(&store, token(number as u8), letter);
    }
    let page = |after| {
        let (found, more) = now(store.read(move |rx| rx.held().list(BOX, 0, after, 2))).unwrap();
        (found.into_iter().map(|record| record.id).collect::<Vec<_>>(), more)
    };
    assert_eq!(page(None), (vec![id(b"a"), id(b"b")], true));
    assert_eq!(page(Some(id(b"b"))), (vec![id(b"c")], false));
}

#[test]
fn a_token_that_was_taken_back_pays_for_nothing_and_what_it_paid_for_before_stays() {
    let store = with_box(&[5], 4 * ROOM);
    take(&store, token(1), b"first");
    let revoke = |nonces: Vec<[u8; 16]>| now(store.write(move |tx| tx.held().revoke(BOX, 730, &nonces, NOW)));
    revoke(vec![[1; 16], [2; 16], [2; 16]]).unwrap();
    assert_eq!(listed(&store, 0), [id(b"first")]);
    assert_eq!(take(&store, token(1), b"first"), Taken::Before(spent(b"first")));
    assert_eq!(take(&store, token(2), b"second"), Taken::Spent);
    assert_eq!(take(&store, token(3), b"third"), Taken::Now);
    let nothing = LetterId([0; 16]);
    let recalled = now(store.write(move |tx| tx.held().recall(BOX, &token(2), &nothing))).unwrap();
    assert!(!recalled, "it was spent on nothing");
    let revoked = || now(store.read(|rx| rx.held().mailbox(BOX))).unwrap().unwrap().revoked;
    assert_eq!(revoked(), 1);
    let many = (0..REVOKED_MAX).map(|n| u128::from(n + 1000).to_be_bytes()).collect();
    assert!(matches!(revoke(many), Err(StoreError::TooMany(_))));
    assert_eq!(revoked(), 1, "and nothing of it is kept");
    now(store.write(|tx| tx.held().forget_spent(731, 100))).unwrap();
    assert_eq!(revoked(), 0, "room comes back when the epoch is over");
}
