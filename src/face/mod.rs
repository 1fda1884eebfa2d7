//! What shows it: the doors for peers, for mail programs and for the command line.
//!
//! * `inbound`: the onion's port 25; `submission`: SMTP on loopback; `smtp`: what drives both
//! * `logins`: app passwords; `loopback`: lets only this user in
//! * `control`: the socket in the data directory; `cli`: the commands

pub mod cli;
pub mod control;
pub mod inbound;
pub mod logins;
pub mod loopback;
mod smtp;
pub mod submission;
