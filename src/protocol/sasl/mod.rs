//! How a mail program logs in: SASL PLAIN (RFC 4616) and SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side.
//!
//! One `Exchange` per attempt: responses in, `Progress` out. A user may have several app passwords, all with one salt.
//! Someone unknown takes the same path at the same cost as someone with a wrong password. Base64 and framing are the
//! protocol's affair; nonces and the node's secret are arguments. No text prepared by SASLprep is needed: app
//! passwords are minted in ASCII, and other text is compared byte by byte.

mod exchange;
mod scram;
mod verifier;

pub use exchange::{Entropy, Exchange, Mechanism, Progress};
pub use verifier::{ITERATIONS, Verifier};
