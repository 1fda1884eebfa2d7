//! Keys as age writes them: `age1pq1…` for the public half of a prekey, `AGE-SECRET-KEY-PQ-1…` for the seed of the
//! secret one; `age1…` for the older kind, of which only the public half is ever here.
//!
//! Bech32 (BIP 173) without its limit on length.

use super::prekey::{PREKEY_LEN, PublicPrekey, SecretPrekey};
use zeroize::Zeroizing;

const RECIPIENT: &str = "age1pq";
const IDENTITY: &str = "age-secret-key-pq-";
const CLASSIC: &str = "age";
const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_LEN: usize = 6;
/// Longest text that is looked at: that of a public prekey has 1959 letters.
const TEXT_LEN_MAX: usize = 2048;

/// The recipient of age for this prekey.
pub fn recipient(public: &PublicPrekey) -> String {
    encode(RECIPIENT, public.as_bytes())
}

/// The identity of age for this prekey, in upper case as age has it. Whoever sees it can open the letters.
pub fn identity(secret: &SecretPrekey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(encode(IDENTITY, secret.seed()));
    text.make_ascii_uppercase();
    text
}

/// Reads a recipient of age; `None` if it is none of the post-quantum kind.
pub fn parse_recipient(text: &str) -> Option<PublicPrekey> {
    let bytes = decode(RECIPIENT, text)?;
    (bytes.len() == PREKEY_LEN).then(|| PublicPrekey::from_bytes(&bytes).ok()).flatten()
}

/// Reads an identity of age; `None` if it is none of the post-quantum kind.
pub fn parse_identity(text: &str) -> Option<SecretPrekey> {
    let bytes = decode(IDENTITY, text)?;
    bytes.first_chunk::<32>().filter(|_| bytes.len() == 32).map(SecretPrekey::from_seed)
}

/// The recipient of age for a public key of X25519.
pub(super) fn classic(public: &[u8; 32]) -> String {
    encode(CLASSIC, public)
}

/// Reads a recipient of age; `None` if it is none of the kind with X25519.
pub(super) fn parse_classic(text: &str) -> Option<[u8; 32]> {
    decode(CLASSIC, text)?.as_slice().try_into().ok()
}

/// Reads an identity of the kind with X25519.
#[cfg(test)]
pub(super) fn parse_classic_identity(text: &str) -> Option<[u8; 32]> {
    decode("age-secret-key-", text)?.as_slice().try_into().ok()
}

fn encode(kind: &str, bytes: &[u8]) -> String {
    let mut groups = Zeroizing::new(Vec::with_capacity(bytes.len() * 8 / 5 + 1 + CHECKSUM_LEN));
    let (mut held, mut bits) = (0_u32, 0);
    for &byte in bytes {
        held = (held << 8 | u32::from(byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            groups.push((held >> bits & 31) as u8);
        }
    }
    if bits > 0 {
        groups.push((held << (5 - bits) & 31) as u8);
    }
    let sum = polymod(kind, groups.iter().copied().chain([0; CHECKSUM_LEN])) ^ 1;
    groups.extend((0..CHECKSUM_LEN).map(|at| (sum >> (5 * (5 - at)) & 31) as u8));
    let mut text = String::with_capacity(kind.len() + 1 + groups.len());
    text.push_str(kind);
    text.push('1');
    text.extend(groups.iter().map(|&group| char::from(LETTERS[usize::from(group)])));
    text
}

fn decode(kind: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mixed = text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_uppercase());
    if text.len() > TEXT_LEN_MAX || mixed {
        return None;
    }
    let text = Zeroizing::new(text.to_ascii_lowercase());
    let rest = text.strip_prefix(kind)?.strip_prefix('1')?;
    let value = |letter: u8| LETTERS.iter().position(|&known| known == letter).map(|at| at as u8);
    let groups = Zeroizing::new(rest.bytes().map(value).collect::<Option<Vec<u8>>>()?);
    let data_len = groups.len().checked_sub(CHECKSUM_LEN)?;
    if polymod(kind, groups.iter().copied()) != 1 {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(data_len * 5 / 8));
    let (mut held, mut bits) = (0_u32, 0);
    for &group in &groups[..data_len] {
        held = (held << 5 | u32::from(group)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    // What is left over is less than a group, and zero.
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(bytes)
}

/// The checksum of BIP 173 over the kind and groups of five bits.
fn polymod(kind: &str, groups: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = kind.bytes().map(|byte| byte >> 5);
    let low = kind.bytes().map(|byte| byte & 31);
    high.chain([0]).chain(low).chain(groups).fold(1, |sum, group| {
        let shifted = (sum & 0x01ff_ffff) << 5 ^ u32::from(group);
        let tops = GENERATOR.iter().enumerate().filter(|(bit, _)| sum >> (25 + bit) & 1 == 1);
        tops.fold(shifted, |sum, (_, term)| sum ^ term)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_age_writes_them_and_read_again() {
        let secret = SecretPrekey::from_seed(&[7; 32]);
        let (public, private) = (recipient(secret.public()), identity(&secret));
        assert!(public.starts_with("age1pq1") && public.len() == 1959);
        assert!(private.starts_with("AGE-SECRET-KEY-PQ-1") && private.len() == 77);
        assert_eq!(parse_recipient(&public).as_ref(), Some(secret.public()));
        assert_eq!(parse_recipient(&public.to_uppercase()).as_ref(), Some(secret.public()));
        assert_eq!(parse_identity(&private).unwrap().seed(), &[7; 32]);
    }

    /// The example in c2sp.org/age; its recipient begins as it says there.
    #[test]
    fn the_published_example_is_read() {
        let text = "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR";
        let secret = parse_identity(text).unwrap();
        assert_eq!(*identity(&secret), text);
        let public = recipient(secret.public());
        assert!(
            public.starts_with("age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zrqtzdxz95")
        );
        assert!(public.ends_with("zk3tlhl53k2ykx3qheyty7saeq0d3fzv49zc0k"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let secret = SecretPrekey::from_seed(&[7; 32]);
        let private = identity(&secret);
        for at in 0..private.len() {
            let mut other = private.as_bytes().to_vec();
            other[at] = if other[at] == b'Q' { b'P' } else { b'Q' };
            let other = String::from_utf8(other).unwrap();
            assert!(parse_identity(&other).is_none(), "letter {at}");
        }
        let mut mixed = private.to_string();
        mixed.replace_range(..3, "age");
        for text in [
            "",
            "1",
            "age1pq1",
            &mixed,
            &private[..76],
            &encode(IDENTITY, &[7; 31]),
            &encode(IDENTITY, &[7; 33]),
            &encode("age-secret-key-", &[7; 32]),
            &"q".repeat(5000),
            "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0",
        ] {
            assert!(parse_identity(text).is_none(), "{text}");
            assert!(parse_recipient(text).is_none(), "{text}");
        }
        assert!(parse_recipient(&encode(RECIPIENT, &[0; PREKEY_LEN])).is_none());
        assert!(parse_recipient(&private).is_none() && parse_identity(&recipient(secret.public())).is_none());
    }
}
