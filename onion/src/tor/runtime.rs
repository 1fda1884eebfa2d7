//! The runtime that one arti client lives in: tokio, with tasks that can all be ended at once.
//!
//! arti's tasks hold one another alive until what they attempt succeeds or times out, in an outage for minutes: a
//! client that was merely dropped would keep its lock, so that its successor could not write down its guards, and
//! would go on trying. Promises that once `Lifetime` is dropped no task of the client starts any new step.

use futures::future::FutureObj;
use futures::task::{Spawn, SpawnError};
use std::fmt;
use std::future::Future;
use tokio::sync::watch;
use tor_rtcompat::tokio::TokioRustlsRuntime;
use tor_rtcompat::{Blocking, CompoundRuntime};

type Tokio = TokioRustlsRuntime;
/// What arti is given as its runtime.
pub(super) type ClientRuntime = CompoundRuntime<Mortal, Tokio, Tokio, Tokio, Tokio, Tokio, Tokio>;

/// Keeps the tasks of one client alive; dropping it ends them.
#[derive(Debug)]
pub(super) struct Lifetime {
    _alive: watch::Sender<()>,
}

/// A runtime over `tokio`, and what its tasks live by.
pub(super) fn client_runtime(tokio: &Tokio) -> (ClientRuntime, Lifetime) {
    let (sender, alive) = watch::channel(());
    let spawn = Mortal { tokio: tokio.clone(), alive };
    let [a, b, c, d, e, f] = std::array::from_fn(|_| tokio.clone());
    (CompoundRuntime::new(spawn, a, b, c, d, e, f), Lifetime { _alive: sender })
}

/// Spawns tasks that end with their `Lifetime`.
#[derive(Clone)]
pub(super) struct Mortal {
    tokio: Tokio,
    alive: watch::Receiver<()>,
}

impl fmt::Debug for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mortal")
    }
}

impl Spawn for Mortal {
    fn spawn_obj(&self, task: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        let mut alive = self.alive.clone();
        let mortal = async move {
            tokio::select! {
                biased;
                // Nothing is ever sent: this ends only when the sender is gone.
                _ = alive.changed() => {}
                () = task => {}
            }
        };
        self.tokio.spawn_obj(FutureObj::new(Box::new(mortal)))
    }
}

impl Blocking for Mortal {
    type ThreadHandle<T: Send + 'static> = <Tokio as Blocking>::ThreadHandle<T>;

    fn spawn_blocking<F, T>(&self, f: F) -> Self::ThreadHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tokio.spawn_blocking(f)
    }

    fn reenter_block_on<F>(&self, future: F) -> F::Output
    where
        F: Future,
        F::Output: Send + 'static,
    {
        self.tokio.reenter_block_on(future)
    }

    fn blocking_io<F, T>(&self, f: F) -> impl Future<Output = T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tokio.blocking_io(f)
    }
}
