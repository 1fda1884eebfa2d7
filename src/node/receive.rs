//! A letter that a peer brings: who brings it, what its header says, and the one commit that keeps it.

use crate::model::address::MailAddress;
use crate::model::letter::LetterId;
use crate::model::trace::{self, Arrival, Proof, ScreenError};
use crate::node::desk::Desk;
use crate::node::echo;
use crate::node::parcel::{Kind, Parcel, Unfinished};
use crate::node::partial::Claim;
use crate::protocol::smtp::server::{Envelope, Sending};
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
    utf8: bool,
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

/// What is here already of a letter that is announced.
pub enum Here {
    /// A part of it.
    Part(Unfinished),
    /// All of it: the acknowledgement of an earlier try was lost.
    All,
}

/// Makes this connection the one over which a letter comes; gives what is here of it from earlier tries.
pub async fn claim(desk: &Arc<Desk>, sending: &Sending) -> (Claim, Option<Here>) {
    let (claim, part) = desk.partials.claim(sending.from, sending.letter).await;
    let (from, id) = (sending.from, sending.letter);
    // If this cannot be read the letter comes once more, and is answered then.
    let all = desk.store.read(move |rx| rx.seen().contains(&from, &id)).await.unwrap_or(false);
    let part = part.filter(|part| part.len() <= sending.size).map(Here::Part);
    (claim, if all { Some(Here::All) } else { part })
}

/// Lets a letter come, or the rest of it, if it may.
pub async fn begin(desk: &Arc<Desk>, envelope: &Envelope, here: Option<Here>) -> Result<Parcel, Reply> {
    let return_path = match &envelope.from {
        ReversePath::Onion(address) => Some(address.clone()),
        ReversePath::Null | ReversePath::Foreign(_) => None,
    };
    let arriving = Arriving {
        proved: envelope.proved,
        id: envelope.letter,
        return_path,
        utf8: envelope.utf8,
        recipients: envelope.recipients.as_slice().to_vec(),
    };
    // The server takes no letter for both.
    if arriving.recipients.iter().any(|to| desk.identity.names().is_echo(to)) {
        return match here {
            None => echo::begin(desk, arriving),
            // What came before was for somebody else, or broke off: echo@ keeps nothing that could be gone on with.
            Some(_) => Err(Reply::new(552, 3, 4, "echo@ takes no large letter that was sent in part before")),
        };
    }
    let kind = Kind::Arriving(arriving);
    Ok(match here {
        None => Parcel::new(desk.clone(), kind),
        Some(Here::Part(part)) => Parcel::resume(desk.clone(), kind, part),
        Some(Here::All) => Parcel::kept(desk.clone(), kind),
    })
}

/// Looks through the header; gives what it proves and what is kept of it.
pub(super) fn screen(desk: &Desk, arriving: &Arriving, block: &[u8]) -> Result<(Proof, Vec<u8>), Reply> {
    let own = desk.identity.onion();
    let screened = trace::screen(block, &own).map_err(|error| refusal(&error))?;
    let proof = trace::proof_of(&screened.authors, arriving.proved.as_ref());
    if proof == Proof::Fail {
        let text = "the letter's From names another node than the one that brings it";
        return Err(Reply::new(550, 7, 1, text));
    }
    Ok((proof, screened.header))
}

/// Our own lines above a letter.
pub(super) fn prefix(desk: &Desk, arriving: &Arriving, proof: Proof) -> Vec<u8> {
    trace::trace_lines(&Arrival {
        own: &desk.identity.onion(),
        proved: arriving.proved.as_ref(),
        proof,
        return_path: arriving.return_path.as_ref(),
        recipient: match arriving.recipients.as_slice() {
            [only] => Some(only),
            _ => None,
        },
        id: arriving.id,
        utf8: arriving.utf8,
        at: desk.now(),
    })
}

fn refusal(error: &ScreenError) -> Reply {
    match error {
        ScreenError::Loop => Reply::new(554, 4, 6, "").saying(error.to_string()),
        _ => Reply::new(554, 6, 0, "").saying(error.to_string()),
    }
}

/// One commit: the letter in INBOX, its seen key, the peer. A letter seen before is acknowledged and not kept again.
pub(super) async fn keep(desk: &Desk, arriving: Arriving, proof: Proof, body: Body) -> Result<(), Reply> {
    let prefix = prefix(desk, &arriving, proof);
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
