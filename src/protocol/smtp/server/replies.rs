//! Every reply of the server whose text is fixed, on one page. Texts are for an honest sender who wonders why.

use crate::protocol::smtp::reply::Reply;

pub(super) const OK: Reply = Reply::new(250, 0, 0, "OK");
pub(super) const SENDER_OK: Reply = Reply::new(250, 1, 0, "Sender taken");
pub(super) const RECIPIENT_OK: Reply = Reply::new(250, 1, 5, "Recipient taken");
pub(super) const CHUNK_OK: Reply = Reply::new(250, 0, 0, "Chunk taken");
pub(super) const KEPT: Reply = Reply::new(250, 0, 0, "The letter is kept");
pub(super) const CARD: Reply = Reply::new(250, 0, 0, "");
pub(super) const NOTHING_NEWER: Reply = Reply::new(250, 0, 0, "Nothing newer");
pub(super) const HELD: Reply = Reply::new(250, 0, 0, "");
pub(super) const OCTETS: Reply = Reply::new(250, 0, 0, "");
pub(super) const DROPPED: Reply = Reply::new(250, 0, 0, "Dropped");
pub(super) const REVOKED: Reply = Reply::new(250, 0, 0, "Revoked");
pub(super) const RECALLED: Reply = Reply::new(250, 0, 0, "It is not held here now");
pub(super) const CHECKPOINT: Reply = Reply::bare(355, "");
pub(super) const GO_ON: Reply = Reply::bare(354, "Send the text, and end it with CRLF . CRLF");
pub(super) const BYE: Reply = Reply::new(221, 0, 0, "Bye");
pub(super) const HELP: Reply =
    Reply::new(214, 0, 0, "EHLO, MAIL, RCPT, DATA or BDAT, QUIT: as RFC 5321 has them");
pub(super) const CANNOT_VERIFY: Reply = Reply::new(252, 0, 0, "Not told; send the letter and see");
pub(super) const WILL_CALL: Reply = Reply::new(250, 0, 0, "What waits for your onion will be sent to it");
pub(super) const PROVED: Reply = Reply::new(235, 7, 0, "The onion is yours");
pub(super) const LOGGED_IN: Reply = Reply::new(235, 7, 0, "Logged in");

pub(super) const LINE_TOO_LONG: Reply = Reply::new(500, 5, 2, "The line is too long");
pub(super) const LINE_END: Reply = Reply::new(500, 5, 2, "A line must end in CRLF");
pub(super) const HTTP: Reply = Reply::new(500, 5, 2, "This is a mail server, not a web server");
pub(super) const ONLY_SUBMISSION: Reply = Reply::new(502, 5, 1, "Only nodes may ask this");
pub(super) const HELLO_FIRST: Reply = Reply::new(503, 5, 1, "EHLO first");
pub(super) const MAIL_FIRST: Reply = Reply::new(503, 5, 1, "MAIL first");
pub(super) const RCPT_FIRST: Reply = Reply::new(503, 5, 1, "No recipient was taken");
pub(super) const MAIL_OPEN: Reply = Reply::new(503, 5, 1, "A letter is already begun");
pub(super) const IN_CHUNKS: Reply = Reply::new(503, 5, 1, "The letter is already coming in chunks");
pub(super) const ONLY_CHUNKS: Reply = Reply::new(503, 5, 1, "After 355 the rest of the letter comes by BDAT");
pub(super) const SEALED_CHUNKS: Reply = Reply::new(503, 5, 1, "A sealed letter comes by BDAT");
pub(super) const INSIDE_A_LETTER: Reply = Reply::new(503, 5, 1, "Not inside a letter");
pub(super) const UNPROVED_DEPOSIT: Reply =
    Reply::new(503, 5, 1, "Letters are left here without AUTH; come again and prove nothing");
pub(super) const AUTH_ONCE: Reply = Reply::new(503, 5, 1, "Only one AUTH, and not inside a letter");

pub(super) const AUTH_FIRST: Reply = Reply::new(530, 7, 0, "AUTH first");
pub(super) const LOGIN_FIRST: Reply =
    Reply::new(530, 7, 0, "Log in first, with an app password of this node");
pub(super) const MECHANISM: Reply = Reply::new(504, 5, 4, "No such AUTH mechanism here");
pub(super) const NO_RESPONSE: Reply = Reply::new(501, 5, 4, "The response must follow the mechanism");
pub(super) const NOT_BASE64: Reply = Reply::new(501, 5, 2, "The response is not base64");
pub(super) const CANCELLED: Reply = Reply::new(501, 7, 0, "AUTH is cancelled");
pub(super) const NOT_PROVED: Reply = Reply::new(535, 7, 8, "The signature does not hold for this session");
pub(super) const NOT_LOGGED_IN: Reply = Reply::new(535, 7, 8, "Wrong user name or app password");
pub(super) const ETRN_OTHER: Reply = Reply::new(459, 7, 1, "ETRN is for the onion that was proved");

pub(super) const TOO_LARGE: Reply = Reply::new(552, 3, 4, "The letter is larger than the limit in EHLO");
pub(super) const TOO_MANY_RECIPIENTS: Reply =
    Reply::new(452, 5, 3, "Too many recipients; send to the others in another letter");
pub(super) const SEALED_FOR_ONE: Reply =
    Reply::new(452, 5, 3, "A sealed letter has one reader; send to the others in others");
pub(super) const NOT_YOURS: Reply = Reply::new(550, 7, 1, "The sender is not of the onion that was proved");
pub(super) const NO_SENDER: Reply = Reply::new(550, 7, 1, "What is left at a drop names no sender");
pub(super) const NO_TOKEN: Reply =
    Reply::new(550, 7, 1, "A drop takes sealed letters, each with a TOKEN, and nothing else");
pub(super) const NOT_THIS_IDENTITY: Reply =
    Reply::new(553, 7, 1, "The sender must be an address of the identity that is logged in");
pub(super) const NO_RELAY: Reply = Reply::new(550, 7, 1, "This node takes letters for its own onion only");
pub(super) const NOBODY: Reply = Reply::new(550, 1, 1, "Nobody of that name here");
pub(super) const ECHO_ALONE: Reply =
    Reply::new(452, 5, 3, "echo@ takes a letter of its own; send to the others in another one");
pub(super) const GUEST_ALONE: Reply =
    Reply::new(452, 5, 3, "This address takes a letter of its own; send to the others in another one");
pub(super) const ECHO_UNPROVED: Reply =
    Reply::new(550, 7, 1, "echo@ answers only a node that has proved its onion by AUTH ONION-ED25519");
pub(super) const ECHO_NO_SENDER: Reply =
    Reply::new(550, 7, 1, "echo@ answers no letter without a sender, and no other echo@");
pub(super) const CLEARNET: Reply =
    Reply::new(550, 1, 2, "This node sends only to onion addresses: name@<56 characters>.onion");
pub(super) const BAD_ONION: Reply = Reply::new(550, 1, 3, "");

pub(super) const BROKEN_LINES: Reply =
    Reply::new(554, 6, 0, "The letter has a CR or LF that is not part of a CRLF");
pub(super) const OTHER_LENGTH: Reply = Reply::new(554, 6, 0, "The letter has another length than SIZE said");
pub(super) const NUL: Reply = Reply::new(554, 6, 0, "The letter has a NUL byte");
pub(super) const LONG_LINE: Reply = Reply::new(
    554,
    6,
    0,
    "The letter has a line of more than 998 characters; encode it in base64 or quoted-printable",
);

pub(super) const SHUTTING: Reply = Reply::new(421, 3, 2, "The node is going down; come again");
pub(super) const TIMEOUT: Reply = Reply::new(421, 4, 2, "Waited too long");
pub(super) const TOO_MANY_ERRORS: Reply = Reply::new(421, 7, 0, "Too many errors");
pub(super) const TOO_MANY_COMMANDS: Reply = Reply::new(421, 7, 0, "Too many commands without a letter");
pub(super) const TOO_MANY_LETTERS: Reply =
    Reply::new(421, 7, 0, "Enough letters for one session; come again");
pub(super) const TOO_MUCH_COLLECTED: Reply =
    Reply::new(421, 7, 0, "Enough was collected in one session; come again");
pub(super) const TOO_MANY_CARDS: Reply =
    Reply::new(421, 7, 0, "The Card was asked for often enough; come again");
pub(super) const LOCAL: Reply = Reply::new(451, 3, 0, "Something went wrong here; try again later");
