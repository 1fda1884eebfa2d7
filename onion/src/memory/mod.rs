//! `MemoryNetwork`: onion addresses inside one process, for tests, simulation and the hub.
//!
//! Promises Tor's behaviour without Tor: the same four dial errors, unflushed bytes that do not leave, no
//! half-closed streams, streams that break with bytes in flight. Everything random is drawn from one seed, so on a
//! current-thread runtime with paused time a run repeats exactly. Leaves identity keys and real time to others.
//!
//! `network` who is there and who may reach whom; `transport` one identity's view of it; `wire` one stream's
//! two lanes of bytes in flight; `end` the two ends that programs hold; `conditions` and `tally` what can go wrong
//! and what did.

mod conditions;
mod end;
mod network;
mod place;
mod tally;
mod transport;
mod wire;

pub use conditions::Conditions;
pub use network::MemoryNetwork;
pub use tally::Counters;
pub use transport::MemoryTransport;

#[cfg(test)]
mod tests;
