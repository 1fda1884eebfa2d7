//! What a command asks about guest readers: people without a node who read here.

use serde::{Deserialize, Serialize};

/// What is asked. `name` is the local part of a guest's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guests {
    /// All.
    List,
    /// Take somebody in.
    Add {
        /// What their address begins with.
        name: String,
        /// Their key of age.
        age: String,
        /// Room for their letters, in bytes.
        bytes: u64,
        /// Their own public key for client authorisation; else a pair is made.
        #[serde(default)]
        client: Option<String>,
    },
    /// Remove somebody with all their letters.
    Remove {
        /// Who.
        name: String,
    },
    /// Make a new password; the old one ends.
    Password {
        /// Whose.
        name: String,
    },
}
