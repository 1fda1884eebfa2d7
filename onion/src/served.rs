//! Which onions a transport serves now: each once, and a bounded number beside the identity's own.

use crate::{HOSTED_MAX, ListenError, OnionAddress};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The onions that one transport serves.
#[derive(Default)]
pub(crate) struct Served(Mutex<BTreeMap<OnionAddress, Kind>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Own,
    Beside,
}

/// The right to serve one onion; given back when dropped.
pub(crate) struct Turn {
    served: Arc<Served>,
    onion: OnionAddress,
}

impl Turn {
    /// The right to serve the identity's own onion.
    pub(crate) fn own(served: &Arc<Served>, onion: OnionAddress) -> Result<Self, ListenError> {
        Self::take(served, onion, Kind::Own)
    }

    /// The right to serve an onion beside the identity's own.
    pub(crate) fn beside(served: &Arc<Served>, onion: OnionAddress) -> Result<Self, ListenError> {
        Self::take(served, onion, Kind::Beside)
    }

    fn take(served: &Arc<Served>, onion: OnionAddress, kind: Kind) -> Result<Self, ListenError> {
        let mut onions = served.onions();
        if onions.contains_key(&onion) {
            return Err(ListenError::InUse);
        }
        let beside = onions.values().filter(|kind| **kind == Kind::Beside).count();
        if kind == Kind::Beside && beside >= HOSTED_MAX {
            return Err(ListenError::TooMany);
        }
        onions.insert(onion, kind);
        drop(onions);
        Ok(Self { served: served.clone(), onion })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.served.onions().remove(&self.onion);
    }
}

impl Served {
    fn onions(&self) -> MutexGuard<'_, BTreeMap<OnionAddress, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostKey;

    #[test]
    fn each_onion_is_served_once_and_only_those_beside_the_own_one_are_counted() {
        let served = Arc::new(Served::default());
        let onion = |n| HostKey::from_seed([n; 32]).address();
        let own = Turn::own(&served, onion(200)).unwrap();
        assert!(matches!(Turn::beside(&served, onion(200)), Err(ListenError::InUse)));
        let mut beside: Vec<_> =
            (0..HOSTED_MAX as u8).map(|n| Turn::beside(&served, onion(n)).unwrap()).collect();
        assert!(matches!(Turn::beside(&served, onion(100)), Err(ListenError::TooMany)));
        assert!(matches!(Turn::beside(&served, onion(0)), Err(ListenError::InUse)));
        assert!(matches!(Turn::own(&served, onion(0)), Err(ListenError::InUse)));
        drop((own, beside.pop()));
        let _again = (Turn::own(&served, onion(200)).unwrap(), Turn::beside(&served, onion(100)).unwrap());
    }
}
