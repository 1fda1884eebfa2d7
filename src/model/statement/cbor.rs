//! CBOR in its one deterministic form (RFC 8949, section 4.2.1): the strict reader, and the writer.
//!
//! Every decoder at hand takes longer heads than needed, double keys and indefinite lengths, so nothing is decoded
//! before [`check`] has passed on the raw bytes. It lets through: integers, byte strings, texts, arrays, maps, `false`
//! and `true`; each with its shortest head and a definite length, the keys of a map sorted by their bytes and each
//! once. No tags, no floats, no null, nothing behind the item. Depth and number of items are bounded.

use serde::Serialize;

/// Deepest nesting of arrays and maps.
pub const DEPTH_MAX: usize = 8;
/// Most items of one encoding, those inside others counted too.
pub const ITEMS_MAX: usize = 4096;

/// Why bytes are no deterministic CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes end within an item.
    #[error("it ends within an item")]
    Truncated,
    /// A number or length has a longer form than it needs.
    #[error("a number is not in its shortest form")]
    NotShortest,
    /// An item of indefinite length.
    #[error("an item has no definite length")]
    Indefinite,
    /// The keys of a map are not in order, or one is there twice.
    #[error("the keys of a map are not in order, or one is there twice")]
    Keys,
    /// A tag, a float, null, undefined, or another simple value.
    #[error("it holds a tag, a float, null or another value that is not in use")]
    Unused,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// Nested too deeply.
    #[error("it is nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// Too many items.
    #[error("it holds more than {ITEMS_MAX} items")]
    TooMany,
    /// Something follows the item.
    #[error("something follows behind its end")]
    Trailing,
    /// Another kind of item was wanted.
    #[error("an item is of the wrong kind")]
    Kind,
}

/// The head of an item, and the content of those that hold no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// An unsigned integer.
    Unsigned(u64),
    /// The negative integer -1 - n.
    Negative(u64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A text.
    Text(&'a str),
    /// An array of so many items, which follow.
    Array(usize),
    /// A map of so many pairs, which follow.
    Map(usize),
    /// `false` or `true`.
    Bool(bool),
}

/// Reads deterministic CBOR, item by item.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    items_left: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, items_left: ITEMS_MAX }
    }

    /// Reads one item; of an array or a map only its head.
    pub fn item(&mut self) -> Result<Item<'a>, CborError> {
        self.items_left = self.items_left.checked_sub(1).ok_or(CborError::TooMany)?;
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        if major == 7 {
            return match info {
                20 => Ok(Item::Bool(false)),
                21 => Ok(Item::Bool(true)),
                31 => Err(CborError::Indefinite),
                _ => Err(CborError::Unused),
            };
        }
        let number = self.number(info)?;
        match major {
            0 => Ok(Item::Unsigned(number)),
            1 => Ok(Item::Negative(number)),
            2 => Ok(Item::Bytes(self.take(size(number)?)?)),
            3 => {
                let text = self.take(size(number)?)?;
                std::str::from_utf8(text).map(Item::Text).map_err(|_| CborError::Text)
            }
            4 => Ok(Item::Array(size(number)?)),
            5 => Ok(Item::Map(size(number)?)),
            _ => Err(CborError::Unused),
        }
    }

    fn number(&mut self, info: u8) -> Result<u64, CborError> {
        let len = match info {
            0..=23 => return Ok(u64::from(info)),
            24..=27 => 1_usize << (info - 24),
            31 => return Err(CborError::Indefinite),
            _ => return Err(CborError::Unused),
        };
        let number = self.take(len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let least = match len {
            1 => 24,
            2 => 1 << 8,
            4 => 1 << 16,
            _ => 1 << 32,
        };
        if number < least { Err(CborError::NotShortest) } else { Ok(number) }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CborError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(CborError::Truncated)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// Reads one whole item with all that it holds; gives its bytes.
    pub fn whole(&mut self) -> Result<&'a [u8], CborError> {
        self.nested(DEPTH_MAX)
    }

    fn nested(&mut self, depth_left: usize) -> Result<&'a [u8], CborError> {
        let start = self.at;
        match self.item()? {
            Item::Array(len) => {
                let depth_left = depth_left.checked_sub(1).ok_or(CborError::TooDeep)?;
                for _ in 0..len {
                    self.nested(depth_left)?;
                }
            }
            Item::Map(len) => {
                let depth_left = depth_left.checked_sub(1).ok_or(CborError::TooDeep)?;
                let mut last: &[u8] = &[];
                for _ in 0..len {
                    let key = self.nested(depth_left)?;
                    // No key is empty, so the first one comes after the empty one.
                    if key <= last {
                        return Err(CborError::Keys);
                    }
                    last = key;
                    self.nested(depth_left)?;
                }
            }
            _ => {}
        }
        Ok(&self.bytes[start..self.at])
    }

    /// Reads a byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        match self.item()? {
            Item::Bytes(bytes) => Ok(bytes),
            _ => Err(CborError::Kind),
        }
    }

    /// Makes sure that nothing follows.
    pub fn end(&self) -> Result<(), CborError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(CborError::Trailing) }
    }
}

fn size(number: u64) -> Result<usize, CborError> {
    usize::try_from(number).map_err(|_| CborError::Truncated)
}

/// Makes sure that the bytes are one item of deterministic CBOR and nothing else.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    reader.whole()?;
    reader.end()
}

/// The bytes of a key and those of its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The pairs of a map, each as the bytes of its key and those of its value. Checks everything that [`check`] does.
pub fn pairs(bytes: &[u8]) -> Result<Vec<Pair<'_>>, CborError> {
    check(bytes)?;
    let mut reader = Reader::new(bytes);
    let Item::Map(len) = reader.item()? else { return Err(CborError::Kind) };
    (0..len).map(|_| Ok((reader.whole()?, reader.whole()?))).collect()
}

/// The map of a plain struct: its fields numbered from 0 in their order, absent ones left out.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_cbor::ser::to_vec_packed(value).expect("a struct of plain fields is CBOR")
}

/// Appends the head of an item of the major type `major` (0 to 7) with its number, in the shortest form.
pub(super) fn put_head(out: &mut Vec<u8>, major: u8, number: u64) {
    let major = major << 5;
    let bytes = number.to_be_bytes();
    match number {
        0..24 => out.push(major | bytes[7]),
        24..0x100 => out.extend([major | 24, bytes[7]]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend(&bytes[6..]);
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend(bytes);
        }
    }
}

/// Appends a byte string.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_head(out, 2, bytes.len() as u64);
    out.extend(bytes);
}

/// Appends a text.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, 3, text.len() as u64);
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_cbor::Value;

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_deterministic_form_passes() {
        for good in ["00", "17", "1818", "1903e8", "1b000000ffffffffff", "20", "3903e7", "40", "4401020304"] {
            assert_eq!(check(&hex(good)), Ok(()), "{good}");
        }
        for good in ["60", "62c3bc", "80", "83010203", "a0", "a201020304", "a30a001864002000", "f4", "f5"] {
            assert_eq!(check(&hex(good)), Ok(()), "{good}");
        }
    }

    #[test]
    fn every_other_form_is_refused_for_its_reason() {
        for (bad, why) in [
            ("", CborError::Truncated),
            ("18", CborError::Truncated),
            ("4201", CborError::Truncated),
            ("8201", CborError::Truncated),
            ("5bffffffffffffffff", CborError::Truncated),
            ("9bffffffffffffffff", CborError::Truncated),
            ("1817", CborError::NotShortest),
            ("1900ff", CborError::NotShortest),
            ("1a0000ffff", CborError::NotShortest),
            ("1b00000000ffffffff", CborError::NotShortest),
            ("3800", CborError::NotShortest),
            ("580141", CborError::NotShortest),
            ("5f4101ff", CborError::Indefinite),
            ("9f01ff", CborError::Indefinite),
            ("bf0102ff", CborError::Indefinite),
            ("ff", CborError::Indefinite),
            ("a203040102", CborError::Keys),
            ("a201020103", CborError::Keys),
            ("a2200001", CborError::Keys),
            ("c100", CborError::Unused),
            ("d28440a04040", CborError::Unused),
            ("f6", CborError::Unused),
            ("f7", CborError::Unused),
            ("f97e00", CborError::Unused),
            ("fa7fc00000", CborError::Unused),
            ("f800", CborError::Unused),
            ("1c", CborError::Unused),
            ("61ff", CborError::Text),
            ("0000", CborError::Trailing),
            ("818181818181818181", CborError::TooDeep),
        ] {
            assert_eq!(check(&hex(bad)), Err(why), "{bad}");
        }
        let mut many = Vec::new();
        put_head(&mut many, 4, ITEMS_MAX as u64);
        many.extend(vec![0; ITEMS_MAX]);
        assert_eq!(check(&many), Err(CborError::TooMany));
    }

    #[test]
    fn the_pairs_of_a_map_are_its_bytes() {
        let map = hex("a2014101038101");
        assert_eq!(pairs(&map).unwrap(), [(&map[1..2], &map[2..4]), (&map[4..5], &map[5..7])]);
        assert_eq!(pairs(&hex("80")), Err(CborError::Kind));
    }

    /// What the other encoder writes, but with the keys of maps in the order of RFC 8949 (it has that of RFC 7049, in
    /// which shorter keys go first).
    fn written(value: &Value) -> Vec<u8> {
        match value {
            Value::Array(items) => {
                let mut out = Vec::new();
                put_head(&mut out, 4, items.len() as u64);
                items.iter().for_each(|item| out.extend(written(item)));
                out
            }
            Value::Map(pairs) => {
                let mut out = Vec::new();
                put_head(&mut out, 5, pairs.len() as u64);
                let mut pairs: Vec<_> =
                    pairs.iter().map(|(key, value)| (written(key), written(value))).collect();
                pairs.sort();
                pairs.iter().for_each(|(key, value)| out.extend([key.as_slice(), value].concat()));
                out
            }
            other => serde_cbor::to_vec(other).unwrap(),
        }
    }

    /// Any value whose map keys have the same order for the other encoder and for us.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|number| Value::Integer(number.into())),
            any::<u64>().prop_map(|number| Value::Integer(number.into())),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
            ".{0,20}".prop_map(Value::Text),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                proptest::collection::btree_map(0_i128..1 << 40, inner, 0..6).prop_map(|pairs| {
                    Value::Map(pairs.into_iter().map(|(key, value)| (Value::Integer(key), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_another_encoder_writes_in_order_passes(value in value()) {
            prop_assert_eq!(check(&serde_cbor::to_vec(&value).unwrap()), Ok(()));
        }

        /// Accepted bytes have one meaning and that meaning has no other accepted bytes.
        #[test]
        fn what_passes_is_the_only_form_of_its_value(
            value in value(),
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
        ) {
            let mut bytes = serde_cbor::to_vec(&value).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if check(&bytes).is_ok() {
                let read: Value = serde_cbor::from_slice(&bytes).unwrap();
                prop_assert_eq!(written(&read), bytes);
            }
        }

        #[test]
        fn any_bytes_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if check(&bytes).is_ok() {
                let read: Value = serde_cbor::from_slice(&bytes).unwrap();
                prop_assert_eq!(written(&read), bytes);
            }
        }

        #[test]
        fn every_number_is_written_in_its_shortest_form(number in any::<u64>(), shift in 0_u32..64) {
            let mut bytes = Vec::new();
            put_head(&mut bytes, 0, number >> shift);
            prop_assert_eq!(Reader::new(&bytes).item(), Ok(Item::Unsigned(number >> shift)));
        }
    }
}
