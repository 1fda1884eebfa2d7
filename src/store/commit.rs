//! Group commit: writes that come while a commit is under way share the next one.
//!
//! Promises that an operation is answered `Ok` only after the segments and then the database were synced, that an
//! operation that fails leaves nothing behind and spoils no other, and that operations run in the order they came.
//! The first to come leads: it takes all that wait, runs them in one transaction, and answers everyone. If one fails
//! after it had changed something, the transaction is given up and each is run by itself.

use super::error::StoreError;
use super::index::Changes;
use super::tx::Tx;
use super::{Core, Run};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, oneshot};

/// Writes in one commit: enough that its cost is shared by all, few enough that nobody waits long.
const GROUP_LEN_MAX: usize = 128;
/// Writes that may wait; those beyond wait outside, in the order they came.
const WAITING_MAX: usize = 1024;

/// The writes that wait.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    room: Semaphore,
}

#[derive(Default)]
struct Waiting {
    writes: VecDeque<Box<dyn Write>>,
    /// Somebody is committing, and will take what waits.
    led: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), room: Semaphore::new(WAITING_MAX) }
    }
}

/// One write, whatever it answers.
trait Write: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Typed<T, F> {
    op: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send> Write for Typed<T, F> {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        self.value = Some((self.op)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        let value = outcome.and_then(|()| value.ok_or(StoreError::Bug("a write gave no value")));
        // Who no longer waits need not be told.
        let _ = reply.send(value);
    }
}

/// See [`super::Store::write`].
pub(super) async fn write<T: Send + 'static>(
    core: &Arc<Core>,
    op: impl FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let _room = core.queue.room.acquire().await.map_err(|_| StoreError::Closed)?;
    let (reply, answer) = oneshot::channel();
    let leads = {
        let mut waiting = lock(&core.queue.waiting);
        waiting.writes.push_back(Box::new(Typed { op, value: None, reply }));
        !std::mem::replace(&mut waiting.led, true)
    };
    if leads {
        let core = core.clone();
        match core.run {
            Run::Inline => lead(&core),
            // Not awaited: it also commits for those who come later, and ends by itself.
            Run::Blocking => drop(tokio::task::spawn_blocking(move || lead(&core))),
        }
    }
    answer.await.unwrap_or(Err(StoreError::Bug("a write was not answered")))
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().expect("no holder of this lock panics")
}

/// Commits until nothing waits.
fn lead(core: &Arc<Core>) {
    loop {
        let group: Vec<Box<dyn Write>> = {
            let mut waiting = lock(&core.queue.waiting);
            let len = waiting.writes.len().min(GROUP_LEN_MAX);
            if len == 0 {
                waiting.led = false;
                return;
            }
            waiting.writes.drain(..len).collect()
        };
        // Whoever is not answered is told so; those who come later must find a leader.
        let _ = catch_unwind(AssertUnwindSafe(|| commit_group(core, group)));
    }
}

/// What became of a group.
enum Committed {
    /// The transaction is durable; these are the answers, in order.
    Yes(Outcomes),
    /// Nothing was done.
    No(StoreError),
}

fn commit_group(core: &Arc<Core>, mut group: Vec<Box<dyn Write>>) {
    let mut letter_added = false;
    let mut committed = attempt(core, &mut group, &mut letter_added);
    if let (Committed::No(StoreError::Full), 1, false) = (&committed, group.len(), letter_added)
        && core.reserve.spend()
    {
        committed = attempt(core, &mut group, &mut letter_added);
    }
    match committed {
        Committed::Yes(outcomes) => {
            for (write, outcome) in group.into_iter().zip(outcomes) {
                write.answer(outcome);
            }
        }
        Committed::No(error) if group.len() == 1 => {
            if let Some(write) = group.pop() {
                write.answer(Err(error));
            }
        }
        Committed::No(_) => {
            for write in group {
                commit_group(core, vec![write]);
            }
        }
    }
}

fn attempt(core: &Arc<Core>, group: &mut [Box<dyn Write>], letter_added: &mut bool) -> Committed {
    let result = core.check_state().and_then(|()| core.note(core.database.session())).and_then(|session| {
        let result = session.begin_write().and_then(|txn| run_and_commit(core, txn, group, letter_added));
        core.note(session.judge(result))
    });
    match result {
        Ok((outcomes, consequences)) => {
            consequences.follow(core);
            Committed::Yes(outcomes)
        }
        Err(error) => Committed::No(error),
    }
}

/// What a commit brings with it, to be done when its session has ended.
#[derive(Default)]
struct Consequences {
    mail_changed: bool,
    changes: Changes,
    emptied: Vec<u32>,
}

impl Consequences {
    fn follow(self, core: &Arc<Core>) {
        core.index.follow(self.changes);
        // The commit stands, whatever becomes of files that nobody needs any more; the next opening finds them.
        let _ = core.bury(self.emptied);
        if self.mail_changed {
            core.changes.send_modify(|changes| *changes += 1);
        }
    }
}

type Outcomes = Vec<Result<(), StoreError>>;

fn run_and_commit(
    core: &Arc<Core>,
    txn: redb::WriteTransaction,
    group: &mut [Box<dyn Write>],
    letter_added: &mut bool,
) -> Result<(Outcomes, Consequences), StoreError> {
    let mut tx = Tx::new(&txn, core);
    let mut outcomes = Vec::with_capacity(group.len());
    for write in group.iter_mut() {
        let before = tx.rows.changes();
        let outcome = run_one(&mut **write, &mut tx);
        *letter_added |= tx.letter_added.get();
        if tx.rows.changes() != before
            && let Err(error) = outcome
        {
            // redb has no way back to before this operation but to give up the whole transaction.
            drop(tx);
            let _ = catch_unwind(AssertUnwindSafe(|| txn.abort()));
            return Err(error);
        }
        outcomes.push(outcome);
    }
    let changed = tx.rows.changes() > 0;
    let consequences = Consequences {
        mail_changed: tx.mail_changed.get(),
        changes: tx.changes.take(),
        emptied: tx.emptied.take(),
    };
    drop(tx);
    if !changed {
        txn.abort().map_err(StoreError::from_redb)?;
        return Ok((outcomes, Consequences::default()));
    }
    // What the transaction names must be on the disk before it is.
    core.segments.sync().map_err(|_| StoreError::MustReopen)?;
    catch_unwind(AssertUnwindSafe(|| txn.commit()))
        .map_err(|_| StoreError::Damaged("the database contradicts itself"))?
        .map_err(StoreError::from_redb)?;
    Ok((outcomes, consequences))
}

fn run_one(write: &mut dyn Write, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| {
        write.run(tx)?;
        tx.letters().forget_unused()
    }))
    .unwrap_or(Err(StoreError::Bug("a write panicked")))
}
