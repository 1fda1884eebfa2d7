//! Every limit of the SMTP machines, with its reason; size and recipients of a letter are in `model::policy`.
//!
//! Lengths are in bytes and include CRLF where a line is meant.

use crate::model::policy::LETTER_SIZE_MAX;
use std::time::Duration;

/// Most bytes a driver hands over in one `feed`: one pleasant read, so that buffers stay small.
pub const READ_LEN_MAX: usize = 64 * 1024;
/// Output is handed over once it is this long, so that commands of seven bytes cannot pile up replies of 300.
pub const OUTPUT_LEN_MAX: usize = 4 * 1024;

/// Command line (RFC 5321 section 4.5.3.1.4).
pub const COMMAND_LEN_MAX: usize = 512;
/// MAIL line: the above and 26 for SIZE (RFC 1870), 17 for BODY (RFC 6152), 500 for AUTH (RFC 4954), 10 for SMTPUTF8
/// (RFC 6531), 88 for TRANSID (RFC 1845), 40 for LETTER, 21 for KEY. TOKEN has 81, and never comes with a path.
pub const MAIL_LEN_MAX: usize = COMMAND_LEN_MAX + 26 + 17 + 500 + 10 + 88 + 40 + 21;
/// AUTH line and SASL response (RFC 4954 section 4).
pub const AUTH_LEN_MAX: usize = 12_288;
/// Text line inside DATA (RFC 5321 section 4.5.3.1.6). A chunk (BDAT) has no lines and no such limit.
pub const TEXT_LINE_LEN_MAX: usize = 1000;
/// Transaction identifier with its angle brackets (RFC 1845 section 4).
pub const TRANSID_LEN_MAX: usize = 80;
/// Path with its angle brackets (RFC 5321 section 4.5.3.1.3).
pub const PATH_LEN_MAX: usize = 256;
/// Domain (RFC 5321 section 4.5.3.1.2); also bounds the name after EHLO.
pub const DOMAIN_LEN_MAX: usize = 255;

/// Letters in one session, so that no session lives for ever.
pub const LETTERS_MAX: u32 = 1000;
/// Cards given in one session: one at its beginning, another after a stale key, and some more. A Card is thousands of
/// times as long as the question. That there is none newer may be heard more often.
pub const CARDS_MAX: u32 = 20;
/// Commands since the last letter that was accepted: the largest transaction several times, and long idling.
pub const COMMANDS_MAX: u32 = 1000;
/// Mistakes since the last letter that was accepted; a sound program makes none.
pub const ERRORS_MAX: u32 = 20;
/// HELD, TAKE and DROP that were done in one session; they count nowhere else. Ten thousand letters of a mebibyte, and
/// as much again; whoever takes a letter byte by byte has to call again.
pub const COLLECTED_MAX: u32 = 100_000;
/// Log-in attempts in a submission session: a person's typing errors, not a search.
pub const LOGINS_MAX: u32 = 3;
/// Bytes of refused input read to their end for the sake of framing, beyond the size limit of a letter.
pub const SKIP_LEN_MAX: u64 = LETTER_SIZE_MAX;
/// Bytes read and thrown away after the last reply, so that it is not lost to a reset connection.
pub const DRAIN_LEN_MAX: usize = 1024 * 1024;

/// A Card, before base64.
pub const CARD_LEN_MAX: usize = 32 * 1024;
/// A receipt, before base64.
pub const RECEIPT_LEN_MAX: usize = 4 * 1024;
/// Base64 of a Card or a receipt on one line.
pub const BASE64_LINE_LEN_MAX: usize = 480;

/// Letters in one list of what is held.
pub const HELD_LETTERS_MAX: usize = 100;
/// Bytes of a held letter in one answer: what is in memory of it at once, on either side.
pub const TAKE_LEN_MAX: usize = 256 * 1024;
/// Letters in one DROP: as many as fit into a line.
pub const DROP_LETTERS_MAX: usize = 12;
/// What whoever leaves a letter at a drop says its name is, the same for everybody (RFC 6761 section 6.4).
pub const DEPOSIT_HELLO: &str = "depositor.invalid";

/// What sealing may add to the largest letter, beside an eighth of it: signed header, stanza, the tags of the chunks.
const SEAL_LEN_MAX: u64 = 128 * 1024;

/// Largest sealed letter where the largest letter has `size_max` bytes. Padding adds at most 12 % (PADMÉ).
pub const fn sealed_size_max(size_max: u64) -> u64 {
    size_max.saturating_add(size_max / 8).saturating_add(SEAL_LEN_MAX)
}

/// Reply line from a server. RFC 5321 section 4.5.3.1.5 says 512; stock servers are known to go beyond.
pub const REPLY_LINE_LEN_MAX: usize = 2048;
/// Lines in one reply: the longest known EHLO replies have about 30.
pub const REPLY_LINES_MAX: usize = 100;
/// Text kept of one reply: it goes into the queue and into bounces.
pub const REPLY_TEXT_LEN_MAX: usize = 4096;
/// Lines in a reply that brings a Card: 43,692 characters of base64, however short a server's lines may be.
pub const CARD_LINES_MAX: usize = 1024;
/// Text kept of a reply that brings a Card: its base64, line ends, the first line, and so much more that a Card too
/// long by one line is seen to be too long.
pub const CARD_TEXT_LEN_MAX: usize = 48 * 1024;
/// Text kept of a reply that brings a receipt: the words before it, 5,464 characters of base64, and a word a line.
pub const RECEIPT_TEXT_LEN_MAX: usize = REPLY_TEXT_LEN_MAX + 8 * 1024;
/// Lines in a reply that lists what is held.
pub const HELD_LINES_MAX: usize = HELD_LETTERS_MAX + 1;
/// Text kept of a reply that lists what is held: 103 characters and a line end for each letter, and so much more that
/// no line of another form is passed over.
pub const HELD_TEXT_LEN_MAX: usize = 16 * 1024;
/// TAKEs that a client has on their way at once, so that a round trip over Tor is not waited for between them.
pub const TAKES_MAX: usize = 4;
/// A letter up to this size is sent in the same flight as its MAIL and RCPT; a larger one waits for their replies, so
/// that a refusal does not cost its upload.
pub const EAGER_LEN_MAX: u64 = 256 * 1024;
/// The same for a letter that is left at a drop, where a refusal is likelier: of a token, or for want of room.
pub const DEPOSIT_EAGER_LEN_MAX: u64 = 64 * 1024;
/// Most bytes a client machine asks for at once.
pub const BODY_CHUNK_LEN_MAX: usize = 64 * 1024;

/// Body bytes in one turn. With `BODY_TURN` this is the slowest accepted sender: about 500 bytes a second.
pub const BODY_TURN_LEN: u64 = 64 * 1024;
/// Time for one turn of a body (RFC 5321 section 4.5.3.2.5, DATA block: 3 minutes; Tor is given two).
pub const BODY_TURN: Duration = Duration::from_secs(120);
/// A caller that has not yet said EHLO: a few round trips over a bad circuit.
pub const HELLO_WAIT: Duration = Duration::from_secs(60);
/// The next command (RFC 5321 section 4.5.3.2.7: at least 5 minutes).
pub const COMMAND_WAIT: Duration = Duration::from_secs(300);
/// After the last reply, for what is on its way to be read: unread bytes make loopback TCP reset the connection and the
/// reply with it. A caller who waits for more waits this long.
pub const DRAIN_WAIT: Duration = Duration::from_secs(2);
/// A write that makes no progress for this long means that the other side is gone.
pub const SEND_WAIT: Duration = Duration::from_secs(120);

/// Greeting and EHLO reply. RFC 5321 section 4.5.3.2.1 says 5 minutes; an onion that was just dialled is no queue of
/// callers, and a dial slot is dear.
pub const GREETING_WAIT: Duration = Duration::from_secs(60);
/// Reply to a command, from a node like ours: it looks up nothing.
pub const REPLY_WAIT: Duration = Duration::from_secs(60);
/// Reply to a letter, from a node like ours: disk and a busy machine.
pub const LETTER_WAIT: Duration = Duration::from_secs(120);
/// Reply to MAIL, RCPT or DATA, from a stock server (RFC 5321 sections 4.5.3.2.2 to 4.5.3.2.4).
pub const STOCK_REPLY_WAIT: Duration = Duration::from_secs(300);
/// Reply to a letter, from a stock server (RFC 5321 section 4.5.3.2.6).
pub const STOCK_LETTER_WAIT: Duration = Duration::from_secs(600);
/// Reply to QUIT: nothing depends on it.
pub const QUIT_WAIT: Duration = Duration::from_secs(10);
