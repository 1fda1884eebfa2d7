//! Every limit of the IMAP face that a client can meet, each with its reason.
//!
//! A limit refuses with a clear reply (`BAD`, `NO [LIMIT]`, `NO [TOOBIG]` or `BYE`); nothing is cut short in silence.

use std::time::Duration;

/// Longest command line before login, in bytes: holds a SASL PLAIN initial response with a long password.
pub const LINE_LEN_MAX_BEFORE_LOGIN: usize = 4 * 1024;
/// Longest literal before login, in bytes: a user name or a password.
pub const LITERAL_LEN_MAX_BEFORE_LOGIN: u64 = 1024;
/// Longest command line after login, in bytes. Clients keep sequence sets below 8 KiB; ten times that is generous.
pub const LINE_LEN_MAX: usize = 64 * 1024;
/// Longest literal that is not a letter, in bytes: a mailbox name or a search text.
pub const LITERAL_LEN_MAX: u64 = 16 * 1024;
/// Longest command with all its lines and literals (a letter excepted), in bytes.
pub const COMMAND_LEN_MAX: usize = 128 * 1024;
/// Largest letter that APPEND takes, in bytes: the same as in sending. Announced as APPENDLIMIT (RFC 7889).
pub const APPEND_LEN_MAX: u64 = crate::model::policy::LETTER_SIZE_MAX;
/// Largest piece of a letter handed on at once, in bytes: one chunk of the store's segments.
pub const CHUNK_LEN: usize = 64 * 1024;
/// Bytes read from a connection at once; an idle connection keeps no more than that.
pub const READ_LEN: usize = 16 * 1024;
/// Longest tag, in bytes; every client uses fewer than ten.
pub const TAG_LEN_MAX: usize = 64;
/// Commands that are no IMAP before the connection is closed: a program that speaks another protocol stops soon.
pub const BAD_COMMANDS_MAX: u32 = 20;
/// Failed logins before the connection is closed.
pub const FAILED_LOGINS_MAX: u32 = 3;

/// Items in one FETCH: no client asks for more than a dozen.
pub const FETCH_ITEMS_MAX: usize = 64;
/// Header names in one HEADER.FIELDS list.
pub const FIELD_NAMES_MAX: usize = 128;
/// Numbers in one section path; deeper parts do not exist (`MIME_DEPTH_MAX`).
pub const SECTION_DEPTH_MAX: usize = 60;
/// Nesting of NOT, OR and parentheses in one SEARCH. Thunderbird nests one level per condition of an "any of" search.
pub const SEARCH_DEPTH_MAX: usize = 64;
/// Search keys in one SEARCH, all levels together.
pub const SEARCH_KEYS_MAX: usize = 512;
/// Flags in one STORE or APPEND, and keywords on one message.
pub const FLAGS_MAX: usize = 64;
/// Longest keyword, in bytes.
pub const KEYWORD_LEN_MAX: usize = 64;
/// Items in one STATUS, and names in one LIST pattern list.
pub const LIST_ITEMS_MAX: usize = 16;

/// Longest mailbox name, in bytes of UTF-8, all levels together.
pub const MAILBOX_NAME_LEN_MAX: usize = 255;
/// Levels in a mailbox name.
pub const MAILBOX_LEVELS_MAX: usize = 16;

/// Nesting of MIME parts that is shown; what is deeper is one opaque part.
pub const MIME_DEPTH_MAX: usize = 50;
/// MIME parts of one letter that are shown; the rest belongs to the last of them.
pub const MIME_PARTS_MAX: usize = 2000;
/// Bytes of one header that are looked at for ENVELOPE, BODYSTRUCTURE and HEADER.FIELDS. Fields behind it are not
/// found; BODY[HEADER] itself is never cut.
pub const HEADER_LOOK_MAX: usize = 256 * 1024;
/// Bytes of rendered envelopes and MIME fields kept for one letter's BODYSTRUCTURE; what comes after shows as NIL.
pub const STRUCTURE_LEN_MAX: usize = 1024 * 1024;
/// Parameters of one Content-Type or Content-Disposition that are shown.
pub const PARAMETERS_MAX: usize = 64;
/// Longest multipart boundary, in bytes. RFC 2046 allows 70; some programs make longer ones.
pub const BOUNDARY_LEN_MAX: usize = 250;
/// Text decoded at once when a body is searched, in bytes; matches across the border are found.
pub const SEARCH_WINDOW_LEN: usize = 256 * 1024;

/// Open connections per listener. Thunderbird opens five per account. For one more, one that has not logged in must go;
/// if all have, it is told to come back.
pub const CONNECTIONS_MAX: usize = 256;
/// The same at the onion of a guest reader, who has one account and a few programs.
pub const GUEST_CONNECTIONS_MAX: usize = 16;
/// Time to log in before the connection is closed.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Silence after which a logged-in client is logged out (RFC 3501 section 5.4 asks for at least 30 minutes).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(31 * 60);
/// Longest wait for a client to take bytes that it asked for.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Longest silence inside a letter that a client is sending.
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(5 * 60);
