//! The ledger: what was submitted and answered, who was there when, and the verdict over what the mailboxes hold.
//!
//! Knows nothing of nodes or networks, only of letters and times. A *return* is legal only if the recipient's name
//! does not exist, or if the recipient was never reachable between acceptance and deadline; reachable is who ran,
//! undisturbed on the network, for [`THERE_MIN`] on end.

use crate::world::{Letter, NodeId};
use onionskin::model::queue::DEADLINE;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Being there for less is too short for anybody to notice.
pub(crate) const THERE_MIN: Duration = Duration::from_secs(600);

/// How a submission was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    Refused,
    Unanswered,
}

/// A letter as it was submitted.
pub(crate) struct Submitted {
    pub(crate) author: NodeId,
    pub(crate) at: Instant,
    pub(crate) fate: Fate,
    pub(crate) digest: [u8; 32],
    pub(crate) recipients: Vec<Recipient>,
}

/// For whom.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    pub(crate) reader: NodeId,
    pub(crate) address: String,
    /// Whether the reader has this name.
    pub(crate) exists: bool,
}

/// A letter's way to one reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delay {
    /// When it was handed in.
    pub(crate) at: Instant,
    /// How long it took; none if it did not arrive.
    pub(crate) took: Option<Duration>,
}

/// What was counted. The columns are explained in `main.rs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) letters: usize,
    pub(crate) delivered: usize,
    pub(crate) returned: usize,
    pub(crate) unconfirmed: usize,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) refused: usize,
    pub(crate) unanswered: usize,
}

/// Everything that is known from outside.
#[derive(Default)]
pub(crate) struct Ledger {
    letters: BTreeMap<String, Submitted>,
    /// When each person was there: whole spans, and since when they are there now.
    there: BTreeMap<NodeId, Vec<(Instant, Instant)>>,
    since: BTreeMap<NodeId, Instant>,
    /// Who keeps letters for whom, and does so honestly; none where people reach each other at all times but for
    /// faults.
    pub(crate) holders: Option<BTreeMap<NodeId, Vec<NodeId>>>,
    /// What IMAP has shown: mailbox owner and uid of INBOX, and the letter's name or digest.
    shown: BTreeMap<(NodeId, u32), [u8; 32]>,
}

/// What a person's mailboxes hold, and which letters lie in Sent.
#[derive(Default)]
pub(crate) struct Found {
    /// Letter and digest of its content.
    received: BTreeMap<(String, NodeId), Vec<[u8; 32]>>,
    /// Letter and the recipient's address.
    returned: BTreeMap<(String, String), usize>,
    /// The same of those whose author was told that nobody knows.
    unconfirmed: BTreeMap<(String, String), usize>,
    /// When it came, by the reader's clock.
    dates: BTreeMap<(String, NodeId), u64>,
    sent: BTreeMap<String, usize>,
    /// Letters that nobody wrote.
    strange: Vec<String>,
}

impl Ledger {
    pub(crate) fn submit(&mut self, name: String, letter: Submitted) {
        self.letters.insert(name, letter);
    }

    /// A person came or went.
    pub(crate) fn is_there(&mut self, id: NodeId, there: bool, now: Instant) {
        if there {
            self.since.entry(id).or_insert(now);
        } else if let Some(since) = self.since.remove(&id) {
            self.there.entry(id).or_default().push((since, now));
        }
    }

    fn spans(&self, id: NodeId, to: Instant) -> impl Iterator<Item = (Instant, Instant)> {
        let spans = self.there.get(&id).into_iter().flatten().copied();
        spans.chain(self.since.get(&id).map(|since| (*since, to.max(*since))))
    }

    /// Whether the author could reach the reader between the two times: directly, or through an honest holder.
    fn was_reachable(&self, author: NodeId, reader: NodeId, from: Instant, to: Instant) -> bool {
        let Some(holders) = &self.holders else {
            return self.met([reader, reader], from, to).is_some();
        };
        let by_holder = |holder: &NodeId| {
            let left = self.met([author, *holder], from, to)?;
            self.met([*holder, reader], left, to)
        };
        let of_reader = holders.get(&reader).into_iter().flatten();
        self.met([author, reader], from, to).is_some() || of_reader.filter_map(by_holder).next().is_some()
    }

    /// When the two had first been there together for long enough.
    fn met(&self, [one, other]: [NodeId; 2], from: Instant, to: Instant) -> Option<Instant> {
        let mut first = None;
        for (since, until) in self.spans(one, to) {
            for (other_since, other_until) in self.spans(other, to) {
                let (since, until) = (since.max(other_since).max(from), until.min(other_until).min(to));
                let met = since + THERE_MIN;
                if met <= until && first.is_none_or(|first| met < first) {
                    first = Some(met);
                }
            }
        }
        first
    }

    /// How long every acknowledged letter took from its author's mail program to its reader's mailbox. `began` is an
    /// instant and the true time then; `clocks` says whose clock was wrong, since when, by how much.
    pub(crate) fn delays(
        &self,
        found: &Found,
        (began, true_time): (Instant, u64),
        clocks: &BTreeMap<NodeId, Vec<(Instant, i64)>>,
    ) -> Vec<Delay> {
        let secs = |at: Instant| (at - began).as_secs() as i64;
        let mut delays = Vec::new();
        let acknowledged = self.letters.iter().filter(|(_, letter)| letter.fate == Fate::Acknowledged);
        for (name, letter) in acknowledged {
            for recipient in letter.recipients.iter().filter(|recipient| recipient.exists) {
                let shown = found.dates.get(&(name.clone(), recipient.reader));
                let changes = clocks.get(&recipient.reader).map_or(&[][..], Vec::as_slice);
                let right = [(began, 0)];
                let spans = right.iter().chain(changes).zip(changes.iter().map(Some).chain([None]));
                let took = shown.and_then(|shown| {
                    let shown = *shown as i64 - true_time as i64;
                    let mut times = spans.filter_map(|((since, wrong), next)| {
                        let at = shown - wrong;
                        let within =
                            at + 1 >= secs(*since) && next.is_none_or(|(until, _)| at <= secs(*until));
                        (within && at + 1 >= secs(letter.at)).then_some(at - secs(letter.at))
                    });
                    times.next().map(|secs| Duration::from_secs(secs.max(0) as u64))
                });
                delays.push(Delay { at: letter.at, took });
            }
        }
        delays
    }

    /// Takes what IMAP shows of an INBOX now. Gives what it had shown before and does not show any more.
    pub(crate) fn look(&mut self, id: NodeId, inbox: &[Letter]) -> Vec<String> {
        let now: BTreeMap<u32, [u8; 32]> =
            inbox.iter().map(|letter| (letter.uid, digest(&letter.bytes))).collect();
        let before = self.shown.range((id, 0)..=(id, u32::MAX));
        let gone = before.filter(|((_, uid), seen)| now.get(uid) != Some(seen));
        let gone = gone.map(|((_, uid), _)| format!("what {id:?} was shown as {uid} is gone")).collect();
        self.shown.extend(now.into_iter().map(|(uid, seen)| ((id, uid), seen)));
        gone
    }

    /// How many letters IMAP has shown of an INBOX so far.
    pub(crate) fn shown(&self, id: NodeId) -> usize {
        self.shown.range((id, 0)..=(id, u32::MAX)).count()
    }

    /// Judges every letter, now. Gives the count and, in words, whatever is wrong.
    pub(crate) fn judge(&self, found: &Found, now: Instant) -> (Tally, Vec<String>) {
        let mut verdict = Verdict { found, now, tally: Tally::default(), faults: found.strange.clone() };
        verdict.tally.lost = found.strange.len();
        for (name, letter) in &self.letters {
            verdict.letter(self, name, letter);
        }
        (verdict.tally, verdict.faults)
    }
}

/// The verdict so far.
struct Verdict<'a> {
    found: &'a Found,
    now: Instant,
    tally: Tally,
    faults: Vec<String>,
}

impl Verdict<'_> {
    fn letter(&mut self, ledger: &Ledger, name: &str, letter: &Submitted) {
        match letter.fate {
            Fate::Acknowledged => {}
            Fate::Refused => self.tally.refused += 1,
            Fate::Unanswered => self.tally.unanswered += 1,
        }
        let sent = self.found.sent.get(name).copied().unwrap_or(0);
        // A letter in Sent tells its author that it is on its way, whatever was answered.
        let promised = letter.fate == Fate::Acknowledged || sent > 0;
        if sent != usize::from(promised) {
            self.faults.push(format!("{name} ({:?}): {sent} copies in Sent", letter.fate));
        }
        for recipient in &letter.recipients {
            if let Err(what) = self.recipient(ledger, name, letter, recipient, promised) {
                let Submitted { fate, author, .. } = letter;
                self.faults
                    .push(format!("{name} ({fate:?}) from {author:?} to {}: {what}", recipient.address));
            }
        }
    }

    fn recipient(
        &mut self,
        ledger: &Ledger,
        name: &str,
        letter: &Submitted,
        recipient: &Recipient,
        promised: bool,
    ) -> Result<(), String> {
        let received = self.found.received.get(&(name.to_owned(), recipient.reader));
        let received = received.map_or(&[][..], Vec::as_slice);
        let returned = self.found.returned.get(&(name.to_owned(), recipient.address.clone()));
        let returned = returned.copied().unwrap_or(0);
        let told = self.found.unconfirmed.get(&(name.to_owned(), recipient.address.clone()));
        let told = told.copied().unwrap_or(0);
        self.tally.letters += usize::from(promised);
        self.tally.unconfirmed += usize::from(told > 0);
        let more = received.len().saturating_sub(1) + (returned + told).saturating_sub(1);
        self.tally.duplicated += more;
        let deadline = letter.at + DEADLINE;
        let never_there = self.now >= deadline
            && !ledger.was_reachable(letter.author, recipient.reader, letter.at, deadline);
        let fault = if received.iter().any(|content| *content != letter.digest) {
            "it arrived with other bytes"
        } else {
            match (received.len(), returned) {
                (0, 0) if promised && told > 0 && never_there => return Ok(()),
                (0, 0) if promised => "lost",
                (_, 1..) if recipient.exists && !never_there => "returned, although the reader was there",
                (_, 1..) if !promised => "returned, although nothing was promised",
                (1.., 1..) => "delivered and returned",
                (1.., 0) if !recipient.exists => "delivered to a name that does not exist",
                (delivered, returned) => {
                    self.tally.delivered += usize::from(promised && delivered > 0);
                    self.tally.returned += usize::from(promised && returned > 0);
                    let copies = received.len();
                    return if more > 0 {
                        Err(format!("{copies} copies, {returned} reports"))
                    } else {
                        Ok(())
                    };
                }
            }
        };
        self.tally.lost += 1;
        Err(fault.to_owned())
    }
}

impl Found {
    /// Sorts what lies in a mailbox of received letters.
    pub(crate) fn read(&mut self, id: NodeId, letters: &[Letter]) {
        for letter in letters {
            let kind = letter.field("Content-Type");
            if kind.starts_with("multipart/report") {
                self.read_report(id, &letter.text());
                continue;
            }
            match letter.field("X-Letter") {
                name if name.is_empty() && is_about_holding(letter) => {}
                name if name.is_empty() => self.strange.push(format!("{id:?}: a letter that nobody wrote")),
                name => self.received.entry((name, id)).or_default().push(digest(letter.content())),
            }
        }
    }

    /// Takes when what lies in an INBOX came.
    pub(crate) fn read_dates(&mut self, id: NodeId, letters: &[Letter], dates: &BTreeMap<u32, u64>) {
        for letter in letters {
            let (name, date) = (letter.field("X-Letter"), dates.get(&letter.uid));
            self.dates.extend(date.filter(|_| !name.is_empty()).map(|date| ((name, id), *date)));
        }
    }

    /// A report of our own node: a delay notice says nothing, a failure returns the letter.
    fn read_report(&mut self, id: NodeId, text: &str) {
        let told = match text {
            text if text.contains("Action: failed") => &mut self.returned,
            text if text.contains("Action: relayed") => &mut self.unconfirmed,
            _ => return,
        };
        let named = |field: &'static str| text.lines().filter_map(move |line| line.strip_prefix(field));
        let Some(name) = named("X-Letter: ").next() else {
            self.strange.push(format!("{id:?}: a report on a letter that nobody wrote"));
            return;
        };
        for address in named("Final-Recipient: rfc822; ") {
            *told.entry((name.trim().to_owned(), address.trim().to_owned())).or_default() += 1;
        }
    }

    /// Takes a Sent folder.
    pub(crate) fn read_sent(&mut self, letters: &[Letter]) {
        for letter in letters {
            *self.sent.entry(letter.field("X-Letter")).or_default() += 1;
        }
    }
}

/// Whether it is one of the letters by which people become each other's holders.
fn is_about_holding(letter: &Letter) -> bool {
    let subject = letter.subject();
    subject.ends_with(" asks you to keep letters") || subject.ends_with(" keeps letters for you")
}

/// What bytes are compared by.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
