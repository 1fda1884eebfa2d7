//! A letter that a peer brings: who brings it, what its header says, and the one commit that keeps it.

use crate::model::address::MailAddress;
use crate::model::guest;
use crate::model::letter::LetterId;
use crate::model::policy;
use crate::model::proof;
use crate::model::seal::PrekeyId;
use crate::model::statement::{Card, Receipt, Route, Verified, Vouch, sign_as_device};
use crate::model::time::UnixTime;
use crate::model::trace::{self, Arrival, Proof, ScreenError};
use crate::model::trust::Tier;
use crate::model::verdict::{self, Proved, Verdict};
use crate::node::affairs::{self, Affair, Taking};
use crate::node::cards::{self, Pinned};
use crate::node::contacts::Indexed;
use crate::node::desk::Desk;
use crate::node::echo;
use crate::node::errands::Errand;
use crate::node::guests::{self, Addressee};
use crate::node::parcel::{Kind, Parcel, Unfinished};
use crate::node::partial::Claim;
use crate::node::quarantine::Telling;
use crate::node::routes;
use crate::node::standing::{self, Standing};
use crate::node::unsealing::{Awaited, Reader, SignedHeader, Unsealing};
use crate::node::vouches;
use crate::protocol::smtp::server::{Envelope, Sending};
use crate::protocol::smtp::{Reply, ReversePath};
use crate::store::messages::NewMessage;
use crate::store::statements::StatementKind;
use crate::store::{Body, Flags, StoreError, Tx};
use onion::OnionAddress;
use std::sync::Arc;

/// A letter that has been announced by a peer.
pub(super) struct Arriving {
    proved: Option<OnionAddress>,
    id: Option<LetterId>,
    return_path: Option<MailAddress>,
    utf8: bool,
    recipients: Vec<MailAddress>,
    agreed: Option<UnixTime>,
    /// It was collected, from a holder or from its author's own node: what is to be answered goes as a letter.
    collected: bool,
    /// `id` is the name of the sealed bytes, as they came.
    named: bool,
    /// The signed header, once it has come out of the seal.
    pub(super) signed: Option<Box<SignedHeader>>,
    /// The letter so far, while it is small and may carry statements.
    carried: Option<Vec<u8>>,
}

/// What the header showed.
pub(super) struct Screened {
    pub(super) proof: Proof,
    /// The header as it was signed, if another is kept.
    original: Option<Vec<u8>>,
    /// The Card that the author enclosed.
    card: Option<Verified<Card>>,
    /// The vouches for the author that the author enclosed.
    vouches: Vec<Verified<Vouch>>,
    /// Where letters for the author may be left.
    route: Option<Verified<Route>>,
    /// In whose name the author writes, with leave.
    behalf: Option<MailAddress>,
    /// Somebody without a node for whom it is.
    pub(super) guest: Option<Addressee>,
}

impl Arriving {
    /// The proved onion and its address in the reverse path, to which an answer may go; none if either is missing.
    pub(super) fn author(&self) -> Option<(OnionAddress, MailAddress)> {
        self.proved.zip(self.return_path.clone()).filter(|(proved, author)| author.onion == *proved)
    }

    /// The name of this letter among its author's: by it a second copy is known.
    pub(super) fn id(&self) -> Option<LetterId> {
        self.signed.as_ref().map(|signed| signed.statement.id).or(self.id)
    }

    /// Who wrote it, as far as anything proves that: the seal, or else the session.
    fn proved_author(&self) -> Option<OnionAddress> {
        self.signed.as_ref().map(|signed| signed.statement.author()).or(self.proved)
    }

    /// All sealed bytes have come, and this is their SHA-256.
    pub(super) fn name(&mut self, digest: &[u8]) {
        self.named = self.id.is_some_and(|id| digest.starts_with(&id.0));
    }

    /// The signed header has come out of the seal.
    pub(super) fn sign(&mut self, header: Box<SignedHeader>) {
        if self.collected {
            self.recipients = vec![header.statement.to.clone()];
        }
        self.signed = Some(header);
    }

    /// Looks at a piece of the content as it goes by.
    pub(super) fn look_at(&mut self, piece: &[u8]) {
        if let Some(carried) = &mut self.carried {
            if (carried.len() + piece.len()) as u64 > crate::model::enclosure::LETTER_LEN_MAX {
                self.carried = None;
            } else {
                carried.extend_from_slice(piece);
            }
        }
    }
}

/// What is here already of a letter that is announced.
pub enum Here {
    /// A part of it.
    Part(Box<Unfinished>),
    /// All of it: the acknowledgement of an earlier try was lost.
    All,
}

/// Makes this connection the one over which a letter comes; gives what is here of it from earlier tries.
pub async fn claim(desk: &Arc<Desk>, from: OnionAddress, sending: &Sending) -> (Claim, Option<Here>) {
    let (claim, part) = desk.partials.claim(from, sending.letter, sending.sealed).await;
    let id = sending.letter;
    // A letter that is not sealed has one name for all its readers here; with guests among them it comes once more.
    let is_one = sending.sealed.is_some() || desk.guests().is_empty();
    // If this cannot be read the letter comes once more, and is answered then.
    let all = is_one && desk.store.read(move |rx| rx.seen().contains(&from, &id)).await.unwrap_or(false);
    let part = part.filter(|part| part.len() <= sending.size).map(|part| Here::Part(Box::new(part)));
    (claim, if all { Some(Here::All) } else { part })
}

/// Lets a letter come, or the rest of it, if it may.
pub async fn begin(
    desk: &Arc<Desk>,
    envelope: &Envelope,
    here: Option<Here>,
    agreed: Option<UnixTime>,
) -> Result<Parcel, Reply> {
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
        agreed,
        collected: false,
        named: false,
        signed: None,
        carried: None,
    };
    let fresh = !matches!(here, Some(Here::Part(_)));
    let unsealing = match envelope.sealed {
        Some(key) if fresh => {
            let secret = desk.keyring.secret(&key).ok_or(Reply::STALE_KEY)?;
            let to = envelope.recipients.as_slice()[0].clone();
            let to = Reader::Announced(to);
            let awaited = Awaited { to, proved: envelope.proved, agreed, size_max: policy::LETTER_SIZE_MAX };
            Some(Unsealing::new(secret, awaited))
        }
        _ => None,
    };
    // The server takes no letter for both.
    if arriving.recipients.iter().any(|to| desk.identity.names().is_echo(to)) {
        return match here {
            None => echo::begin(desk, arriving).map(|parcel| parcel.sealed(unsealing)),
            // What came before was for somebody else, or broke off: echo@ keeps nothing that could be gone on with.
            Some(_) => Err(Reply::new(552, 3, 4, "echo@ takes no large letter that was sent in part before")),
        };
    }
    let reader = arriving.recipients.iter().find_map(|to| desk.guest_at(to)).map(|guest| guest.name);
    let kind = Kind::Arriving(Box::new(arriving));
    Ok(match here {
        None => Parcel::new(desk.clone(), kind).sealed(unsealing),
        Some(Here::Part(part)) if part.guest() != reader.as_deref() => return Err(OTHER_READER),
        Some(Here::Part(part)) => Parcel::resume(desk.clone(), kind, *part),
        Some(Here::All) => Parcel::kept(desk.clone(), kind),
    })
}

/// The next try begins anew: what was here is given up.
const OTHER_READER: Reply =
    Reply::new(450, 3, 0, "What came of this letter before was for another reader here; send it once more");

/// Lets a letter come that was collected, under the name `id` of its sealed bytes: from a holder, or from the node of
/// `author`. `None`: there is no key for it any more. `begun` is what an earlier try left of it.
pub(super) fn collected(
    desk: &Arc<Desk>,
    (id, key): (LetterId, &PrekeyId),
    author: Option<OnionAddress>,
    agreed: Option<UnixTime>,
    begun: Option<Unfinished>,
) -> Option<Parcel> {
    let secret = desk.keyring.secret(key)?;
    let to = Reader::At(desk.identity.onion());
    let awaited = Awaited { to, proved: author, agreed, size_max: policy::LETTER_SIZE_MAX };
    let arriving = Arriving {
        proved: author,
        id: Some(id),
        return_path: None,
        utf8: false,
        recipients: Vec::new(),
        agreed,
        collected: true,
        named: false,
        signed: None,
        carried: None,
    };
    let kind = Kind::Arriving(Box::new(arriving));
    if let Some(begun) = begun {
        return Some(Parcel::resume(desk.clone(), kind, begun));
    }
    Some(Parcel::new(desk.clone(), kind).sealed(Some(Unsealing::new(secret, awaited))))
}

/// Looks through the header; gives what it shows and what is kept of it.
pub(super) async fn screen(
    desk: &Desk,
    arriving: &mut Arriving,
    block: &[u8],
) -> Result<(Screened, Vec<u8>), Reply> {
    let own = desk.identity.onion();
    // Where a letter is announced this is asked at RCPT, of a size that may be another.
    let length = arriving.signed.as_ref().map(|signed| signed.statement.length);
    let names = desk.identity.names();
    if arriving.collected && arriving.recipients.iter().any(|to| names.is_echo(to)) {
        return Err(Reply::new(550, 7, 1, "echo@ answers in a session only"));
    }
    let guest = match arriving.recipients.iter().find(|to| !names.owns(to) && !names.is_echo(to)) {
        Some(other) => Some(desk.may_reach_guest(other, length).await.map_err(guests::later)?),
        None => None,
    };
    let screened = trace::screen(block, &own).map_err(|error| refusal(&error))?;
    let author = arriving.proved_author();
    let card = arriving.signed.as_deref().and_then(|signed| enclosed_card(signed, arriving.agreed));
    let signed = arriving.signed.as_deref();
    let vouches = signed.map(|signed| vouches::shown_by_author(signed, arriving.agreed)).unwrap_or_default();
    let route = signed.and_then(|signed| routes::given_by_author(&own, signed, arriving.agreed));
    let behalf =
        signed.and_then(|signed| proof::on_behalf(&signed.statement, &screened.authors, arriving.agreed));
    if let Some(from) = &behalf
        && desk.is_revoked(from.onion).await.map_err(|error| desk.disk_reply(&error))?
    {
        let text = "the key of the address in From was revoked, and with it the leave to write in its name";
        return Err(Reply::new(550, 7, 1, text));
    }
    let proof = match &behalf {
        Some(_) => Proof::Pass,
        None => trace::proof_of(&screened.authors, author.as_ref()),
    };
    if proof == Proof::Fail {
        let text = match arriving.signed {
            Some(_) => "the letter's From names another onion than the one that signed it",
            None => "the letter's From names another node than the one that brings it",
        };
        return Err(Reply::new(550, 7, 1, text));
    }
    let mut header = screened.header;
    if behalf.is_none()
        && let Some(author) = author
    {
        let pinned = desk.card_of(author).await.map_err(|error| desk.disk_reply(&error))?;
        if let Some(card) = cards::foremost(pinned, card.as_ref()) {
            header = trace::with_canonical_author(header, &screened.authors, &author, &card.names);
        }
    }
    let original = arriving.signed.is_some() && header != block && block.len() <= verdict::ORIGINAL_LEN_MAX;
    // What a letter for somebody else carries is not for us.
    let may_carry = arriving.signed.is_some() && guest.is_none();
    if may_carry && crate::model::enclosure::is_multipart(&header) {
        arriving.carried = Some(Vec::new());
    }
    let original = original.then(|| block.to_vec());
    Ok((Screened { proof, original, card, vouches, route, behalf, guest }, header))
}

/// The author's own Card among what is enclosed.
fn enclosed_card(signed: &SignedHeader, agreed: Option<UnixTime>) -> Option<Verified<Card>> {
    let author = signed.statement.author();
    signed.enclosures.iter().find_map(|bytes| cards::read(bytes.clone(), &author, agreed).ok())
}

/// Our own lines above a letter.
pub(super) fn prefix(desk: &Desk, arriving: &Arriving, proof: Proof) -> Vec<u8> {
    trace::trace_lines(&Arrival {
        own: &desk.identity.onion(),
        proved: arriving.proved.as_ref(),
        signed: arriving.signed.as_ref().map(|signed| signed.statement.author()).as_ref(),
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

/// What stands above a letter for a guest reader, inside their seal. Nothing of what the holder thinks of its author.
pub(super) fn above_for_guest(desk: &Desk, arriving: &Arriving, screened: &Screened) -> Vec<u8> {
    let mut lines = prefix(desk, arriving, screened.proof);
    lines.extend(proof_lines(arriving, screened));
    lines
}

/// The lines by which a saved letter can be verified.
fn proof_lines(arriving: &Arriving, screened: &Screened) -> Vec<u8> {
    let mut lines = Vec::new();
    if let Some(signed) = &arriving.signed {
        lines.extend(verdict::bytes_field(verdict::SIGNED, signed.statement.bytes()).into_bytes());
    }
    if let Some(original) = &screened.original {
        lines.extend(verdict::bytes_field(verdict::ORIGINAL, original).into_bytes());
    }
    lines
}

fn refusal(error: &ScreenError) -> Reply {
    match error {
        ScreenError::Loop => Reply::new(554, 4, 6, "").saying(error.to_string()),
        _ => Reply::new(554, 6, 0, "").saying(error.to_string()),
    }
}

/// Everything that the commit needs; it may be run more than once.
struct Filing {
    arriving: Arriving,
    screened: Screened,
    trace: Vec<u8>,
    affairs: Vec<Affair>,
    telling: Option<Telling>,
    /// The receipt, if it goes as a letter.
    errand: Option<Errand>,
    web: Indexed,
    body: Body,
    now: UnixTime,
}

/// One commit: the letter in its folder, its seen key, the peer, the author's Card, and what the letter carries. A
/// letter seen before is acknowledged and not kept again. Gives the receipt, if one is wished.
pub(super) async fn keep(
    desk: &Desk,
    mut arriving: Arriving,
    screened: Screened,
    body: Body,
) -> Result<Option<Vec<u8>>, Reply> {
    let receipt = receipt(desk, &arriving)?;
    let errand = match &receipt {
        Some(receipt) if arriving.collected => {
            let written = Errand::write(desk, receipt.author, receipt).await;
            let errand = written.map_err(|error| desk.disk_reply(&error))?;
            Some(if arriving.proved.is_some() { errand.at_once() } else { errand })
        }
        _ => None,
    };
    let trace = prefix(desk, &arriving, screened.proof);
    let affairs = match (&arriving.signed, arriving.carried.take()) {
        (Some(signed), Some(letter)) => {
            affairs::carried(&signed.statement.author(), &letter, arriving.agreed)
        }
        _ => Vec::new(),
    };
    let (folders, own) = (desk.folders, desk.identity.onion());
    let web = desk.indexed().await.map_err(|error| desk.disk_reply(&error))?;
    let telling = match affairs::must_be_told(&affairs) {
        true => Some(desk.telling().await.map_err(|error| desk.disk_reply(&error))?),
        false => None,
    };
    let promised = affairs.iter().any(|affair| matches!(affair, Affair::Promise(_)));
    let filing = Filing { arriving, screened, trace, affairs, telling, errand, web, body, now: desk.now() };
    let filed = desk.store.write(move |tx| filing.file(tx, &own, &folders)).await;
    match filed {
        Ok(filed) => {
            desk.trouble.clear("disk");
            if filed.card_refused {
                desk.tell_of_refused_card();
            }
            if filed.errand {
                desk.orders.look();
            }
            if promised {
                desk.collect_now.notify_one();
            }
            if let Some(author) = filed.announced_by {
                desk.orders.greet(author);
            }
            Ok(receipt.map(Verified::into_bytes))
        }
        Err(error) => Err(desk.guest_reply(&error)),
    }
}

/// The receipt that the author of a sealed letter wishes.
pub(super) fn receipt(desk: &Desk, arriving: &Arriving) -> Result<Option<Verified<Receipt>>, Reply> {
    let Some(signed) = arriving.signed.as_ref().filter(|signed| signed.statement.receipt) else {
        return Ok(None);
    };
    let receipt = Receipt {
        author: signed.statement.author(),
        id: signed.statement.id,
        digest: signed.statement.digest,
        made: desk.now().to_the_hour(),
    };
    let signed = sign_as_device(&desk.keyring.device(), &receipt);
    signed.map(Some).map_err(|_| Reply::new(451, 3, 0, "internal error"))
}

/// What the commit did.
#[derive(Default)]
struct Filed {
    card_refused: bool,
    /// An errand waits to be sent.
    errand: bool,
    /// Somebody we know has a letter for us that is too large for holders.
    announced_by: Option<OnionAddress>,
}

impl Filing {
    fn file(
        &self,
        tx: &mut Tx<'_>,
        own: &OnionAddress,
        folders: &crate::node::desk::Folders,
    ) -> Result<Filed, StoreError> {
        let mut filed = Filed::default();
        if let Some(errand) = &self.errand {
            errand.file(tx, self.now)?;
            filed.errand = true;
        }
        if !self.is_new(tx, own)? {
            return Ok(filed);
        }
        if let Some(card) = &self.screened.card {
            filed.card_refused = cards::pin_given(tx, card, self.now)? == Pinned::Refused;
        }
        let author = self.arriving.proved_author();
        if let Some(to) = &self.screened.guest {
            self.file_for_guest(tx, own, to, author.as_ref())?;
            return Ok(filed);
        }
        let (agreed, telling) = (self.arriving.agreed, self.telling.as_ref());
        let taking = Taking { tx, own: *own, outbox: folders.outbox, now: self.now, agreed, telling };
        let heeded = self.is_heeded(tx, author.as_ref())?;
        for affair in self.affairs.iter().filter(|affair| heeded || affair.is_of_recovery_key()) {
            affair.take(&taking)?;
        }
        if let Some(author) = author.as_ref().filter(|_| heeded && affairs::announces(&self.affairs, own))
            && taking.knows(author)?
        {
            filed.announced_by = Some(*author);
        }
        for vouch in self.screened.vouches.iter().filter(|_| heeded) {
            taking.keep(vouch, vouch.subject, StatementKind::Vouch, Some(vouch.method), vouch.until)?;
        }
        if let Some(route) = self.screened.route.as_ref().filter(|_| heeded) {
            routes::take(tx, route, self.now)?;
        }
        if self.arriving.signed.as_ref().is_some_and(|signed| signed.statement.errand) {
            return Ok(filed);
        }
        let standing = match &author {
            Some(author) => standing::of(tx, own, author, &self.web, self.arriving.agreed)?,
            None => Standing::unproved(),
        };
        let folder = match standing.tier {
            _ if standing.revoked => folders.junk,
            Tier::Blocked => folders.junk,
            Tier::Stranger => folders.requests,
            Tier::Introduced | Tier::Known | Tier::Trusted => folders.inbox,
        };
        let letter = tx.letters().add(&self.body, &self.prefix(tx, author.as_ref(), &standing)?)?;
        let flags = self.flags(author.is_some());
        tx.messages()
            .append(folder, &NewMessage { letter, flags, internal_date: self.now, sent_id: None })?;
        self.note_peer(tx)?;
        Ok(filed)
    }

    fn note_peer(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(peer) = self.arriving.proved else { return Ok(()) };
        tx.peers().update(&peer, |record| {
            record.last_seen = Some(self.now);
            record.last_received = Some(self.now);
            record.onionskin = true;
        })?;
        Ok(())
    }

    /// The letter in the one mailbox of a guest reader, if it is not an errand. Of what came with it only the way back
    /// to its author is ours.
    fn file_for_guest(
        &self,
        tx: &Tx<'_>,
        own: &OnionAddress,
        to: &Addressee,
        author: Option<&OnionAddress>,
    ) -> Result<(), StoreError> {
        let heeded = self.is_heeded(tx, author)?;
        if let Some(route) = self.screened.route.as_ref().filter(|_| heeded) {
            routes::take(tx, route, self.now)?;
        }
        if self.arriving.signed.as_ref().is_some_and(|signed| signed.statement.errand) {
            return Ok(());
        }
        let known = tx.guests().get(&to.guest.name)?.filter(|known| known.mailbox == to.guest.mailbox);
        let guest = known.ok_or(StoreError::NoMailbox)?;
        tx.guests().check_room(&guest, self.body.len())?;
        let standing = author.map(|author| standing::of(tx, own, author, &self.web, self.arriving.agreed));
        let mut flags = Flags::default();
        if standing.transpose()?.is_some_and(|standing| standing.revoked || standing.tier == Tier::Blocked) {
            flags.keywords.insert(guest::JUNK.to_owned());
        }
        let letter = tx.letters().add(&self.body, b"")?;
        let message = NewMessage { letter, flags, internal_date: self.now, sent_id: None };
        tx.messages().append(guest.mailbox, &message)?;
        self.note_peer(tx)
    }

    /// Whether what the author says of others and asks of us is taken: not if the key was revoked, or they are blocked.
    fn is_heeded(&self, tx: &Tx<'_>, author: Option<&OnionAddress>) -> Result<bool, StoreError> {
        let Some(author) = author else { return Ok(false) };
        let contact = tx.contacts().get(author)?.unwrap_or_default();
        Ok(contact.revoked.is_none()
            && contact.decision.is_none_or(|decision| decision.tier != Tier::Blocked))
    }

    /// Notes the letter as seen; whether it was not before. The transfer's own name is noted too, so that a lost
    /// acknowledgement costs no second upload.
    fn is_new(&self, tx: &mut Tx<'_>, own: &OnionAddress) -> Result<bool, StoreError> {
        let guest = self.screened.guest.as_ref().map(|to| &to.guest.name);
        let named = self.arriving.proved_author().zip(self.arriving.id()).map(|(author, id)| {
            // Its author has one id for all readers at this onion.
            (author, guest.map_or(id, |guest| guests::seen_by(&id, guest)))
        });
        let new = match &named {
            Some((author, id)) => tx.seen().insert(author, id, self.now)?,
            None => true,
        };
        // A second holder may have the very same bytes: they are known by their name alone.
        if let Some(id) = self.arriving.id.filter(|_| self.arriving.named) {
            tx.seen().insert(own, &id, self.now)?;
        }
        // A letter that is not sealed has one name for all its readers.
        let is_its_own = guest.is_none() || self.arriving.signed.is_some();
        let transfer = self.arriving.proved.zip(self.arriving.id).filter(|_| is_its_own);
        if let Some((peer, id)) = transfer.filter(|transfer| Some(*transfer) != named) {
            tx.seen().insert(&peer, &id, self.now)?;
        }
        Ok(new)
    }

    fn flags(&self, proved: bool) -> Flags {
        let mut flags = Flags::default();
        if self.arriving.signed.is_none() {
            flags.keywords.insert(verdict::UNSEALED.to_owned());
        }
        if !proved {
            flags.keywords.insert(verdict::UNVERIFIED.to_owned());
        }
        flags
    }

    /// All our own lines.
    fn prefix(
        &self,
        tx: &Tx<'_>,
        author: Option<&OnionAddress>,
        standing: &Standing,
    ) -> Result<Vec<u8>, StoreError> {
        let proved = match (author, &self.arriving.signed) {
            (None, _) => Proved::Nothing,
            (Some(author), Some(_)) => Proved::Sealed(author),
            (Some(author), None) => Proved::Session(author),
        };
        let canonical = match author {
            Some(author) => cards::pinned_in(tx, author)?.and_then(|card| {
                let local = card.names.first()?.clone();
                Some(MailAddress { local, onion: *author })
            }),
            None => None,
        };
        let verdict = Verdict {
            tier: standing.tier,
            proved,
            canonical: canonical.as_ref(),
            behalf: self.screened.behalf.as_ref(),
            reason: &standing.reason,
        };
        let mut lines = self.trace.clone();
        lines.extend_from_slice(verdict.line().as_bytes());
        lines.extend(proof_lines(&self.arriving, &self.screened));
        Ok(lines)
    }
}
