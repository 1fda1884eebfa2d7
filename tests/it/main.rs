//! The integration tests: one binary, over the memory network, in paused time.

mod absence;
mod happy_path;
mod imap_hostile;
mod imap_house;
mod imap_rules;
mod imap_traces;
mod tidy;
mod world;
