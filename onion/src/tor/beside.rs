//! Onions hosted beside the identity's own: each by a transport of its own.
//!
//! Promises that nothing ties them to the identity or to each other but the machine: no client, no guard, no circuit and
//! no introduction point is shared, only the public directory of relays. The price is a client for each, some 20 MB.

use super::{TorConfig, TorTransport};
use crate::{HOSTED_MAX, HostKey, ListenError, Listener, OnionAddress, Transport as _};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which folders are in use, and for which onion.
type Taken = Arc<Mutex<BTreeMap<usize, OnionAddress>>>;

/// What the transports of hosted onions are made from.
pub(super) struct Beside {
    config: TorConfig,
    taken: Taken,
}

impl Beside {
    pub(super) fn new(config: TorConfig) -> Self {
        Self { config, taken: Taken::default() }
    }

    /// Hosts one more.
    pub(super) async fn host(&self, key: HostKey, port: u16) -> Result<Listener, ListenError> {
        let turn = Turn::take(&self.taken, key.address())?;
        let config = TorConfig { state_dir: self.folder(turn.number), ..self.config.clone() };
        let transport = TorTransport::start(config).map_err(|error| ListenError::Ours(error.to_string()))?;
        let listener = transport.listen(key, port).await?;
        Ok(listener.kept_with(Box::new((transport, turn))))
    }

    /// The folder of guards of the one with this number: beside that of the identity, and named by it.
    fn folder(&self, number: usize) -> PathBuf {
        let own = self.config.state_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.config.state_dir.with_file_name(format!("{own}-{}", number + 1))
    }
}

/// The right to one folder.
struct Turn {
    taken: Taken,
    number: usize,
}

impl Turn {
    fn take(taken: &Taken, onion: OnionAddress) -> Result<Self, ListenError> {
        let mut all = lock(taken);
        if all.values().any(|other| *other == onion) {
            return Err(ListenError::InUse);
        }
        let number = (0..HOSTED_MAX).find(|number| !all.contains_key(number));
        let number = number.ok_or_else(|| ListenError::Ours("no more onions can be hosted here".into()))?;
        all.insert(number, onion);
        Ok(Self { taken: taken.clone(), number })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.taken).remove(&self.number);
    }
}

fn lock(taken: &Taken) -> MutexGuard<'_, BTreeMap<usize, OnionAddress>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
