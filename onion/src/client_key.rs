//! Client authorisation: the keys of those who may find an onion service at all (rend-spec-v3, section 2.5.2).
//!
//! Without the secret half of one of them nobody can read the service's descriptor, so nobody learns whether it is up.
//! Text as C Tor has it: `descriptor:x25519:<base32>` for a service, `<onion>:descriptor:x25519:<base32>` for a client.

use crate::OnionAddress;
use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::BASE32_NOPAD;
use std::fmt;
use zeroize::Zeroizing;

const KIND: &str = "descriptor:x25519:";

/// A public key (x25519) whose holder may dial a restricted onion.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey([u8; 32]);

/// Why a text is no [`ClientKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientKeyError {
    /// Another beginning than `descriptor:x25519:`.
    #[error("a client's public key begins with {KIND}")]
    Kind,
    /// What follows is no base32 of 32 bytes.
    #[error("behind {KIND} come 52 letters a-z and digits 2-7")]
    Base32,
    /// It is a point with which everybody has the same secret.
    #[error("this is no key: everybody would share its secret")]
    Weak,
}

impl ClientKey {
    /// Reads `descriptor:x25519:<base32>`, the base32 in either case.
    pub fn parse(text: &str) -> Result<Self, ClientKeyError> {
        let encoded = text.trim().strip_prefix(KIND).ok_or(ClientKeyError::Kind)?;
        let bytes = BASE32_NOPAD.decode(encoded.to_ascii_uppercase().as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok()).ok_or(ClientKeyError::Base32)?;
        Self::from_bytes(bytes).ok_or(ClientKeyError::Weak)
    }

    /// Takes the 32 bytes of a public key; `None` if it is of low order.
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        // Whatever the scalar, a point of low order gives zero.
        let shared = MontgomeryPoint(bytes).mul_clamped([1; 32]);
        (shared.0 != [0; 32]).then_some(Self(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", BASE32_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey")
    }
}

/// The secret half of a [`ClientKey`]. Wiped when dropped.
pub struct ClientSecret(Zeroizing<[u8; 32]>);

impl ClientSecret {
    /// Wraps 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The public half.
    pub fn public(&self) -> ClientKey {
        ClientKey(MontgomeryPoint::mul_base_clamped(*self.0).0)
    }

    /// The line of a file `….auth_private` in C Tor's `ClientOnionAuthDir`.
    pub fn tor_line(&self, onion: &OnionAddress) -> Zeroizing<String> {
        let host = onion.host();
        let label = host.strip_suffix(".onion").unwrap_or(&host);
        Zeroizing::new(format!("{label}:{KIND}{}", BASE32_NOPAD.encode(&*self.0)))
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostKey;

    /// The secret and public key of Alice in RFC 7748, section 6.1.
    const SECRET: [u8; 32] = [
        0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf,
        0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
    ];
    const PUBLIC: [u8; 32] = [
        0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a, 0x0d,
        0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
    ];

    #[test]
    fn a_secret_has_the_public_key_of_the_rfc_and_both_are_written_as_tor_has_them() {
        let secret = ClientSecret::from_bytes(SECRET);
        assert_eq!(secret.public().as_bytes(), &PUBLIC);
        let text = secret.public().to_string();
        assert_eq!(ClientKey::parse(&text), Ok(secret.public()));
        assert_eq!(
            ClientKey::parse(&format!(" {} \n", text.replace("descriptor", "descriptor"))),
            Ok(secret.public())
        );
        let lower = format!("{KIND}{}", text[KIND.len()..].to_ascii_lowercase());
        assert_eq!(ClientKey::parse(&lower), Ok(secret.public()));
        let onion = HostKey::from_seed([7; 32]).address();
        let line = secret.tor_line(&onion);
        let words: Vec<&str> = line.split(':').collect();
        assert_eq!(format!("{}.onion", words[0]), onion.host());
        assert_eq!(words[1..3], ["descriptor", "x25519"]);
        assert_eq!(BASE32_NOPAD.decode(words[3].as_bytes()).unwrap(), SECRET);
    }

    #[test]
    fn what_is_no_key_is_refused_for_its_reason() {
        let good = ClientSecret::from_bytes([9; 32]).public().to_string();
        for (text, error) in [
            ("", ClientKeyError::Kind),
            ("x25519:AAAA", ClientKeyError::Kind),
            (&good[1..], ClientKeyError::Kind),
            (KIND, ClientKeyError::Base32),
            (&good[..good.len() - 1], ClientKeyError::Base32),
            (&format!("{good}A"), ClientKeyError::Base32),
            (&format!("{good}===="), ClientKeyError::Base32),
            (&good.replace(':', " "), ClientKeyError::Kind),
            (&format!("{KIND}{}", "A".repeat(52)), ClientKeyError::Weak),
        ] {
            assert_eq!(ClientKey::parse(text), Err(error), "{text}");
        }
    }
}
