//! ESMTP without a socket, a clock or a random generator (RFC 5321; the extension is in `docs/protocol.md`).
//!
//! * `server`: one machine for the onion's port 25 and for submission; `client`: the sending side
//! * `limits`: every bound and time-out, with its reason; `reply`: codes and texts
//! * `input`: strict lines; `command`, `path`: what a line says; `text`: bodies by DATA and BDAT
//! * `enclosure`: a Card or a receipt inside a reply; `held`: the list of what is held, and octets behind a reply
//! * `proof`: AUTH ONION-ED25519; `read`: what a driver is told when a machine wants bytes
//!
//! The driver owns socket, clock and store: it asks `next()`, does that step, and asks again.

pub mod client;
mod command;
mod enclosure;
mod held;
mod input;
pub mod limits;
mod path;
pub mod proof;
mod read;
mod reply;
pub mod server;
#[cfg(test)]
mod tests;
mod text;

pub use command::BodyKind;
pub use held::{HeldLetter, HeldList, Revoked, Take};
pub use path::ReversePath;
pub use read::{FeedError, Phase, Read};
pub use reply::{Enhanced, Reply};
