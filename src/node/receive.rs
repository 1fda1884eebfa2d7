//! A letter that a peer brings: who brings it, what its header says, and the one commit that keeps it.

use crate::model::address::MailAddress;
use crate::model::letter::LetterId;
use crate::model::trace::{self, Arrival, Proof, ScreenError};
use crate::node::desk::Desk;
use crate::node::echo;
use crate::node::parcel::{Kind, Parcel};
use crate::protocol::smtp::server::Envelope;
use crate::protocol::smtp::{Reply, ReversePath};
use crate::store::messages::NewMessage;
use crate::store::{Body, Flags};
use onion::OnionAddress;
use std::sync::Arc;

/// A letter that has been announced by a peer.
pub(super) struct Arriving {
    proved: Option<OnionAddress>,
    id: Option<LetterId>,
    return_path: Option<MailAddress>,
    recipients: Vec<MailAddress>,
}

impl Arriving {
    /// The proved onion and its address in the reverse path, to which an answer may go; none if either is missing.
    pub(super) fn author(&self) -> Option<(OnionAddress, MailAddress)> {
        self.proved.zip(self.return_path.clone()).filter(|(proved, author)| author.onion == *proved)
    }

    /// The name of this sending.
    pub(super) fn id(&self) -> Option<LetterId> {
        self.id
    }
}

/// Lets a letter come, if it may.
pub async fn begin(desk: &Arc<Desk>, envelope: &Envelope) -> Result<Parcel, Reply> {
    let return_path = match &envelope.from {
        ReversePath::Onion(address) => Some(address.clone()),
        ReversePath::Null | ReversePath::Foreign(_) => None,
    };
    let arriving = Arriving {
        proved: envelope.proved,
        id: envelope.letter,
        return_path,
        recipients: envelope.recipients.as_slice().to_vec(),
    };
    // The server takes no letter for both.
    if arriving.recipients.iter().any(|to| desk.identity.names().is_echo(to)) {
        return echo::begin(desk, arriving);
    }
    Ok(Parcel::new(desk.clone(), Kind::Arriving(arriving)))
}

/// Looks through the header; gives our own lines above it and what is kept of it.
pub(super) fn screen(desk: &Desk, arriving: &Arriving, block: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Reply> {
    let own = desk.identity.onion();
    let screened = trace::screen(block, &own).map_err(|error| refusal(&error))?;
    let proof = trace::proof_of(&screened.authors, arriving.proved.as_ref());
    if proof == Proof::Fail {
        let text = "the letter's From names another node than the one that brings it";
        return Err(Reply::new(550, 7, 1, text));
    }
    let prefix = trace::trace_lines(&Arrival {
        own: &own,
        proved: arriving.proved.as_ref(),
        proof,
        return_path: arriving.return_path.as_ref(),
        recipient: match arriving.recipients.as_slice() {
            [only] => Some(only),
            _ => None,
        },
        id: arriving.id,
        at: desk.now(),
    });
    Ok((prefix, screened.header))
}

fn refusal(error: &ScreenError) -> Reply {
    match error {
        ScreenError::Loop => Reply::new(554, 4, 6, "").saying(error.to_string()),
        _ => Reply::new(554, 6, 0, "").saying(error.to_string()),
    }
}

/// One commit: the letter in INBOX, its seen key, the peer. A letter seen before is acknowledged and not kept again.
pub(super) async fn keep(desk: &Desk, arriving: Arriving, prefix: Vec<u8>, body: Body) -> Result<(), Reply> {
    let (folders, now) = (desk.folders, desk.now());
    let filed = desk
        .store
        .write(move |tx| {
            let seen = arriving.proved.zip(arriving.id);
            if let Some((peer, id)) = seen
                && !tx.seen().insert(&peer, &id, now)?
            {
                return Ok(false);
            }
            let letter = tx.letters().add(&body, &prefix)?;
            tx.messages().append(
                folders.inbox,
                &NewMessage { letter, flags: Flags::default(), internal_date: now, sent_id: None },
            )?;
            if let Some(peer) = arriving.proved {
                tx.peers().update(&peer, |record| {
                    record.last_seen = Some(now);
                    record.last_received = Some(now);
                    record.onionskin = true;
                })?;
            }
            Ok(true)
        })
        .await;
    match filed {
        Ok(_) => {
            desk.trouble.clear("disk");
            Ok(())
        }
        Err(error) => Err(desk.disk_reply(&error)),
    }
}
