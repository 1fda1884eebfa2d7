//! Other nodes: when they were last met, and whether they speak our extensions.

use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, decode};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Most nodes remembered. Strangers can bring new ones, and forgetting one costs only the order of retries.
pub const PEERS_MAX: u64 = 50_000;

/// What is remembered of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PeerRecord {
    /// It was reached, or it came and proved its address.
    #[serde(default)]
    pub last_seen: Option<UnixTime>,
    /// It took a letter of ours.
    #[serde(default)]
    pub last_sent: Option<UnixTime>,
    /// It brought a letter.
    #[serde(default)]
    pub last_received: Option<UnixTime>,
    /// It announced the `ONIONSKIN` extension.
    #[serde(default)]
    pub onionskin: bool,
    /// The beginning of the SHA-256 of the newest of our own Cards that it has.
    #[serde(default)]
    pub card_given: Option<u64>,
}

/// Reads peers.
#[derive(Clone, Copy)]
pub struct Peers<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Peers<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Peers<'a, 't> {
        Peers { rows }
    }

    /// What is remembered of a node, if anything.
    pub fn get(&self, peer: &OnionAddress) -> Result<Option<PeerRecord>, StoreError> {
        self.rows.get_record(Table::Peers, peer.public_key())
    }

    /// All nodes.
    pub fn list(&self) -> Result<Vec<(OnionAddress, PeerRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Peers, b"", |key, value| {
            let key: [u8; 32] = key.try_into().map_err(|_| DAMAGED)?;
            found.push((OnionAddress::from_public_key(key).map_err(|_| DAMAGED)?, decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

const DAMAGED: StoreError = StoreError::Damaged("the address of a peer cannot be read");

/// Reads and changes peers. What [`Peers`] reads is here too.
pub struct PeersMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Peers<'a, 't>,
}

impl<'a, 't> std::ops::Deref for PeersMut<'a, 't> {
    type Target = Peers<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> PeersMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> PeersMut<'a, 't> {
        PeersMut { rows, read: Peers::new(rows) }
    }

    /// Changes what is remembered of a node (nothing, for a new one). `false`: there is no room for a new one.
    pub fn update(
        &self,
        peer: &OnionAddress,
        change: impl FnOnce(&mut PeerRecord),
    ) -> Result<bool, StoreError> {
        let known = self.get(peer)?;
        if known.is_none() && self.rows.len(Table::Peers)? >= PEERS_MAX {
            return Ok(false);
        }
        let mut record = known.unwrap_or_default();
        change(&mut record);
        self.rows.put_record(Table::Peers, peer.public_key(), &record)?;
        Ok(true)
    }

    /// Forgets a node; says whether it was known.
    pub fn remove(&self, peer: &OnionAddress) -> Result<bool, StoreError> {
        self.rows.delete(Table::Peers, peer.public_key())
    }
}
