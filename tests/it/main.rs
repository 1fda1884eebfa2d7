//! The integration tests: one binary, over the memory network, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod absence;
mod attacks;
mod attacks_cards;
mod attacks_disk;
mod cli;
mod cli_doctor;
mod cli_doors;
mod cli_house;
mod cli_letters;
mod clocks;
mod contacts;
mod delegation;
mod disks;
mod echo;
mod fetching;
mod guests;
mod guests_cli;
mod happy_path;
mod holders;
mod holders_cli;
mod holders_view;
mod imap_hostile;
mod imap_house;
mod imap_rules;
mod imap_traces;
mod introductions;
mod invites;
mod logging;
mod once;
mod outbox;
mod panics;
mod recipients;
mod recovery;
mod refusals;
mod same_seed;
mod threats;
mod tidy;
mod tokens;
mod verify;
mod wire;
mod world;
