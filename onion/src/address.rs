//! `OnionAddress`: a Tor v3 onion address, parsed and proved.
//!
//! Promises that the version is 3, the checksum right, and the key a point of the prime-order group other than
//! the identity (neither weak nor of mixed order), so a signature under it means what it says.
//! Format: Tor rend-spec-v3, section 6 [ONIONADDRESS].

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity as _;
use data_encoding::BASE32_NOPAD;
use sha3::{Digest as _, Sha3_256};
use std::collections::HashSet;
use std::fmt;
use std::sync::{OnceLock, RwLock};

const VERSION: u8 = 3;
const SUFFIX: &str = ".onion";
/// Length of the base32 label before `.onion`, in characters.
const LABEL_LEN: usize = 56;
/// Most proved keys that are remembered: 256 KiB.
const KNOWN_MAX: usize = 4096;

/// A proved Tor v3 onion address: 32 bytes of ed25519 public key.
///
/// `Display` and `Debug` are redacted, so that an address cannot reach a log by accident; the whole address is
/// [`OnionAddress::host`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OnionAddress([u8; 32]);

/// Why a text or a key is no onion address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text does not end in `.onion`.
    #[error("an onion address ends in .onion")]
    Suffix,
    /// The label before `.onion` is not 56 characters long.
    #[error("an onion address has 56 characters before .onion, this one has {0}")]
    Length(usize),
    /// A character outside a–z and 2–7.
    #[error("an onion address has only the letters a-z and the digits 2-7")]
    Alphabet,
    /// Version byte other than 3.
    #[error("this is an onion address of version {0}; only version 3 is in use")]
    Version(u8),
    /// The checksum inside the address is wrong: most likely a typing error.
    #[error("the address has a typing error (its checksum does not match)")]
    Checksum,
    /// The key is not a usable point: not on the curve, of small order, or of mixed order.
    #[error("the address holds no usable key")]
    Key,
}

impl OnionAddress {
    /// Parses `<56>.onion`, in either case.
    ///
    /// Every failure is an [`AddressError`]; a dot at the end, white space and subdomains are refused.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let cut = text.len().checked_sub(SUFFIX.len()).filter(|&at| text.is_char_boundary(at));
        let (label, suffix) = text.split_at(cut.ok_or(AddressError::Suffix)?);
        if !suffix.eq_ignore_ascii_case(SUFFIX) {
            return Err(AddressError::Suffix);
        }
        if !label.is_ascii() {
            return Err(AddressError::Alphabet);
        }
        if label.len() != LABEL_LEN {
            return Err(AddressError::Length(label.len()));
        }
        let raw =
            BASE32_NOPAD.decode(label.to_ascii_uppercase().as_bytes()).map_err(|_| AddressError::Alphabet)?;
        let raw: [u8; 35] = raw.try_into().map_err(|_| AddressError::Alphabet)?;
        let mut key = [0; 32];
        key.copy_from_slice(&raw[..32]);
        // The checksum covers the version, so a typing error in the last letters is told apart from another version.
        if raw[32..34] != checksum(&key, raw[34]) {
            return Err(AddressError::Checksum);
        }
        if raw[34] != VERSION {
            return Err(AddressError::Version(raw[34]));
        }
        Self::from_public_key(key)
    }

    /// Takes a raw ed25519 public key, refusing what is not canonical, weak, or not torsion-free.
    pub fn from_public_key(key: [u8; 32]) -> Result<Self, AddressError> {
        if known().read().is_ok_and(|known| known.contains(&key)) {
            return Ok(Self(key));
        }
        let point = CompressedEdwardsY(key).decompress().ok_or(AddressError::Key)?;
        // Recompressing gives the one canonical encoding; another one would be a second name for the same key.
        if point.is_identity() || !point.is_torsion_free() || point.compress().0 != key {
            return Err(AddressError::Key);
        }
        if let Ok(mut known) = known().write() {
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(key);
        }
        Ok(Self(key))
    }

    /// Takes a key that was an [`OnionAddress`] when it was written down, and has since been where nobody else could
    /// change it. Nothing is proved again: a store with a hundred thousand of them opens in time.
    pub fn from_key_proved_before(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The whole address, `<56>.onion`, in lower case: for the wire and the screen, never for a log.
    pub fn host(&self) -> String {
        let mut raw = [0; 35];
        raw[..32].copy_from_slice(&self.0);
        raw[32..34].copy_from_slice(&checksum(&self.0, VERSION));
        raw[34] = VERSION;
        let mut host = BASE32_NOPAD.encode(&raw);
        host.make_ascii_lowercase();
        host.push_str(SUFFIX);
        host
    }
}

/// Keys that were proved before: the proof costs some 50 µs, and a queue names the same few again and again.
fn known() -> &'static RwLock<HashSet<[u8; 32]>> {
    static KNOWN: OnceLock<RwLock<HashSet<[u8; 32]>>> = OnceLock::new();
    KNOWN.get_or_init(RwLock::default)
}

fn checksum(key: &[u8; 32], version: u8) -> [u8; 2] {
    let mut hash = Sha3_256::new();
    hash.update(b".onion checksum");
    hash.update(key);
    hash.update([version]);
    let digest = hash.finalize();
    [digest[0], digest[1]]
}

impl fmt::Display for OnionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted].onion")
    }
}

impl fmt::Debug for OnionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use proptest::prelude::*;

    /// The address of the Tor Project's own site, as published.
    const TOR_PROJECT: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

    #[test]
    fn a_published_address_parses_and_prints_back() {
        let address = OnionAddress::parse(TOR_PROJECT).unwrap();
        assert_eq!(address.host(), TOR_PROJECT);
        assert_eq!(OnionAddress::parse(&TOR_PROJECT.to_uppercase()), Ok(address));
    }

    #[test]
    fn a_log_never_shows_an_address() {
        let address = OnionAddress::parse(TOR_PROJECT).unwrap();
        assert_eq!(format!("{address} {address:?}"), "[redacted].onion [redacted].onion");
    }

    #[test]
    fn broken_addresses_are_refused_each_for_its_reason() {
        let label = TOR_PROJECT.strip_suffix(".onion").unwrap();
        let parse = OnionAddress::parse;
        assert_eq!(parse(""), Err(AddressError::Suffix));
        assert_eq!(parse(label), Err(AddressError::Suffix));
        assert_eq!(parse(&format!("{TOR_PROJECT}.")), Err(AddressError::Suffix));
        assert_eq!(parse(&format!("{}.onion", &label[1..])), Err(AddressError::Length(55)));
        assert_eq!(parse(&format!("a.{TOR_PROJECT}")), Err(AddressError::Length(58)));
        assert_eq!(parse(&format!(" {}.onion", &label[1..])), Err(AddressError::Alphabet));
        // A look-alike: the Cyrillic letter takes two bytes.
        assert_eq!(parse(&format!("\u{430}{}.onion", &label[2..])), Err(AddressError::Alphabet));
        assert_eq!(parse(&format!("1{}.onion", &label[1..])), Err(AddressError::Alphabet));
        assert_eq!(parse(&TOR_PROJECT.replacen('2', "3", 1)), Err(AddressError::Checksum));
        assert_eq!(parse(&format!("{}e.onion", &label[..55])), Err(AddressError::Checksum));
        assert_eq!(parse(&format!("{}\u{e9}.onion", &label[..55])), Err(AddressError::Alphabet));
        let mut older = BASE32_NOPAD.decode(label.to_uppercase().as_bytes()).unwrap();
        older[34] = 2;
        let sum = checksum(older[..32].try_into().unwrap(), 2);
        older[32..34].copy_from_slice(&sum);
        assert_eq!(parse(&format!("{}.onion", BASE32_NOPAD.encode(&older))), Err(AddressError::Version(2)));
        assert_eq!(parse("onion"), Err(AddressError::Suffix));
        assert_eq!(parse("\u{430}onion"), Err(AddressError::Suffix));
    }

    #[test]
    fn weak_and_mixed_order_keys_are_no_addresses() {
        for torsion in EIGHT_TORSION {
            assert_eq!(OnionAddress::from_public_key(torsion.compress().0), Err(AddressError::Key));
        }
        let mixed = (ED25519_BASEPOINT_POINT + EIGHT_TORSION[1]).compress().0;
        assert_eq!(OnionAddress::from_public_key(mixed), Err(AddressError::Key));
        assert!(OnionAddress::from_public_key(ED25519_BASEPOINT_POINT.compress().0).is_ok());
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert_eq!(OnionAddress::from_public_key(off_curve), Err(AddressError::Key));
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_panic(text in ".{0,80}") {
            if let Ok(address) = OnionAddress::parse(&text) {
                prop_assert_eq!(address.host(), text.to_ascii_lowercase());
            }
        }

        #[test]
        fn one_changed_character_never_parses_to_another_address(at in 0usize..56, to in 0usize..32) {
            let letter = b"abcdefghijklmnopqrstuvwxyz234567"[to];
            let mut text = TOR_PROJECT.as_bytes().to_vec();
            text[at] = letter;
            let text = String::from_utf8(text).unwrap();
            if let Ok(address) = OnionAddress::parse(&text) {
                prop_assert_eq!(address.host(), text);
            }
        }
    }
}
