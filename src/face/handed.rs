//! A letter that a command hands in: who sends it, to whom it goes, whether its lines can travel.

use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::model::address::{MailAddress, MailAddressError};
use crate::model::header::{Cut, HeaderCutter};
use crate::model::letter::Recipients;
use crate::model::policy;
use crate::model::prepare::{self, RecipientsError};
use crate::node::desk::Desk;
use crate::protocol::smtp::{Enhanced, Reply};
use onion::AddressError;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Most bytes of a header that are read at once.
const PIECE_LEN: usize = 16 * 1024;
/// Most characters of an address that a message repeats.
const SHOWN_ADDRESS_LEN: usize = 100;

/// A letter that a command hands in.
pub(super) struct Handed {
    /// Sender, if one was named.
    pub(super) from: Option<String>,
    /// Recipients named on the command line.
    pub(super) to: Vec<String>,
    /// Also take those in To, Cc and Bcc.
    pub(super) from_headers: bool,
    /// Its length in bytes.
    pub(super) size: u64,
}

impl Handed {
    /// Whether the sender that was named, if any, is this identity.
    pub(super) async fn check_sender(&self, desk: &Desk) -> Result<(), Failure> {
        let Some(from) = self.from.as_deref().map(bare_address).filter(|from| !from.is_empty()) else {
            return Ok(());
        };
        if let Ok(from) = MailAddress::parse(from) {
            let others = desk.others().await.map_err(store_failure)?;
            if desk.identity().names().owns(&from) || others.contains(&from) {
                return Ok(());
            }
        }
        let address = desk.identity().address().full();
        let what = format!("{} is not an address of this identity", shown(from));
        Err(Failure::new(Exit::NoPermission, what).hint(format_args!("you send as {address}")))
    }

    /// Everyone named on the command line and, if asked for, in the header; what was read for that is in `first`.
    pub(super) async fn recipients(
        &self,
        bytes: &mut (impl AsyncRead + Unpin),
        first: &mut Vec<u8>,
    ) -> Result<Recipients, Failure> {
        let mut named = Vec::new();
        for text in &self.to {
            named.push(MailAddress::parse(bare_address(text)).map_err(|error| no_user(text, error))?);
        }
        if self.from_headers {
            let block = read_header(bytes, first).await?;
            match prepare::recipients(&block) {
                Ok(found) => named.extend(found.as_slice().iter().cloned()),
                Err(RecipientsError::Nobody) if !named.is_empty() => {}
                Err(RecipientsError::Address { field, address, error }) => {
                    return Err(no_user(&format!("{field}: {address}"), error));
                }
                Err(error @ RecipientsError::Header(_)) => {
                    return Err(Failure::new(Exit::Data, error).hint(HEADER_HINT));
                }
                Err(error) => return Err(Failure::new(Exit::NoUser, error)),
            }
        }
        Recipients::new(named).ok_or_else(|| {
            Failure::new(Exit::Usage, "no recipient was named")
                .hint("name them, or use -t to take them from the header")
        })
    }
}

const HEADER_HINT: &str =
    "a message begins with its header, then an empty line; for mere text use: onionskin send";

/// The address itself of `Name <address>` or `<address>`.
pub(super) fn bare_address(text: &str) -> &str {
    let text = text.trim();
    match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(at), Some(inner)) => &inner[at + 1..],
        _ => text,
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_ADDRESS_LEN).collect()
}

fn no_user(text: &str, error: MailAddressError) -> Failure {
    let failure = Failure::new(Exit::NoUser, format_args!("{}: {error}", shown(text)));
    match error {
        MailAddressError::NoAt | MailAddressError::Onion(AddressError::Suffix) => {
            failure.hint("letters go to onion addresses only; nothing leaves into the ordinary internet")
        }
        MailAddressError::Onion(AddressError::Length(_) | AddressError::Checksum) => {
            failure.hint("copy the address again, as a whole")
        }
        _ => failure,
    }
}

/// Reads up to the end of the header; `first` then holds all that was read.
async fn read_header(bytes: &mut (impl AsyncRead + Unpin), first: &mut Vec<u8>) -> Result<Vec<u8>, Failure> {
    let mut cutter = HeaderCutter::default();
    let mut piece = vec![0; PIECE_LEN];
    loop {
        let len = bytes.read(&mut piece).await?;
        if len == 0 {
            return Ok(cutter.into_block());
        }
        first.extend_from_slice(&piece[..len]);
        let cut = cutter.push(&piece[..len]);
        let cut = cut.map_err(|error| Failure::new(Exit::Data, error).hint(HEADER_HINT))?;
        if matches!(cut, Cut::Content(_)) {
            return Ok(cutter.into_block());
        }
    }
}

/// Sees to it that every line can travel (RFC 5322 section 2.3): no CR or LF that stands alone, no NUL.
#[derive(Default)]
pub(super) struct Lines {
    after_cr: bool,
    whole: u64,
}

impl Lines {
    /// Looks at the next piece.
    pub(super) fn check(&mut self, piece: &[u8]) -> Result<(), Failure> {
        for &byte in piece {
            if (byte == b'\n') != self.after_cr {
                return Err(self.broken("has a CR or LF that is not part of a line end"));
            }
            if byte == 0 {
                return Err(self.broken("has a NUL byte"));
            }
            self.whole += u64::from(byte == b'\n');
            self.after_cr = byte == b'\r';
        }
        Ok(())
    }

    /// There are no more.
    pub(super) fn end(&self) -> Result<(), Failure> {
        if self.after_cr { Err(self.broken("ends in a CR that stands alone")) } else { Ok(()) }
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::new(Exit::Data, format_args!("line {} of the letter {what}", self.whole + 1))
            .hint("only text travels like this; send other files with: onionskin send --attach FILE")
    }
}

/// A refusal of the node, in the words of the command line.
pub(super) fn refused(reply: Reply) -> Failure {
    let exit = match (reply.code, reply.enhanced) {
        (400..500, _) => Exit::TempFail,
        (_, Some(Enhanced(_, 1, _))) => Exit::NoUser,
        (550, _) => Exit::NoPermission,
        _ => Exit::Data,
    };
    match (reply.code, reply.enhanced) {
        (552, _) => too_large(),
        (554, Some(Enhanced(_, 6, _))) => Failure::new(exit, &reply.text).hint(HEADER_HINT),
        _ => Failure::new(exit, &reply.text),
    }
}

/// The letter is larger than any that travels.
pub(super) fn too_large() -> Failure {
    let most = policy::LETTER_SIZE_MAX / 1024 / 1024;
    Failure::new(Exit::Data, format_args!("a letter can have {most} MiB at most"))
        .hint("attachments grow by a third in a letter: files of 47 MB in all fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(pieces: &[&[u8]]) -> Result<(), String> {
        let mut lines = Lines::default();
        let checked = pieces.iter().try_for_each(|piece| lines.check(piece)).and_then(|()| lines.end());
        checked.map_err(|failure| failure.message)
    }

    #[test]
    fn lines_that_cannot_travel_are_named() {
        assert_eq!(verdict(&[b"a\r\nb\r", b"\nc"]), Ok(()));
        assert_eq!(verdict(&[]), Ok(()));
        for bad in [&b"a\nb"[..], b"a\rb", b"\r\r\n", b"\n", b"a\r"] {
            assert!(verdict(&[bad]).is_err(), "{bad:?}");
            assert!(verdict(&bad.chunks(1).collect::<Vec<_>>()).is_err(), "{bad:?} in pieces");
        }
        let nul = verdict(&[b"a\r\nb\0"]).unwrap_err();
        assert!(nul.starts_with("line 2 of the letter has a NUL"), "{nul}");
    }

    #[test]
    fn an_address_is_taken_out_of_its_brackets() {
        for (text, address) in [
            ("a@b", "a@b"),
            (" <a@b> ", "a@b"),
            ("Ann <x> <a@b>", "a@b"),
            ("<>", ""),
            (">", ">"),
            ("a<", "a<"),
            ("><", "><"),
        ] {
            assert_eq!(bare_address(text), address, "{text}");
        }
    }
}
