//! App passwords: one row for each, with the verifier only (never the password).

use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, be_u32, decode};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Most app passwords: each login may have to try all of them.
pub const CREDENTIALS_MAX: u64 = 100;

const COUNTER: &str = "credential";

/// Number of an app password, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialNo(pub u32);

/// An app password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialRecord {
    /// What the person calls it.
    pub label: String,
    /// The user name that goes with it.
    pub user: String,
    /// The verifier, as `protocol::sasl` writes it.
    #[serde(with = "serde_bytes")]
    pub verifier: Vec<u8>,
    /// When it was made.
    pub created: UnixTime,
}

impl std::fmt::Debug for CredentialRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialRecord")
    }
}

/// Reads app passwords.
#[derive(Clone, Copy)]
pub struct Credentials<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Credentials<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Credentials<'a, 't> {
        Credentials { rows }
    }

    /// All, in the order they were made.
    pub fn list(&self) -> Result<Vec<(CredentialNo, CredentialRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Credentials, b"", |key, value| {
            found.push((CredentialNo(be_u32(key)?), decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

/// Reads and changes app passwords. What [`Credentials`] reads is here too.
pub struct CredentialsMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Credentials<'a, 't>,
}

impl<'a, 't> std::ops::Deref for CredentialsMut<'a, 't> {
    type Target = Credentials<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> CredentialsMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> CredentialsMut<'a, 't> {
        CredentialsMut { rows, read: Credentials::new(rows) }
    }

    /// Keeps a new one.
    pub fn add(&self, record: &CredentialRecord) -> Result<CredentialNo, StoreError> {
        if self.rows.len(Table::Credentials)? >= CREDENTIALS_MAX {
            return Err(StoreError::TooMany("app passwords"));
        }
        let no = u32::try_from(self.rows.next_number(COUNTER)?)
            .map_err(|_| StoreError::TooMany("app passwords"))?;
        self.rows.put_record(Table::Credentials, &no.to_be_bytes(), record)?;
        Ok(CredentialNo(no))
    }

    /// Revokes one; says whether it was there.
    pub fn remove(&self, no: CredentialNo) -> Result<bool, StoreError> {
        self.rows.delete(Table::Credentials, &no.0.to_be_bytes())
    }
}
