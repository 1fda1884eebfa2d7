//! What a saved letter proves by itself: its author's signature, held against what was signed.
//!
//! The lines that the reader's node wrote are taken off, the header as it was signed is put back where another was
//! kept, and line ends that a program changed on saving are mended. Promises that `Ok` is given only if the SHA-256 of
//! all that follows our lines is the one that the author signed. The lines themselves are the reader's own word.

use crate::model::address::MailAddress;
use crate::model::header::{Cut, Field, HeaderCutter, HeaderError, fields};
use crate::model::letter::LetterId;
use crate::model::mailbox::addresses;
use crate::model::statement::{Delegation, LetterStatement, Signed, StatementError, Verified};
use crate::model::time::{UnixTime, parse_date};
use crate::model::trace::{Proof, is_mark, proof_of, screen};
use crate::model::verdict::{ORIGINAL, SIGNED, VERDICT, field_bytes};
use onion::OnionAddress;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// Lines of mbox files and mail programs that are not part of a letter, beside the marks that arrival drops.
const SAVED_WITH: [&str; 2] = ["content-length", "lines"];

/// A letter whose author is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Who signed it.
    pub author: OnionAddress,
    /// The address in From as it was signed, if there is exactly one.
    pub from: Option<String>,
    /// Whose address that is, if the author writes in their name and with their leave.
    pub behalf: Option<MailAddress>,
    /// For whom.
    pub to: MailAddress,
    /// The letter's id.
    pub id: LetterId,
    /// SHA-256 of the letter.
    pub digest: [u8; 32],
    /// When the author says it was made, rounded down to the hour.
    pub made: UnixTime,
    /// Whether the header that is shown is not the one that was signed (its forged lines are gone, or From is another).
    pub header_differs: bool,
    /// When it came, in the reader's own word.
    pub received: Option<UnixTime>,
    /// What the reader's node said of its author.
    pub verdict: Option<String>,
}

/// Why a saved letter proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No line with a signature.
    #[error("it was not sealed, so nobody signed it: there is no line {SIGNED}")]
    Unsealed,
    /// The header cannot be read.
    #[error("it is no letter: {0}")]
    Header(#[from] HeaderError),
    /// One of our lines cannot be read.
    #[error("the line {0} is malformed")]
    Line(&'static str),
    /// The signed header does not hold.
    #[error("the signature does not hold: {0}")]
    Statement(#[from] StatementError),
    /// The letter has another length.
    #[error("it is not the letter that was signed: that one has {signed} bytes, and this one {found}")]
    Length {
        /// In bytes.
        signed: u64,
        /// In bytes.
        found: u64,
    },
    /// The letter has another SHA-256.
    #[error("it is not the letter that was signed: its header or its text was altered")]
    Altered,
    /// What follows is as it was signed, and the header that is shown before it is not what was made of that.
    #[error(
        "its header was altered: it is not the one that was signed, nor what the reader's node makes of that"
    )]
    HeaderAltered,
    /// From names somebody else.
    #[error("it is signed by {author}, and its From names somebody else")]
    OtherAuthor {
        /// The host of the author.
        author: String,
    },
}

/// Checks a letter as somebody saved it.
pub fn prove(saved: &[u8]) -> Result<Proven, ProofError> {
    let mended = lines_of_mail(saved);
    let proven = prove_form(&mended);
    match (&proven, &mended) {
        // A letter that was signed with bare line ends is what it is.
        (Err(_), Cow::Owned(_)) => prove_form(saved).or(proven),
        _ => proven,
    }
}

/// What may be the SHA-256 of what went out, of a letter saved from Sent: there Bcc stands above it. Several, since
/// saving may have added lines above it and at its end.
pub fn sent_digests(saved: &[u8]) -> Result<Vec<[u8; 32]>, ProofError> {
    let mended = lines_of_mail(saved);
    let (block, content) = cut(without_envelope(&mended))?;
    let found = fields(&block)?;
    let sent: Vec<&Field<'_>> = found.iter().filter(|field| !field.is("Bcc")).collect();
    let bare: Vec<&Field<'_>> = sent.iter().copied().filter(|field| !is_saved_with(field)).collect();
    let mut digests = Vec::new();
    for header in [sent, bare] {
        for content in [content, content.strip_suffix(b"\r\n").unwrap_or(content)] {
            let mut hash = Sha256::new();
            header.iter().for_each(|field| hash.update(field.raw()));
            let digest = hash.chain_update(b"\r\n").chain_update(content).finalize().into();
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
    }
    Ok(digests)
}

/// The address in From, if it is somebody else's who let the author write in their name. `at` is the agreed time.
pub fn on_behalf(
    statement: &Verified<LetterStatement>,
    authors: &[String],
    at: Option<UnixTime>,
) -> Option<MailAddress> {
    let leave = statement.behalf.clone()?;
    let leave = Signed::<Delegation>::parse(leave).and_then(|leave| leave.verify(at)).ok()?;
    let [from] = authors else { return None };
    let from = MailAddress::parse(from).ok()?;
    let covered = leave.names.iter().any(|name| name.as_str() == from.local.base());
    (leave.author() == from.onion && leave.delegate == statement.author() && covered).then_some(from)
}

/// What our lines say, and what lies below them.
struct Ours<'a> {
    signed: Vec<u8>,
    original: Option<Vec<u8>>,
    received: Option<UnixTime>,
    verdict: Option<String>,
    below: Vec<Field<'a>>,
}

impl<'a> Ours<'a> {
    /// Takes our lines off; also what a later program wrote above them.
    fn of(mut found: Vec<Field<'a>>) -> Result<Self, ProofError> {
        let at = found.iter().position(|field| field.is(SIGNED)).ok_or(ProofError::Unsealed)?;
        let mut below = found.split_off(at + 1);
        let value = |name: &str| found.iter().rev().find(|field| field.is(name)).map(Field::unfolded);
        let date = |line: Vec<u8>| {
            let date = line.iter().rposition(|&byte| byte == b';').map(|at| line[at + 1..].to_vec())?;
            Some(parse_date(&date)?.moment)
        };
        let original = match below.first().filter(|field| field.is(ORIGINAL)) {
            Some(field) => Some(field_bytes(field.body()).ok_or(ProofError::Line(ORIGINAL))?),
            None => None,
        };
        if original.is_some() {
            below.remove(0);
        }
        Ok(Self {
            signed: field_bytes(found[at].body()).ok_or(ProofError::Line(SIGNED))?,
            original,
            received: value("Received").and_then(date),
            verdict: value(VERDICT).map(|line| String::from_utf8_lossy(&line).replace('\t', " ")),
            below,
        })
    }

    fn kept(&self, is_part: impl Fn(&Field<'a>) -> bool) -> Vec<u8> {
        let mut block: Vec<u8> =
            self.below.iter().filter(|field| is_part(field)).flat_map(|field| field.raw().to_vec()).collect();
        block.extend_from_slice(b"\r\n");
        block
    }
}

fn prove_form(saved: &[u8]) -> Result<Proven, ProofError> {
    let (block, content) = cut(without_envelope(saved))?;
    let ours = Ours::of(fields(&block)?)?;
    let statement = Signed::<LetterStatement>::parse(ours.signed.clone())?.verify(ours.received)?;
    let header = match &ours.original {
        Some(original) => {
            compare(&statement, original, content)?;
            original.clone()
        }
        None => {
            let whole = ours.kept(|_| true);
            let bare = ours.kept(|field| !is_saved_with(field));
            match compare(&statement, &whole, content) {
                Ok(()) => whole,
                Err(error) => compare(&statement, &bare, content).map(|()| bare).map_err(|_| error)?,
            }
        }
    };
    let found = fields(&header)?;
    let from = found.iter().find(|field| field.is("From"));
    let authors = from.and_then(|field| addresses(field.body()).ok()).unwrap_or_default();
    let author = statement.author();
    let behalf = on_behalf(&statement, &authors, ours.received);
    if behalf.is_none() && proof_of(&authors, Some(&author)) != Proof::Pass {
        return Err(ProofError::OtherAuthor { author: author.host() });
    }
    if ours.original.is_some() && !is_made_of(&ours.below, &header, &statement) {
        return Err(ProofError::HeaderAltered);
    }
    Ok(Proven {
        author,
        from: <[String; 1]>::try_from(authors).ok().map(|[one]| one),
        behalf,
        to: statement.to.clone(),
        id: statement.id,
        digest: statement.digest,
        made: statement.made,
        header_differs: ours.original.is_some(),
        received: ours.received,
        verdict: ours.verdict,
    })
}

/// Whether header and content are the letter that was signed. Empty lines that saving put at the end do not count.
fn compare(statement: &LetterStatement, header: &[u8], content: &[u8]) -> Result<(), ProofError> {
    let found = (header.len() + content.len()) as u64;
    let error = ProofError::Length { signed: statement.length, found };
    let Some(wanted) = statement.length.checked_sub(header.len() as u64) else { return Err(error) };
    let (content, added) = match usize::try_from(wanted) {
        Ok(wanted) if wanted <= content.len() => content.split_at(wanted),
        _ => return Err(error),
    };
    if !added.iter().all(|byte| b"\r\n".contains(byte)) {
        return Err(error);
    }
    let digest = Sha256::new().chain_update(header).chain_update(content).finalize();
    if digest[..] == statement.digest { Ok(()) } else { Err(ProofError::Altered) }
}

/// Whether these fields are what the reader's node keeps of this header: without what was forged, and with the
/// author's canonical address in From if it wrote another.
fn is_made_of(below: &[Field<'_>], original: &[u8], statement: &Verified<LetterStatement>) -> bool {
    let Ok(screened) = screen(original, &statement.to.onion) else { return false };
    let Ok(expected) = fields(&screened.header) else { return false };
    let below: Vec<&Field<'_>> = below.iter().filter(|field| !is_saved_with(field)).collect();
    let expected: Vec<&Field<'_>> = expected.iter().filter(|field| !is_saved_with(field)).collect();
    let is_canonical = |field: &Field<'_>| {
        field.is("From")
            && addresses(field.body())
                .is_ok_and(|found| proof_of(&found, Some(&statement.author())) == Proof::Pass)
    };
    below.len() == expected.len()
        && below.iter().zip(&expected).all(|(kept, expected)| {
            kept.raw() == expected.raw() || (expected.is("From") && is_canonical(kept))
        })
}

fn is_saved_with(field: &Field<'_>) -> bool {
    let name = field.name().to_ascii_lowercase();
    is_mark(&name) || name.starts_with("x-mozilla-") || SAVED_WITH.contains(&name.as_str())
}

fn cut(saved: &[u8]) -> Result<(Vec<u8>, &[u8]), ProofError> {
    let mut cutter = HeaderCutter::default();
    let content = match cutter.push(saved)? {
        Cut::Content(at) => &saved[at..],
        Cut::More => &[],
    };
    Ok((cutter.into_block(), content))
}

/// Without the line that separates letters in an mbox file.
fn without_envelope(saved: &[u8]) -> &[u8] {
    match memchr::memchr(b'\n', saved) {
        Some(end) if saved.starts_with(b"From ") => &saved[end + 1..],
        _ => saved,
    }
}

/// With the line ends of mail, where a program left LF alone.
fn lines_of_mail(saved: &[u8]) -> Cow<'_, [u8]> {
    let bare = |at: usize| at == 0 || saved[at - 1] != b'\r';
    if !memchr::memchr_iter(b'\n', saved).any(bare) {
        return Cow::Borrowed(saved);
    }
    let mut mended = Vec::with_capacity(saved.len() + saved.len() / 16);
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', saved).filter(|&at| bare(at)) {
        mended.extend_from_slice(&saved[from..at]);
        mended.push(b'\r');
        from = at;
    }
    mended.extend_from_slice(&saved[from..]);
    Cow::Owned(mended)
}

#[cfg(test)]
mod vectors;
