//! How fields are written in CBOR, and the rules that several kinds share.

use super::error::StatementError;
use crate::model::address::LocalPart;
use crate::model::time::UnixTime;
use std::collections::HashSet;

/// Most names of one Card or delegation.
pub(super) const NAMES_MAX: usize = 32;

/// Names: at least one, not too many, each once.
pub(super) fn check_names(names: &[LocalPart]) -> Result<(), StatementError> {
    let distinct: HashSet<&LocalPart> = names.iter().collect();
    if names.is_empty() || names.len() > NAMES_MAX || distinct.len() != names.len() {
        return Err(StatementError::Form("it has no names, too many, or one twice"));
    }
    Ok(())
}

/// A time of making: rounded to the hour, so that it tells no more than it must.
pub(super) fn check_made(made: UnixTime) -> Result<(), StatementError> {
    if made == made.to_the_hour() {
        Ok(())
    } else {
        Err(StatementError::Form("its time is not rounded to the hour"))
    }
}

/// A span: it does not end before it begins.
pub(super) fn check_span(made: UnixTime, until: UnixTime) -> Result<(), StatementError> {
    if until < made { Err(StatementError::Form("it ends before it was made")) } else { Ok(()) }
}

/// A text that is shown to people: at most `max` bytes, and no control characters but line ends.
pub(super) fn check_text(text: &str, max: usize) -> Result<(), StatementError> {
    if text.len() > max {
        return Err(StatementError::Form("a text is too long"));
    }
    if text.chars().any(|letter| letter.is_control() && letter != '\n') {
        return Err(StatementError::Form("a text holds control characters"));
    }
    Ok(())
}

/// An onion as its 32-byte key.
pub(super) mod onion {
    use onion::OnionAddress;
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(onion: &OnionAddress, to: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(onion.public_key(), to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<OnionAddress, D::Error> {
        let key: [u8; 32] = serde_bytes::deserialize(from)?;
        OnionAddress::from_public_key(key).map_err(D::Error::custom)
    }
}

/// A way of checking as its number.
pub(super) mod method {
    use crate::model::trust::Method;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(method: &Method, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(method.number())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Method, D::Error> {
        let number = u64::deserialize(from)?;
        Method::from_number(number).ok_or_else(|| D::Error::custom("an unknown method"))
    }
}

/// Implements `Statement` and a `Debug` that shows nothing of the content:
/// `statement!(Vouch, "vouch", Device(Certificate::STATEMENTS), LEN_MAX, until)`.
macro_rules! statement {
    ($type:ident, $kind:literal, $signed_by:expr, $len_max:expr $(, $until:ident)?) => {
        impl crate::model::statement::Statement for $type {
            const KIND: &'static str = $kind;
            const SIGNED_BY: crate::model::statement::SignedBy = $signed_by;
            const LEN_MAX: usize = $len_max;

            fn made(&self) -> crate::model::time::UnixTime {
                self.made
            }

            fn until(&self) -> Option<crate::model::time::UnixTime> {
                None$(.or(Some(self.$until)))?
            }

            fn check(&self) -> Result<(), crate::model::statement::StatementError> {
                crate::model::statement::fields::check_made(self.made)?;
                $(crate::model::statement::fields::check_span(self.made, self.$until)?;)?
                self.check_fields()
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!("a statement of kind ", $kind))
            }
        }
    };
}
pub(super) use statement;
