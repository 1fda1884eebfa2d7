//! Receipts for letters that were sent, what holders signed about them, and prekeys for other programs.

use super::Office;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::model::seal::{PublicPrekey, age_keys};
use crate::model::statement::{Custody, Receipt, Signed, Verified};
use serde_json::{Value, json};

/// Most letters that one question names: what a saved letter may have been.
const DIGESTS_MAX: usize = 16;

impl Office {
    /// The receipts for the letter with one of these digests, and what drops signed when they took it; each is
    /// verified anew.
    pub(super) async fn receipts(&self, digests: &[String]) -> Result<Value, Failure> {
        let people = self.people().await?;
        let own = self.desk.identity().onion();
        let mut rows = Vec::new();
        for digest in digests.iter().take(DIGESTS_MAX) {
            let digest = data_encoding::HEXLOWER_PERMISSIVE.decode(digest.as_bytes()).ok();
            let digest: [u8; 32] = digest
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| Failure::new(Exit::Usage, "a digest has 64 hexadecimal digits"))?;
            let kept = self.desk.store().read(move |rx| rx.receipts().of(&digest)).await;
            for bytes in kept.map_err(store_failure)? {
                let custody = custody(&bytes).map(|custody| custody_row(&custody, &digest));
                // They were judged by the time at which they came when they came.
                let receipt: Option<Verified<Receipt>> =
                    Signed::parse(bytes.into_vec()).and_then(|signed| signed.verify(None)).ok();
                let ours = |receipt: &Verified<Receipt>| receipt.author == own && receipt.digest == digest;
                let receipt = receipt.filter(ours).map(|receipt| {
                    json!({
                        "kind": "receipt", "reader": receipt.author().host(),
                        "shown": people.name(&receipt.author()),
                        "id": receipt.id.to_hex(), "kept": receipt.made.rfc5322(), "sha256": hex(&digest),
                    })
                });
                rows.extend(receipt.or(custody));
            }
        }
        Ok(json!(rows))
    }

    /// What letters may be sealed for today, and with `private` all that is needed to open what was sealed for us.
    pub(super) fn prekeys(&self, private: bool) -> Value {
        let keyring = self.desk.keyring();
        let card = keyring.card();
        let current = card.prekey_at(Some(self.desk.now()));
        let recipient = current.and_then(|prekey| PublicPrekey::from_bytes(&prekey.key).ok());
        let mut value = json!({
            "address": self.desk.identity().address().full(),
            "recipient": recipient.map(|public| age_keys::recipient(&public)),
            "seal_until": current.map(|prekey| prekey.seal_until.rfc5322()),
        });
        if private {
            let rows = keyring.private_prekeys().into_iter().map(|one| {
                json!({
                    "identity": *age_keys::identity(&one.secret), "recipient": age_keys::recipient(one.secret.public()),
                    "prekey": one.secret.id().to_hex(), "last_resort": one.last_resort,
                    "seal_until": one.seal_until.rfc5322(), "open_until": one.open_until.rfc5322(),
                })
            });
            value["identities"] = rows.collect();
        }
        value
    }
}

/// What a drop signed when it took the letter, if it is that.
fn custody(bytes: &[u8]) -> Option<Verified<Custody>> {
    Signed::parse(bytes.to_vec()).and_then(|signed| signed.verify(None)).ok()
}

/// Names the sealed letter: that it is this one inside, only our own node knows.
fn custody_row(custody: &Verified<Custody>, digest: &[u8; 32]) -> Value {
    json!({
        "kind": "custody", "drop": custody.author().host(), "from": custody.made.rfc5322(),
        "until": custody.kept_until.rfc5322(), "size": custody.size,
        "sealed_sha256": hex(&custody.digest), "sha256": hex(digest),
    })
}

fn hex(digest: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(digest)
}
