//! A revocation as a file, made beforehand: plain words on top, then the statement in base64 between two lines.
//!
//! ```text
//! This is the revocation certificate of …
//! -----BEGIN ONIONSKIN REVOCATION-----
//! <base64, 64 characters a line>
//! -----END ONIONSKIN REVOCATION-----
//! ```
//!
//! Whatever stands around the block is passed over. Whether the statement is worth anything is left to `statement`.

use crate::model::statement::{Revocation, Signed, Verified};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Longest file in which a certificate is looked for, in bytes.
pub const FILE_LEN_MAX: usize = 64 * 1024;
const BEGIN: &str = "-----BEGIN ONIONSKIN REVOCATION-----";
const END: &str = "-----END ONIONSKIN REVOCATION-----";
const LINE_LEN: usize = 64;

/// Why a file holds no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The two lines are not there, in this order.
    #[error("there is no revocation between its two lines")]
    Block,
    /// What is between them is no revocation.
    #[error("what is between the two lines is not a whole revocation")]
    Content,
}

/// The whole text of the file.
pub fn written(revocation: &Verified<Revocation>) -> String {
    let onion = revocation.author().host();
    let since = match revocation.compromised() {
        Some(since) => format!("It says that the key is in wrong hands since {}.", since.rfc5322()),
        None => "It was made beforehand and does not say since when the key is in wrong hands.".to_owned(),
    };
    let mut text = format!(
        "This is the revocation certificate of the mail address at\n\n  {onion}\n\n\
         With it anybody can say, for its owner and for ever, that the key of this address is\n\
         in wrong hands. It cannot be taken back, and it can do nothing else: nobody can read\n\
         mail with it, or write any.\n{since}\n\n\
         Keep it apart from the machine that it is for: on paper, or on a stick in a drawer.\n\
         Whoever finds it can make the address useless. To use it, on the machine of the\n\
         address:\n\n  onionskin revoke --certificate THIS-FILE\n\n\
         With the 24 recovery words the same can be done without this file, and better: then\n\
         the day from which on letters are not to be believed can be said.\n\n{BEGIN}\n"
    );
    for line in STANDARD.encode(revocation.bytes()).as_bytes().chunks(LINE_LEN) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text + END + "\n"
}

/// The revocation in such a file; nothing of it is verified.
pub fn read(text: &str) -> Result<Signed<Revocation>, CertificateError> {
    let (_, after) = text.split_once(BEGIN).ok_or(CertificateError::Block)?;
    let (block, _) = after.split_once(END).ok_or(CertificateError::Block)?;
    let block: String = block.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = STANDARD.decode(block).map_err(|_| CertificateError::Content)?;
    Signed::parse(bytes).map_err(|_| CertificateError::Content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::LocalPart;
    use crate::model::identity::{Identity, RecoveryWords};
    use crate::model::statement::card::commitment;
    use crate::model::statement::recovery::SINCE_UNKNOWN;
    use crate::model::time::UnixTime;
    use proptest::prelude::*;

    #[test]
    fn a_certificate_reads_back_and_holds_whatever_a_mail_program_did_to_its_lines() {
        let words = RecoveryWords::from_entropy([3; 32]);
        let identity = Identity::from_words(&words, LocalPart::parse("ann").unwrap(), UnixTime(7));
        let made = words.revocation(SINCE_UNKNOWN, UnixTime(1_767_262_830), "").unwrap();
        let text = written(&made);
        assert!(text.lines().all(|line| line.len() <= 90), "it fits a page");
        assert!(text.contains(&identity.onion().host()) && text.contains("does not say since when"));
        let quoted = format!("Hello,\r\n{}\r\nBye", text.replace('\n', "\r\n   "));
        for text in [&text, &quoted] {
            let read = read(text).unwrap();
            assert_eq!(read.claimed_author(), identity.onion());
            let read = read.verify_recovery(&commitment(identity.recovery_key()), None).unwrap();
            assert_eq!((read.compromised(), read.bytes()), (None, made.bytes()));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_panic(noise in "(-----(BEGIN|END) ONIONSKIN REVOCATION-----|[ -~\n]){0,60}") {
            let _ = read(&noise);
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let empty = format!("{BEGIN}\n{END}");
        let noise = format!("{BEGIN}\nAAAA\n{END}");
        let reversed = format!("{END}\n{BEGIN}");
        for (text, error) in [
            ("", CertificateError::Block),
            (BEGIN, CertificateError::Block),
            (&reversed, CertificateError::Block),
            (&empty, CertificateError::Content),
            (&noise, CertificateError::Content),
        ] {
            assert_eq!(read(text).err(), Some(error), "{text}");
        }
    }
}
