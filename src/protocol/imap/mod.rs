//! IMAP4rev1 (RFC 3501) without a socket and without a store.
//!
//! * `limits`: every number, with its reason
//! * `conversation`: one client's state: bytes in, steps out; over `frame` (lines and literals) and `parse`
//! * `command`, `sequence`, `name`, `date`, `search`, `pattern`: what a client can say, and what it means
//! * `mime`: what a letter looks like to its reader
//! * `view`: the mailbox as this client was told it is
//! * `respond`: how values are written
//!
//! The driver in `face::imap` carries the steps out.

pub mod command;
pub mod conversation;
pub mod date;
pub mod frame;
pub mod limits;
pub mod mime;
pub mod name;
pub mod parse;
pub mod pattern;
pub mod respond;
pub mod search;
pub mod sequence;
pub mod view;
