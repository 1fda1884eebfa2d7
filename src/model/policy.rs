//! Which names an identity answers to, which names a person may choose, and the limits that all faces share.
//!
//! Promises that submission, the onion port and the command line judge alike, since they all ask here. How a
//! refusal is worded on a wire is left to them.

use crate::model::address::{LOCAL_PART_LEN_MAX, LocalPart, MailAddress};
use onion::OnionAddress;

/// Largest letter that is taken or sent, in bytes, header included: an attachment of 47 MB in base64. Over Tor at
/// 1 MB/s that is a minute; what is larger should not travel as mail.
pub const LETTER_SIZE_MAX: u64 = 64 * 1024 * 1024;
/// Most recipients of one letter: what RFC 5321 section 4.5.3.1.8 asks every server to take, and no more, because
/// each one is an entry in the queue and a dial.
pub const RECIPIENTS_MAX: usize = 100;
/// Most `Received` lines of a letter: beyond this it runs in circles (RFC 5321 section 6.3 wants at least 100).
pub const RECEIVED_MAX: usize = 100;
/// Most letters times recipients in one identity's queue: with more waiting, submission answers 452.
pub const QUEUE_LEN_MAX: usize = 10_000;
/// Most local parts of one identity.
pub const NAMES_MAX: usize = 16;
/// The local part of an identity for which no name was chosen.
pub const NAME_DEFAULT: &str = "me";
/// Names that every identity answers to, whatever its own: RFC 5321 section 4.5.1 and RFC 2142.
pub const NAMES_ALWAYS: [&str; 2] = ["postmaster", "abuse"];
/// The name whose letters are answered with what was seen of them, and not kept.
pub const ECHO: &str = "echo";
/// Names with a meaning of their own, which nobody may take for a name.
const NAMES_RESERVED: [&str; 9] =
    ["postmaster", "abuse", ECHO, "mailer-daemon", "root", "admin", "administrator", "hostmaster", "noreply"];

/// The addresses of one identity: its onion and at least one local part, the first being the main one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnNames {
    onion: OnionAddress,
    locals: Vec<LocalPart>,
}

impl OwnNames {
    /// Takes the onion and its local parts, repetitions dropped; `None` if there are none or more than
    /// [`NAMES_MAX`].
    pub fn new(onion: OnionAddress, locals: impl IntoIterator<Item = LocalPart>) -> Option<Self> {
        let mut kept: Vec<LocalPart> = Vec::new();
        for local in locals.into_iter().take(NAMES_MAX + 1) {
            if !kept.contains(&local) {
                kept.push(local);
            }
        }
        (1..=NAMES_MAX).contains(&kept.len()).then_some(Self { onion, locals: kept })
    }

    /// The main address.
    pub fn main(&self) -> MailAddress {
        MailAddress { local: self.locals[0].clone(), onion: self.onion }
    }

    /// The onion that the names are at.
    pub fn onion(&self) -> &OnionAddress {
        &self.onion
    }

    /// The local parts, the main one first.
    pub fn locals(&self) -> &[LocalPart] {
        &self.locals
    }

    /// Whether this identity answers to `local`: one of its own names or of [`NAMES_ALWAYS`], with or without a
    /// `+tag`.
    pub fn answers_to(&self, local: &LocalPart) -> bool {
        let base = local.base();
        NAMES_ALWAYS.contains(&base) || self.locals.iter().any(|own| own.as_str() == base)
    }

    /// Whether `address` is this identity's `echo@`, with or without a `+tag`. Nobody reads it, so it is none of the
    /// names.
    pub fn is_echo(&self, address: &MailAddress) -> bool {
        address.onion == self.onion && address.local.base() == ECHO
    }

    /// Whether `address` is one of this identity's.
    pub fn owns(&self, address: &MailAddress) -> bool {
        address.onion == self.onion && self.answers_to(&address.local)
    }
}

/// Why a name cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing left of the name.
    #[error("the name is empty; a name such as \"ann\" is fine, and so is leaving it out")]
    Empty,
    /// More than 64 characters.
    #[error("the name is longer than {LOCAL_PART_LEN_MAX} characters")]
    TooLong,
    /// A whole address where a name was asked for.
    #[error("give only the part before the @: the rest comes from your key")]
    WholeAddress,
    /// A `+`, which starts a tag.
    #[error("a name has no +: mail to name+anything reaches you by itself")]
    Tag,
    /// A character that people misread or cannot say.
    #[error("a name has only the letters a-z, digits, and single dots, dashes or underscores inside")]
    Alphabet,
    /// A name with a meaning of its own.
    #[error("this name has a meaning of its own in mail; please choose another")]
    Reserved,
}

/// Checks a name that a person chooses as local part; folds it to lower case.
///
/// Narrower than what an address may have: what can be said on the telephone.
pub fn choose_name(text: &str) -> Result<LocalPart, NameError> {
    let name = text.trim().to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let ends_plain = |end: Option<&u8>| end.is_some_and(u8::is_ascii_alphanumeric);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.contains('@') {
        return Err(NameError::WholeAddress);
    }
    if name.contains('+') {
        return Err(NameError::Tag);
    }
    if name.len() > LOCAL_PART_LEN_MAX {
        return Err(NameError::TooLong);
    }
    let sound =
        name.bytes().all(plain) && ends_plain(name.as_bytes().first()) && ends_plain(name.as_bytes().last());
    if !sound || name.contains("..") {
        return Err(NameError::Alphabet);
    }
    if NAMES_RESERVED.contains(&name.as_str()) {
        return Err(NameError::Reserved);
    }
    LocalPart::parse(&name).map_err(|_| NameError::Alphabet)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    const OTHER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";

    fn names(locals: &[&str]) -> Option<OwnNames> {
        let locals = locals.iter().map(|local| LocalPart::parse(local).unwrap());
        OwnNames::new(OnionAddress::parse(HOST).unwrap(), locals.collect::<Vec<_>>())
    }

    #[test]
    fn an_identity_answers_to_its_names_and_the_two_that_must_exist() {
        let own = names(&["ann", "ann.lee", "ann"]).unwrap();
        assert_eq!(own.locals().len(), 2);
        assert_eq!(own.main().full(), format!("ann@{HOST}"));
        for (address, ours) in [
            ("ann", true),
            ("ANN+shop", true),
            ("ann.lee+a+b", true),
            ("postmaster", true),
            ("Abuse+x", true),
            ("ann+", true),
            ("+ann", false),
            ("an", false),
            ("annn", false),
            ("echo", false),
            ("bob", false),
        ] {
            assert_eq!(
                own.owns(&MailAddress::parse(&format!("{address}@{HOST}")).unwrap()),
                ours,
                "{address}"
            );
        }
        assert!(!own.owns(&MailAddress::parse(&format!("ann@{OTHER}")).unwrap()));
        for (address, echo) in [
            (format!("Echo+x@{HOST}"), true),
            (format!("echoes@{HOST}"), false),
            (format!("echo@{OTHER}"), false),
        ] {
            assert_eq!(own.is_echo(&MailAddress::parse(&address).unwrap()), echo, "{address}");
        }
    }

    #[test]
    fn an_identity_has_one_to_sixteen_names() {
        assert_eq!(names(&[]), None);
        let many: Vec<String> = (0..=NAMES_MAX).map(|at| format!("n{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(names(&many), None);
        assert!(names(&many[1..]).is_some());
    }

    #[test]
    fn a_chosen_name_is_folded_or_refused_for_its_reason() {
        assert_eq!(choose_name(" Ann.Lee-2_x ").unwrap().as_str(), "ann.lee-2_x");
        assert_eq!(choose_name(NAME_DEFAULT).unwrap().as_str(), NAME_DEFAULT);
        for (text, error) in [
            ("  ", NameError::Empty),
            ("ann@x", NameError::WholeAddress),
            ("ann+x", NameError::Tag),
            ("ann lee", NameError::Alphabet),
            ("\u{e9}va", NameError::Alphabet),
            (".ann", NameError::Alphabet),
            ("ann-", NameError::Alphabet),
            ("a..b", NameError::Alphabet),
            ("ann\r\nx", NameError::Alphabet),
            ("Postmaster", NameError::Reserved),
            ("echo", NameError::Reserved),
        ] {
            assert_eq!(choose_name(text), Err(error), "{text:?}");
        }
        assert_eq!(choose_name(&"x".repeat(65)), Err(NameError::TooLong));
    }
}
