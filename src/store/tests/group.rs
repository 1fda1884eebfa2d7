//! Group commit: many writes, few syncs, and none that spoils another.

use super::*;
use crate::store::disk::Fault;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// A store whose work is done on the blocking pool, over a simulated disk.
async fn blocking(disk: &SimDisk) -> Store {
    let options = StoreOptions { run: Run::Blocking, seed: [1; 32] };
    Store::create(Arc::new(disk.clone()), &key(), options, NOW).await.unwrap()
}

/// Keeps the committing thread busy until told to go on, so that the writes that follow form one group.
async fn hold_up(store: &Store) -> (std::sync::mpsc::Sender<()>, JoinSet<Result<(), StoreError>>) {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let (store, mut held) = (store.clone(), JoinSet::new());
    held.spawn(async move {
        let op = move |_: &mut crate::store::Tx<'_>| {
            if let Some(started) = started.take() {
                started.send(()).unwrap();
            }
            wait.recv().map_err(|_| StoreError::Bug("nobody said to go on"))
        };
        store.write(op).await
    });
    has_started.await.unwrap();
    (go_on, held)
}

/// Lets every spawned task reach its first wait.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn writes_that_wait_share_one_commit() {
    let disk = SimDisk::new();
    let store = blocking(&disk).await;
    let (go_on, _held) = hold_up(&store).await;
    let mut writes = JoinSet::new();
    for n in 0..50u32 {
        let store = store.clone();
        writes.spawn(async move { store.write(move |tx| tx.meta().put(&format!("n{n}"), &n)).await });
    }
    settle().await;
    let before = disk.syncs();
    go_on.send(()).unwrap();
    while let Some(done) = writes.join_next().await {
        done.unwrap().unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs <= 4, "{syncs} syncs for 50 writes");
    for n in 0..50u32 {
        assert_eq!(store.read(move |rx| rx.meta().get(&format!("n{n}"))).await.unwrap(), Some(n));
    }
}

#[tokio::test]
async fn a_write_that_fails_leaves_nothing_and_spoils_no_other() {
    let store = blocking(&SimDisk::new()).await;
    let (go_on, _held) = hold_up(&store).await;
    let mut writes = JoinSet::new();
    for n in 0..9u32 {
        let store = store.clone();
        writes.spawn(async move {
            let result = store
                .write(move |tx| {
                    if n == 3 {
                        return Err(StoreError::NoMailbox);
                    }
                    tx.meta().put(&format!("n{n}"), &n)?;
                    match n {
                        5 => Err(StoreError::NoMessage),
                        7 => panic!("a defect in a write"),
                        _ => Ok(()),
                    }
                })
                .await;
            (n, result)
        });
    }
    settle().await;
    go_on.send(()).unwrap();
    while let Some(done) = writes.join_next().await {
        let (n, result) = done.unwrap();
        let found: Option<u32> = store.read(move |rx| rx.meta().get(&format!("n{n}"))).await.unwrap();
        match n {
            3 => assert!(matches!(result, Err(StoreError::NoMailbox))),
            5 => assert!(matches!(result, Err(StoreError::NoMessage))),
            7 => assert!(matches!(result, Err(StoreError::Bug(_)))),
            _ => result.unwrap(),
        }
        assert_eq!(found, (![3, 5, 7].contains(&n)).then_some(n), "write {n}");
    }
    store.write(|tx| tx.meta().put("after", &1)).await.unwrap();
}

#[tokio::test]
async fn a_write_whose_caller_left_is_whole_or_not_at_all_and_blocks_nobody() {
    let store = blocking(&SimDisk::new()).await;
    let (go_on, _held) = hold_up(&store).await;
    let mut write = Box::pin(store.write(|tx| {
        tx.meta().put("a", &1)?;
        tx.meta().put("b", &1)
    }));
    assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(write);
    go_on.send(()).unwrap();
    store.write(|tx| tx.meta().put("c", &1)).await.unwrap();
    let read = |name| store.read(move |rx| rx.meta().get::<u32>(name));
    assert_eq!(read("a").await.unwrap(), read("b").await.unwrap());
    assert_eq!(read("c").await.unwrap(), Some(1));
}

#[tokio::test]
async fn writes_run_in_the_order_they_came() {
    let store = blocking(&SimDisk::new()).await;
    let turn = Arc::new(AtomicUsize::new(0));
    let (go_on, _held) = hold_up(&store).await;
    let mut writes = Vec::new();
    for n in 0..20 {
        let turn = turn.clone();
        let mut write = Box::pin(store.write(move |_| {
            assert_eq!(turn.fetch_add(1, Ordering::SeqCst), n);
            Ok(())
        }));
        assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        writes.push(write);
    }
    go_on.send(()).unwrap();
    for write in writes {
        write.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn paused_time_stands_still_while_the_store_works() {
    let store = blocking(&SimDisk::new()).await;
    let before = tokio::time::Instant::now();
    for n in 0..20u32 {
        store.write(move |tx| tx.meta().put("n", &n)).await.unwrap();
    }
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
}

#[test]
fn a_write_that_changes_nothing_costs_no_sync() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let before = disk.syncs();
    now(store.write(|tx| tx.queue().count())).unwrap();
    assert_eq!(disk.syncs(), before);
}

#[test]
fn who_uses_a_closed_store_is_told() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let clone = store.clone();
    now(store.close()).unwrap();
    assert!(matches!(now(clone.write(|_| Ok(()))), Err(StoreError::Closed)));
    assert!(matches!(now(clone.read(|_| Ok(()))), Err(StoreError::Closed)));
    let operations = disk.operations();
    drop(clone);
    assert_eq!(disk.operations(), operations);
}

#[test]
fn an_interrupted_creation_leaves_nothing_or_all() {
    for n in 0.. {
        let disk = SimDisk::new();
        disk.fault_at(n, Fault::Crash);
        let made = now(Store::create(Arc::new(disk.clone()), &key(), options(1), NOW)).is_ok();
        for seed in 0..8 {
            let found = disk.after_crash(crate::store::disk::AfterCrash::Torn(seed));
            match open(&found) {
                Ok(store) => assert_eq!(now(store.read(|rx| rx.mailboxes().list())).unwrap().len(), 7),
                Err(StoreError::Missing) => {
                    assert!(!made, "operation {n}: said made, and is not");
                    create(&found);
                }
                Err(error) => panic!("operation {n}: {error}"),
            }
        }
        if disk.operations() <= n {
            break;
        }
    }
}
