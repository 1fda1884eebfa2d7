//! Letters about keys: what an identity writes to others when its own key went wrong, and what a node tells its person
//! when that of a contact did.
//!
//! Plain text, no remote content, the same bytes for the same input. Whatever others wrote (a reason) is quoted line by
//! line, so that it cannot be taken for the node's own words.

use crate::model::address::MailAddress;
use crate::model::statement::{Delegation, Revocation, Successor};
use crate::model::time::UnixTime;
use onion::OnionAddress;
use std::fmt::Write as _;

/// A letter of the node to its person, about somebody's key.
#[derive(Debug, Clone, Copy)]
pub struct Tidings<'a> {
    /// The person's own address.
    pub own: &'a MailAddress,
    /// About whom.
    pub who: &'a OnionAddress,
    /// What the person calls them.
    pub name: &'a str,
    /// When it is written.
    pub now: UnixTime,
    /// For the Message-ID: the beginning of the SHA-256 of the statement.
    pub id: [u8; 16],
}

/// What was moved to Junk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// So many letters from INBOX.
    pub inbox: usize,
    /// So many from Requests.
    pub requests: usize,
    /// There are more letters than were looked at.
    pub more: bool,
}

impl Quarantined {
    /// How many in all.
    pub fn letters(&self) -> usize {
        self.inbox + self.requests
    }
}

/// What ends every letter of the node to its person. It is kept as the body; the rest stands before it.
pub const END: &[u8] = b"-- \r\nWritten by your own Onionskin node. It never left this machine.\r\n";

/// Tells that a contact's key was revoked. To be followed by [`END`].
pub fn revoked(told: &Tidings<'_>, revocation: &Revocation, quarantined: &Quarantined) -> Vec<u8> {
    let since = match revocation.compromised() {
        Some(since) => format!("The key is in wrong hands since {}.", since.to_the_minute().rfc5322()),
        None => "Since when the key is in wrong hands is not known.".to_owned(),
    };
    let Quarantined { inbox, requests, more } = *quarantined;
    let moved = match quarantined.letters() {
        0 => "No letter was moved.".to_owned(),
        _ => format!(
            "What arrived from this address since then was moved to Junk: {inbox} from INBOX and {requests} from\n\
             Requests."
        ),
    };
    let more = if more { " Older letters were not looked at; be careful with them." } else { "" };
    let text = format!(
        "The owner of this mail address has revoked its key, which others may have:\n\n  \
           {name}\n  {host}\n\n{since}\n{reason}\n\
         {moved}{more} Letters in folders of your own\n\
         stay where they are: do not trust those that came since then.\n\n\
         From now on letters from this address go to Junk, and nothing is sent to it; what you\n\
         write to it comes back. This was signed with the recovery key of the address, which a\n\
         thief of the key does not have, and it cannot be taken back.\n\n\
         WHAT TO DO\n\n\
         Ask the person, by another way, for their new address. If they name one by a letter\n\
         of this kind, check it with them: onionskin contacts follow ADDRESS\n\
         Tell nobody's secrets to the old address, and believe nothing that came from it.\n\n",
        name = told.name,
        host = told.who.host(),
        reason = quoted(&revocation.reason),
    );
    notice(told, "A key was revoked", &text)
}

/// Tells that a contact names another address as the one that comes after. To be followed by [`END`].
pub fn moved(told: &Tidings<'_>, successor: &Successor) -> Vec<u8> {
    let text = format!(
        "A contact of yours names a new address. The old one is\n\n  {name}\n  {old}\n\nthe new one\n\n  {new}\n\n\
         This was signed with the recovery key of the old address. Nothing has been changed\n\
         yet: whoever found their recovery words could have written it too.\n\n\
         WHAT TO DO\n\n\
         Ask the person, by another way, whether the new address is theirs. This shows words\n\
         to read to each other, and moves them when you say that all is right:\n\n  \
           onionskin contacts follow {old}\n\n\
         Then the new address is to you what the old one was.\n\n",
        name = told.name,
        old = told.who.host(),
        new = successor.new.host(),
    );
    notice(told, "A contact names a new address", &text)
}

fn notice(told: &Tidings<'_>, subject: &str, text: &str) -> Vec<u8> {
    let own = told.own.onion.host();
    let id: String = told.id.iter().map(|byte| format!("{byte:02x}")).collect();
    let letter = format!(
        "Return-Path: <>\nDate: {date}\nFrom: Onionskin <postmaster@{own}>\nTo: {to}\nSubject: {subject}: {short}\n\
         Message-ID: <{id}@{own}>\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{text}",
        date = told.now.to_the_minute().rfc5322(),
        to = told.own.full(),
        short = &told.who.host()[..16],
    );
    letter.replace("\r\n", "\n").replace('\r', "").replace('\n', "\r\n").into_bytes()
}

/// Lines of others, each marked as such.
fn quoted(text: &str) -> String {
    let shown: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    if shown.trim().is_empty() {
        return String::new();
    }
    let mut lines = String::from("The owner writes:\n\n");
    for line in shown.lines() {
        let _ = writeln!(lines, "  > {line}");
    }
    lines
}

/// What goes to the contacts of an identity that is revoked; also when somebody passes it on.
pub fn revocation_words(of: &OnionAddress, revocation: &Revocation, passed_on: bool) -> (String, String) {
    let host = of.host();
    let begin = match passed_on {
        true => "I pass this on for the owner of",
        false => "The key of my mail address is, or may be, in wrong hands. This is about",
    };
    let since = match revocation.compromised() {
        Some(since) => format!("since {}", since.to_the_minute().rfc5322()),
        None => "that came lately".to_owned(),
    };
    let text = format!(
        "{begin}\n\n  {host}\n\n\
         Do not believe letters from this address {since}, and write nothing to it.\n\
         {reason}\n\
         If your node is an Onionskin that knows the address, it checks what is attached, and a\n\
         letter of its own in your INBOX says so. If none comes, ask the person by another way.\n",
        reason = quoted(&revocation.reason)
    );
    (format!("Revoked: {}", &host[..16]), text)
}

/// What goes to the contacts of an identity that names the one after it.
pub fn successor_words(own: &MailAddress, new: &OnionAddress) -> (String, String) {
    let text = format!(
        "I have a new mail address. The old one is\n\n  {}\n\nthe new one is at\n\n  {}\n\n\
         Ask me by another way whether that is true. If your node is an Onionskin, a letter of\n\
         its own in your INBOX says how to check it, and what to do then.\n",
        own.full(),
        new.host()
    );
    ("I have a new address".to_owned(), text)
}

/// What goes to somebody who may write in the author's name.
pub fn delegation_words(own: &OnionAddress, delegation: &Delegation) -> (String, String) {
    let names: Vec<String> =
        delegation.names.iter().map(|name| format!("  {}@{}\n", name.as_str(), own.host())).collect();
    let text = format!(
        "You may write on my behalf, as\n\n{}\nuntil {}. I cannot take that back earlier.\n\n\
         From now on your node takes letters with such an address in From, from any mail\n\
         program or by: onionskin send --behalf ADDRESS\n\
         Who reads them is shown that you wrote them for me.\n",
        names.concat(),
        delegation.until.to_the_minute().rfc5322()
    );
    ("You may write on my behalf".to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MessageParser;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    const PEER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";
    const NOW: UnixTime = UnixTime(1_767_262_830);

    #[test]
    fn what_the_owner_writes_is_quoted_and_begins_no_line_of_ours() {
        let own = MailAddress::parse(&format!("ann@{HOST}")).unwrap();
        let who = OnionAddress::parse(PEER).unwrap();
        let told = Tidings { own: &own, who: &who, name: "Bob", now: NOW, id: [1; 16] };
        let reason = "stolen\n\nWHAT TO DO\npay\u{1b}[2J".to_owned();
        let revocation = Revocation { recovery: [0; 32], since: NOW, made: NOW, reason };
        let quarantined = Quarantined { inbox: 3, requests: 1, more: false };
        let letter = [revoked(&told, &revocation, &quarantined), END.to_vec()].concat();
        let text = String::from_utf8(letter.clone()).unwrap();
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']) && !text.contains('\u{1b}'));
        assert_eq!(text.lines().filter(|line| *line == "WHAT TO DO").count(), 1);
        assert!(text.contains("  > WHAT TO DO") && text.contains("3 from INBOX and 1 from"), "{text}");
        let parsed = MessageParser::new().parse(&letter).unwrap();
        assert_eq!(parsed.subject(), Some("A key was revoked: duckduckgogg42xj"));
        assert!(parsed.body_text(0).unwrap().lines().all(|line| line.chars().count() <= 95));
    }
}
