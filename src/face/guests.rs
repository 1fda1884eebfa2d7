//! The onions of guest readers: each serves IMAP to those who have its key, and nothing else.
//!
//! Promises that which onions are hosted follows who reads here, that a reader who is gone or has a new password finds
//! the sessions of before ended, and that such an onion says nothing of whose node it is before login.

use crate::face::imap;
use crate::face::went_down;
use crate::node::Node;
use crate::store::guests::GuestRecord;
use onion::{ClientKey, HostKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// IMAP's port on the onion of a guest reader. There is no TLS: Tor is the channel.
pub const PORT: u16 = 143;
/// Pause before an onion is hosted again after its service ended by itself.
const HOST_AGAIN: Duration = Duration::from_secs(5);

/// Hosts an onion for each guest reader, until the node goes down. `decoy` is the store's own (see `logins::decoy`).
pub async fn host(node: Arc<Node>, decoy: [u8; 32], mut down: watch::Receiver<bool>) {
    let mut hosts = JoinSet::new();
    let mut hosted: BTreeMap<String, (GuestRecord, AbortHandle)> = BTreeMap::new();
    loop {
        let guests = node.desk.guests();
        for (_, (_, host)) in hosted.extract_if(.., |_, (known, _)| !guests.contains(known)) {
            host.abort();
            // Its onion ends with it, and may have to be hosted anew.
            while !host.is_finished() && hosts.join_next().await.is_some() {}
        }
        hosted.retain(|_, (_, host)| !host.is_finished());
        for guest in
            guests.iter().filter(|guest| !hosted.contains_key(&guest.name)).cloned().collect::<Vec<_>>()
        {
            let host = hosts.spawn(host_one(node.clone(), guest.clone(), decoy, down.clone()));
            hosted.insert(guest.name.clone(), (guest, host));
        }
        tokio::select! {
            biased;
            () = went_down(&mut down) => break,
            Some(_) = hosts.join_next() => tokio::select! {
                biased;
                () = went_down(&mut down) => break,
                () = node.desk.guests_changed.notified() => {}
                () = tokio::time::sleep(HOST_AGAIN) => {}
            },
            () = node.desk.guests_changed.notified() => {}
        }
    }
    while hosts.join_next().await.is_some() {}
}

/// Hosts one onion until its service ends.
async fn host_one(node: Arc<Node>, guest: GuestRecord, decoy: [u8; 32], down: watch::Receiver<bool>) {
    let clients = guest.clients.iter().filter_map(|key| ClientKey::from_bytes(*key)).collect();
    match node.transport.host_for(HostKey::from_seed(guest.seed), PORT, clients).await {
        Ok(listener) => {
            node.desk.trouble.clear("guests");
            imap::serve_guest(node.desk.clone(), guest, decoy, listener, down).await;
        }
        Err(error) => {
            node.desk.trouble.note("guests", format!("a guest cannot read at present: {error}"));
        }
    }
}
