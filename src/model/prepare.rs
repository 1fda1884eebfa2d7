//! What submission does to the header of an outgoing letter: drops Bcc and the traces of the mail program, brings
//! Date and Message-ID into the form that all our letters have, and refuses a From that is not the author's.
//!
//! Promises that every other field leaves byte for byte and in order, and that the content is not touched. The
//! table [`TRACES`] says what is dropped and why.

use crate::model::address::MailAddress;
use crate::model::header::{Field, HEADER_SIZE_MAX, HeaderError, fields};
use crate::model::letter::Recipients;
use crate::model::mailbox::{ListError, addresses};
use crate::model::policy::{OwnNames, RECIPIENTS_MAX};
use crate::model::time::{UnixTime, parse_date};

/// Longest Message-ID that is left as the mail program wrote it, in bytes.
const MESSAGE_ID_LEN_MAX: usize = 250;

const WAY: &str = "tells the way the letter took before it reached us";
const PROGRAM: &str = "names the mail program, its version or its system";
const PLACE: &str = "tells the machine, address or account it was written at";
const FILING: &str = "how a mail program filed its own copy";
const CLAIM: &str = "a verdict that only the reader's node may write";
const LOCALE: &str = "tells the language the mail program is set to";
const OTHER_LETTERS: &str = "names letters that the reader may know nothing of";

/// Fields that do not leave: name in lower case (a `*` at the end stands for anything), and why.
pub const TRACES: [(&str, &str); 74] = [
    ("received", WAY),
    ("x-received", WAY),
    ("return-path", WAY),
    ("delivered-to", WAY),
    ("envelope-to", WAY),
    ("x-original-to", WAY),
    ("x-envelope-*", WAY),
    ("delivery-date", WAY),
    ("resent-sender", WAY),
    ("resent-message-id", WAY),
    ("sender", "who sends is said by us, where it is another than the author"),
    ("x-sender", PLACE),
    ("x-x-sender", PLACE),
    ("x-authenticated-*", PLACE),
    ("x-auth-*", PLACE),
    ("x-originating-*", PLACE),
    ("x-source*", PLACE),
    ("x-host", PLACE),
    ("x-ip", PLACE),
    ("x-client-ip", PLACE),
    ("x-account-key", PLACE),
    ("x-identity-key", PLACE),
    ("x-account", PLACE),
    ("x-identity", PLACE),
    ("x-identity-id", PLACE),
    ("user-agent", PROGRAM),
    ("x-user-agent", PROGRAM),
    ("x-mailer*", PROGRAM),
    ("mail-client", PROGRAM),
    ("x-mail-client", PROGRAM),
    ("x-newsreader", PROGRAM),
    ("x-http-useragent", PROGRAM),
    ("x-mimeole", PROGRAM),
    ("x-msmail-*", PROGRAM),
    ("x-ms-*", PROGRAM),
    ("x-operating-system", PROGRAM),
    ("x-os", PROGRAM),
    ("x-pgp-agent", PROGRAM),
    ("x-enigmail-*", PROGRAM),
    ("x-evolution-*", PROGRAM),
    ("x-kmail*", PROGRAM),
    ("x-apple-*", PROGRAM),
    ("x-mac-*", PROGRAM),
    ("x-sylpheed-*", PROGRAM),
    ("x-claws-*", PROGRAM),
    ("x-gnus-*", PROGRAM),
    ("x-mozilla-*", FILING),
    ("x-uniform-type-identifier", FILING),
    ("x-universally-unique-identifier", FILING),
    ("x-remote-attachments", FILING),
    ("status", FILING),
    ("x-status", FILING),
    ("x-keywords", FILING),
    ("x-uid", FILING),
    ("x-uidl", FILING),
    ("x-imap*", FILING),
    ("x-folder", FILING),
    ("x-k9mail-*", FILING),
    ("x-template", FILING),
    ("x-mutt-*", FILING),
    ("x-correlation-id", FILING),
    ("correlation-id", FILING),
    ("x-antivirus*", PROGRAM),
    ("x-php-*", PLACE),
    ("x-cron-env", PLACE),
    ("fcc", FILING),
    ("x-fcc", FILING),
    ("authentication-results", CLAIM),
    ("received-spf", CLAIM),
    ("x-onionskin-*", CLAIM),
    ("content-language", LOCALE),
    ("accept-language", LOCALE),
    ("thread-index", "tells the time to a fraction of a second"),
    ("x-forwarded-message-id", OTHER_LETTERS),
];

/// An outgoing letter's header, made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The header block as it goes out, its empty line included.
    pub header: Vec<u8>,
    /// The Bcc fields, whole lines, to stand above `header` in the author's own copy: nowhere else.
    pub sent_prefix: Vec<u8>,
    /// The Message-ID, with its angle brackets.
    pub message_id: String,
    /// The Message-ID that the mail program gave, if it was replaced: under this one it will file its own copy.
    pub replaced_message_id: Option<String>,
}

/// Why a letter is not taken from its author. The texts are for the author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The header is malformed.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// A field that a letter has once is there twice (RFC 5322 section 3.6).
    #[error("the letter has more than one {0} line")]
    Twice(&'static str),
    /// From names nobody, or cannot be read.
    #[error("the From line cannot be understood; it should read: From: {own}")]
    NoAuthor {
        /// The identity's main address.
        own: String,
    },
    /// From names somebody else.
    #[error("this account sends only as {own}; the letter is from {found}")]
    OtherAuthor {
        /// The identity's main address.
        own: String,
        /// Who the letter says it is from.
        found: String,
    },
}

/// Makes the header of an outgoing letter ready to leave.
///
/// `block` is the header up to and including its empty line; `now` stands in for a missing or unreadable Date;
/// `random` becomes the Message-ID if the mail program's names another host than ours.
pub fn prepare(
    block: &[u8],
    own: &OwnNames,
    now: UnixTime,
    random: [u8; 16],
) -> Result<Prepared, PrepareError> {
    prepare_as(block, own, None, now, random)
}

/// The one address in From, if it is at an onion and not one of our own.
pub fn other_author(block: &[u8], own: &OwnNames) -> Option<MailAddress> {
    let found = fields(block).ok()?;
    let named = addresses(once(&found, "From").ok()??.body()).ok()?;
    let [one] = named.as_slice() else { return None };
    MailAddress::parse(one).ok().filter(|address| !own.owns(address))
}

/// The same as [`prepare`], where From may also be `behalf`, who let us write in their name: then Sender says who we
/// are (RFC 5322 section 3.6.2).
pub fn prepare_as(
    block: &[u8],
    own: &OwnNames,
    behalf: Option<&MailAddress>,
    now: UnixTime,
    random: [u8; 16],
) -> Result<Prepared, PrepareError> {
    let found = fields(block)?;
    check_author(&found, own, behalf)?;
    let date = once(&found, "Date")?;
    let given_id =
        once(&found, "Message-ID")?.map(|field| String::from_utf8_lossy(&field.unfolded()).into_owned());
    let kept_id = given_id.clone().filter(|id| is_id_of(id, &own.onion().host()));
    let message_id = kept_id.clone().unwrap_or_else(|| new_id(random, own));
    let (mut header, mut sent_prefix) = (Vec::with_capacity(block.len() + 256), Vec::new());
    for field in &found {
        if field.is("Bcc") || field.is("Resent-Bcc") {
            sent_prefix.extend_from_slice(field.raw());
        } else if field.is("Date") || field.is("Resent-Date") {
            push_line(&mut header, field.name(), &moment_of(field, now).rfc5322());
        } else if field.is("Message-ID") && kept_id.is_none() {
            push_line(&mut header, field.name(), &message_id);
        } else if field.is("MIME-Version") && tells_program(field) {
            push_line(&mut header, field.name(), "1.0");
        } else if !is_trace(field) {
            header.extend_from_slice(field.raw());
        }
    }
    if date.is_none() {
        push_line(&mut header, "Date", &now.to_the_minute().rfc5322());
    }
    if !found.iter().any(|field| field.is("From")) {
        push_line(&mut header, "From", &own.main().full());
    }
    if given_id.is_none() {
        push_line(&mut header, "Message-ID", &message_id);
    }
    if behalf.is_some() {
        push_line(&mut header, "Sender", &own.main().full());
    }
    header.extend_from_slice(b"\r\n");
    if header.len() > HEADER_SIZE_MAX {
        // What was added made it larger than any node of ours takes.
        return Err(HeaderError::TooLarge.into());
    }
    let replaced_message_id = given_id.filter(|_| kept_id.is_none());
    Ok(Prepared { header, sent_prefix, message_id, replaced_message_id })
}

/// A letter has at most one From, and whoever it names is one of our own addresses.
fn check_author(
    found: &[Field<'_>],
    own: &OwnNames,
    behalf: Option<&MailAddress>,
) -> Result<(), PrepareError> {
    let Some(from) = once(found, "From")? else { return Ok(()) };
    let main = || own.main().full();
    let named = addresses(from.body()).map_err(|_| PrepareError::NoAuthor { own: main() })?;
    if named.is_empty() {
        return Err(PrepareError::NoAuthor { own: main() });
    }
    let ours = |address: &MailAddress| own.owns(address) || named.len() == 1 && Some(address) == behalf;
    let foreign = |text: &&String| !MailAddress::parse(text).is_ok_and(|address| ours(&address));
    match named.iter().find(foreign) {
        Some(other) => {
            Err(PrepareError::OtherAuthor { own: main(), found: other.chars().take(100).collect() })
        }
        None => Ok(()),
    }
}

fn once<'a, 'b>(found: &'b [Field<'a>], name: &'static str) -> Result<Option<&'b Field<'a>>, PrepareError> {
    let mut named = found.iter().filter(|field| field.is(name));
    let first = named.next();
    if named.next().is_some() { Err(PrepareError::Twice(name)) } else { Ok(first) }
}

fn push_line(header: &mut Vec<u8>, name: &str, value: &str) {
    header.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
}

fn moment_of(date: &Field<'_>, now: UnixTime) -> UnixTime {
    parse_date(date.body()).map_or(now, |date| date.moment).to_the_minute()
}

/// Whether this is one well-formed Message-ID at `host`.
fn is_id_of(id: &str, host: &str) -> bool {
    let inside = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).and_then(|id| id.split_once('@'));
    let Some((left, right)) = inside else { return false };
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"<>@()[]\\,;:\"".contains(&byte);
    id.len() <= MESSAGE_ID_LEN_MAX
        && !left.is_empty()
        && left.bytes().all(plain)
        && right.eq_ignore_ascii_case(host)
}

fn new_id(random: [u8; 16], own: &OwnNames) -> String {
    let left: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("<{left}@{}>", own.onion().host())
}

/// Apple Mail writes its version as a comment here.
fn tells_program(version: &Field<'_>) -> bool {
    let value = version.unfolded();
    value.starts_with(b"1.0") && value.contains(&b'(')
}

fn is_trace(field: &Field<'_>) -> bool {
    let name = field.name().to_ascii_lowercase();
    TRACES.iter().any(|(pattern, _)| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *pattern,
    })
}

/// Why a header names no recipients to send to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientsError {
    /// The header is malformed.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// To, Cc or Bcc is no address list.
    #[error("{field}: {error}")]
    List {
        /// The field's name.
        field: &'static str,
        /// What was wrong.
        error: ListError,
    },
    /// An address that is not on an onion.
    #[error("{field}: {address}: {error}")]
    Address {
        /// The field's name.
        field: &'static str,
        /// The address as written.
        address: String,
        /// What was wrong.
        error: crate::model::address::MailAddressError,
    },
    /// Nobody is named.
    #[error("the letter names no recipient in To, Cc or Bcc")]
    Nobody,
    /// More than [`RECIPIENTS_MAX`].
    #[error("the letter has more than {RECIPIENTS_MAX} recipients")]
    TooMany,
}

/// Everyone whom To, Cc and Bcc name, each once, in order: the recipients of `sendmail -t`.
pub fn recipients(block: &[u8]) -> Result<Recipients, RecipientsError> {
    let found = fields(block)?;
    let mut named: Vec<MailAddress> = Vec::new();
    for name in ["To", "Cc", "Bcc"] {
        for field in found.iter().filter(|field| field.is(name)) {
            let list =
                addresses(field.body()).map_err(|error| RecipientsError::List { field: name, error })?;
            for text in list {
                let address = MailAddress::parse(&text).map_err(|error| RecipientsError::Address {
                    field: name,
                    address: text.chars().take(100).collect(),
                    error,
                })?;
                if !named.contains(&address) {
                    named.push(address);
                }
                if named.len() > RECIPIENTS_MAX {
                    return Err(RecipientsError::TooMany);
                }
            }
        }
    }
    Recipients::new(named).ok_or(RecipientsError::Nobody)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::LocalPart;
    use onion::OnionAddress;
    use proptest::prelude::*;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    const OTHER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";
    const NOW: UnixTime = UnixTime(1_767_262_830);

    fn own() -> OwnNames {
        OwnNames::new(OnionAddress::parse(HOST).unwrap(), [LocalPart::parse("ann").unwrap()]).unwrap()
    }

    fn prepared(lines: &str) -> Result<Prepared, PrepareError> {
        prepare(format!("{lines}\r\n").as_bytes(), &own(), NOW, [0xab; 16])
    }

    /// Prepares `lines` beside a good From, Date and Message-ID, and gives what became of them.
    fn what_leaves(lines: &str) -> String {
        let good = format!(
            "From: ann@{HOST}\r\nDate: Thu, 01 Jan 2026 10:20:00 +0000\r\nMessage-ID: <x@{HOST}>\r\n"
        );
        let header = String::from_utf8(prepared(&format!("{good}{lines}")).unwrap().header).unwrap();
        header.strip_prefix(&good).unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    #[test]
    fn what_is_the_authors_leaves_byte_for_byte() {
        let lines = "To: \"Lee,  Bob\"  <b@c>\r\n\t,d@e\r\nSUBJECT:=?utf-8?q?=C3=A9?=\r\n   two  \r\n\
            In-Reply-To: <1@d>\r\nReferences: <0@d>\r\n <1@d>\r\nX-Priority: 1\r\n\
            Content-Type: multipart/mixed; boundary=\"Apple-Mail=_1\"\r\n\
            Autocrypt: addr=x\r\nX-Own: \u{e9}\r\nMIME-Version: 1.0\r\nTo: again@x\r\n";
        assert_eq!(what_leaves(lines), lines);
    }

    #[test]
    fn every_trace_is_dropped_and_its_table_is_sound() {
        for (at, (pattern, why)) in TRACES.iter().enumerate() {
            let name = pattern.replace('*', "Thing").to_uppercase();
            assert_eq!(what_leaves(&format!("{name}: x\r\n y\r\nX-A: b\r\n")), "X-A: b\r\n", "{pattern}");
            assert!(!why.is_empty() && *pattern == pattern.to_lowercase());
            assert!(TRACES[..at].iter().all(|(other, _)| other != pattern), "{pattern} is there twice");
        }
        assert_eq!(
            what_leaves("Mime-Version: 1.0 (Mac OS X Mail 16.0\r\n \\(3774\\))\r\n"),
            "Mime-Version: 1.0\r\n"
        );
    }

    #[test]
    fn who_writes_in_the_name_of_another_with_leave_says_so_in_sender() {
        let boss = MailAddress::parse(&format!("boss@{OTHER}")).unwrap();
        let block = |from: &str| format!("From: {from}\r\nSender: x@{OTHER}\r\n\r\n").into_bytes();
        let one = block(&format!("The boss <boss@{OTHER}>"));
        assert_eq!(other_author(&one, &own()), Some(boss.clone()));
        let header = prepare_as(&one, &own(), Some(&boss), NOW, [1; 16]).unwrap().header;
        let header = String::from_utf8(header).unwrap();
        assert!(header.contains(&format!("\r\nSender: ann@{HOST}\r\n")) && !header.contains("Sender: x@"));
        for from in
            [format!("ann@{HOST}, boss@{OTHER}"), format!("x@{OTHER}"), format!("boss@{OTHER}, x@{OTHER}")]
        {
            assert!(prepare_as(&block(&from), &own(), Some(&boss), NOW, [1; 16]).is_err(), "{from}");
        }
        assert_eq!(other_author(&block(&format!("ann@{HOST}")), &own()), None);
    }

    #[test]
    fn bcc_stays_with_the_author() {
        let letter = prepared("To: a@b\r\nBcc : c@d,\r\n e@f\r\nRESENT-BCC: g@h\r\nbcc: i@j\r\n").unwrap();
        let header = String::from_utf8(letter.header).unwrap();
        for hidden in ["c@d", "e@f", "g@h", "i@j"] {
            assert!(!header.contains(hidden), "{header}");
        }
        assert_eq!(letter.sent_prefix, b"Bcc : c@d,\r\n e@f\r\nRESENT-BCC: g@h\r\nbcc: i@j\r\n");
    }

    #[test]
    fn dates_are_utc_to_the_minute() {
        let date = |value: &str| {
            let header = prepared(&format!("Date: {value}\r\n")).unwrap().header;
            String::from_utf8(header).unwrap().lines().next().unwrap().to_owned()
        };
        assert_eq!(date("Fri, 2 Jan 2026 00:20:59 +1400 (LINT)"), "Date: Thu, 01 Jan 2026 10:20:00 +0000");
        assert_eq!(date("yesterday"), "Date: Thu, 01 Jan 2026 10:20:00 +0000");
        assert_eq!(date("Mon, 6 Jul 2020\r\n 01:02:03 -0100"), "Date: Mon, 06 Jul 2020 02:02:00 +0000");
        assert_eq!(
            what_leaves("Resent-Date: 6 Jul 2020 01:02:03 -0100\r\n"),
            "Resent-Date: Mon, 06 Jul 2020 02:02:00 +0000\r\n"
        );
    }

    #[test]
    fn what_is_missing_is_added_at_the_end() {
        let letter = prepared("Subject: x\r\n").unwrap();
        let id = format!("<{}@{HOST}>", "ab".repeat(16));
        let expected = format!(
            "Subject: x\r\nDate: Thu, 01 Jan 2026 10:20:00 +0000\r\nFrom: ann@{HOST}\r\nMessage-ID: {id}\r\n\r\n"
        );
        assert_eq!(String::from_utf8(letter.header).unwrap(), expected);
        assert_eq!((letter.message_id, letter.replaced_message_id), (id, None));
    }

    #[test]
    fn a_message_id_of_another_host_is_replaced_and_remembered() {
        let new = format!("<{}@{HOST}>", "ab".repeat(16));
        for given in [
            "<1.2@laptop.local>",
            "<1@localhost>",
            "",
            "1",
            "<@x>",
            "<a b@x>",
            "<a@b@x>",
            "<1@x> (c)",
            "<1@x><2@x>",
            "<\"q\"@x>",
        ] {
            let given = given.replace('x', HOST);
            let letter = prepared(&format!("message-id: {given}\r\n")).unwrap();
            assert_eq!(letter.message_id, new);
            assert_eq!(letter.replaced_message_id, Some(given));
            assert!(String::from_utf8(letter.header).unwrap().starts_with(&format!("message-id: {new}\r\n")));
        }
        let letter = prepared(&format!("Message-ID:\r\n <A-1.b@{}>\r\n", HOST.to_uppercase())).unwrap();
        assert_eq!(letter.message_id, format!("<A-1.b@{}>", HOST.to_uppercase()));
        assert_eq!(letter.replaced_message_id, None);
    }

    #[test]
    fn only_the_author_signs_as_author() {
        for from in ["ann@", "Ann <ANN+tag@", "\"bob@x\" <ann@", "postmaster@", "(bob@x) ann@"] {
            let end = if from.contains('<') { ">" } else { "" };
            assert!(prepared(&format!("From: {from}{HOST}{end}\r\n")).is_ok(), "{from}");
        }
        for from in [
            format!("bob@{HOST}"),
            format!("ann@{OTHER}"),
            "ann@example.org".into(),
            format!("ann@{HOST}, bob@{OTHER}"),
            format!("\"ann@{HOST}\" <bob@{OTHER}>"),
        ] {
            let error = prepared(&format!("From: {from}\r\n")).unwrap_err();
            assert!(matches!(error, PrepareError::OtherAuthor { .. }), "{from}: {error}");
            assert!(error.to_string().contains(&format!("only as ann@{HOST};")), "{error}");
        }
        for from in
            [String::new(), "ann".into(), format!("ann@{HOST} <bob@{OTHER}>"), format!("ann@{HOST} x")]
        {
            let error = prepared(&format!("From: {from}\r\n")).unwrap_err();
            assert!(error.to_string().ends_with(&format!("From: ann@{HOST}")), "{from}: {error}");
        }
    }

    #[test]
    fn a_broken_letter_is_refused() {
        for name in ["From", "Date", "Message-ID"] {
            let value = if name == "From" { format!("ann@{HOST}") } else { String::new() };
            let twice = format!("{name}: {value}\r\n{}: {value}\r\n", name.to_lowercase());
            assert_eq!(prepared(&twice), Err(PrepareError::Twice(name)));
        }
        assert_eq!(prepared("hello\r\n"), Err(PrepareError::Header(HeaderError::NoField(1))));
        assert_eq!(prepared("To: a\nBcc: b\r\n"), Err(PrepareError::Header(HeaderError::BareLineEnd(1))));
    }

    #[test]
    fn what_no_node_would_take_does_not_leave() {
        let long = |len: usize| format!("X: {}\r\n", "x".repeat(len - "X: \r\n\r\n".len()));
        assert_eq!(prepared(&long(HEADER_SIZE_MAX)), Err(PrepareError::Header(HeaderError::TooLarge)));
        let letter = prepared(&long(HEADER_SIZE_MAX - 400)).unwrap();
        assert!(fields(&letter.header).is_ok());
    }

    #[test]
    fn recipients_come_from_all_three_fields() {
        let list = |lines: &str| recipients(format!("{lines}\r\n").as_bytes());
        let full = |lines: String| -> Vec<String> {
            list(&lines).unwrap().as_slice().iter().map(MailAddress::full).collect()
        };
        let found = full(format!(
            "To: Friends: Bob <BOB@{HOST}>;\r\nbcc: c@{OTHER}\r\nCC: =?utf-8?q?Lee,_B?= <bob@{HOST}>,\r\n a@{HOST}\r\n"
        ));
        assert_eq!(found, [format!("bob@{HOST}"), format!("a@{HOST}"), format!("c@{OTHER}")]);
        assert_eq!(list("To: undisclosed-recipients:;\r\n"), Err(RecipientsError::Nobody));
        let error = list(&format!("To: a@{HOST}\r\nCc: x@example.org\r\n")).unwrap_err();
        assert_eq!(error.to_string(), "Cc: x@example.org: an onion address ends in .onion");
        assert!(matches!(list("To: nobody here\r\n"), Err(RecipientsError::List { field: "To", .. })));
        let many = |count: usize| (0..count).map(|at| format!("To: u{at}@{HOST}\r\n")).collect::<String>();
        assert_eq!(list(&many(RECIPIENTS_MAX)).map(|all| all.as_slice().len()), Ok(RECIPIENTS_MAX));
        assert_eq!(list(&many(RECIPIENTS_MAX + 1)), Err(RecipientsError::TooMany));
    }

    proptest! {
        #[test]
        fn what_leaves_is_always_a_sound_header_and_stays_the_same(
            lines in "((To|bcc|Date|X-Mailer|Subject|Message-Id|Sender):[ -~]{0,20}\r\n(\t[a-z]{1,5}\r\n)?){0,5}",
            random: [u8; 16],
        ) {
            let block = format!("{lines}\r\n");
            if let Ok(letter) = prepare(block.as_bytes(), &own(), NOW, random) {
                let found = fields(&letter.header).unwrap();
                prop_assert!(!found.iter().any(|field| field.is("bcc") || is_trace(field)));
                for name in ["From", "Date", "Message-ID"] {
                    prop_assert_eq!(found.iter().filter(|field| field.is(name)).count(), 1);
                }
                let again = prepare(&letter.header, &own(), UnixTime(0), [0; 16]).unwrap();
                prop_assert_eq!(again.header, letter.header);
            }
        }

        #[test]
        fn any_bytes_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = prepare(&bytes, &own(), NOW, [0; 16]);
            let _ = recipients(&bytes);
        }
    }
}
