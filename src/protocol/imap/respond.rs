//! How values are written to a client: strings, flag lists, mailbox names, status lines.
//!
//! Everything that came from outside passes through here, so that no letter, name or flag can forge a line.

use crate::protocol::imap::command::Flags;
use crate::protocol::imap::name;

/// Longest text written as a quoted string, in bytes; longer ones go as literals.
const QUOTED_LEN_MAX: usize = 512;

/// What the server can do before login.
pub const CAPABILITIES_BEFORE_LOGIN: &str =
    "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE AUTH=PLAIN AUTH=SCRAM-SHA-256";

/// What the server can do after login; the number is `APPEND_LEN_MAX`.
pub const CAPABILITIES: &str = "IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE UNSELECT UIDPLUS MOVE CHILDREN \
     SPECIAL-USE LIST-EXTENDED LIST-STATUS ESEARCH STATUS=SIZE APPENDLIMIT=67108864";

/// The same for somebody without a node, who has one mailbox with a quota (RFC 9208) and puts nothing there.
pub const CAPABILITIES_OF_GUESTS: &str = "IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE UNSELECT UIDPLUS CHILDREN \
     LIST-EXTENDED LIST-STATUS ESEARCH STATUS=SIZE QUOTA QUOTA=RES-STORAGE APPENDLIMIT=0";

/// Writes a string: quoted if it can be, else as a literal. NUL, which IMAP cannot carry, is left out.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    let quotable = |&byte: &u8| matches!(byte, b' '..=b'~');
    if text.len() <= QUOTED_LEN_MAX && text.iter().all(quotable) {
        out.push(b'"');
        for &byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
        return;
    }
    let nuls = text.iter().filter(|&&byte| byte == 0).count();
    out.extend_from_slice(format!("{{{}}}\r\n", text.len() - nuls).as_bytes());
    out.extend(text.iter().filter(|&&byte| byte != 0));
}

/// Writes a string, or NIL for none.
pub fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes a mailbox name in modified UTF-7.
pub fn mailbox(out: &mut Vec<u8>, mailbox: &str) {
    string(out, name::encode(mailbox).as_bytes());
}

/// A flag list with its parentheses, `\Recent` first if asked for.
pub fn flags(flags: &Flags, recent: bool) -> String {
    let system = [
        (recent, "\\Recent"),
        (flags.seen, "\\Seen"),
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.deleted, "\\Deleted"),
        (flags.draft, "\\Draft"),
    ];
    let system = system.iter().filter(|(set, _)| *set).map(|(_, name)| *name);
    let words: Vec<&str> = system.chain(flags.keywords.iter().map(String::as_str)).collect();
    format!("({})", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::limits::APPEND_LEN_MAX;

    fn written(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        string(&mut out, text);
        out
    }

    #[test]
    fn no_string_can_forge_a_line() {
        assert_eq!(written(b"a\"b\\c"), b"\"a\\\"b\\\\c\"");
        assert_eq!(written(b"a\r\n* BYE"), b"{8}\r\na\r\n* BYE");
        assert_eq!(written("\u{fc}\0".as_bytes()), "{2}\r\n\u{fc}".as_bytes());
        assert!(written(&[b'x'; 600]).starts_with(b"{600}\r\n"));
    }

    #[test]
    fn the_announced_append_limit_is_the_real_one() {
        assert!(CAPABILITIES.ends_with(&format!("APPENDLIMIT={APPEND_LEN_MAX}")));
        assert!(CAPABILITIES_OF_GUESTS.ends_with("APPENDLIMIT=0") && !CAPABILITIES.contains("QUOTA"));
    }

    #[test]
    fn flags_are_listed() {
        let mut some = Flags { seen: true, draft: true, ..Flags::default() };
        some.insert_keyword("$Forwarded");
        assert_eq!(flags(&some, true), "(\\Recent \\Seen \\Draft $Forwarded)");
        assert_eq!(flags(&Flags::default(), false), "()");
    }
}
