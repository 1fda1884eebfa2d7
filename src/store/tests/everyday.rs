//! What the store does when nothing goes wrong.

use super::*;
use crate::store::Compacted;
use crate::store::disk::OpenMode;

#[test]
fn a_filed_letter_is_there_after_reopening() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let inbox = special(&store, SpecialUse::Inbox);
    let long: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    for bytes in [&b""[..], b"Subject: one\r\n\r\n", &long] {
        file(&store, inbox, bytes).unwrap();
    }
    now(store.close()).unwrap();
    let store = open(&disk).unwrap();
    assert_eq!(contents(&store, inbox).unwrap(), [b"".to_vec(), b"Subject: one\r\n\r\n".to_vec(), long]);
}

#[tokio::test]
async fn the_same_works_on_a_real_directory_with_a_real_runtime() {
    let temp = tempfile::tempdir().unwrap();
    let take = || Arc::new(crate::store::disk::RealDisk::open(temp.path()).unwrap());
    let blocking = |seed| StoreOptions { run: Run::Blocking, seed: [seed; 32] };
    let store = Store::create(take(), &key(), blocking(1), NOW).await.unwrap();
    let inbox = store.read(|rx| rx.mailboxes().special(SpecialUse::Inbox)).await.unwrap().unwrap();
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..50u32 {
        let store = store.clone();
        writes.spawn(async move {
            let body = store.letter(format!("letter {n}").as_bytes()).await?;
            store
                .write(move |tx| {
                    let letter = tx.letters().add(&body, b"")?;
                    let (flags, internal_date) = (Flags::default(), NOW);
                    tx.messages().append(inbox, &NewMessage { letter, flags, internal_date, sent_id: None })
                })
                .await
        });
    }
    while let Some(done) = writes.join_next().await {
        done.unwrap().unwrap();
    }
    store.close().await.unwrap();
    let store = Store::open(take(), &key(), blocking(2)).await.unwrap();
    let view = store.mailbox_view(inbox).await.unwrap();
    assert_eq!((view.messages.len(), view.mailbox.messages, view.mailbox.unseen), (50, 50, 50));
    let mut found = Vec::new();
    for (_, message) in view.messages {
        let reader = store.open_letter(message.letter).await.unwrap();
        found.push(String::from_utf8(reader.read_at(0, 100).await.unwrap()).unwrap());
    }
    found.sort();
    let mut expected: Vec<String> = (0..50).map(|n| format!("letter {n}")).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_was_given_up_on_its_way_in_gives_its_room_back() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let inbox = special(&store, SpecialUse::Inbox);
    file(&store, inbox, b"a small letter").unwrap();
    let room = |disk: &SimDisk| -> u64 {
        let segments = disk.list().unwrap().into_iter().filter(|name| name.starts_with("segment"));
        segments.map(|name| disk.open(&name, OpenMode::Existing).unwrap().len().unwrap()).sum()
    };
    let before = room(&disk);
    for _ in 0..3 {
        let mut writer = store.letter_writer();
        for _ in 0..30 {
            now(writer.write(&vec![7; 1 << 20])).unwrap();
        }
        assert!(room(&disk) > before + (29 << 20));
        drop(writer);
        while now(store.compact_step(1 << 20)).unwrap() != Compacted::Idle {}
        assert!(room(&disk) < before + (1 << 20), "{} bytes stay", room(&disk));
    }
    assert_eq!(contents(&store, inbox).unwrap(), [b"a small letter"]);
    now(store.close()).unwrap();
    assert_eq!(contents(&open(&disk).unwrap(), inbox).unwrap(), [b"a small letter"]);
}
