//! Addresses that look like one we know: people look at the beginning and the end, and forgers make keys until both
//! are as they should be.

use onion::OnionAddress;

/// So many same characters at the beginning, or at the end of the 56, make two addresses look alike: a key with six
/// chosen ones takes minutes to make. (The last character is the same in all addresses.)
const SAME_LEN: usize = 6;
/// What people look at of each end, in characters.
const LOOKED_AT_LEN: usize = 5;
/// At most so many slips (a letter changed, left out or put in) between what people look at.
const SLIPS_MAX: usize = 2;

/// Those of `known` that an address could be taken for, itself aside.
pub fn alike<'a>(
    address: &OnionAddress,
    known: impl IntoIterator<Item = &'a OnionAddress>,
) -> Vec<OnionAddress> {
    let host = address.host();
    known.into_iter().filter(|other| *other != address && looks_like(&host, &other.host())).copied().collect()
}

fn looks_like(one: &str, other: &str) -> bool {
    let (one, other) = (label(one), label(other));
    let ends = |label: &str| [&label[..LOOKED_AT_LEN], &label[label.len() - LOOKED_AT_LEN..]].concat();
    one[..SAME_LEN] == other[..SAME_LEN]
        || one[one.len() - SAME_LEN..] == other[other.len() - SAME_LEN..]
        || slips(ends(one).as_bytes(), ends(other).as_bytes()) <= SLIPS_MAX
}

/// The 56 characters; ASCII, as all of an onion's host.
fn label(host: &str) -> &str {
    host.split('.').next().unwrap_or_default()
}

/// Levenshtein's distance.
fn slips(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (one, other, slips_made) in
            [("abcde", "abcde", 0), ("abcde", "abxde", 1), ("abcde", "acdeb", 2), ("", "ab", 2)]
        {
            assert_eq!(slips(one.as_bytes(), other.as_bytes()), slips_made);
        }
    }

    #[test]
    fn what_begins_or_ends_alike_is_flagged_and_what_does_not_is_not() {
        let host = format!("abcdefgh{}stuvwxyd.onion", "m".repeat(40));
        let with = |begin: &str, end: &str| {
            format!("{begin}{}{end}.onion", "n".repeat(56 - begin.len() - end.len()))
        };
        assert!(looks_like(&host, &with("abcdef", "")), "the first six");
        assert!(looks_like(&host, &with("", "uvwxyd")), "the last six");
        assert!(looks_like(&host, &with("abzde", "vwzyd")), "two slips");
        assert!(!looks_like(&host, &with("abcxx", "xxxyd")));
        assert!(!looks_like(&host, &with("", "d")));
    }

    #[test]
    fn of_random_addresses_none_looks_like_another_and_none_like_itself() {
        let all: Vec<OnionAddress> = (0..100u8).map(|n| super::super::tests::address(u32::from(n))).collect();
        assert!(all.iter().all(|one| alike(one, &all).is_empty()));
    }
}
