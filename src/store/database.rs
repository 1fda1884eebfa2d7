//! `Database`: redb over the encrypted pages, put up again after an error that redb cannot get over.
//!
//! redb refuses everything after one failed read or write. A full disk or one damaged page must not stop the rest,
//! so the database is opened anew (by itself, before the next operation). After a failed *sync* it is not: nothing
//! more is promised until the whole store is opened again (`StoreError::MustReopen`).

use super::disk::{Disk, OpenMode};
use super::error::StoreError;
use super::pages::{Health, OpenPagesError, Pages};
use super::rows::Rows;
use super::vault::MasterKey;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use redb::ReadableDatabase as _;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};

/// The database file.
const NAME: &str = "mail.db";
/// The same while it is being made.
const NEW_NAME: &str = "mail.db.new";
/// Memory that redb may use for pages: the inner nodes and the hot leaves of 100,000 letters, and well within the
/// goal of 25 MB for an idle node.
const CACHE_BYTES: usize = 6 * 1024 * 1024;

/// The database of one identity.
#[derive(Debug)]
pub(super) struct Database {
    disk: Arc<dyn Disk>,
    key: MasterKey,
    /// Seeds the nonces each time the file is opened.
    rng: Mutex<StdRng>,
    up: RwLock<Option<Up>>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Up {
    redb: redb::Database,
    health: Arc<Health>,
}

/// The open database, for one transaction.
pub(super) struct Session<'d> {
    guard: Option<RwLockReadGuard<'d, Option<Up>>>,
}

impl Database {
    /// Makes a database where there is none and fills it by `fill` in one commit. After a crash it is wholly there or
    /// not at all.
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        key: MasterKey,
        rng: StdRng,
        fill: impl FnOnce(&Rows<'_>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let database =
            Self { disk, key, rng: Mutex::new(rng), up: RwLock::new(None), closed: AtomicBool::new(false) };
        database.make(fill)?;
        database.disk.rename(NEW_NAME, NAME).map_err(StoreError::from_io)?;
        database.disk.sync_dir().map_err(StoreError::from_io)?;
        database.revive()?;
        Ok(database)
    }

    /// Opens the database that is there.
    pub(super) fn open(disk: Arc<dyn Disk>, key: MasterKey, rng: StdRng) -> Result<Self, StoreError> {
        if !Self::exists(&*disk)? {
            return Err(StoreError::Missing);
        }
        let database =
            Self { disk, key, rng: Mutex::new(rng), up: RwLock::new(None), closed: AtomicBool::new(false) };
        database.revive()?;
        Ok(database)
    }

    /// Whether there is a database.
    pub(super) fn exists(disk: &dyn Disk) -> Result<bool, StoreError> {
        Ok(disk.list().map_err(StoreError::from_io)?.iter().any(|name| name == NAME))
    }

    fn make(&self, fill: impl FnOnce(&Rows<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let file = self.disk.open(NEW_NAME, OpenMode::Fresh).map_err(StoreError::from_io)?;
        let pages = Pages::create(file, &self.key, self.next_rng(), Arc::default()).map_err(open_error)?;
        let redb = builder().create_with_backend(pages).map_err(StoreError::from_redb)?;
        let mut txn = redb.begin_write().map_err(StoreError::from_redb)?;
        txn.set_quick_repair(true);
        Rows::create_all(&txn)?;
        fill(&Rows::write(&txn))?;
        txn.commit().map_err(StoreError::from_redb)
    }

    fn next_rng(&self) -> StdRng {
        StdRng::from_rng(&mut *self.rng.lock().expect("no holder of this lock panics"))
    }

    /// Begins to use the database; puts it up again first if an earlier error took it down. A thread has one session
    /// at a time, or another that waits to put the database up would stand between them for ever.
    pub(super) fn session(&self) -> Result<Session<'_>, StoreError> {
        loop {
            let guard = self.up_guard();
            if guard.as_ref().is_some_and(|up| !up.health.failed()) {
                return Ok(Session { guard: Some(guard) });
            }
            // Not while this thread holds the lock for reading.
            drop(guard);
            self.revive()?;
        }
    }

    fn up_guard(&self) -> RwLockReadGuard<'_, Option<Up>> {
        // A panic inside redb is caught above this lock; what it left behind is judged by `Health`.
        self.up.read().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Closes redb and opens it anew, unless it is well.
    fn revive(&self) -> Result<(), StoreError> {
        let mut place = self.up.write().unwrap_or_else(|poison| poison.into_inner());
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        if let Some(up) = &*place {
            if up.health.sync_failed() {
                return Err(StoreError::MustReopen);
            }
            if !up.health.failed() {
                return Ok(());
            }
        }
        let health = Arc::new(Health::default());
        let old = place.take().map(|up| up.health);
        let file = self.disk.open(NAME, OpenMode::Existing).map_err(StoreError::from_io)?;
        let opened = Pages::open(file, &self.key, self.next_rng(), health.clone()).map_err(open_error);
        let opened = opened.and_then(|pages| {
            // Damage that slips past the tags makes redb panic rather than answer.
            catch_unwind(AssertUnwindSafe(|| builder().create_with_backend(pages)))
                .map_err(|_| StoreError::Damaged("the database cannot be opened"))?
                .map_err(StoreError::from_redb)
        });
        match opened {
            Ok(redb) => {
                *place = Some(Up { redb, health });
                Ok(())
            }
            Err(_) if health.sync_failed() || old.is_some_and(|old| old.sync_failed()) => {
                Err(StoreError::MustReopen)
            }
            Err(error) => Err(error),
        }
    }

    /// Closes the file in good order, for good.
    pub(super) fn close(&self) {
        let mut place = self.up.write().unwrap_or_else(|poison| poison.into_inner());
        self.closed.store(true, Ordering::Release);
        place.take();
    }
}

impl Session<'_> {
    fn up(&self) -> Result<&Up, StoreError> {
        self.guard.as_ref().and_then(|guard| guard.as_ref()).ok_or(StoreError::Closed)
    }

    /// Begins a transaction whose commit is durable when it returns.
    pub(super) fn begin_write(&self) -> Result<redb::WriteTransaction, StoreError> {
        let mut txn = self.up()?.redb.begin_write().map_err(StoreError::from_redb)?;
        // Recovery then loads the allocator's state instead of reading the whole file, and every commit has two
        // phases, so that what was acknowledged never depends on checksums.
        txn.set_quick_repair(true);
        Ok(txn)
    }

    /// Runs `read` on a snapshot.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let txn = self.up()?.redb.begin_read().map_err(StoreError::from_redb)?;
        read(&txn)
    }

    /// Ends the session with the error it met, if any: after a failed sync that is `MustReopen`.
    pub(super) fn judge<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let sync_failed = self.up().is_ok_and(|up| up.health.sync_failed());
        self.guard = None;
        match result {
            Err(_) if sync_failed => Err(StoreError::MustReopen),
            result => result,
        }
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn open_error(error: OpenPagesError) -> StoreError {
    match error {
        OpenPagesError::WrongKey => StoreError::WrongKey,
        OpenPagesError::Newer(format) => StoreError::Newer { found: format.into(), known: 1 },
        OpenPagesError::Io(error) if error.kind() == io::ErrorKind::NotFound => StoreError::Missing,
        OpenPagesError::Io(error) => StoreError::from_io(error),
    }
}
