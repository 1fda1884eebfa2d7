//! The tables of trust: Cards, contacts with their log, statements, invites, receipts.

use super::*;
use crate::model::trust::{Method, Tier};
use crate::store::Room;
use crate::store::cards::{CardRecord, RefusedCard};
use crate::store::contacts::{Decision, DecisionNo, RevokedRecord, SuccessorRecord, Undone};
use crate::store::invites::{InviteId, InviteRecord, Used};
use crate::store::receipts::PER_LETTER_MAX;
use crate::store::statements::UNKNOWN_PER_ISSUER_MAX;
use crate::store::statements::{Kept, PER_ISSUER_MAX, StatementKey, StatementKind, StatementRecord, Worth};
use onion::OnionAddress;

fn onion(n: u8) -> OnionAddress {
    let key = ed25519_dalek::SigningKey::from_bytes(&[n; 32]).verifying_key();
    OnionAddress::from_public_key(key.to_bytes()).unwrap()
}

fn card(sequence: u64) -> CardRecord {
    let (bytes, digest) = (vec![sequence as u8; 100], [sequence as u8; 32]);
    CardRecord { bytes, generation: 1, sequence, digest, first_seen: NOW, updated: NOW, refused: None }
}

#[test]
fn a_card_replaces_the_one_before_and_a_refused_one_stands_beside_it() {
    let store = create(&SimDisk::new());
    let refused = RefusedCard { bytes: vec![7], why: "a fork".into(), at: NOW };
    let evidence = refused.clone();
    now(store.write(move |tx| {
        assert!(!tx.cards().refuse(&onion(1), evidence.clone())?);
        assert!(tx.cards().put(&onion(1), &card(1), Room::Open)?);
        assert!(tx.cards().put(&onion(1), &card(2), Room::Open)?);
        assert!(tx.cards().put(&onion(2), &card(9), Room::Open)?);
        assert!(tx.cards().refuse(&onion(1), evidence.clone())?);
        Ok(())
    }))
    .unwrap();
    let (found, listed) =
        now(store.read(|rx| Ok((rx.cards().get(&onion(1))?, rx.cards().refused(10)?)))).unwrap();
    assert_eq!(found, Some(CardRecord { refused: Some(refused.clone()), ..card(2) }));
    assert_eq!(listed, [(onion(1), refused)]);
}

#[test]
fn every_decision_is_logged_with_what_was_before() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let decision = |tier| Some(Decision { tier, at: NOW, why: "test".into() });
    let version = |store: &Store| now(store.read(|rx| rx.contacts().trust_version())).unwrap();
    let (known, blocked) = (decision(Tier::Known), decision(Tier::Blocked));
    let (first, second) = (known.clone(), blocked.clone());
    now(store.write(move |tx| {
        assert_eq!(tx.contacts().decide(&onion(1), first.clone(), NOW, "met")?, DecisionNo(1));
        assert_eq!(tx.contacts().decide(&onion(1), second.clone(), NOW, "fell out")?, DecisionNo(2));
        assert_eq!(tx.contacts().undo(DecisionNo(1), NOW)?, Undone::Superseded);
        assert!(matches!(tx.contacts().undo(DecisionNo(2), NOW)?, Undone::Now(_)));
        assert_eq!(tx.contacts().undo(DecisionNo(2), NOW)?, Undone::Before);
        assert_eq!(tx.contacts().undo(DecisionNo(9), NOW)?, Undone::Unknown);
        Ok(())
    }))
    .unwrap();
    let before = version(&store);
    now(store.write(|tx| tx.contacts().update(&onion(1), |record| record.card_given = 4))).unwrap();
    assert_eq!(version(&store), before, "what changes no tier leaves the version");
    now(store.write(|tx| {
        tx.contacts().update(&onion(1), |record| {
            record.revoked = Some(RevokedRecord { bytes: vec![1], since: NOW, at: NOW });
            let new = onion(2);
            record.successor = Some(SuccessorRecord { bytes: vec![2], new, at: NOW, followed: false });
        })
    }))
    .unwrap();
    assert!(version(&store) > before);
    now(store.close()).unwrap();
    let store = open(&disk).unwrap();
    let (contact, log) =
        now(store.read(|rx| Ok((rx.contacts().get(&onion(1))?, rx.contacts().decisions()?)))).unwrap();
    let contact = contact.unwrap();
    assert_eq!((contact.decision.as_ref(), contact.card_given), (known.as_ref(), 4));
    assert_eq!(contact.successor.unwrap().new, onion(2));
    let log: Vec<_> = log.into_iter().map(|(_, line)| (line.before, line.after, line.undone)).collect();
    let undoing = (blocked.clone(), known.clone(), false);
    assert_eq!(log, [(None, known.clone(), false), (known, blocked, true), undoing]);
}

fn key(subject: u8, issuer: u8, kind: StatementKind, n: u64) -> StatementKey {
    StatementKey { subject: onion(subject), issuer: onion(issuer), kind, digest: n.to_be_bytes() }
}

fn statement() -> (StatementRecord, Worth) {
    let record = StatementRecord { bytes: vec![3; 200], received: NOW, author: Some(onion(9)) };
    let (made, until) = (UnixTime(NOW.0 - 5), UnixTime(NOW.0 + 5));
    (record, Worth { method: Some(Method::Voice), made, until, received: NOW })
}

fn keep(store: &Store, key: StatementKey) -> Kept {
    let (record, worth) = statement();
    now(store.write(move |tx| tx.statements().insert(&key, &record, &worth, Room::Open))).unwrap()
}

#[test]
fn a_statement_is_found_by_its_subject_and_by_its_issuer() {
    let store = create(&SimDisk::new());
    let (first, second) = (key(1, 2, StatementKind::Vouch, 1), key(1, 3, StatementKind::Introduction, 2));
    let third = key(3, 2, StatementKind::Vouch, 3);
    for key in [first, second, third] {
        assert_eq!((keep(&store, key), keep(&store, key)), (Kept::New, Kept::Before));
    }
    let (about, of) =
        now(store.read(|rx| Ok((rx.statements().about(&onion(1), 10)?, rx.statements().of(&onion(2))?))))
            .unwrap();
    let (record, worth) = statement();
    let sorted = |mut keys: Vec<StatementKey>| {
        keys.sort();
        keys
    };
    assert!(about.iter().all(|(_, found)| *found == record) && of.iter().all(|(_, found)| *found == worth));
    assert_eq!(sorted(about.into_iter().map(|(key, _)| key).collect()), sorted(vec![first, second]));
    assert_eq!(sorted(of.into_iter().map(|(key, _)| key).collect()), sorted(vec![first, third]));
    assert!(now(store.write(move |tx| tx.statements().remove(&first))).unwrap());
    assert!(!now(store.write(move |tx| tx.statements().remove(&first))).unwrap());
    let mut left = Vec::new();
    let left = now(store.read(|rx| rx.statements().each(|key, _| left.push(key)).map(|()| left))).unwrap();
    assert_eq!(sorted(left), sorted(vec![second, third]));
}

#[test]
fn no_issuer_keeps_more_than_its_quota_nor_more_of_what_nobody_knows() {
    let store = create(&SimDisk::new());
    let (record, worth) = statement();
    let fill = move |kind: StatementKind, from: u64, tries: u64| {
        let record = record.clone();
        now(store.write(move |tx| {
            let mut kept = 0;
            for n in from..from + tries {
                let done = tx.statements().insert(&key(1, 2, kind, n), &record, &worth, Room::Open)?;
                kept += usize::from(done == Kept::New);
            }
            Ok(kept)
        }))
        .unwrap()
    };
    assert_eq!(fill(StatementKind::Unknown, 0, 20), UNKNOWN_PER_ISSUER_MAX);
    let rest = PER_ISSUER_MAX - UNKNOWN_PER_ISSUER_MAX;
    assert_eq!(fill(StatementKind::Vouch, 100, PER_ISSUER_MAX as u64), rest);
    assert_eq!(fill(StatementKind::Vouch, 9_000, 5), 0);
}

#[test]
fn an_invite_is_used_once_and_only_in_its_time() {
    let store = create(&SimDisk::new());
    let invite = |until| InviteRecord {
        made: NOW,
        until: UnixTime(until),
        tier: Tier::Known,
        label: "for Bob".into(),
        used_by: None,
        used_at: None,
    };
    let (open, over) = (InviteId([1; 16]), InviteId([2; 16]));
    now(store.write(move |tx| {
        tx.invites().add(&open, &invite(NOW.0 + 100))?;
        tx.invites().add(&over, &invite(NOW.0 - 100))?;
        let use_up = |id, by, agreed| tx.invites().use_up(&id, &onion(by), NOW, agreed);
        assert_eq!(use_up(over, 1, Some(NOW))?, Used::Over);
        assert_eq!(use_up(InviteId([3; 16]), 1, None)?, Used::Unknown);
        let used = InviteRecord { used_by: Some(onion(1)), used_at: Some(NOW), ..invite(NOW.0 + 100) };
        assert_eq!(use_up(open, 1, Some(NOW))?, Used::Now(used.clone()));
        assert_eq!(use_up(open, 1, Some(NOW))?, Used::Before(used));
        assert_eq!(use_up(open, 2, Some(NOW))?, Used::Taken);
        // Nobody agrees on the time: nothing is over.
        assert!(matches!(use_up(over, 2, None)?, Used::Now(_)));
        assert!(tx.invites().remove(&over)? && !tx.invites().remove(&over)?);
        Ok(())
    }))
    .unwrap();
    assert_eq!(now(store.read(|rx| rx.invites().list())).unwrap().len(), 1);
}

#[test]
fn receipts_are_kept_once_each_and_up_to_a_limit() {
    let store = create(&SimDisk::new());
    now(store.write(|tx| {
        for n in 0..PER_LETTER_MAX as u16 + 5 {
            let kept = tx.receipts().add(&[1; 32], &n.to_be_bytes(), NOW)?;
            assert_eq!(kept, usize::from(n) < PER_LETTER_MAX);
        }
        assert!(!tx.receipts().add(&[1; 32], &0u16.to_be_bytes(), NOW)?);
        Ok(())
    }))
    .unwrap();
    let (of, none) =
        now(store.read(|rx| Ok((rx.receipts().of(&[1; 32])?, rx.receipts().of(&[2; 32])?)))).unwrap();
    assert_eq!((of.len(), of[1].as_slice(), none.len()), (PER_LETTER_MAX, &1u16.to_be_bytes()[..], 0));
}
