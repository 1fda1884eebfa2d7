//! Routes: where contacts may leave letters for us, given with letters; and theirs, taken from letters.
//!
//! A Route goes with every letter to a contact until one of them is known to have arrived. Its bytes are the same each
//! time, so that an upload which broke off goes on. Promises that a token is given to one contact only, and that who
//! got it is written down before it leaves.

use crate::model::hold::{self, MailboxId, TokenKey};
use crate::model::statement::{Drop, Route, Signed, Verified, sign_as_device};
use crate::model::time::UnixTime;
use crate::model::trust::Tier;
use crate::node::desk::Desk;
use crate::node::unsealing::SignedHeader;
use crate::store::holders::{GivenRecord, HolderRecord};
use crate::store::{StoreError, Tx};
use hmac::{Hmac, KeyInit as _, Mac as _};
use onion::OnionAddress;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Tokens of each drop that a contact is given at a time.
pub(super) const TOKENS: u32 = 64;
/// With fewer than so many left of all its drops, a contact gets new ones.
const LEFT_MIN: u32 = 16;
/// Most drops of one Route: two take the letter, one is there if another fails, one more for luck.
const DROPS: usize = 4;
/// The names of tokens are drawn from the seed of the collecting key under this.
const CONTEXT: &[u8] = b"onionskin/1 token nonce\0";

/// A Route on its way.
pub(super) struct Given {
    /// The statement.
    pub(super) bytes: Vec<u8>,
    /// Its number.
    pub(super) sequence: u64,
}

impl Desk {
    /// The Route that is to go with a letter to this peer; none if it has the newest, or there is nobody who holds for
    /// us, or it is nobody we know.
    pub(super) async fn route_for(&self, peer: OnionAddress) -> Result<Option<Given>, StoreError> {
        let now = self.now();
        let plan = self.store.read(move |rx| {
            let knows = rx.contacts().get(&peer)?.and_then(|contact| contact.decision);
            let open = holders(rx.holders().list()?);
            let given = rx.holders().given(&peer)?;
            Ok((knows.is_some_and(|decision| decision.tier >= Tier::Known), open, given))
        });
        let (knows, open, given) = plan.await?;
        if open.is_empty() && given.is_none() || !knows {
            return Ok(None);
        }
        let mailboxes: Vec<MailboxId> = open.iter().map(|holder| holder.mailbox).collect();
        let same = |given: &GivenRecord| {
            given.mailboxes.len() == mailboxes.len()
                && mailboxes.iter().all(|one| given.mailboxes.contains(one))
        };
        let epoch = hold::epoch_of(now);
        let given = match given {
            Some(given) if same(&given) && given.epoch == epoch && given.left >= LEFT_MIN => given,
            Some(given) if given.mailboxes.is_empty() && mailboxes.is_empty() => given,
            given => {
                // Greater also than those of another life of the identity, of which nothing is known.
                let hours = now.0 / 3600;
                let sequence = given.as_ref().map_or(hours, |given| hours.max(given.sequence + 1));
                let left = TOKENS * u32::try_from(mailboxes.len()).unwrap_or(u32::MAX);
                let (noise, others) = given.map_or((0, 0), |given| (given.noise, given.others));
                let given = GivenRecord {
                    sequence,
                    at: now,
                    epoch,
                    mailboxes,
                    left,
                    confirmed: false,
                    noise,
                    others,
                };
                let tokens: Vec<_> = open.iter().flat_map(|holder| holder.nonces(&peer, sequence)).collect();
                let record = given.clone();
                self.store.write(move |tx| tx.holders().give(&peer, &record, &tokens)).await?;
                given
            }
        };
        if given.confirmed {
            return Ok(None);
        }
        // In the order in which they were written down, so that the bytes are the same.
        let named =
            given.mailboxes.iter().filter_map(|one| open.iter().find(|holder| holder.mailbox == *one));
        let drops = named.map(|holder| Drop {
            onion: holder.drop,
            mailbox: holder.mailbox,
            tokens: holder
                .nonces(&peer, given.sequence)
                .map(|(mailbox, nonce)| {
                    holder.key.token(&holder.drop, mailbox, nonce, given.epoch, hold::CLASS)
                })
                .collect(),
        });
        let route = Route {
            reader: peer,
            sequence: given.sequence,
            made: given.at.to_the_hour(),
            until: hold::epoch_end(given.epoch),
            drops: drops.collect(),
        };
        let signed = sign_as_device(&self.keyring.device(), &route);
        let bytes = signed.map_err(|_| StoreError::Bug("a Route that cannot be signed"))?.into_bytes();
        Ok(Some(Given { bytes, sequence: given.sequence }))
    }
}

/// Where letters for us may be left.
struct Open {
    drop: OnionAddress,
    mailbox: MailboxId,
    key: TokenKey,
    /// Ours alone: the holder, who has the key of the tokens, must not be able to tell whose they are.
    secret: Zeroizing<[u8; 32]>,
}

impl Open {
    /// The names of the tokens of one Route, the same each time.
    fn nonces(&self, peer: &OnionAddress, sequence: u64) -> impl Iterator<Item = (MailboxId, [u8; 16])> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret[..]).expect("HMAC takes keys of any length");
        mac.update(CONTEXT);
        mac.update(peer.public_key());
        mac.update(&sequence.to_be_bytes());
        let mailbox = self.mailbox;
        (0..TOKENS).map(move |number| {
            let mut mac = mac.clone();
            mac.update(&number.to_be_bytes());
            let full = mac.finalize().into_bytes();
            (mailbox, *full.first_chunk().expect("a SHA-256 has more than 16 bytes"))
        })
    }
}

/// The best of those who hold for us: those at whom collecting failed least.
fn holders(mut all: Vec<(OnionAddress, HolderRecord)>) -> Vec<Open> {
    all.retain(|(_, record)| record.open().is_some());
    all.sort_by_key(|(onion, record)| (record.failures / 8, record.asked, *onion));
    let open = all.into_iter().filter_map(|(_, record)| {
        let promise = record.open()?;
        let secret = Zeroizing::new(record.collector_seed);
        Some(Open { drop: promise.drop, mailbox: promise.mailbox, key: TokenKey::new(record.key), secret })
    });
    open.take(DROPS).collect()
}

/// The Route among what the author of a letter enclosed, if it is for us.
pub(super) fn given_by_author(
    own: &OnionAddress,
    signed: &SignedHeader,
    agreed: Option<UnixTime>,
) -> Option<Verified<Route>> {
    let author = signed.statement.author();
    signed.enclosures.iter().find_map(|bytes| {
        let route = Signed::<Route>::parse(bytes.clone()).ok()?.verify(agreed).ok()?;
        (route.author() == author && route.reader == *own && author != *own).then_some(route)
    })
}

/// Takes an author's Route, in the commit that keeps the letter.
pub(super) fn take(tx: &Tx<'_>, route: &Verified<Route>, now: UnixTime) -> Result<(), StoreError> {
    tx.routes().take(&route.author(), route, now).map(drop)
}
