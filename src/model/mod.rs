//! What decides: pure functions and types, with no clock, socket, store or random generator of their own.
//!
//! * `address`, `identity` (recovery words and keys), `letter` and `letters` (its names; letters beyond ASCII), `time`
//! * `header`, `mailbox`, `prepare` (what submission changes), `trace` (what arrival drops and writes), `enclosure`
//!   (letters that carry statements), `verdict` (what the reader is told), `proof` (what a saved letter proves)
//! * `statement`: what one key says for others to check; `seal`: letters that only their reader can open; `trust`: who
//!   somebody is to us; `invitation`: a link or words by which somebody is invited; `aead`: the two ciphers
//! * `hold`: what a holder, its guest and those who leave letters say to each other; `guest`: readers without a node
//! * `queue`: what becomes of a waiting letter after a try, `outcome` (how a try ended); `policy`: names and limits
//! * `notice`, `welcome`, `echo`, `tidings` (of keys): what the node itself writes; `certificate`: a revocation's file

pub mod address;
pub(crate) mod aead;
pub mod certificate;
pub mod echo;
pub mod enclosure;
pub mod guest;
pub mod header;
pub mod hold;
pub mod identity;
pub mod invitation;
pub mod letter;
pub mod letters;
pub mod mailbox;
pub mod notice;
pub mod outcome;
pub mod policy;
pub mod prepare;
pub mod proof;
pub mod queue;
pub mod seal;
pub mod statement;
pub mod tidings;
pub mod time;
pub mod trace;
pub mod trust;
pub mod verdict;
pub mod welcome;
