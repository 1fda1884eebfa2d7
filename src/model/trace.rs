//! The trace that arrival leaves on a letter: what is dropped from its header as forged, what is found in it, and
//! the three lines that the reader's node writes above it (Return-Path, Received, Authentication-Results).
//!
//! Promises that after [`screen`] no line claims a verdict of ours, so that in the mailbox an
//! `Authentication-Results` of our own host is true (RFC 8601 section 5), and that every other field stays byte for
//! byte. Whether a letter that proves nothing is taken at all is left to the node.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::header::{Field, HeaderError, fields};
use crate::model::letter::LetterId;
use crate::model::mailbox::addresses;
use crate::model::policy::{ECHO, NAMES_ALWAYS, RECEIVED_MAX};
use crate::model::time::UnixTime;
use onion::OnionAddress;

/// Fields of ours that nobody else writes into a letter for us.
const OURS_PREFIX: &str = "x-onionskin-";
/// Fields that only the last host writes (RFC 5321 section 4.4), and the marks that mailboxes once kept in letters:
/// some mail programs believe them.
const DROPPED: [&str; 8] = [
    "return-path",
    "delivered-to",
    "x-original-to",
    "status",
    "x-status",
    "x-uid",
    "x-keywords",
    "x-imapbase",
];

/// The header of a letter that arrived, looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screened {
    /// The header block without what was forged, its empty line included.
    pub header: Vec<u8>,
    /// The addresses in From, as far as they can be read; empty if the field cannot.
    pub authors: Vec<String>,
    /// The Message-ID as written, if there is one.
    pub message_id: Option<String>,
}

/// Why a letter that arrives is refused for its header: always with a permanent reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// The header is malformed.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// No From, or several (RFC 5322 section 3.6).
    #[error("a letter has exactly one From line")]
    From,
    /// It has passed too many hosts.
    #[error("the letter runs in circles: it has more than {RECEIVED_MAX} Received lines")]
    Loop,
}

/// Looks through the header of a letter that arrives at `own`, up to and including its empty line.
pub fn screen(block: &[u8], own: &OnionAddress) -> Result<Screened, ScreenError> {
    let found = fields(block)?;
    let mut from = found.iter().filter(|field| field.is("From"));
    let (Some(author), None) = (from.next(), from.next()) else { return Err(ScreenError::From) };
    if found.iter().filter(|field| field.is("Received")).count() > RECEIVED_MAX {
        return Err(ScreenError::Loop);
    }
    let own = own.host();
    let mut header: Vec<u8> = Vec::with_capacity(block.len());
    for field in found.iter().filter(|field| !is_forged(field, &own)) {
        header.extend_from_slice(field.raw());
    }
    header.extend_from_slice(b"\r\n");
    let id = found.iter().find(|field| field.is("Message-ID"));
    Ok(Screened {
        header,
        authors: addresses(author.body()).unwrap_or_default(),
        message_id: id.map(|field| String::from_utf8_lossy(&field.unfolded()).into_owned()),
    })
}

/// Whether a field of this name (in lower case) is a mark that arrival drops: in no letter that is kept, it is later
/// than the letter.
pub(crate) fn is_mark(name: &str) -> bool {
    DROPPED.contains(&name)
}

fn is_forged(field: &Field<'_>, own: &str) -> bool {
    let name = field.name().to_ascii_lowercase();
    match name.as_str() {
        "authentication-results" | "arc-authentication-results" => claims_to_be(field.body(), own),
        _ => name.starts_with(OURS_PREFIX) || is_mark(&name),
    }
}

/// Whether an `Authentication-Results` could be taken for one of `host`: it names the host anywhere, or writes its
/// author in a way (quoted, or after a comment) that is valid and that nobody uses honestly.
fn claims_to_be(body: &[u8], host: &str) -> bool {
    let line: Vec<u8> = body.iter().filter(|byte| !b"\r\n".contains(byte)).copied().collect();
    let line = line.to_ascii_lowercase();
    let plain = line.trim_ascii_start().first().is_some_and(u8::is_ascii_alphanumeric);
    !plain || line.windows(host.len()).any(|window| window == host.as_bytes())
}

/// Whether the author of a letter is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The node that brought the letter proved the onion that every address in From is at.
    Pass,
    /// It proved an onion, and From names another: a forgery.
    Fail,
    /// It proved nothing.
    None,
}

impl Proof {
    /// The word of RFC 8601.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::None => "none",
        }
    }
}

/// Compares who is proved with who From says the letter is from. A From that cannot be read is never proved.
pub fn proof_of(authors: &[String], proved: Option<&OnionAddress>) -> Proof {
    let Some(proved) = proved else { return Proof::None };
    let agrees = |text: &String| MailAddress::parse(text).is_ok_and(|author| author.onion == *proved);
    if !authors.is_empty() && authors.iter().all(agrees) { Proof::Pass } else { Proof::Fail }
}

/// The header with the canonical address in From, where From names a local part that the author's Card does not list.
pub fn with_canonical_author(
    header: Vec<u8>,
    authors: &[String],
    author: &OnionAddress,
    names: &[LocalPart],
) -> Vec<u8> {
    let listed = |text: &String| {
        MailAddress::parse(text).is_ok_and(|from| {
            let local = from.local.base();
            // These are everybody's, and on no Card.
            local == ECHO || NAMES_ALWAYS.contains(&local) || names.iter().any(|name| name.base() == local)
        })
    };
    let Some(canonical) = names.first().filter(|_| !authors.iter().all(listed)) else { return header };
    let from = MailAddress { local: canonical.clone(), onion: *author };
    let Ok(found) = fields(&header) else { return header };
    let mut changed = Vec::with_capacity(header.len());
    for field in &found {
        match field.is("From") {
            true => changed.extend_from_slice(format!("From: {}\r\n", from.full()).as_bytes()),
            false => changed.extend_from_slice(field.raw()),
        }
    }
    changed.extend_from_slice(b"\r\n");
    changed
}

/// What the reader's node knows of a letter that arrived.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// Our own onion.
    pub own: &'a OnionAddress,
    /// The onion that the bringing node proved, if it did.
    pub proved: Option<&'a OnionAddress>,
    /// The onion that signed the letter inside its seal, if it was sealed.
    pub signed: Option<&'a OnionAddress>,
    /// Whether From agrees with what is proved.
    pub proof: Proof,
    /// The return path; none is `<>`.
    pub return_path: Option<&'a MailAddress>,
    /// For whom, if for one only: several would tell each other.
    pub recipient: Option<&'a MailAddress>,
    /// The id that the sender gave this sending, if it speaks our extension.
    pub id: Option<LetterId>,
    /// SMTPUTF8 was said for it.
    pub utf8: bool,
    /// When.
    pub at: UnixTime,
}

/// The lines to write above a screened header, complete with their line ends.
///
/// `Received` names a peer only if it was proved: over Tor there is nothing else to tell it by. The protocol word is
/// ESMTPA after a proof, else ESMTP (RFC 3848); UTF8SMTPA and UTF8SMTP if SMTPUTF8 was said (RFC 6531). Times have no
/// seconds, since letters are passed on as attachments.
pub fn trace_lines(arrival: &Arrival<'_>) -> Vec<u8> {
    let own = arrival.own.host();
    let return_path = arrival.return_path.map(MailAddress::full).unwrap_or_default();
    let from = arrival.proved.map_or_else(|| "unproved".to_owned(), OnionAddress::host);
    let with = match (arrival.utf8, arrival.proved.is_some()) {
        (true, true) => "UTF8SMTPA",
        (true, false) => "UTF8SMTP",
        (false, true) => "ESMTPA",
        (false, false) => "ESMTP",
    };
    let id = arrival.id.map(|id| format!(" id {}", id.to_hex())).unwrap_or_default();
    let recipient = arrival.recipient.map(|to| format!("\r\n\tfor <{}>", to.full())).unwrap_or_default();
    let at = arrival.at.to_the_minute().rfc5322();
    let proof = arrival.proof.as_str();
    let session = if arrival.proved.is_some() { proof } else { Proof::None.as_str() };
    let peer = arrival.proved.map(|peer| format!(" smtp.auth={}", peer.host())).unwrap_or_default();
    let seal = arrival.signed.map(|author| format!(";\r\n\tseal={proof} header.from={}", author.host()));
    let seal = seal.unwrap_or_default();
    format!(
        "Return-Path: <{return_path}>\r\n\
         Received: from {from}\r\n\tby {own}\r\n\twith {with}{id}{recipient}; {at}\r\n\
         Authentication-Results: {own};\r\n\tonion={session}{peer}{seal}\r\n"
    )
    .into_bytes()
}

/// The proved author of a letter, from our own lines above it. To be asked of these alone, never of a letter: there
/// anybody may have written them.
///
/// Who signed inside the seal goes before who brought it; an author that did not agree with From is none.
pub fn proved_author(prefix: &[u8]) -> Option<OnionAddress> {
    let block = [prefix, b"\r\n"].concat();
    let found = fields(&block).ok()?;
    let line = found.iter().find(|field| field.is("Authentication-Results"))?.unfolded();
    let line = String::from_utf8(line).ok()?;
    // The first part is our own host.
    let results: Vec<Vec<&str>> =
        line.split(';').skip(1).map(|part| part.split_whitespace().collect()).collect();
    let result =
        |method: &str| results.iter().find(|words| words.first().is_some_and(|w| w.starts_with(method)));
    let words = result("seal=").or_else(|| result("onion="))?;
    let author = match words[..] {
        ["seal=pass", author] => author.strip_prefix("header.from=")?,
        ["onion=pass", author] => author.strip_prefix("smtp.auth=")?,
        _ => return None,
    };
    OnionAddress::parse(author).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    const PEER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";

    fn onion(host: &str) -> OnionAddress {
        OnionAddress::parse(host).unwrap()
    }

    fn screened(lines: &str) -> Result<Screened, ScreenError> {
        screen(format!("{lines}\r\n").as_bytes(), &onion(HOST))
    }

    fn what_stays(lines: &str) -> String {
        let header = screened(&format!("From: a@b\r\n{lines}")).unwrap().header;
        String::from_utf8(header).unwrap()["From: a@b\r\n".len()..].strip_suffix("\r\n").unwrap().to_owned()
    }

    #[test]
    fn a_verdict_that_claims_to_be_ours_is_dropped() {
        for forged in [
            format!("Authentication-Results: {HOST}; onion=pass"),
            format!("authentication-results : {}; onion=pass", HOST.to_uppercase()),
            format!("Authentication-Results:\r\n\t{HOST} 1; onion=pass"),
            format!("Authentication-Results: (x) {HOST}; onion=pass"),
            "Authentication-Results: \"2gzyxa5ihm7ns\\ggfx\"; onion=pass".to_owned(),
            "Authentication-Results: (x) any; onion=pass".to_owned(),
            "Authentication-Results:".to_owned(),
            format!("Authentication-Results: a; x=y {HOST}"),
            format!("ARC-Authentication-Results: i=1; {HOST}; onion=pass"),
            "X-Onionskin-Tier: trusted".to_owned(),
            "Return-Path: <x@y>\r\n z".to_owned(),
            "X-Status: RO".to_owned(),
        ] {
            assert_eq!(what_stays(&format!("{forged}\r\nX: y\r\n")), "X: y\r\n", "{forged}");
        }
    }

    #[test]
    fn everything_else_stays_byte_for_byte() {
        let lines = "Received: from x\r\n\tby y; z\r\nAuthentication-Results: mx.example.org 1; spf=pass\r\n\
            Message-ID: <1@laptop>\r\nDate:  Fri, 2 Jan 2026 00:20:59 +1400\r\nX-Onion: \u{e9}\r\nUser-Agent: z\r\n";
        assert_eq!(what_stays(lines), lines);
        assert_eq!(
            screened(&format!("From: a@b\r\n{lines}")).unwrap().message_id.as_deref(),
            Some("<1@laptop>")
        );
    }

    #[test]
    fn a_broken_or_circling_letter_is_refused() {
        assert_eq!(screened("To: x\r\n"), Err(ScreenError::From));
        assert_eq!(screened("From: a@b\r\nFROM: c@d\r\n"), Err(ScreenError::From));
        assert_eq!(screened("x\r\n"), Err(ScreenError::Header(HeaderError::NoField(1))));
        let hops = |count: usize| format!("From: a@b\r\n{}", "Received: x\r\n".repeat(count));
        assert!(screened(&hops(RECEIVED_MAX)).is_ok());
        assert_eq!(screened(&hops(RECEIVED_MAX + 1)), Err(ScreenError::Loop));
    }

    #[test]
    fn an_author_is_proved_only_by_its_own_onion() {
        let proof = |from: &str, proved: Option<&str>| {
            let authors = screened(&format!("From: {from}\r\n")).unwrap().authors;
            proof_of(&authors, proved.map(onion).as_ref())
        };
        let (ours, theirs) = (format!("Ann <a@{HOST}>"), format!("a@{PEER}"));
        assert_eq!(proof(&theirs, Some(PEER)), Proof::Pass);
        assert_eq!(proof(&theirs, None), Proof::None);
        for forged in [
            ours.as_str(),
            &format!("{theirs}, {ours}"),
            "a@example.org",
            "unreadable",
            "",
            &format!("<{theirs}> {ours}"),
        ] {
            assert_eq!(proof(forged, Some(PEER)), Proof::Fail, "{forged}");
        }
    }

    #[test]
    fn the_proved_author_is_read_back_from_our_own_lines() {
        let (own, peer, other) = (onion(HOST), onion(PEER), onion(HOST));
        let lines = |proved: Option<&OnionAddress>, signed: Option<&OnionAddress>, proof| {
            let (return_path, recipient, id, utf8, at) = (None, None, None, false, UnixTime(0));
            let own = &own;
            trace_lines(&Arrival { own, proved, signed, proof, return_path, recipient, id, utf8, at })
        };
        assert_eq!(proved_author(&lines(Some(&peer), None, Proof::Pass)), Some(peer));
        assert_eq!(proved_author(&lines(Some(&other), Some(&peer), Proof::Pass)), Some(peer));
        assert_eq!(proved_author(&lines(None, Some(&peer), Proof::Pass)), Some(peer));
        for nobody in [
            lines(None, None, Proof::None),
            lines(Some(&peer), None, Proof::Fail),
            lines(Some(&peer), Some(&peer), Proof::Fail),
            b"".to_vec(),
            b"Bcc: eve@example\r\n".to_vec(),
            b"not a header".to_vec(),
            format!("X: y\r\n Authentication-Results: {HOST}; onion=pass smtp.auth={PEER}\r\n").into_bytes(),
        ] {
            assert_eq!(proved_author(&nobody), None, "{}", String::from_utf8_lossy(&nobody));
        }
    }

    #[test]
    fn the_lines_above_tell_who_brought_it() {
        let (own, peer) = (onion(HOST), onion(PEER));
        let (author, reader) = (format!("bob@{PEER}"), format!("ann+x@{HOST}"));
        let (author, reader) = (MailAddress::parse(&author).unwrap(), MailAddress::parse(&reader).unwrap());
        let arrival = Arrival {
            own: &own,
            proved: Some(&peer),
            signed: None,
            proof: Proof::Pass,
            return_path: Some(&author),
            recipient: Some(&reader),
            id: Some(LetterId([0xcd; 16])),
            utf8: false,
            at: UnixTime(1_767_262_830),
        };
        let id = "cd".repeat(16);
        assert_eq!(
            String::from_utf8(trace_lines(&arrival)).unwrap(),
            format!(
                "Return-Path: <bob@{PEER}>\r\nReceived: from {PEER}\r\n\tby {HOST}\r\n\twith ESMTPA id {id}\r\n\
                 \tfor <ann+x@{HOST}>; Thu, 01 Jan 2026 10:20:00 +0000\r\n\
                 Authentication-Results: {HOST};\r\n\tonion=pass smtp.auth={PEER}\r\n"
            )
        );
        for (proved, word) in [(Some(&peer), " UTF8SMTPA "), (None, " UTF8SMTP ")] {
            let lines = String::from_utf8(trace_lines(&Arrival { utf8: true, proved, ..arrival.clone() }));
            assert!(lines.unwrap().contains(&format!("with{word}id")));
        }
        let bare = Arrival {
            proved: None,
            proof: Proof::None,
            return_path: None,
            recipient: None,
            id: None,
            ..arrival
        };
        assert_eq!(
            String::from_utf8(trace_lines(&bare)).unwrap(),
            format!(
                "Return-Path: <>\r\nReceived: from unproved\r\n\tby {HOST}\r\n\
                 \twith ESMTP; Thu, 01 Jan 2026 10:20:00 +0000\r\n\
                 Authentication-Results: {HOST};\r\n\tonion=none\r\n"
            )
        );
    }

    proptest! {
        #[test]
        fn whatever_arrives_no_line_of_ours_stays(
            lines in "((From|Authentication-Results|X-Onionskin-A|Received):[ -~]{0,30}\r\n(\t[ -~]{0,9}\r\n)?){0,4}",
        ) {
            let forged = lines.replace('q', HOST);
            if let Ok(letter) = screened(&forged) {
                let kept = fields(&letter.header).unwrap();
                prop_assert!(!kept.iter().any(|field| is_forged(field, HOST)));
                prop_assert_eq!(kept.iter().filter(|field| field.is("From")).count(), 1);
            }
        }
    }
}
