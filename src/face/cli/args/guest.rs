//! Commands about guests: people without a node who read here.

use super::holder::size;
use clap::{Args, Subcommand};

/// `onionskin guest …`
#[derive(Debug, Subcommand)]
pub(crate) enum Guest {
    /// Show who reads here, and how much of their room is taken.
    List,
    /// Take somebody in who has no node: your node gets letters for them, seals each with their age key, and shows
    /// them by IMAP on an onion that only they find.
    Add(Add),
    /// Remove a guest, with all letters that are here for them and the onion on which they read.
    Remove {
        /// Who: what their address begins with.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Make a new password for a guest. The old one ends, and so does what was opened with it.
    Password {
        /// Whose: what their address begins with.
        name: String,
    },
}

/// `onionskin guest add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What their address is to begin with: NAME@your-onion.
    pub name: String,
    /// Their public age key (age1…), of which only they have the secret half.
    #[arg(long, value_name = "KEY")]
    pub age: String,
    /// How much is kept for them: 1M to 64G, in bytes or with K, M or G.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size)]
    pub bytes: u64,
    /// Their own public key for client authorisation (descriptor:x25519:…); without it a pair is made and its secret
    /// half shown once.
    #[arg(long, value_name = "KEY")]
    pub client_auth: Option<String>,
}
