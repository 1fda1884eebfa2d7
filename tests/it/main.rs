//! The integration tests: one binary, over the memory network, in paused time.

mod imap_hostile;
mod imap_house;
mod imap_rules;
mod imap_traces;
mod tidy;
