//! What decides: pure functions and types, with no clock, socket, store or random generator of their own.
//!
//! * `address`: `name+tag@<56>.onion`, parsed and proved
//! * `letter`: a letter's names (`LetterId` on the wire, `LetterNo` in the store) and its envelope
//! * `time`: seconds since 1970, and the date forms of mail

pub mod address;
pub mod letter;
pub mod time;
