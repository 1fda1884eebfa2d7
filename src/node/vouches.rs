//! Vouches: those for us, which alone we show, and those for others, which only they can show us.
//!
//! They go with our Card, inside the seal, to whoever does not have both as they now are. Promises that nobody's vouch
//! is shown but as its voucher allowed, and that a stranger cannot fill the place of vouches with its own.

use crate::model::statement::frame::VOUCHES_MAX;
use crate::model::statement::{Signed, Statement as _, Verified, Vouch};
use crate::model::time::UnixTime;
use crate::node::affairs::Taking;
use crate::node::desk::Desk;
use crate::node::unsealing::SignedHeader;
use crate::store::statements::{StatementKey, StatementKind, StatementRecord};
use crate::store::{Rx, StoreError};
use onion::OnionAddress;
use sha2::{Digest as _, Sha256};

/// Most vouches for us that are kept, one of each voucher; the oldest go first.
const KEPT_MAX: usize = 64;

/// What goes with a letter beside its text, for a reader who does not have it.
pub(super) struct AboutUs {
    /// Whole statements: our Card, then vouches for us. Empty if the reader has them.
    pub(super) enclosures: Vec<Vec<u8>>,
    /// By this it is remembered what a peer has.
    pub(super) tag: u64,
}

impl Desk {
    /// What is to go with a letter to this peer. (If that cannot be read, the Card is given once more.)
    pub(super) async fn about_us(&self, peer: OnionAddress) -> AboutUs {
        let (own, now) = (self.identity.onion(), self.now());
        let read = move |rx: &Rx<'_>| {
            let given = rx.peers().get(&peer)?.and_then(|record| record.card_given);
            Ok((given, to_show(rx, &own, now)?))
        };
        let (given, vouches) = self.store.read(read).await.unwrap_or_default();
        let card = self.keyring.card();
        let mut hash = Sha256::new();
        hash.update(card.digest());
        vouches.iter().for_each(|vouch| hash.update(Sha256::digest(vouch)));
        let digest: [u8; 32] = hash.finalize().into();
        let tag = u64::from_be_bytes(*digest.first_chunk().expect("a digest has 32 bytes"));
        let enclosures = match given == Some(tag) {
            true => Vec::new(),
            false => std::iter::once(card.bytes().to_vec()).chain(vouches).collect(),
        };
        AboutUs { enclosures, tag }
    }
}

/// Vouches for us that may be shown and still hold, the newest first.
fn to_show(rx: &Rx<'_>, own: &OnionAddress, now: UnixTime) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut kept = rx.statements().of_kind_about(own, StatementKind::Vouch, KEPT_MAX)?;
    newest_first(&mut kept);
    let may_be_shown = |(_, record): &(StatementKey, StatementRecord)| {
        let read = Signed::<Vouch>::parse(record.bytes.clone()).and_then(|signed| signed.verify(None));
        read.is_ok_and(|vouch| vouch.show && vouch.until >= now)
    };
    Ok(kept.into_iter().filter(may_be_shown).take(VOUCHES_MAX).map(|(_, record)| record.bytes).collect())
}

fn newest_first(kept: &mut [(StatementKey, StatementRecord)]) {
    kept.sort_by_key(|(key, record)| (std::cmp::Reverse(record.received), key.digest));
}

/// Keeps a vouch for us, if we know who gives it. It takes the place of what they gave before.
pub(super) fn keep(at: &Taking<'_, '_>, vouch: &Verified<Vouch>) -> Result<(), StoreError> {
    let voucher = vouch.author();
    if !at.knows(&voucher)? {
        return Ok(());
    }
    let kept = at.tx.statements().of_kind_about(&at.own, StatementKind::Vouch, 2 * KEPT_MAX)?;
    let (before, mut others): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(key, _)| key.issuer == voucher);
    newest_first(&mut others);
    // What is about ourselves counts against nobody's cap, so it may go.
    for (key, _) in before.iter().chain(others.iter().skip(KEPT_MAX - 1)) {
        at.tx.statements().remove(key)?;
    }
    at.keep(vouch, at.own, StatementKind::Vouch, Some(vouch.method), vouch.until)
}

/// The vouches among what the author of a letter enclosed: those for the author, meant to be shown.
pub(super) fn shown_by_author(signed: &SignedHeader, agreed: Option<UnixTime>) -> Vec<Verified<Vouch>> {
    let author = signed.statement.author();
    let read = |bytes: &Vec<u8>| {
        let vouch = Signed::<Vouch>::parse(bytes.clone()).ok()?.verify(agreed).ok()?;
        (vouch.subject == author && vouch.author() != author && vouch.show).then_some(vouch)
    };
    let small = |bytes: &&Vec<u8>| bytes.len() <= Vouch::LEN_MAX;
    signed.enclosures.iter().filter(small).filter_map(read).take(VOUCHES_MAX).collect()
}
