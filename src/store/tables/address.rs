//! How records hold an `OnionAddress`: as the 32 bytes of its key, with `#[serde(with = "…")]`.
//!
//! What is read back was proved before it was written, and the database lets nobody change it.

use onion::OnionAddress;
use serde::{Deserialize as _, Deserializer, Serializer};

/// An address.
pub(super) fn serialize<S: Serializer>(address: &OnionAddress, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(address.public_key())
}

/// An address.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OnionAddress, D::Error> {
    let key = serde_bytes::ByteArray::<32>::deserialize(from)?;
    Ok(OnionAddress::from_key_proved_before(key.into_array()))
}

/// An address that may be missing.
pub(super) mod option {
    use super::{Deserializer, OnionAddress, Serializer};
    use serde::{Deserialize as _, Serialize as _};

    pub(in crate::store::tables) fn serialize<S: Serializer>(
        address: &Option<OnionAddress>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        address.map(|address| serde_bytes::ByteArray::new(*address.public_key())).serialize(to)
    }

    pub(in crate::store::tables) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<OnionAddress>, D::Error> {
        let key = Option::<serde_bytes::ByteArray<32>>::deserialize(from)?;
        Ok(key.map(|key| OnionAddress::from_key_proved_before(key.into_array())))
    }
}
