//! Conversations without a socket: state machines that take bytes and give steps.
//!
//! * `smtp`: ESMTP between nodes and from mail programs, both sides of it
//! * `sasl`: how a mail program logs in (PLAIN, SCRAM-SHA-256), used by submission and IMAP

pub mod imap;
pub mod sasl;
pub mod smtp;
