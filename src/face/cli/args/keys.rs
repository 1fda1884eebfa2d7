//! Commands about keys that go wrong, and about writing in the name of others.

use clap::Args;
use std::path::PathBuf;

/// `onionskin revoke`
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Since when your key is in wrong hands, as 2026-01-31 or "2026-01-31 14:05" (UTC); what arrived from you since
    /// then is moved to Junk at your contacts [default: now].
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    /// Why, in your own words; everybody who gets it reads this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Use the certificate in this file instead of the 24 words.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["since", "reason"])]
    pub certificate: Option<PathBuf>,
    /// Revoke nothing: only write a certificate to this new file, to be kept elsewhere.
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    pub make: Option<PathBuf>,
    /// Revoke nothing of your own: take in the revocation of somebody else from the certificate in this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["since", "reason", "certificate", "make"])]
    pub pass_on: Option<PathBuf>,
    /// With --pass-on: pass it on to them too. They learn that you know the address; nobody else does. May be given
    /// several times.
    #[arg(long, value_name = "ADDRESS", requires = "pass_on")]
    pub to: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin successor`
#[derive(Debug, Args)]
pub(crate) struct Successor {
    /// Your new address.
    #[arg(value_name = "NEW-ADDRESS")]
    pub new: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin delegate`
#[derive(Debug, Args)]
pub(crate) struct Delegate {
    /// Whom you let write on your behalf.
    #[arg(value_name = "ADDRESS", required_unless_present = "list")]
    pub to: Option<String>,
    /// As which of your names (the part before the @); may be given several times [default: your main one].
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// For how many days. It cannot be taken back earlier, so make it short.
    #[arg(long, value_name = "COUNT", default_value_t = 30)]
    pub days: u32,
    /// List who may write on whose behalf, and until when.
    #[arg(long, conflicts_with_all = ["to", "name"])]
    pub list: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
