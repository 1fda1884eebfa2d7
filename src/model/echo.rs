//! The answer of `echo@`: what this node saw of a letter, told to the proved node that sent it.
//!
//! Promises that the answer says no more of this node than any letter does: the time of day to the minute, how long
//! things took to a tenth of a second (which tells nothing of a clock), and the header as it arrived. Whatever is
//! itself automatic is known by [`is_automatic`] and gets no answer (RFC 3834 section 2).

use crate::model::address::MailAddress;
use crate::model::header::fields;
use crate::model::letter::LetterId;
use crate::model::policy::ECHO;
use crate::model::time::UnixTime;
use onion::OnionAddress;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// How much of the header is given back, in bytes: whole fields, as many as fit.
const HEADER_SHOWN_MAX: usize = 16 * 1024;

/// What is known of a letter to `echo@`.
#[derive(Debug, Clone, Copy)]
pub struct Echoed<'a> {
    /// Our own onion.
    pub own: &'a OnionAddress,
    /// Who sent it: the reverse path, at the onion that was proved.
    pub to: &'a MailAddress,
    /// Its header, our own lines on top.
    pub header: &'a [u8],
    /// Length of the letter without our own lines, in bytes.
    pub len: u64,
    /// When its envelope was complete, at the onion port.
    pub received: UnixTime,
    /// How long its content then took to come.
    pub took: Duration,
    /// When this answer is queued.
    pub now: UnixTime,
    /// Fresh random bytes, for the Message-ID.
    pub random: [u8; 16],
}

/// Whether a letter was written by a program or for many, so that answering it could go on for ever.
pub fn is_automatic(header: &[u8]) -> bool {
    fields(header).unwrap_or_default().iter().any(|field| {
        let value = field.unfolded().to_ascii_lowercase();
        let word = value.split(|byte| b"; (\t".contains(byte)).next().unwrap_or_default();
        match field.name().to_ascii_lowercase().as_str() {
            "auto-submitted" => word != b"no",
            "precedence" => [&b"bulk"[..], b"junk", b"list"].contains(&word),
            name => name == "list-id",
        }
    })
}

/// The name under which the answer to a letter is remembered. It is not the letter's own, because one letter may be for
/// somebody here and for `echo@` too, and come twice for it.
pub fn answered_id(id: &LetterId) -> LetterId {
    let mut hash = Sha256::new();
    hash.update(b"onionskin/1 echo\0");
    hash.update(id.0);
    let hash: [u8; 32] = hash.finalize().into();
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    LetterId(short)
}

/// The answer: a whole letter.
pub fn answer(echoed: &Echoed<'_>) -> Vec<u8> {
    let own = echoed.own.host();
    let name = LetterId(echoed.random).to_hex();
    let took = tenths(echoed.took);
    let head = format!(
        "Date: {date}\n\
         From: {ECHO}@{own}\n\
         To: {to}\n\
         Subject: Echo: your letter arrived\n\
         Message-ID: <{name}@{own}>\n\
         {threading}\
         Auto-Submitted: auto-replied\n\
         MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\n\
         Your letter arrived and was not kept. This is what the node at this address saw.\n\n\
         Received by the onion port   {received}\n\
         Complete                     {took} s later, {len} bytes\n\
         This answer queued           {date}\n\n\
         Times are UTC to the minute. The header as it arrived, this node's lines on top:\n\n",
        date = echoed.now.to_the_minute().rfc5322(),
        to = echoed.to.full(),
        threading = threading(echoed.header),
        received = echoed.received.to_the_minute().rfc5322(),
        len = echoed.len,
    );
    let mut letter = head.replace('\n', "\r\n").into_bytes();
    letter.extend_from_slice(String::from_utf8_lossy(shown(echoed.header).as_slice()).as_bytes());
    letter
}

fn tenths(took: Duration) -> String {
    let tenths = took.as_millis() / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// As many whole fields of the header as fit.
fn shown(header: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    for field in fields(header).unwrap_or_default() {
        if shown.len() + field.raw().len() > HEADER_SHOWN_MAX {
            break;
        }
        shown.extend_from_slice(field.raw());
    }
    shown
}

/// Lines that tie the answer to the letter (RFC 3834 section 3.1.5).
fn threading(header: &[u8]) -> String {
    let found = fields(header).unwrap_or_default();
    let id = found.iter().find(|field| field.is("Message-ID")).map(|field| field.unfolded());
    match id.map(String::from_utf8) {
        Some(Ok(id)) if (1..=250).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) => {
            format!("In-Reply-To: {id}\nReferences: {id}\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    const PEER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";

    fn answer_to(header: &[u8]) -> String {
        let echoed = Echoed {
            own: &OnionAddress::parse(HOST).unwrap(),
            to: &MailAddress::parse(&format!("ann@{PEER}")).unwrap(),
            header,
            len: 1234,
            received: UnixTime(1_767_262_830),
            took: Duration::from_millis(2_678),
            now: UnixTime(1_767_262_859),
            random: [0xab; 16],
        };
        String::from_utf8(answer(&echoed)).unwrap()
    }

    #[test]
    fn an_answer_tells_the_times_and_the_header_and_no_seconds() {
        let header = format!(
            "Received: from {PEER}\r\n\tby {HOST}\r\nSubject: Gr\u{fc}\u{df}e\r\nMessage-ID: <1@{PEER}>\r\n\r\n"
        );
        let text = answer_to(header.as_bytes());
        assert!(text.contains(&format!("\r\nFrom: echo@{HOST}\r\nTo: ann@{PEER}\r\n")));
        assert!(text.contains("\r\nAuto-Submitted: auto-replied\r\n"));
        assert!(text.contains(&format!("\r\nIn-Reply-To: <1@{PEER}>\r\n")));
        assert!(text.contains("Received by the onion port   Thu, 01 Jan 2026 10:20:00 +0000\r\n"));
        assert!(text.contains("Complete                     2.6 s later, 1234 bytes\r\n"));
        assert!(text.ends_with(header.strip_suffix("\r\n").unwrap()), "{text}");
        assert!(!text.contains(":30 +0000") && !text.contains(":59 +0000"), "no seconds: {text}");
        let own_header = text.split_inclusive("\r\n\r\n").next().unwrap();
        assert!(is_automatic(own_header.as_bytes()), "no answer is answered");
    }

    #[test]
    fn a_huge_or_hostile_header_makes_no_huge_or_broken_answer() {
        for header in [
            format!("Subject: x\r\n{}\r\n", "X-Y: zzzz\r\n".repeat(4000)).into_bytes(),
            b"Message-ID: <a b>\r\nSubject: \xff\xfe\r\n\r\n".to_vec(),
            b"Message-ID: \r\n\r\n".to_vec(),
            b"no header".to_vec(),
        ] {
            let text = answer_to(&header);
            assert!(text.len() < HEADER_SHOWN_MAX + 2048);
            assert!(!text.contains("In-Reply-To"));
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
        }
    }

    #[test]
    fn what_programs_write_is_known() {
        for (line, automatic) in [
            ("Auto-Submitted: auto-replied", true),
            ("auto-submitted:\r\n auto-generated (by x)", true),
            ("Auto-Submitted: anything; a=b", true),
            ("Auto-Submitted:", true),
            ("Auto-Submitted: no", false),
            ("Auto-Submitted: No (really)", false),
            ("Precedence: bulk", true),
            ("Precedence: first-class", false),
            ("List-Id: <x>", true),
            ("List-Unsubscribe: <x>", false),
            ("Subject: auto-submitted: auto-replied", false),
        ] {
            assert_eq!(is_automatic(format!("From: a@b\r\n{line}\r\n\r\n").as_bytes()), automatic, "{line}");
        }
    }

    #[test]
    fn an_answer_is_remembered_under_a_name_of_its_own() {
        let (one, other) = (LetterId([1; 16]), LetterId([2; 16]));
        assert_ne!(answered_id(&one), one);
        assert_ne!(answered_id(&one), answered_id(&other));
        assert_eq!(answered_id(&one), answered_id(&one));
    }
}
