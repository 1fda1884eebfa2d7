//! What decides: pure functions and types, with no clock, socket, store or random generator of their own.
//!
//! * `aead`: the two ciphers; `address`: `name+tag@<56>.onion`, parsed and proved
//! * `identity`: the recovery words, and the keys that come from them
//! * `invitation`: a link or words by which somebody is invited
//! * `letter`: a letter's names (`LetterId` on the wire, `LetterNo` in the store) and its envelope
//! * `letters`: letters beyond ASCII in addresses, and their one form
//! * `header`: the header block, split without changing a byte; `mailbox`: the addresses in its fields
//! * `prepare`: what submission changes in a header; `trace`: what arrival drops from one and writes above it
//! * `policy`: which names an identity answers to, and the limits that all faces share
//! * `queue`: what becomes of a waiting letter after a try; `outcome`: how a try ended
//! * `enclosure`: letters that carry statements
//! * `notice`: the reports on delivery that the node itself writes; `welcome`: its first letter; `echo`: its answers
//! * `statement`: what one key says for others to check; `seal`: letters that only their reader can open;
//!   `trust`: who somebody is to us
//! * `verdict`: what the reader is told about an author
//! * `time`: seconds since 1970, and the date forms of mail

pub mod address;
pub(crate) mod aead;
pub mod echo;
pub mod enclosure;
pub mod header;
pub mod identity;
pub mod invitation;
pub mod letter;
pub mod letters;
pub mod mailbox;
pub mod notice;
pub mod outcome;
pub mod policy;
pub mod prepare;
pub mod queue;
pub mod seal;
pub mod statement;
pub mod time;
pub mod trace;
pub mod trust;
pub mod verdict;
pub mod welcome;
