//! Mailboxes, messages and the other tables, as the faces use them.

use super::script::author;
use super::*;
use crate::model::letter::LetterId;
use crate::store::MessageIdHash;
use crate::store::credentials::CredentialRecord;
use crate::store::mailboxes::{MailboxName, MailboxNameError};
use crate::store::messages::FlagChange;

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn make(store: &Store, text: &str) -> MailboxNo {
    let name = name(text);
    now(store.write(move |tx| tx.mailboxes().create(&name, None))).unwrap()
}

fn names(store: &Store) -> Vec<String> {
    let list = now(store.read(|rx| rx.mailboxes().list())).unwrap();
    list.into_iter().map(|(_, record)| record.name.as_str().to_owned()).collect()
}

fn rename(store: &Store, no: MailboxNo, to: &str) -> Result<(), StoreError> {
    let to = name(to);
    now(store.write(move |tx| tx.mailboxes().rename(no, &to)))
}

fn uid_validity(store: &Store, no: MailboxNo) -> u32 {
    now(store.read(move |rx| rx.mailboxes().get(no))).unwrap().uid_validity
}

#[test]
fn mailbox_names_are_checked_and_inbox_is_one_in_any_case() {
    assert_eq!(name("inBox"), MailboxName::inbox());
    assert_eq!(name("inbox/Later").as_str(), "INBOX/Later");
    assert_eq!(name("Inboxes").as_str(), "Inboxes");
    assert_eq!(name("A/B/").as_str(), "A/B");
    assert_eq!(name("Übersee").as_str(), "Übersee");
    for (bad, why) in [
        ("", MailboxNameError::Empty),
        ("/", MailboxNameError::Empty),
        ("/a", MailboxNameError::Empty),
        ("a//b", MailboxNameError::Empty),
        ("a*", MailboxNameError::Character),
        ("a%b", MailboxNameError::Character),
        ("a\r\n", MailboxNameError::Character),
        ("#shared", MailboxNameError::Character),
        (&"x".repeat(256), MailboxNameError::Length),
        (&"x/".repeat(17), MailboxNameError::Depth),
    ] {
        assert_eq!(MailboxName::parse(bad), Err(why), "{bad:?}");
    }
}

#[test]
fn a_new_store_has_the_default_mailboxes_with_their_uses() {
    let store = create(&SimDisk::new());
    assert_eq!(names(&store), ["Drafts", "INBOX", "Junk", "Outbox", "Requests", "Sent", "Trash"]);
    let list = now(store.read(|rx| rx.mailboxes().list())).unwrap();
    let uses: Vec<_> = list.iter().filter_map(|(_, record)| record.special?.attribute()).collect();
    assert_eq!(uses, ["\\Drafts", "\\Junk", "\\Sent", "\\Trash"]);
    assert!(list.iter().all(|(_, record)| u64::from(record.uid_validity) > NOW.0 && record.subscribed));
}

#[test]
fn mailboxes_are_made_with_those_above_them_renamed_with_those_below_and_removed_from_below() {
    let store = create(&SimDisk::new());
    let deep = make(&store, "Work/2024/May");
    assert!(names(&store).iter().filter(|name| name.starts_with("Work")).count() == 3);
    let twice = now(store.write(|tx| tx.mailboxes().create(&name("Work/2024"), None)));
    assert!(matches!(twice, Err(StoreError::MailboxExists)));
    let work = now(store.mailbox(name("Work"))).unwrap().unwrap();
    assert!(matches!(rename(&store, work, "Work/2024/June"), Err(StoreError::MailboxInUse(_))));
    assert!(matches!(rename(&store, work, "Sent"), Err(StoreError::MailboxExists)));
    rename(&store, work, "Old/Job").unwrap();
    assert_eq!(now(store.mailbox(name("Old/Job/2024/May"))).unwrap(), Some(deep));
    assert_eq!(now(store.mailbox(name("Work/2024/May"))).unwrap(), None);
    let refused = now(store.write(move |tx| tx.mailboxes().delete(work)));
    assert!(matches!(refused, Err(StoreError::MailboxInUse(_))));
    now(store.write(move |tx| tx.mailboxes().delete(deep))).unwrap();
    assert!(matches!(now(store.mailbox_view(deep)), Err(StoreError::NoMailbox)));
}

#[test]
fn what_the_node_needs_can_be_neither_removed_nor_renamed() {
    let store = create(&SimDisk::new());
    for needed in
        [SpecialUse::Inbox, SpecialUse::Sent, SpecialUse::Outbox, SpecialUse::Junk, SpecialUse::Requests]
    {
        let no = special(&store, needed);
        let refused = now(store.write(move |tx| tx.mailboxes().delete(no)));
        assert!(matches!(refused, Err(StoreError::MailboxInUse(_))), "{needed:?}");
    }
    for needed in [SpecialUse::Sent, SpecialUse::Outbox, SpecialUse::Junk, SpecialUse::Requests] {
        let refused = rename(&store, special(&store, needed), "Elsewhere");
        assert!(matches!(refused, Err(StoreError::MailboxInUse(_))), "{needed:?}");
    }
}

#[test]
fn renaming_inbox_moves_its_messages_and_leaves_it() {
    let store = create(&SimDisk::new());
    let inbox = special(&store, SpecialUse::Inbox);
    file(&store, inbox, b"one").unwrap();
    rename(&store, inbox, "Archive/Old").unwrap();
    assert!(contents(&store, inbox).unwrap().is_empty());
    let old = now(store.mailbox(name("Archive/Old"))).unwrap().unwrap();
    assert_eq!(contents(&store, old).unwrap(), [b"one"]);
}

#[test]
fn a_name_and_its_uidvalidity_never_mean_two_things() {
    let store = create(&SimDisk::new());
    let first = make(&store, "A");
    let first_validity = uid_validity(&store, first);
    let other = make(&store, "B");
    let other_validity = uid_validity(&store, other);
    now(store.write(move |tx| tx.mailboxes().delete(first))).unwrap();
    let second = make(&store, "A");
    assert!(uid_validity(&store, second) > first_validity);
    rename(&store, second, "C").unwrap();
    rename(&store, other, "A").unwrap();
    assert!(uid_validity(&store, other) > other_validity, "A was another mailbox before");
    let kept = uid_validity(&store, other);
    rename(&store, other, "D").unwrap();
    assert_eq!(uid_validity(&store, other), kept, "D was nothing before");
}

#[test]
fn uids_grow_and_are_never_given_twice() {
    let store = create(&SimDisk::new());
    let inbox = special(&store, SpecialUse::Inbox);
    assert_eq!(file(&store, inbox, b"one").unwrap(), Uid(1));
    assert_eq!(file(&store, inbox, b"two").unwrap(), Uid(2));
    let removed = now(store.write(move |tx| tx.messages().expunge(inbox, &[Uid(2), Uid(9)]))).unwrap();
    assert_eq!(removed, [Uid(2)]);
    assert_eq!(file(&store, inbox, b"three").unwrap(), Uid(3));
    let listed = now(store.read(move |rx| rx.messages().list(inbox, Uid(2)..=Uid(3)))).unwrap();
    assert_eq!(listed.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(), [Uid(3)]);
}

#[test]
fn flags_change_and_modseq_tells_what_changed() {
    let store = create(&SimDisk::new());
    let inbox = special(&store, SpecialUse::Inbox);
    for _ in 0..3 {
        file(&store, inbox, b"x").unwrap();
    }
    let before = now(store.mailbox_view(inbox)).unwrap();
    let mut keyword = Flags::system(Flags::SEEN | Flags::FLAGGED);
    keyword.keywords.insert("$Forwarded".into());
    let change = FlagChange::Add(keyword.clone());
    let uids = [Uid(1), Uid(3), Uid(8)];
    let changed = {
        let change = change.clone();
        now(store.write(move |tx| tx.messages().set_flags(inbox, &uids, &change))).unwrap()
    };
    assert_eq!(changed.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(), [Uid(1), Uid(3)]);
    let after = now(store.mailbox_view(inbox)).unwrap();
    assert_eq!((after.mailbox.unseen, after.mailbox.messages), (1, 3));
    let touched: Vec<Uid> = after
        .messages
        .iter()
        .filter(|(_, message)| message.modseq > before.mailbox.modseq)
        .map(|(uid, _)| *uid)
        .collect();
    assert_eq!(touched, [Uid(1), Uid(3)]);
    // The same again changes nothing.
    now(store.write(move |tx| tx.messages().set_flags(inbox, &uids, &change))).unwrap();
    assert_eq!(now(store.mailbox_view(inbox)).unwrap(), after);
    let remove = FlagChange::Remove(Flags { system: Flags::SEEN, keywords: keyword.keywords });
    now(store.write(move |tx| tx.messages().set_flags(inbox, &[Uid(1)], &remove))).unwrap();
    let last = now(store.read(move |rx| rx.messages().get(inbox, Uid(1)))).unwrap().unwrap();
    assert_eq!(last.flags, Flags::system(Flags::FLAGGED));
}

#[test]
fn a_copy_shares_the_letter_and_the_last_one_forgets_it() {
    let store = create(&SimDisk::new());
    let (inbox, trash) = (special(&store, SpecialUse::Inbox), special(&store, SpecialUse::Trash));
    file(&store, inbox, b"one").unwrap();
    let copied = now(store.write(move |tx| tx.messages().copy(inbox, &[Uid(1)], trash))).unwrap();
    assert_eq!(copied, [(Uid(1), Uid(1))]);
    let letter = now(store.mailbox_view(trash)).unwrap().messages[0].1.letter;
    assert_eq!(now(store.read(move |rx| rx.letters().refs(letter))).unwrap(), 2);
    now(store.write(move |tx| tx.messages().expunge(inbox, &[Uid(1)]))).unwrap();
    assert_eq!(read_all(&store, letter).unwrap(), b"one");
    let reader = now(store.open_letter(letter)).unwrap();
    let moved = now(store.write(move |tx| tx.messages().move_to(trash, &[Uid(1)], inbox))).unwrap();
    assert_eq!(moved, [(Uid(1), Uid(2))]);
    now(store.write(move |tx| tx.messages().expunge(inbox, &[Uid(2)]))).unwrap();
    assert!(matches!(now(store.open_letter(letter)), Err(StoreError::NoLetter(_))));
    assert_eq!(now(reader.read_at(0, 10)).unwrap(), b"one", "who has it open may finish");
}

#[test]
fn a_letter_that_a_write_does_not_use_is_forgotten() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let body = now(store.letter(b"unused")).unwrap();
    let letter = now(store.write(move |tx| tx.letters().add(&body, b""))).unwrap();
    assert!(matches!(now(store.open_letter(letter)), Err(StoreError::NoLetter(_))));
    assert_eq!(now(store.read(|rx| rx.letters().count())).unwrap(), 0);
    let mut writer = store.letter_writer();
    now(writer.write(&[1; 200_000])).unwrap();
    drop(writer);
    drop(store);
    open(&disk).unwrap();
    assert!(disk.list().unwrap().iter().all(|name| !name.starts_with("segment")), "garbage goes at opening");
}

#[test]
fn a_letter_reads_the_same_in_any_steps_with_its_prefix_before_it() {
    let store = create(&SimDisk::new());
    let inbox = special(&store, SpecialUse::Inbox);
    let bytes: Vec<u8> = (0..140_000u32).map(|n| (n / 7 % 256) as u8).collect();
    let body = now(store.letter(&bytes)).unwrap();
    let letter = now(store.write(move |tx| {
        let letter = tx.letters().add(&body, b"Received: by us\r\n")?;
        let (flags, internal_date) = (Flags::default(), NOW);
        tx.messages().append(inbox, &NewMessage { letter, flags, internal_date, sent_id: None })?;
        Ok(letter)
    }))
    .unwrap();
    let whole = [&b"Received: by us\r\n"[..], &bytes].concat();
    let reader = now(store.open_letter(letter)).unwrap();
    assert_eq!((reader.len(), reader.prefix_len()), (whole.len() as u64, 17));
    for (offset, len) in
        [(0, 5), (0, 17), (10, 20), (17, 1), (65_552, 2), (65_500, 70_000), (130_000, 20_000)]
    {
        let end = whole.len().min(offset + len);
        assert_eq!(now(reader.read_at(offset as u64, len)).unwrap(), &whole[offset..end], "{offset}+{len}");
    }
    assert!(now(reader.read_at(whole.len() as u64, 10)).unwrap().is_empty());
    assert!(now(reader.read_at(u64::MAX, 10)).unwrap().is_empty());
    let mut stepped = Vec::new();
    while stepped.len() < whole.len() {
        stepped.extend(now(reader.read_at(stepped.len() as u64, 4_099)).unwrap());
    }
    assert!(stepped == whole);
}

#[test]
fn letters_written_at_once_do_not_mix() {
    let store = create(&SimDisk::new());
    let inbox = special(&store, SpecialUse::Inbox);
    let mut writers: Vec<_> = (0..3).map(|_| store.letter_writer()).collect();
    for _ in 0..25 {
        for (n, writer) in writers.iter_mut().enumerate() {
            now(writer.write(&[n as u8; 10_000])).unwrap();
        }
    }
    for writer in writers {
        let body = now(writer.finish()).unwrap();
        now(store.write(move |tx| {
            let letter = tx.letters().add(&body, b"")?;
            let (flags, internal_date) = (Flags::default(), NOW);
            tx.messages().append(inbox, &NewMessage { letter, flags, internal_date, sent_id: None })
        }))
        .unwrap();
    }
    let expected: Vec<_> = (0..3).map(|n| vec![n as u8; 250_000]).collect();
    assert!(contents(&store, inbox).unwrap() == expected);
}

#[test]
fn recent_messages_are_claimed_once() {
    let store = create(&SimDisk::new());
    let inbox = special(&store, SpecialUse::Inbox);
    let claim = || now(store.write(move |tx| tx.mailboxes().claim_recent(inbox))).unwrap();
    file(&store, inbox, b"x").unwrap();
    assert_eq!((claim(), claim()), (Uid(1), Uid(2)));
    file(&store, inbox, b"x").unwrap();
    assert_eq!((claim(), claim()), (Uid(2), Uid(3)));
}

#[test]
fn a_commit_that_changes_a_mailbox_is_announced_and_others_are_not() {
    let store = create(&SimDisk::new());
    let inbox = special(&store, SpecialUse::Inbox);
    let mut changes = store.changes();
    now(store.write(|tx| tx.meta().put("x", &1))).unwrap();
    assert!(!changes.has_changed().unwrap());
    file(&store, inbox, b"x").unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    now(store.write(move |tx| tx.messages().expunge(inbox, &[Uid(7)]))).unwrap();
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn the_sent_copy_is_found_by_its_message_id_until_it_is_gone() {
    let store = create(&SimDisk::new());
    let sent = special(&store, SpecialUse::Sent);
    let trash = special(&store, SpecialUse::Trash);
    let id = MessageIdHash::of(b"<1@x>");
    let body = now(store.letter(b"x")).unwrap();
    now(store.write(move |tx| {
        let letter = tx.letters().add(&body, b"")?;
        let (flags, internal_date) = (Flags::default(), NOW);
        tx.messages().append(sent, &NewMessage { letter, flags, internal_date, sent_id: Some(id) })
    }))
    .unwrap();
    let find = || now(store.read(move |rx| rx.sent_ids().find(&id))).unwrap();
    assert_eq!(find(), Some((sent, Uid(1))));
    assert_eq!(MessageIdHash::of(b" <1@x>\r\n"), id);
    now(store.write(move |tx| tx.messages().copy(sent, &[Uid(1)], trash))).unwrap();
    assert_eq!(find(), Some((sent, Uid(1))));
    now(store.write(move |tx| tx.messages().expunge(sent, &[Uid(1)]))).unwrap();
    assert_eq!(find(), None);
}

#[test]
fn the_queue_holds_its_letters_until_the_last_entry_goes() {
    let store = create(&SimDisk::new());
    let body = now(store.letter(b"out")).unwrap();
    let entries = now(store.write(move |tx| {
        let letter = tx.letters().add(&body, b"")?;
        Ok([tx.queue().push(letter, &"ann")?, tx.queue().push(letter, &"bob")?])
    }))
    .unwrap();
    now(store.write(move |tx| tx.queue().replace(entries[1], &"bob again"))).unwrap();
    assert!(now(store.write(move |tx| tx.queue().remove(entries[0]))).unwrap());
    assert!(!now(store.write(move |tx| tx.queue().remove(entries[0]))).unwrap());
    let gone = now(store.write(move |tx| tx.queue().replace(entries[0], &"x")));
    assert!(matches!(gone, Err(StoreError::NoEntry)));
    let left = now(store.read(|rx| rx.queue().list::<String>())).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(read_all(&store, left[0].1).unwrap(), b"out");
    assert_eq!(left[0].2, "bob again");
    now(store.write(move |tx| tx.queue().remove(entries[1]))).unwrap();
    assert_eq!(now(store.read(|rx| rx.letters().count())).unwrap(), 0);
}

#[test]
fn letters_seen_are_remembered_until_they_are_pruned_oldest_first() {
    let store = create(&SimDisk::new());
    let see = |id: u8, at: u64| {
        now(store.write(move |tx| tx.seen().insert(&author(), &LetterId([id; 16]), UnixTime(at)))).unwrap()
    };
    assert!(see(1, 100) && see(2, 50) && see(3, 200));
    assert!(!see(1, 300), "seen before");
    let prune =
        |before: u64, max| now(store.write(move |tx| tx.seen().prune(UnixTime(before), max))).unwrap();
    assert_eq!(prune(50, 10), 0);
    assert_eq!(prune(200, 1), 1);
    let seen =
        |id: u8| now(store.read(move |rx| rx.seen().first_seen(&author(), &LetterId([id; 16])))).unwrap();
    assert_eq!((seen(1), seen(2), seen(3)), (Some(UnixTime(100)), None, Some(UnixTime(200))));
    assert_eq!(prune(200, 10), 1);
    assert_eq!((seen(1), seen(3)), (None, Some(UnixTime(200))));
}

#[test]
fn peers_credentials_and_values_are_kept() {
    let disk = SimDisk::new();
    let store = create(&disk);
    now(store.write(|tx| tx.peers().update(&author(), |peer| peer.last_seen = Some(NOW)))).unwrap();
    now(store.write(|tx| tx.peers().update(&author(), |peer| peer.onionskin = true))).unwrap();
    let record =
        CredentialRecord { label: "phone".into(), user: "me".into(), verifier: vec![1, 2], created: NOW };
    let kept = record.clone();
    let no = now(store.write(move |tx| tx.credentials().add(&kept))).unwrap();
    now(store.write(|tx| tx.meta().put("identity", &vec!["a", "b"]))).unwrap();
    now(store.close()).unwrap();
    let store = open(&disk).unwrap();
    let peers = now(store.read(|rx| rx.peers().list())).unwrap();
    assert_eq!(peers[0].0, author());
    assert_eq!((peers[0].1.last_seen, peers[0].1.onionskin, peers.len()), (Some(NOW), true, 1));
    assert_eq!(now(store.read(|rx| rx.credentials().list())).unwrap(), [(no, record)]);
    assert!(now(store.write(move |tx| tx.credentials().remove(no))).unwrap());
    let value: Option<Vec<String>> = now(store.read(|rx| rx.meta().get("identity"))).unwrap();
    assert_eq!(value.unwrap(), ["a", "b"]);
    // A value of that name is not the counter of that name.
    now(store.write(|tx| tx.meta().put("schema", &"x"))).unwrap();
    now(store.close()).unwrap();
    open(&disk).unwrap();
}
