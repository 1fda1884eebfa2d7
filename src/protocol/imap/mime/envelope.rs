//! ENVELOPE (RFC 3501 section 7.4.2), from the header of a letter.
//!
//! Values are unfolded and otherwise as they stand: encoded words are for the client to decode.

use super::address::{self, Address};
use super::header::first;
use crate::protocol::imap::respond::nstring;

/// The envelope in its parentheses.
pub fn render(header: &[u8]) -> Vec<u8> {
    let text = |name: &[u8]| first(header, name).map(|field| field.unfolded());
    let addresses = |name: &[u8]| text(name).map(|value| address::parse(&value)).unwrap_or_default();
    let from = addresses(b"From");
    // RFC 3501: an absent or empty Sender or Reply-To is the From.
    let or_from = |found: Vec<Address>| if found.is_empty() { from.clone() } else { found };
    let mut out = vec![b'('];
    nstring(&mut out, text(b"Date").as_deref());
    out.push(b' ');
    nstring(&mut out, text(b"Subject").as_deref());
    let lists = [
        from.clone(),
        or_from(addresses(b"Sender")),
        or_from(addresses(b"Reply-To")),
        addresses(b"To"),
        addresses(b"Cc"),
        addresses(b"Bcc"),
    ];
    for list in lists {
        out.push(b' ');
        address::render(&mut out, &list);
    }
    for name in [&b"In-Reply-To"[..], b"Message-ID"] {
        out.push(b' ');
        nstring(&mut out, text(name).as_deref());
    }
    out.push(b')');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_of_rfc_3501() {
        let header = b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n\
            From: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev1 WG mtg summary\r\n and minutes\r\n\
            To: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n";
        let gray = r#"(("Terry Gray" NIL "gray" "cac.washington.edu"))"#;
        let expected = format!(
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" {gray} {gray} {gray} \
             ((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" \
             NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")"
        );
        assert_eq!(String::from_utf8(render(header)).unwrap(), expected);
        assert_eq!(render(b""), b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    }
}
