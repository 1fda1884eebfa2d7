//! Carries bytes between onion addresses; knows nothing of mail.
//!
//! `address` proves an address, `client_key` says who may find a restricted onion, `transport` is the one trait that
//! everything above dials and listens through, `memory` carries the bytes inside one process from a seed (and, through
//! `hub`, between processes), `tor` over Tor by arti. Nothing here names an arti type in public, and nothing public has
//! a type parameter.

mod address;
mod client_key;
#[cfg(unix)]
pub mod hub;
pub mod memory;
#[cfg(any(unix, feature = "tor"))]
mod served;
#[cfg(feature = "tor")]
pub mod tor;
mod transport;

pub use address::{AddressError, OnionAddress};
pub use client_key::{ClientKey, ClientKeyError, ClientSecret};
pub use transport::{
    Bootstrap, BoxFuture, DialError, HOSTED_MAX, HostKey, Inbound, ListenError, Listener, NetworkTime, Stage,
    Stream, Transport,
};
