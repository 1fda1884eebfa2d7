//! A letter that the identity sends: its header made ready, and the one commit that queues it.

use crate::model::address::MailAddress;
use crate::model::letter::{LetterId, Recipients};
use crate::model::policy;
use crate::model::prepare::{self, PrepareError, Prepared};
use crate::model::queue::Entry;
use crate::model::time::UnixTime;
use crate::model::trace::{self, Arrival, Proof};
use crate::model::trust::Tier;
use crate::node::desk::Desk;
use crate::node::guests::SealedSink;
use crate::node::parcel::{Filed, Head, Kind, Parcel};
use crate::protocol::smtp::Reply;
use crate::store::contacts::Decision;
use crate::store::guests::GuestRecord;
use crate::store::messages::NewMessage;
use crate::store::{Body, Flags, MessageIdHash, StoreError, Tx};
use onion::OnionAddress;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A letter that the author has announced.
pub(super) struct Leaving {
    recipients: Recipients,
    /// Why the recipients are known from then on.
    why: &'static str,
    /// The delegation under which it is written in the name of another.
    behalf: Option<serde_bytes::ByteBuf>,
}

/// What became of a letter that was submitted.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Submitted {
    /// Its Message-ID, angle brackets included.
    pub message_id: String,
    /// How many recipients it waits for.
    pub queued: usize,
    /// How many recipients are this identity itself, or read here without a node; they have the letter already.
    pub own: usize,
}

/// Lets a letter come, if the queue has room for it.
pub async fn begin(desk: &Arc<Desk>, recipients: &Recipients) -> Result<Parcel, Reply> {
    if recipients.as_slice().len() > policy::RECIPIENTS_MAX {
        return Err(Reply::new(452, 5, 3, "too many recipients for one letter; send it in several"));
    }
    if let Some(revocation) = desk.own_revocation().await.map_err(|error| desk.disk_reply(&error))? {
        let since = revocation.compromised().map(|since| format!(" (compromised since {})", since.rfc5322()));
        let text = format!(
            "this identity's key is revoked{}: nobody believes its letters any more; write from a new one",
            since.unwrap_or_default()
        );
        return Err(Reply::new(550, 7, 13, "").saying(text));
    }
    let waiting = desk.queue_len().await.map_err(|error| desk.disk_reply(&error))?;
    if waiting + recipients.as_slice().len() > policy::QUEUE_LEN_MAX {
        return Err(Reply::new(
            452,
            3,
            1,
            "the queue is full; cancel some of what waits, or try again later",
        ));
    }
    let leaving = Leaving { recipients: recipients.clone(), why: "you wrote to them", behalf: None };
    Ok(Parcel::new(desk.clone(), Kind::Leaving(leaving)))
}

/// Sends a letter that the node wrote for its person. If nothing was decided about the reader, they are known from
/// then on, for this reason.
pub(super) async fn post(
    desk: &Arc<Desk>,
    to: &MailAddress,
    letter: &[u8],
    why: &'static str,
) -> Result<Submitted, Reply> {
    let recipients = Recipients::new([to.clone()]).expect("it is one");
    // The limits of the queue hold for these letters too.
    drop(begin(desk, &recipients).await?);
    let mut parcel = Parcel::new(desk.clone(), Kind::Leaving(Leaving { recipients, why, behalf: None }));
    parcel.write(letter).await;
    match parcel.file().await? {
        Filed::Leaving(submitted) => Ok(submitted),
        Filed::Arrived { .. } => Err(Reply::new(451, 3, 0, "internal error")),
    }
}

/// Makes the header ready; gives what belongs to the author's copy and the header as it goes out.
pub(super) async fn prepare(
    desk: &Desk,
    leaving: &mut Leaving,
    block: &[u8],
) -> Result<(Head, Vec<u8>), Reply> {
    let names = desk.identity.names();
    let other = prepare::other_author(block, names);
    let leave = match &other {
        Some(other) => desk.leave_of(other).await.map_err(|error| desk.disk_reply(&error))?,
        None => None,
    };
    let behalf = other.as_ref().filter(|_| leave.is_some());
    let mut prepared = prepare::prepare_as(block, names, behalf, desk.now(), desk.draw())
        .map_err(|error| refusal(&error))?;
    leaving.behalf = leave.map(serde_bytes::ByteBuf::from);
    let header = std::mem::take(&mut prepared.header);
    Ok((Head::Leaving(Box::new(prepared)), header))
}

fn refusal(error: &PrepareError) -> Reply {
    match error {
        PrepareError::OtherAuthor { .. } | PrepareError::NoAuthor { .. } => {
            Reply::new(550, 7, 1, "").saying(error.to_string())
        }
        _ => Reply::new(554, 6, 0, "").saying(error.to_string()),
    }
}

/// The beginnings of the copies for those among the recipients who read here without a node.
pub(super) async fn copies(
    desk: &Desk,
    leaving: &Leaving,
    header: &[u8],
) -> Result<Vec<(GuestRecord, SealedSink)>, Reply> {
    let mut copies: Vec<(GuestRecord, SealedSink)> = Vec::new();
    for to in leaving.recipients.as_slice() {
        let known = desk.guest_at(to).filter(|guest| !copies.iter().any(|(other, _)| other == guest));
        if known.is_none() {
            continue;
        }
        let addressee = desk.may_reach_guest(to, None).await?;
        let above = [own_trace(desk, std::slice::from_ref(to)), header.to_vec()].concat();
        let begun = SealedSink::begin(desk, &addressee, &above).await;
        copies.push((addressee.guest, begun.map_err(|error| desk.guest_reply(&error))?));
    }
    Ok(copies)
}

/// One commit: the copy in Sent (with Bcc), the copy in Outbox, an entry for each recipient; for the identity itself
/// the letter goes straight to INBOX, and for guest readers of ours into their mailboxes.
pub(super) async fn keep(
    desk: &Desk,
    leaving: Leaving,
    prepared: Prepared,
    (body, copies): (Body, Vec<(GuestRecord, Body)>),
) -> Result<Submitted, Reply> {
    let own_onion = desk.identity.onion();
    let (own, others): (Vec<MailAddress>, Vec<MailAddress>) =
        leaving.recipients.as_slice().iter().cloned().partition(|to| to.onion == own_onion);
    if own.iter().any(|to| desk.identity.names().is_echo(to)) {
        return Err(Reply::new(550, 1, 1, "your own echo@ answers other people's nodes; try theirs"));
    }
    let (own, guests): (Vec<MailAddress>, Vec<MailAddress>) =
        own.into_iter().partition(|to| desk.identity.names().owns(to));
    let is_copied = |to: &MailAddress| copies.iter().any(|(guest, _)| guest.name == to.local.base());
    if let Some(stranger) = guests.iter().find(|to| !is_copied(to)) {
        let text = format!("{} is at your own address, and you have no such name", stranger.local.as_str());
        return Err(Reply::new(550, 1, 1, "").saying(text));
    }
    let submitted = Submitted {
        message_id: prepared.message_id.clone(),
        queued: others.len(),
        own: own.len() + guests.len(),
    };
    let (folders, now) = (desk.folders, desk.now());
    let from = desk.identity.address().local;
    let ids = draw_ids(desk, &others);
    let trace = own_trace(desk, &own);
    // The mail program files its own copy under the Message-ID that it gave.
    let given = prepared.replaced_message_id.unwrap_or(prepared.message_id);
    let sent_id = MessageIdHash::of(given.as_bytes());
    let (prefix, behalf) = (prepared.sent_prefix, leaving.behalf);
    let kept = desk
        .store
        .write(move |tx| {
            let filed = |letter, flags, sent_id| NewMessage { letter, flags, internal_date: now, sent_id };
            let letter = tx.letters().add(&body, &prefix)?;
            let size = tx.letters().size(letter)?;
            let seen = Flags::system(Flags::SEEN);
            tx.messages().append(folders.sent, &filed(letter, seen.clone(), Some(sent_id)))?;
            if !others.is_empty() {
                let outbox = tx.messages().append(folders.outbox, &filed(letter, seen, None))?;
                for to in &others {
                    let id = ids[&to.onion];
                    let entry = Entry::new(letter, id, from.clone(), to.clone(), size, now, outbox.0);
                    let entry = Entry { behalf: behalf.clone(), ..entry };
                    tx.queue().push(letter, &entry)?;
                }
            }
            for to in &others {
                meet(tx, &to.onion, now, leaving.why)?;
            }
            if !own.is_empty() {
                let copy = tx.letters().add(&body, &trace)?;
                tx.messages().append(folders.inbox, &filed(copy, Flags::default(), None))?;
            }
            for (guest, body) in &copies {
                tx.guests().check_room(guest, body.len())?;
                let copy = tx.letters().add(body, b"")?;
                tx.messages().append(guest.mailbox, &filed(copy, Flags::default(), None))?;
            }
            Ok(())
        })
        .await;
    kept.map_err(|error| desk.guest_reply(&error))?;
    desk.trouble.clear("disk");
    desk.orders.look();
    Ok(submitted)
}

/// Whoever is written to is known from then on, if nothing else was decided: their answer belongs into INBOX.
fn meet(tx: &Tx<'_>, onion: &OnionAddress, now: UnixTime, why: &str) -> Result<(), StoreError> {
    match tx.contacts().get(onion)?.and_then(|contact| contact.decision) {
        // An invite may have made them no more than that.
        None | Some(Decision { tier: Tier::Introduced, .. }) => {}
        Some(_) => return Ok(()),
    }
    let decision = Decision { tier: Tier::Known, at: now, why: why.to_owned() };
    match tx.contacts().decide(onion, Some(decision), now, why) {
        // Too many contacts is no reason to keep a letter back.
        Ok(_) | Err(StoreError::TooMany(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// One id for each onion: the recipients at one onion are served by one transaction.
fn draw_ids(desk: &Desk, recipients: &[MailAddress]) -> BTreeMap<OnionAddress, LetterId> {
    recipients.iter().map(|to| to.onion).map(|onion| (onion, LetterId(desk.draw()))).collect()
}

/// Our own lines above a letter to oneself.
fn own_trace(desk: &Desk, own: &[MailAddress]) -> Vec<u8> {
    let onion = desk.identity.onion();
    trace::trace_lines(&Arrival {
        own: &onion,
        proved: Some(&onion),
        signed: None,
        proof: Proof::Pass,
        return_path: Some(&desk.identity.address()),
        recipient: match own {
            [only] => Some(only),
            _ => None,
        },
        id: None,
        utf8: false,
        at: desk.now(),
    })
}
