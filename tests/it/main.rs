//! The integration tests: one binary, over the memory network, in paused time.

mod absence;
mod happy_path;
mod once;
mod recipients;
mod refusals;
mod tidy;
mod world;
