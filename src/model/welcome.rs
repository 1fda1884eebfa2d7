//! The letter that a new node finds in its INBOX: who its person is now, how to give the address away, how to set the
//! mail program, how to write a first letter.
//!
//! Plain text, no remote content, the same bytes for the same input. It never leaves the node.

use crate::model::address::MailAddress;
use crate::model::time::UnixTime;

/// A port on loopback that a mail program is pointed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door<'a> {
    /// `127.0.0.1` or `::1`.
    pub host: &'a str,
    /// The port.
    pub port: u16,
}

/// What the welcome letter tells.
#[derive(Debug, Clone, Copy)]
pub struct Welcome<'a> {
    /// The new address.
    pub address: &'a MailAddress,
    /// Where mail is read.
    pub imap: Door<'a>,
    /// Where mail is handed in.
    pub smtp: Door<'a>,
    /// When the letter is written.
    pub now: UnixTime,
    /// Fresh random bytes, for the Message-ID.
    pub random: [u8; 16],
}

/// The welcome letter: a whole message, without `Received`.
pub fn welcome(told: &Welcome<'_>) -> Vec<u8> {
    let own = told.address.onion.host();
    let address = told.address.full();
    let date = told.now.to_the_minute().rfc5322();
    let name: String = told.random.iter().map(|byte| format!("{byte:02x}")).collect();
    let (imap, smtp) = (told.imap, told.smtp);
    let text = format!(
        "Return-Path: <>\n\
         Date: {date}\n\
         From: Onionskin <postmaster@{own}>\n\
         To: {address}\n\
         Subject: Welcome to your own mail\n\
         Message-ID: <{name}@{own}>\n\
         Auto-Submitted: auto-generated\n\
         MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=us-ascii\n\n\
         Your address is\n\n  {address}\n\n\
         It was made on this machine and belongs to nobody else: there is no provider,\n\
         no account and no password on the network. Your key is the address.\n\n\
         GIVE IT AWAY\n\n\
         Copy the address; it is too long to type. It contains a checksum, so a typing\n\
         error is noticed before a letter is sent. \"onionskin address\" prints it.\n\n\
         SET YOUR MAIL PROGRAM\n\n  \
           Incoming   IMAP   {imap_host}   port {imap_port}   no encryption\n  \
           Outgoing   SMTP   {smtp_host}   port {smtp_port}   no encryption\n  \
           User name  {address}\n  \
           Password   made by \"onionskin credentials\"\n\n\
         \"No encryption\" is right here: these two ports never leave this machine. What\n\
         does leave it goes through Tor, straight to the other person's node.\n\n\
         WRITE A FIRST LETTER\n\n\
         Write to your own address: it comes back within a minute. Then write to a friend\n\
         who runs Onionskin. If your friend's machine is off, the letter waits in the\n\
         folder Outbox and goes out when both machines are on; for that, leave this one\n\
         running now and then. You will be told if a letter waits long, and after 30 days\n\
         it comes back.\n\n\
         KEEP YOUR WORDS\n\n\
         The 24 words that you wrote down at the start bring this address back on any\n\
         machine. Nobody can send them to you again; whoever has them is you.\n",
        imap_host = imap.host,
        imap_port = imap.port,
        smtp_host = smtp.host,
        smtp_port = smtp.port,
    );
    text.replace('\n', "\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MessageParser;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

    #[test]
    fn the_welcome_tells_the_address_and_the_settings_and_loads_nothing() {
        let address = MailAddress::parse(&format!("ann@{HOST}")).unwrap();
        let told = Welcome {
            address: &address,
            imap: Door { host: "127.0.0.1", port: 1143 },
            smtp: Door { host: "127.0.0.1", port: 1587 },
            now: UnixTime(1_767_262_830),
            random: [1; 16],
        };
        let letter = welcome(&told);
        let text = String::from_utf8(letter.clone()).unwrap();
        assert!(
            text.is_ascii() && text.ends_with("\r\n") && !text.replace("\r\n", "").contains(['\r', '\n'])
        );
        assert!(!text.contains("://"), "nothing is loaded from anywhere");
        let parsed = MessageParser::new().parse(&letter).unwrap();
        assert_eq!(parsed.subject(), Some("Welcome to your own mail"));
        let body = parsed.body_text(0).unwrap();
        assert!(body.lines().all(|line| line.len() <= 80), "lines fit a screen");
        for told in
            [&address.full(), "127.0.0.1   port 1143", "127.0.0.1   port 1587", "onionskin credentials"]
        {
            assert!(body.contains(told), "{told}");
        }
    }
}
