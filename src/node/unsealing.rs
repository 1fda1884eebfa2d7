//! A sealed letter on its way in: opened as it comes, its signed header checked before anything behind it is kept.
//!
//! Promises that no byte of the letter is given out before the header has shown that it is by its author and for us,
//! and that [`Unsealing::finish`] is `Ok` only if the whole letter is the one that was signed.

use crate::model::address::MailAddress;
use crate::model::seal::inside::{HeaderPart, InsideError, LetterPart};
use crate::model::seal::{OpenError, Opener, SecretPrekey};
use crate::model::statement::{LetterStatement, Signed, StatementError, Verified, frame};
use crate::model::time::UnixTime;
use crate::protocol::smtp::Reply;
use onion::OnionAddress;

/// For whom a letter must be.
pub(super) enum Reader {
    /// For whom it was announced.
    Announced(MailAddress),
    /// Whoever the letter says, at this onion.
    At(OnionAddress),
}

impl Reader {
    fn is(&self, to: &MailAddress) -> bool {
        match self {
            Self::Announced(announced) => announced == to,
            Self::At(onion) => to.onion == *onion,
        }
    }
}

/// What the letter must be, as the session says.
pub(super) struct Awaited {
    /// For whom.
    pub(super) to: Reader,
    /// The onion that the session has proved, if any: it must be the author.
    pub(super) proved: Option<OnionAddress>,
    /// The agreed time.
    pub(super) agreed: Option<UnixTime>,
    /// Largest letter.
    pub(super) size_max: u64,
}

/// The signed header of a letter, checked, and what came with it.
pub(super) struct SignedHeader {
    pub(super) statement: Verified<LetterStatement>,
    /// Whole statements that the author enclosed, unchecked.
    pub(super) enclosures: Vec<Vec<u8>>,
}

/// A seal that is being opened.
pub(super) struct Unsealing {
    opener: Option<Opener>,
    part: Part,
    awaited: Awaited,
}

enum Part {
    Header(HeaderPart),
    Letter(LetterPart),
    Broken,
}

/// What a piece of plaintext gave.
#[derive(Default)]
pub(super) struct Opened {
    /// The header, in the one piece with which it was complete.
    pub(super) header: Option<SignedHeader>,
    /// Bytes of the letter.
    pub(super) letter: Vec<u8>,
}

impl Unsealing {
    pub(super) fn new(secret: SecretPrekey, awaited: Awaited) -> Self {
        Self { opener: Some(Opener::new(secret)), part: Part::Header(HeaderPart::default()), awaited }
    }

    /// Takes sealed bytes.
    pub(super) fn push(&mut self, sealed: &[u8]) -> Result<Opened, Reply> {
        let opener = self.opener.as_mut().ok_or(BROKEN)?;
        let plain = opener.push(sealed).map_err(not_opened)?;
        self.take(&plain)
    }

    /// All sealed bytes have come: gives the rest.
    pub(super) fn last(&mut self) -> Result<Opened, Reply> {
        let plain = self.opener.take().ok_or(BROKEN)?.finish().map_err(not_opened)?;
        self.take(&plain)
    }

    /// Whether the letter is whole, and the one that was signed.
    pub(super) fn finish(self) -> Result<(), Reply> {
        match self.part {
            Part::Letter(letter) => letter.finish().map_err(other_inside),
            _ => Err(Reply::new(550, 7, 7, "the sealed letter has no header")),
        }
    }

    fn take(&mut self, plain: &[u8]) -> Result<Opened, Reply> {
        let mut opened = Opened::default();
        let mut rest = plain;
        if let Part::Header(part) = &mut self.part {
            let Some(behind) = part.push(plain).map_err(other_inside)? else { return Ok(opened) };
            let header = signed_header(part.header(), &self.awaited)?;
            let (length, digest) = (header.statement.length, header.statement.digest);
            opened.header = Some(header);
            rest = behind;
            if let Part::Header(part) = std::mem::replace(&mut self.part, Part::Broken) {
                self.part = Part::Letter(part.expect(length, digest).map_err(other_inside)?);
            }
        }
        let Part::Letter(part) = &mut self.part else { return Err(BROKEN) };
        opened.letter = part.push(rest).map_err(other_inside)?.to_vec();
        Ok(opened)
    }
}

const BROKEN: Reply = Reply::new(451, 3, 0, "internal error");

/// Checks who wrote the letter and for whom.
fn signed_header(bytes: &[u8], awaited: &Awaited) -> Result<SignedHeader, Reply> {
    let (statement, enclosures) =
        frame::decode(bytes).map_err(|_| Reply::new(550, 7, 7, "the header inside the seal is malformed"))?;
    let statement = Signed::<LetterStatement>::parse(statement)
        .and_then(|signed| signed.verify(awaited.agreed))
        .map_err(not_signed)?;
    if !awaited.to.is(&statement.to) {
        return Err(Reply::new(
            550,
            7,
            1,
            "the letter was written to somebody else and sealed anew for this address",
        ));
    }
    if awaited.proved.is_some_and(|proved| proved != statement.author()) {
        return Err(Reply::new(
            550,
            7,
            1,
            "the letter is signed by another onion than the one that brings it",
        ));
    }
    if statement.length > awaited.size_max {
        return Err(Reply::new(552, 3, 4, "this letter is larger than this node takes"));
    }
    Ok(SignedHeader { statement, enclosures })
}

fn not_signed(error: StatementError) -> Reply {
    // A clock that is wrong may be right at the next try.
    let code = if matches!(error, StatementError::Future) { 450 } else { 550 };
    Reply::new(code, 7, 7, "").saying(format!("the letter's signature does not hold: {error}"))
}

fn not_opened(error: OpenError) -> Reply {
    Reply::new(550, 7, 7, "").saying(format!("the seal does not open: {error}"))
}

fn other_inside(error: InsideError) -> Reply {
    Reply::new(550, 7, 7, "").saying(error.to_string())
}
