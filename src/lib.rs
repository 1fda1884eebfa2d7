//! Onionskin: mail without a provider. Each layer uses only the layers before it.
//!
//! `onion` (its own crate) carries bytes; `model` decides; `protocol` talks without a socket; `store` keeps;
//! `node` acts; `face` shows it to people and their mail programs. `docs/architecture.md` is the map.

pub mod face;
pub mod model;
pub mod node;
pub mod protocol;
pub mod store;
