//! Tests of the store as a whole: what it does, what a crash leaves, what damage does.

mod crash;
mod damage;
mod everyday;
mod group;
mod guests;
mod held;
mod index;
mod mail;
mod migration;
mod model;
mod power;
mod script;
mod trust;

use super::disk::{Disk, SimDisk};
use super::messages::NewMessage;
use super::vault::MasterKey;
use super::{Flags, MailboxNo, Run, SpecialUse, Store, StoreError, StoreOptions, Uid};
use crate::model::time::UnixTime;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

const NOW: UnixTime = UnixTime(1_700_000_000);

/// Runs a future that never waits, as those of a store in `Run::Inline`.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an inline store waited"),
    }
}

fn key() -> MasterKey {
    MasterKey::generate(&mut StdRng::seed_from_u64(7))
}

fn options(seed: u8) -> StoreOptions {
    StoreOptions { run: Run::Inline, seed: [seed; 32] }
}

fn create(disk: &SimDisk) -> Store {
    now(Store::create(Arc::new(disk.clone()), &key(), options(1), NOW)).unwrap()
}

fn open(disk: &SimDisk) -> Result<Store, StoreError> {
    now(Store::open(Arc::new(disk.clone()) as Arc<dyn Disk>, &key(), options(2)))
}

fn special(store: &Store, special: SpecialUse) -> MailboxNo {
    now(store.read(move |rx| rx.mailboxes().special(special))).unwrap().unwrap()
}

/// Files a letter in a mailbox, in one write.
fn file(store: &Store, mailbox: MailboxNo, bytes: &[u8]) -> Result<Uid, StoreError> {
    let body = now(store.letter(bytes))?;
    now(store.write(move |tx| {
        let letter = tx.letters().add(&body, b"")?;
        let flags = Flags::default();
        tx.messages().append(mailbox, &NewMessage { letter, flags, internal_date: NOW, sent_id: None })
    }))
}

/// The bytes of every message of a mailbox, in the order of their uids.
fn contents(store: &Store, mailbox: MailboxNo) -> Result<Vec<Vec<u8>>, StoreError> {
    let view = now(store.mailbox_view(mailbox))?;
    view.messages.iter().map(|(_, message)| read_all(store, message.letter)).collect()
}

fn read_all(store: &Store, letter: crate::model::letter::LetterNo) -> Result<Vec<u8>, StoreError> {
    let reader = now(store.open_letter(letter))?;
    now(reader.read_at(0, usize::MAX))
}
