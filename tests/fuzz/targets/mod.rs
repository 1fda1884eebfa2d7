//! Every target: what foreigners can say to a node, and what they can leave on its disk.
//!
//! * `holders`: the client that hears what a drop holds
//! * `smtp`: both server ports, the client that hears a server's replies, addresses, SASL
//! * `imap`: the conversation, commands, names and patterns
//! * `letters`: headers on their way in and out, the structure of MIME, what is shown of it
//! * `seals`: the header of a sealed letter, its chunks, what lies inside
//! * `keeps`: the store's files, its records, the vault, requests on the control socket
//! * `statements`: their CBOR and wrapping, and the fields of those that are signed by whoever sends them

mod holders;
mod imap;
mod keeps;
mod letters;
mod seals;
mod smtp;
mod statements;

use crate::engine::Target;
use rand::RngExt as _;
use rand::rngs::StdRng;

pub(crate) fn all() -> Vec<Target> {
    [
        smtp::targets(),
        holders::targets(),
        imap::targets(),
        letters::targets(),
        seals::targets(),
        keeps::targets(),
        statements::targets(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The input in pieces of drawn lengths, none longer than `max`.
fn pieces<'a>(input: &'a [u8], max: usize, rng: &mut StdRng) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = input;
    let usual = 1 << rng.random_range(0..12_u32);
    while !rest.is_empty() {
        let len = rng.random_range(1..=usual).min(max).min(rest.len());
        pieces.push(&rest[..len]);
        rest = &rest[len..];
    }
    pieces
}

/// A length as one of few classes: behaviours that differ only in length are one.
fn class(len: usize) -> u32 {
    usize::BITS - len.leading_zeros()
}
