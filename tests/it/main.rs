//! The integration tests: one binary, over the memory network, in paused time.

mod absence;
mod clocks;
mod disks;
mod happy_path;
mod once;
mod outbox;
mod recipients;
mod refusals;
mod same_seed;
mod tidy;
mod world;
