//! `Desk`: the identity and its store, with a clock and randomness: everything that can be done without a network.
//!
//! The running node has one, and so has a command that runs while no node does.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::identity::Identity;
use crate::model::letter::LetterNo;
use crate::model::queue::{DuePeer, Entry};
use crate::model::time::UnixTime;
use crate::node::clock::Clock;
use crate::node::contacts::Web;
use crate::node::echo::Callers;
use crate::node::guests::Guests;
use crate::node::hands::Hands;
use crate::node::keyring::Keyring;
use crate::node::neighbours::Neighbours;
use crate::node::orders::Orders;
use crate::node::partial::Partials;
use crate::node::trouble::Trouble;
use crate::store::disk::Disk;
use crate::store::vault::MasterKey;
use crate::store::{LetterReader, MailboxNo, QueueNo, SpecialUse, Store, StoreError};
use onion::OnionAddress;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The identity's place of work.
pub struct Desk {
    pub(crate) identity: Identity,
    pub(crate) keyring: Keyring,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) orders: Arc<Orders>,
    pub(super) hands: Arc<Hands>,
    /// Whoever lists what waits for a peer seals it: one at a time.
    pub(super) listing: tokio::sync::Mutex<()>,
    pub(crate) trouble: Trouble,
    pub(crate) partials: Arc<Partials>,
    /// The same of what is left at drops here: apart, or who pushes one out would learn whose drops they are.
    pub(super) drop_partials: Arc<Partials>,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) folders: Folders,
    pub(crate) callers: Callers,
    pub(super) web: Web,
    pub(crate) neighbours: Neighbours,
    /// Rung when other drops are to be hosted than before.
    pub(crate) drops_changed: Notify,
    pub(super) guests: Guests,
    /// Rung when others read here than before, or their logins are others.
    pub(crate) guests_changed: Notify,
    /// Rung when holders are to be asked now for what they keep for us.
    pub(crate) collect_now: Notify,
    /// There is something to call back.
    pub(crate) recall_now: Notify,
    rng: Mutex<StdRng>,
}

/// The folders that the node itself files into.
#[derive(Debug, Clone, Copy)]
pub struct Folders {
    /// What arrived.
    pub inbox: MailboxNo,
    /// What was sent.
    pub sent: MailboxNo,
    /// What waits to be delivered.
    pub outbox: MailboxNo,
    /// Letters of strangers.
    pub requests: MailboxNo,
    /// Letters of who is blocked.
    pub junk: MailboxNo,
}

impl Desk {
    /// Sets the desk up over an open store. `seed` must come from the system's generator, but for simulations.
    pub async fn new(
        identity: Identity,
        store: Store,
        (disk, key): (Arc<dyn Disk>, &MasterKey),
        clock: Arc<dyn Clock>,
        seed: [u8; 32],
    ) -> Result<Self, StoreError> {
        let mut rng = StdRng::from_seed(seed);
        let keyring = Keyring::open(disk, key, &identity, &store, clock.now(), &mut rng).await?;
        let guests = store.read(|rx| rx.guests().list()).await?;
        let folders = store
            .read(|rx| {
                let find = |special| rx.mailboxes().special(special)?.ok_or(StoreError::NoMailbox);
                Ok(Folders {
                    inbox: find(SpecialUse::Inbox)?,
                    sent: find(SpecialUse::Sent)?,
                    outbox: find(SpecialUse::Outbox)?,
                    requests: find(SpecialUse::Requests)?,
                    junk: find(SpecialUse::Junk)?,
                })
            })
            .await?;
        Ok(Self {
            identity,
            keyring,
            store,
            clock,
            orders: Arc::default(),
            hands: Arc::default(),
            listing: tokio::sync::Mutex::default(),
            trouble: Trouble::default(),
            partials: Arc::default(),
            drop_partials: Arc::default(),
            sent_bytes: AtomicU64::new(0),
            folders,
            callers: Callers::default(),
            web: Web::default(),
            neighbours: Neighbours::default(),
            drops_changed: Notify::new(),
            guests: Guests::new(guests),
            guests_changed: Notify::new(),
            collect_now: Notify::new(),
            recall_now: Notify::new(),
            rng: Mutex::new(rng),
        })
    }

    /// The wall clock.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Fresh random bytes.
    pub fn draw<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// A generator of one's own, drawn from this one.
    pub fn rng(&self) -> StdRng {
        StdRng::from_seed(self.draw())
    }

    /// The identity.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Bytes given to streams to peers since this desk was set up, commands included, whether or not they arrived.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// The device's keys and our own Card.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// What is here of large letters whose connection broke.
    pub fn partials(&self) -> &Arc<Partials> {
        &self.partials
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The identity's address under this local part.
    pub(super) fn sender(&self, local: &LocalPart) -> MailAddress {
        MailAddress { local: local.clone(), onion: self.identity.onion() }
    }

    /// Everything that waits, in the order it was accepted.
    pub async fn queue(&self) -> Result<Vec<(QueueNo, Entry)>, StoreError> {
        self.store
            .read(|rx| Ok(rx.queue().list()?.into_iter().map(|(no, _, entry)| (no, entry)).collect()))
            .await
    }

    /// Those of these entries that still wait.
    pub(super) async fn entries(
        &self,
        numbers: Vec<QueueNo>,
    ) -> Result<BTreeMap<QueueNo, Entry>, StoreError> {
        self.store
            .read(move |rx| {
                let mut found = BTreeMap::new();
                for no in numbers {
                    if let Some((_, entry)) = rx.queue().get(no)? {
                        found.insert(no, entry);
                    }
                }
                Ok(found)
            })
            .await
    }

    /// How many entries wait.
    pub async fn queue_len(&self) -> Result<usize, StoreError> {
        self.store.read(|rx| Ok(rx.queue().count()? as usize)).await
    }

    /// What waits for one peer.
    pub(super) async fn queue_for(&self, peer: OnionAddress) -> Result<Vec<(QueueNo, Entry)>, StoreError> {
        let mut all = self.queue().await?;
        all.retain(|(_, entry)| entry.to.onion == peer);
        Ok(all)
    }

    /// The letter to send, and how many bytes at its start are the author's own copy's and do not leave.
    pub(super) async fn letter_to_send(&self, letter: LetterNo) -> Result<(LetterReader, u64), StoreError> {
        let reader = self.store.open_letter(letter).await?;
        let prefix_len = reader.prefix_len();
        Ok((reader, prefix_len))
    }

    /// When each of these peers was last seen.
    pub(super) async fn due_peers(
        &self,
        due: Vec<(OnionAddress, UnixTime)>,
    ) -> Result<Vec<DuePeer>, StoreError> {
        self.store
            .read(move |rx| {
                due.into_iter()
                    .map(|(peer, due_since)| {
                        let last_seen = rx.peers().get(&peer)?.and_then(|record| record.last_seen);
                        Ok(DuePeer { peer, last_seen, due_since })
                    })
                    .collect()
            })
            .await
    }

    /// Whether the owner of a peer's key revoked it.
    pub(super) async fn is_revoked(&self, peer: OnionAddress) -> Result<bool, StoreError> {
        self.store
            .read(move |rx| Ok(rx.contacts().get(&peer)?.is_some_and(|contact| contact.revoked.is_some())))
            .await
    }

    /// The peers with whom mail was exchanged, those seen last first.
    pub(super) async fn recent_peers(&self, most: usize) -> Result<Vec<OnionAddress>, StoreError> {
        self.store
            .read(move |rx| {
                let mut peers = rx.peers().list()?;
                peers.retain(|(_, record)| record.last_sent.is_some() || record.last_received.is_some());
                peers.sort_by_key(|(_, record)| std::cmp::Reverse(record.last_seen));
                Ok(peers.into_iter().take(most).map(|(peer, _)| peer).collect())
            })
            .await
    }

    /// A peer was reached.
    pub(super) async fn met(&self, peer: OnionAddress) {
        let now = self.now();
        if let Err(error) =
            self.store.write(move |tx| tx.peers().update(&peer, |record| record.last_seen = Some(now))).await
        {
            self.trouble.note("store", format!("cannot write: {error}"));
        }
    }
}
