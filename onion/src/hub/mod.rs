//! The hub: one memory network served on a Unix socket, so that operating-system processes join it.
//!
//! Promises that a killed process is absent at once, that its restart works at once, and that a stream without a
//! proper end reads as reset. Leaves what the network does to dials and streams to `memory`. For tests and scripts
//! on one machine: whoever may open the socket may speak for any address.
//!
//! `connection` one socket connection; `serve` the hub's side; `client` the node's side; `socket` the file.
//!
//! | first line of a connection | answers | then |
//! |---|---|---|
//! | `join A` | `ok` | hub: `stage N`, `time FROM UNTIL` or `time none` (seconds since 1970), whenever they change |
//! | `listen A PORT` | `ok`, `in-use` | hub: `stream ID` per arrival. `close` ends it; an end without it is a kill |
//! | `host A B PORT` | `ok`, `in-use` | the same, of B, which A hosts beside its own |
//! | `take ID` | `ok`, `gone` | that stream in frames |
//! | `dial A B PORT MS` | `ok`, `absent`, `refused`, `network-down` | the stream in frames |
//!
//! A frame is its length (4 bytes, big endian) and so many bytes; length 0 is the proper end of the stream.

mod client;
mod connection;
mod serve;
mod socket;

pub use client::SocketTransport;
pub use serve::serve;
pub use socket::{BindError, Bound, bind};

/// Longest line in bytes, without its end: two addresses and two numbers fit twice.
const LINE_MAX: usize = 300;

#[cfg(test)]
mod tests;
