//! The reports that the author's own node writes into the author's INBOX: a letter still waits, or goes back
//! (RFC 3464, multipart/report; RFC 3834, Auto-Submitted).
//!
//! Promises plain words first, then the machine's part, then the letter's own header; and the same bytes for the same
//! input. They never leave the node: their return path is null and nobody answers them.

use crate::model::address::MailAddress;
use crate::model::header::fields;
use crate::model::outcome::Reply;
use crate::model::queue::{DEADLINE, Reason};
use crate::model::time::UnixTime;
use mail_parser::MessageParser;
use onion::OnionAddress;
use std::fmt::Write as _;

/// How much of the letter's header a report carries, in bytes: enough to know the letter by.
const HEADER_SHOWN_MAX: usize = 16 * 1024;
/// How much of the subject the plain words repeat, in characters.
const SUBJECT_SHOWN_MAX: usize = 200;

/// The letter that a report is about.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    /// The onion whose node writes.
    pub own: &'a OnionAddress,
    /// Who wrote the letter and gets the report.
    pub author: &'a MailAddress,
    /// The letter's header block, its empty line included, without Bcc.
    pub header: &'a [u8],
    /// When the letter was accepted.
    pub accepted: UnixTime,
    /// When the report is written.
    pub now: UnixTime,
    /// Fresh random bytes, for the report's Message-ID and its boundary.
    pub random: [u8; 16],
}

/// A recipient whom the letter has not reached yet.
#[derive(Debug, Clone, Copy)]
pub struct Delayed<'a> {
    /// For whom.
    pub to: &'a MailAddress,
    /// How the last try ended, for people.
    pub last: &'a str,
    /// Until when it will be tried.
    pub until: Option<UnixTime>,
}

/// A recipient whom the letter will not reach.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// For whom.
    pub to: &'a MailAddress,
    /// Why.
    pub reason: &'a Reason,
}

/// The report that a letter still waits: a whole message, without `Received`.
pub fn delay_notice(letter: &Reported<'_>, recipients: &[Delayed<'_>]) -> Vec<u8> {
    let days = DEADLINE.as_secs() / 86_400;
    let mut words =
        String::from("Your letter has not arrived yet. It is still waiting on this machine for:\n");
    let mut status = String::new();
    for delayed in recipients {
        let _ = write!(words, "\n  {}\n    {}\n", delayed.to.full(), delayed.last);
        let _ = write!(status, "\n{}Action: delayed\nStatus: 4.4.1\n", recipient_fields(delayed.to));
        if let Some(until) = delayed.until {
            let _ = writeln!(status, "Will-Retry-Until: {}", until.to_the_minute().rfc5322());
        }
    }
    let _ = write!(
        words,
        "\nYou need not do anything. The letter is tried again and again, for {days} days in\n\
         all, and goes out at once when the other node comes online. Nobody else has it\n\
         meanwhile, so this machine has to be running from time to time.\n\n\
         The letter is in your folder Outbox. Delete it there, and it will not be sent.\n"
    );
    report(letter, "Your letter is still waiting", &words, &status)
}

/// The report that a letter goes back: a whole message, without `Received`.
pub fn failure_notice(letter: &Reported<'_>, recipients: &[Failed<'_>]) -> Vec<u8> {
    let unconfirmed = recipients.iter().all(is_unconfirmed);
    let mut words = String::from(match unconfirmed {
        true => "It is not known whether your letter has reached:\n",
        false => "Your letter could not be delivered to:\n",
    });
    let mut status = String::new();
    for failed in recipients {
        let _ = write!(words, "\n  {}\n    {}\n", failed.to.full(), reason_in_words(failed.reason));
        // RFC 3464 section 2.3.3: "relayed" has been given on, and nobody will say whether it arrived.
        let action = if is_unconfirmed(failed) { "relayed" } else { "failed" };
        let _ =
            write!(status, "\n{}Action: {action}\n{}", recipient_fields(failed.to), status_fields(failed));
    }
    if unconfirmed {
        words.push_str(
            "\nIt will not be tried again. Your own copy is in the folder Sent: if you hear\n\
             nothing from them, send it once more from there.\n",
        );
        return report(letter, "It is not confirmed that your letter was delivered", &words, &status);
    }
    words.push_str(
        "\nIt will not be tried again. Your own copy is in the folder Sent, so nothing is\n\
         lost: check the address, ask the person whether their node is running, and send\n\
         the letter once more from there.\n",
    );
    report(letter, "Your letter was not delivered", &words, &status)
}

fn is_unconfirmed(failed: &Failed<'_>) -> bool {
    matches!(failed.reason, Reason::Unconfirmed { .. })
}

fn reason_in_words(reason: &Reason) -> String {
    match reason {
        Reason::Refused(reply) => {
            let answer = reply.shown().line();
            let advice = advice_for(reply);
            format!("The other node refused it{advice} Its answer was:\n    {answer}")
        }
        Reason::Expired { last } => {
            let days = DEADLINE.as_secs() / 86_400;
            format!("It was tried for {days} days without success. The last time:\n    {last}")
        }
        Reason::Unconfirmed { held_until } => {
            let until = held_until.to_the_minute().rfc5322();
            format!(
                "Friends of theirs kept it for them until {until},\n    and no receipt has come back \
                 since. They may have it, or not."
            )
        }
    }
}

/// What the commonest enhanced status codes mean (RFC 3463).
fn advice_for(reply: &Reply) -> &'static str {
    match reply.enhanced_status().as_str() {
        "5.1.1" => ": there is nobody of that name at that address.",
        "5.2.2" => ": the mailbox there is full.",
        "5.3.4" | "5.2.3" => ": the letter is too large for it.",
        "5.6.7" | "5.6.9" => {
            ": it does not take letters with other than English letters in header or address."
        }
        status if status.starts_with("5.7.") => ": it does not take this letter from you.",
        _ => ".",
    }
}

fn recipient_fields(to: &MailAddress) -> String {
    // RFC 6533 section 3.
    let kind = if to.local.is_ascii() { "rfc822" } else { "utf-8" };
    format!("Final-Recipient: {kind}; {}\nRemote-MTA: dns; {}\n", to.full(), to.onion.host())
}

fn status_fields(failed: &Failed<'_>) -> String {
    match failed.reason {
        Reason::Refused(reply) => {
            let shown = reply.shown();
            format!("Status: {}\nDiagnostic-Code: smtp; {}\n", shown.enhanced_status(), shown.line())
        }
        Reason::Expired { .. } => "Status: 5.4.7\n".to_owned(),
        Reason::Unconfirmed { .. } => "Status: 2.0.0\n".to_owned(),
    }
}

/// Puts the three parts together.
fn report(letter: &Reported<'_>, subject: &str, words: &str, status: &str) -> Vec<u8> {
    let own = letter.own.host();
    let name: String = letter.random.iter().map(|byte| format!("{byte:02x}")).collect();
    let boundary = format!("=_{name}");
    let about = about_letter(letter);
    let date = letter.now.to_the_minute().rfc5322();
    let arrival = letter.accepted.to_the_minute().rfc5322();
    let shown = shown_header(letter.header);
    let encoding = if shown.is_ascii() { "7bit" } else { "8bit" };
    let head = format!(
        "Return-Path: <>\n\
         Date: {date}\n\
         From: Mail Delivery <postmaster@{own}>\n\
         To: {author}\n\
         Subject: {subject}\n\
         Message-ID: <{name}@{own}>\n\
         {threading}\
         Auto-Submitted: auto-replied\n\
         MIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{boundary}\"\n\
         Content-Transfer-Encoding: 8bit\n\n\
         --{boundary}\n\
         Content-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\n\
         This is your own Onionskin node writing.\n\n{words}\n{about}\n\
         --{boundary}\n\
         Content-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; {own}\n\
         Arrival-Date: {arrival}\n{status}\n\
         --{boundary}\n\
         Content-Type: text/rfc822-headers; charset=utf-8\n\
         Content-Transfer-Encoding: {encoding}\n\n",
        author = letter.author.full(),
        threading = threading(letter.header),
    );
    let mut message = crlf(&head);
    message.extend_from_slice(&shown);
    message.extend_from_slice(&crlf(&format!("\n--{boundary}--\n")));
    message
}

/// Lines that tie the report to the letter, so that a mail program shows them together.
fn threading(header: &[u8]) -> String {
    let found = fields(header).unwrap_or_default();
    let id = found.iter().find(|field| field.is("Message-ID")).map(|field| field.unfolded());
    match id.map(String::from_utf8) {
        Some(Ok(id))
            if id.len() <= 250 && id.bytes().all(|byte| byte.is_ascii_graphic()) && !id.is_empty() =>
        {
            format!("In-Reply-To: {id}\nReferences: {id}\n")
        }
        _ => String::new(),
    }
}

/// The letter's subject and date in words.
fn about_letter(letter: &Reported<'_>) -> String {
    let parsed = MessageParser::new().parse_headers(letter.header);
    let subject = parsed.as_ref().and_then(|message| message.subject()).unwrap_or_default();
    let plain: String = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain: String = plain.chars().filter(|letter| !letter.is_control()).take(SUBJECT_SHOWN_MAX).collect();
    let subject = if plain.is_empty() { "(none)".to_owned() } else { plain };
    format!("The letter:\n  Subject: {subject}\n  Sent: {}\n", letter.accepted.to_the_minute().rfc5322())
}

/// As many whole fields of the header as fit.
fn shown_header(header: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    for field in fields(header).unwrap_or_default() {
        if shown.len() + field.raw().len() > HEADER_SHOWN_MAX {
            break;
        }
        shown.extend_from_slice(field.raw());
    }
    shown
}

/// The text with the line ends of mail.
fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MimeHeaders as _;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    const PEER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";

    fn address(local: &str, host: &str) -> MailAddress {
        MailAddress::parse(&format!("{local}@{host}")).unwrap()
    }

    fn with_letter<T>(header: &str, make: impl FnOnce(&Reported<'_>) -> T) -> T {
        let (own, author) = (OnionAddress::parse(HOST).unwrap(), address("ann", HOST));
        make(&Reported {
            own: &own,
            author: &author,
            header: header.as_bytes(),
            accepted: UnixTime(1_767_262_830),
            now: UnixTime(1_767_300_059),
            random: [0xab; 16],
        })
    }

    /// Every line ends in CRLF, none is too long, and the three parts are there; gives them as text.
    fn parts_of(message: &[u8]) -> (String, Vec<String>) {
        let text = String::from_utf8(message.to_vec()).unwrap();
        assert!(text.ends_with("\r\n") && !text.replace("\r\n", "").contains(['\r', '\n']));
        assert!(text.lines().all(|line| line.len() <= 998));
        let parsed = MessageParser::new().parse(message).unwrap();
        assert_eq!(parsed.content_type().unwrap().subtype(), Some("report"));
        let parts = (1..parsed.parts.len())
            .map(|at| String::from_utf8_lossy(parsed.part(at as u32).unwrap().contents()).into_owned());
        (text.clone(), parts.collect())
    }

    #[test]
    fn a_failure_tells_people_and_machines_why() {
        let (bob, carl) = (address("bob", PEER), address("carl", PEER));
        let refused = Reason::Refused(Reply { code: 550, text: "5.1.1 no such user\r\nBcc: x".to_owned() });
        let expired = Reason::Expired { last: "the other node is not online".to_owned() };
        let recipients = [Failed { to: &bob, reason: &refused }, Failed { to: &carl, reason: &expired }];
        let header = format!(
            "From: ann@{HOST}\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@{HOST}>\r\n\r\n"
        );
        let message = with_letter(&header, |letter| failure_notice(letter, &recipients));
        let (text, parts) = parts_of(&message);
        assert!(text.starts_with(
            "Return-Path: <>\r\nDate: Thu, 01 Jan 2026 20:40:00 +0000\r\nFrom: Mail Delivery <postmaster@"
        ));
        assert!(text.contains("\r\nAuto-Submitted: auto-replied\r\n"));
        assert!(text.contains(&format!("\r\nIn-Reply-To: <1@{HOST}>\r\n")));
        assert!(parts[0].contains(&format!(
            "  bob@{PEER}\r\n    The other node refused it: there is nobody of that name"
        )));
        assert!(parts[0].contains("550 5.1.1 no such user Bcc: x\r\n"));
        assert!(parts[0].contains("tried for 30 days") && parts[0].contains("Subject: Gr\u{fc}\u{df}e\r\n"));
        assert_eq!(
            parts[1].trim_end(),
            format!(
                "Reporting-MTA: dns; {HOST}\r\nArrival-Date: Thu, 01 Jan 2026 10:20:00 +0000\r\n\r\n\
                 Final-Recipient: rfc822; bob@{PEER}\r\nRemote-MTA: dns; {PEER}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
                 Diagnostic-Code: smtp; 550 5.1.1 no such user Bcc: x\r\n\r\n\
                 Final-Recipient: rfc822; carl@{PEER}\r\nRemote-MTA: dns; {PEER}\r\nAction: failed\r\nStatus: 5.4.7"
            )
        );
        assert_eq!(format!("{}\r\n\r\n", parts[2].trim_end()), header);
        assert_eq!(
            message,
            with_letter(&header, |letter| failure_notice(letter, &recipients)),
            "the same every time"
        );
    }

    #[test]
    fn a_delay_tells_that_nothing_need_be_done() {
        let bob = address("bob", PEER);
        let delayed = [Delayed {
            to: &bob,
            last: "the other node is not online",
            until: Some(UnixTime(1_769_854_830)),
        }];
        let message = with_letter("Subject: x\r\n\r\n", |letter| delay_notice(letter, &delayed));
        let (text, parts) = parts_of(&message);
        assert!(
            text.contains("\r\nSubject: Your letter is still waiting\r\n") && !text.contains("In-Reply-To")
        );
        assert!(parts[0].contains("You need not do anything.") && parts[0].contains("not online"));
        assert!(parts[1].contains(
            "Action: delayed\r\nStatus: 4.4.1\r\nWill-Retry-Until: Sat, 31 Jan 2026 10:20:00 +0000"
        ));
    }

    #[test]
    fn a_huge_or_hostile_header_does_no_harm() {
        let bob = address("bob", PEER);
        let reason = Reason::Expired { last: String::new() };
        let boundary = "ab".repeat(16);
        for header in [
            format!("Subject: {}\r\n{}\r\n", "x".repeat(900), "X-Y: zzzz\r\n".repeat(4000)),
            format!("Subject: \u{e9}\u{7}\r\nX: a\r\n --={boundary}--\r\n\r\n"),
            "Message-ID: <a b>\r\nSubject:\r\n\r\n".to_owned(),
            "not a header".to_owned(),
        ] {
            let message = with_letter(&header, |letter| {
                failure_notice(letter, &[Failed { to: &bob, reason: &reason }])
            });
            let (_, parts) = parts_of(&message);
            assert_eq!(parts.len(), 3, "{header:.80}");
            assert!(message.len() < HEADER_SHOWN_MAX + 4096 && !parts[0].contains('\u{7}'));
        }
    }
}
