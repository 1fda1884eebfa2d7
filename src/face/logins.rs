//! App passwords: minted here, shown once, kept only as SCRAM verifiers.
//!
//! The user name is the mail address; its local part alone is understood too.

use crate::node::desk::Desk;
use crate::protocol::sasl::{ITERATIONS, Verifier};
use crate::store::StoreError;
use crate::store::credentials::{CredentialNo, CredentialRecord};
use crate::store::guests::GuestRecord;
use data_encoding::BASE32_NOPAD;

/// Random bytes in a password: 128 bits, in 26 characters that can be typed.
const PASSWORD_BYTES: usize = 16;

/// A password just made.
#[derive(Debug, serde::Serialize)]
pub struct Minted {
    /// Its number, for revoking it.
    pub number: u32,
    /// User name.
    pub user: String,
    /// The password itself: the only time it is shown.
    pub password: String,
}

/// A password for a guest reader, and what it is checked with, as it is kept.
pub fn mint_for_guest(desk: &Desk) -> Result<(String, Vec<u8>), StoreError> {
    let password = BASE32_NOPAD.encode(&desk.draw::<PASSWORD_BYTES>()).to_ascii_lowercase();
    let verifier = Verifier::from_password(&password, &desk.draw::<16>(), ITERATIONS);
    let kept = serde_cbor::to_vec(&verifier).map_err(|_| StoreError::Bug("a verifier is not CBOR"))?;
    Ok((password, kept))
}

/// What a guest reader's password is checked with; none if this is not their name.
pub fn guest_verifiers(desk: &Desk, guest: &GuestRecord, user: &str) -> Vec<Verifier> {
    let full = format!("{}@{}", guest.name, desk.identity().onion().host());
    let known = user.eq_ignore_ascii_case(&full) || user.eq_ignore_ascii_case(&guest.name);
    serde_cbor::from_slice(&guest.verifier).ok().filter(|_| known).into_iter().collect()
}

/// Makes an app password; durable when this returns.
pub async fn mint(desk: &Desk, label: String) -> Result<Minted, StoreError> {
    let password = BASE32_NOPAD.encode(&desk.draw::<PASSWORD_BYTES>()).to_ascii_lowercase();
    let verifier = Verifier::from_password(&password, &salt(desk).await?, ITERATIONS);
    let user = desk.identity().address().full();
    let record = CredentialRecord {
        label,
        user: user.clone(),
        verifier: serde_cbor::to_vec(&verifier).map_err(|_| StoreError::Bug("a verifier is not CBOR"))?,
        created: desk.now(),
    };
    let number = desk.store().write(move |tx| tx.credentials().add(&record)).await?;
    Ok(Minted { number: number.0, user, password })
}

/// The salt that all passwords of this identity share: SCRAM offers one salt before it knows which is meant.
async fn salt(desk: &Desk) -> Result<[u8; 16], StoreError> {
    const NAME: &str = "login salt";
    let fresh: [u8; 16] = desk.draw();
    desk.store()
        .write(move |tx| {
            if let Some(known) = tx.meta().get(NAME)? {
                return Ok(known);
            }
            tx.meta().put(NAME, &fresh)?;
            Ok(fresh)
        })
        .await
}

/// What stands in for the verifier of a user that does not exist; the same for the store's whole life.
pub async fn decoy(desk: &Desk) -> Result<[u8; 32], StoreError> {
    const NAME: &str = "login decoy";
    let fresh: [u8; 32] = desk.draw();
    desk.store()
        .write(move |tx| {
            if let Some(known) = tx.meta().get(NAME)? {
                return Ok(known);
            }
            tx.meta().put(NAME, &fresh)?;
            Ok(fresh)
        })
        .await
}

/// Every password, without the passwords.
pub async fn list(desk: &Desk) -> Result<Vec<(CredentialNo, CredentialRecord)>, StoreError> {
    desk.store().read(|rx| rx.credentials().list()).await
}

/// Revokes one; whether it was there.
pub async fn revoke(desk: &Desk, number: u32) -> Result<bool, StoreError> {
    desk.store().write(move |tx| tx.credentials().remove(CredentialNo(number))).await
}

/// The verifiers of this user; none if there is no such user or the store cannot be read.
pub async fn verifiers(desk: &Desk, user: &str) -> Vec<Verifier> {
    let own = desk.identity().address();
    let known = user.eq_ignore_ascii_case(&own.full()) || user.eq_ignore_ascii_case(own.local.as_str());
    if !known {
        return Vec::new();
    }
    let records = list(desk).await.unwrap_or_default();
    records.iter().filter_map(|(_, record)| serde_cbor::from_slice(&record.verifier).ok()).collect()
}
