//! What keeps: one encrypted database per identity, and append-only encrypted segments for the bodies of letters.
//!
//! * `disk`: the one seam to files: `RealDisk`, and `SimDisk` that crashes and tears; `vault`: the master key
//! * `pages` under redb, `database` around it, `rows` its tables as bytes
//! * `prekeys`: the private keys that open seals, in a file of their own
//! * `segments` files of ciphertext, `body` how it is encrypted, `letter_io` letters as streams,
//!   `compact`, `reserve` room for deleting
//! * `tables/`: the typed tables, one file per family, reached from `Tx` and `Rx` (`tx`); `migrate`: schema versions
//! * `commit`: many writes, one commit; `index`: what is in the mailboxes, in memory; `doors`: what opens those that
//!   are held
//!
//! Promises: what a `write` answered with `Ok` is durable; what it answered with `Err` left nothing behind.

mod body;
mod commit;
mod compact;
mod database;
pub mod disk;
pub mod doors;
mod error;
mod index;
mod letter_io;
mod migrate;
mod pages;
pub mod prekeys;
mod reserve;
mod rows;
mod segments;
mod tables;
mod tx;
pub mod vault;

#[cfg(test)]
mod tests;

pub use body::Body;
pub use compact::Compacted;
pub use error::{Kind, StoreError};
pub use index::{Brief, Listing};
pub use letter_io::{LetterReader, LetterWriter};
pub use tables::Room;
pub use tables::cards;
pub use tables::contacts::{self, DecisionNo};
pub use tables::credentials::{self, CredentialNo};
pub use tables::guests;
pub use tables::held;
pub use tables::holders;
pub use tables::invites;
pub use tables::letters;
pub use tables::mailboxes::{self, MailboxNo, SpecialUse};
pub use tables::messages::{self, Flags, Uid};
pub use tables::peers;
pub use tables::queue::{self, QueueNo};
pub use tables::receipts;
pub use tables::routes;
pub use tables::sent_ids::MessageIdHash;
pub use tables::statements;
pub use tx::{Rx, Tx};

use crate::model::letter::LetterNo;
use crate::model::time::UnixTime;
use commit::Queue;
use database::Database;
use disk::Disk;
use doors::DoorsKept;
use index::Index;
use mailboxes::MailboxName;
use messages::MailboxView;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reserve::Reserve;
use segments::{SEGMENT_LEN_MAX, Segments};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use vault::MasterKey;

/// Where the work of the store is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// On tokio's blocking pool: for programs. (Under paused time the clock stands still meanwhile.)
    Blocking,
    /// On the calling task: for simulations, where every run of a seed must be the same.
    Inline,
}

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Where the work is done.
    pub run: Run,
    /// Seeds every key and nonce made until the store is closed. Must come from the system's generator, and never be
    /// used twice with one master key; only a simulation may fix it.
    pub seed: [u8; 32],
}

/// One identity's store. Clones are the same store; the last one dropped closes it (better: `close`).
#[derive(Clone)]
pub struct Store(Arc<Core>);

/// What all clones share.
pub(crate) struct Core {
    run: Run,
    database: Database,
    segments: Segments,
    reserve: Reserve,
    rng: Mutex<StdRng>,
    queue: Queue,
    index: Index,
    doors: DoorsKept,
    changes: watch::Sender<u64>,
    /// One of the `STATE_` values.
    state: AtomicU8,
}

/// What the store's keys are derived for.
const KEY_PURPOSE: &str = "onionskin store";

const STATE_UP: u8 = 0;
const STATE_POISONED: u8 = 1;
const STATE_CLOSED: u8 = 2;

impl Store {
    /// Makes a store with the default mailboxes, durably. `now` becomes the first UIDVALIDITY, so that a mail program
    /// does not take the mailboxes of a recovered identity for those of the lost one.
    pub async fn create(
        disk: Arc<dyn Disk>,
        key: &MasterKey,
        options: StoreOptions,
        now: UnixTime,
    ) -> Result<Self, StoreError> {
        let key = key.child(KEY_PURPOSE);
        on_store(options.run, move || {
            let mut rng = StdRng::from_seed(options.seed);
            let database_rng = StdRng::from_rng(&mut rng);
            if Database::exists(&*disk)? {
                return Err(StoreError::Exists);
            }
            Reserve::open(disk.clone()).keep()?;
            let database =
                Database::create(disk.clone(), key, database_rng, |rows| migrate::fill(rows, now))?;
            Self::with(disk, database, rng, options.run, SEGMENT_LEN_MAX)
        })
        .await
    }

    /// Opens the store that is there, bringing an older schema up to today's.
    pub async fn open(
        disk: Arc<dyn Disk>,
        key: &MasterKey,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        Self::open_with(disk, key, options, SEGMENT_LEN_MAX).await
    }

    /// The same, with segments of another length.
    async fn open_with(
        disk: Arc<dyn Disk>,
        key: &MasterKey,
        options: StoreOptions,
        segment_len_max: u64,
    ) -> Result<Self, StoreError> {
        let key = key.child(KEY_PURPOSE);
        on_store(options.run, move || {
            let mut rng = StdRng::from_seed(options.seed);
            let database = Database::open(disk.clone(), key, StdRng::from_rng(&mut rng))?;
            migrate::migrate(&database)?;
            Self::with(disk, database, rng, options.run, segment_len_max)
        })
        .await
    }

    /// Whether there is a store on this disk.
    pub fn exists(disk: &dyn Disk) -> Result<bool, StoreError> {
        Database::exists(disk)
    }

    fn with(
        disk: Arc<dyn Disk>,
        database: Database,
        rng: StdRng,
        run: Run,
        segment_len_max: u64,
    ) -> Result<Self, StoreError> {
        let session = database.session()?;
        let named_end = session.read(|txn| tables::letters::named_ends(&rows::Rows::read(txn)));
        let reserve = Reserve::open(disk.clone());
        let segments = Segments::open(disk, &session.judge(named_end)?, segment_len_max)?;
        Ok(Self(Arc::new(Core {
            run,
            database,
            segments,
            reserve,
            rng: Mutex::new(rng),
            queue: Queue::new(),
            index: Index::default(),
            doors: DoorsKept::default(),
            changes: watch::Sender::new(0),
            state: AtomicU8::new(STATE_UP),
        })))
    }

    /// Runs `op` in a transaction and answers when it is durable. Several writes may share one commit; each is whole
    /// or not at all. `op` may be run more than once, and must give the same result each time.
    ///
    /// If the future is dropped, the write may or may not happen.
    pub async fn write<T: Send + 'static>(
        &self,
        op: impl FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        commit::write(&self.0, op).await
    }

    /// Runs `op` on a snapshot of what is durable.
    pub async fn read<T: Send + 'static>(
        &self,
        op: impl FnOnce(&Rx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let core = self.0.clone();
        on_store(self.0.run, move || core.read(op)).await
    }

    /// A place to put the bytes of a new letter.
    pub fn letter_writer(&self) -> LetterWriter {
        LetterWriter::new(self.0.clone())
    }

    /// Takes a letter that is in memory.
    pub async fn letter(&self, bytes: &[u8]) -> Result<Body, StoreError> {
        let mut writer = self.letter_writer();
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Opens a letter for reading.
    pub async fn open_letter(&self, no: LetterNo) -> Result<LetterReader, StoreError> {
        self.read(move |rx| rx.letters().reader(no)).await
    }

    /// A number that grows after each commit that changed a mailbox.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// What a mail program sees of a mailbox: its record, and all messages in the order of their uids.
    pub async fn mailbox_view(&self, no: MailboxNo) -> Result<MailboxView, StoreError> {
        self.read(move |rx| rx.messages().view(no)).await
    }

    /// A mailbox with the uids and flags of its messages; fast where it was asked for before.
    pub async fn listing(&self, no: MailboxNo) -> Result<Listing, StoreError> {
        self.read(move |rx| rx.listing(no)).await
    }

    /// The mailbox of that name, if there is one.
    pub async fn mailbox(&self, name: MailboxName) -> Result<Option<MailboxNo>, StoreError> {
        self.read(move |rx| rx.mailboxes().find(&name)).await
    }

    /// Copies letters, of about `bytes` in all, out of a segment that is mostly dead, so that its file can go. To be
    /// called again until it answers `Idle`, when there is nothing better to do.
    pub async fn compact_step(&self, bytes: u64) -> Result<Compacted, StoreError> {
        compact::step(&self.0, bytes).await
    }

    /// Waits for the writes under way and closes the files. Whoever uses a clone afterwards is told `Closed`.
    pub async fn close(self) -> Result<(), StoreError> {
        self.write(|_| Ok(())).await?;
        let core = self.0;
        core.state.store(STATE_CLOSED, Ordering::Release);
        on_store(core.run, move || {
            core.database.close();
            Ok(())
        })
        .await
    }
}

impl Core {
    fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock().expect("no holder of this lock panics")
    }

    /// Refuses when the store was closed or cannot promise anything any more.
    fn check_state(&self) -> Result<(), StoreError> {
        match self.state.load(Ordering::Acquire) {
            STATE_UP => Ok(()),
            STATE_CLOSED => Err(StoreError::Closed),
            _ => Err(StoreError::MustReopen),
        }
    }

    /// Remembers an error after which nothing may be promised.
    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(result, Err(StoreError::MustReopen)) {
            // A closed store stays closed.
            let _ =
                self.state.compare_exchange(STATE_UP, STATE_POISONED, Ordering::AcqRel, Ordering::Acquire);
        }
        result
    }

    /// Removes the segments that have lost their last letter.
    fn bury(&self, emptied: Vec<u32>) -> Result<(), StoreError> {
        self.segments.bury(emptied, |no| {
            let session = self.database.session()?;
            let dead = session.read(|txn| tables::letters::is_dead(&rows::Rows::read(txn), no));
            session.judge(dead)
        })
    }

    fn read<T>(self: &Arc<Self>, op: impl FnOnce(&Rx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.check_state()?;
        let session = self.note(self.database.session())?;
        let result = session.read(|txn| {
            let rx = Rx::new(txn, self);
            catch_unwind(AssertUnwindSafe(|| op(&rx))).unwrap_or(Err(StoreError::Bug("a read panicked")))
        });
        self.note(session.judge(result))
    }
}

/// Runs work that may block, where `run` says.
async fn on_store<T: Send + 'static>(
    run: Run,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match run {
        Run::Inline => work(),
        Run::Blocking => tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(StoreError::Bug("work of the store panicked"))),
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
