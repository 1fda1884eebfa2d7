//! ENVELOPE (RFC 3501 section 7.4.2), from the header of a letter.
//!
//! Values are unfolded and otherwise as they stand: encoded words are for the client to decode.

use super::address::{self, Address};
use super::header::{Field, firsts};
use crate::protocol::imap::respond::nstring;

const FIELDS: [&str; 10] =
    ["Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID"];

/// The envelope in its parentheses.
pub fn render(header: &[u8]) -> Vec<u8> {
    let [date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id] =
        firsts(header, FIELDS);
    let text = |field: Option<Field<'_>>| field.map(|field| field.unfolded());
    let addresses = |field| text(field).map(|value| address::parse(&value)).unwrap_or_default();
    let from = addresses(from);
    // RFC 3501: an absent or empty Sender or Reply-To is the From.
    let or_from = |found: Vec<Address>| if found.is_empty() { from.clone() } else { found };
    let mut out = vec![b'('];
    nstring(&mut out, text(date).as_deref());
    out.push(b' ');
    nstring(&mut out, text(subject).as_deref());
    let lists = [
        from.clone(),
        or_from(addresses(sender)),
        or_from(addresses(reply_to)),
        addresses(to),
        addresses(cc),
        addresses(bcc),
    ];
    for list in lists {
        out.push(b' ');
        address::render(&mut out, &list);
    }
    for field in [in_reply_to, message_id] {
        out.push(b' ');
        nstring(&mut out, text(field).as_deref());
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
