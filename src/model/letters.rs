//! Letters beyond ASCII in local parts (RFC 6531): which there may be, and the one form in which they are kept.
//!
//! Promises that two texts which a reader cannot tell apart by their bytes' form alone (composed or decomposed, upper
//! or lower case, wide or narrow) are one local part or none, and that none holds what does not show or turns the
//! reading direction. Close to PRECIS (RFC 8265, UsernameCaseMapped). Letters of different scripts that look alike
//! are different letters all the same: an address is proved by its onion, never by its look.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Marks and letters that do not show: they would make two addresses look like one.
const INVISIBLE: [std::ops::RangeInclusive<char>; 6] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{e0100}'..='\u{e01ef}',
];
/// Scripts that are written from right to left.
const RIGHT_TO_LEFT: [std::ops::RangeInclusive<char>; 5] = [
    '\u{590}'..='\u{8ff}',
    '\u{fb1d}'..='\u{fdff}',
    '\u{fe70}'..='\u{feff}',
    '\u{10800}'..='\u{10fff}',
    '\u{1e800}'..='\u{1efff}',
];

/// Whether this is a letter, digit or mark beyond ASCII that an address may have.
pub fn is_letter(letter: char) -> bool {
    !letter.is_ascii()
        && (letter.is_alphanumeric() || is_combining_mark(letter))
        && !INVISIBLE.iter().any(|range| range.contains(&letter))
        // Wide, narrow, circled and joined forms of other letters.
        && std::iter::once(letter).nfkc().eq(std::iter::once(letter).nfc())
}

/// Lower case and composed (NFC); `None` if the text has no such form, or mixes reading directions. ASCII in it is
/// folded and not looked at further.
pub fn canonical(text: &str) -> Option<String> {
    let folded = |text: &str| text.chars().flat_map(char::to_lowercase).nfc().collect::<String>();
    let kept = folded(text);
    let marks_follow = kept.split('.').all(|atom| !atom.starts_with(is_combining_mark));
    let sound = kept.chars().all(|letter| letter.is_ascii() || is_letter(letter));
    (sound && marks_follow && folded(&kept) == kept && has_one_direction(&kept)).then_some(kept)
}

/// Letters of both directions in one word are shown in another order than they are stored in.
fn has_one_direction(text: &str) -> bool {
    let turns = |letter: char| RIGHT_TO_LEFT.iter().any(|range| range.contains(&letter));
    !text.contains(turns)
        || text.starts_with(turns) && !text.contains(|letter: char| letter.is_alphabetic() && !turns(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_of_one_name_are_one() {
        for (written, kept) in [
            ("J\u{dc}RGEN", "j\u{fc}rgen"),
            ("ju\u{308}rgen", "j\u{fc}rgen"),
            ("\u{3a9}mega", "\u{3c9}mega"),
            ("\u{212b}ngstr\u{f6}m", "\u{e5}ngstr\u{f6}m"),
            ("\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}", "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}"),
            ("\u{5d3}\u{5d5}\u{5d3}1", "\u{5d3}\u{5d5}\u{5d3}1"),
            ("\u{738b}.a+\u{e9}", "\u{738b}.a+\u{e9}"),
        ] {
            assert_eq!(canonical(written).as_deref(), Some(kept));
        }
    }

    #[test]
    fn tricks_have_no_form() {
        for trick in [
            "\u{ff41}nn",
            "\u{2460}",
            "\u{fb01}n",
            "a\u{200b}\u{e9}",
            "\u{e9}\u{ad}",
            "\u{202e}\u{e9}",
            "\u{2066}\u{e9}",
            "\u{feff}\u{e9}",
            "\u{e9}\u{fe0f}",
            "\u{3164}",
            "\u{301}a",
            "\u{e9}.\u{301}a",
            "\u{e9}\u{a0}b",
            "\u{e000}",
            "\u{1f600}",
            "ann\u{5d3}",
            "\u{5d3}ann",
            "1\u{5d3}",
            "\u{85}\u{e9}",
        ] {
            assert_eq!(canonical(trick), None, "{trick:?}");
        }
    }

    proptest! {
        #[test]
        fn a_form_is_its_own_form(text in "\\PC{0,12}") {
            if let Some(kept) = canonical(&text) {
                prop_assert_eq!(canonical(&kept), Some(kept.clone()));
                prop_assert_eq!(canonical(&kept.nfd().collect::<String>()), Some(kept.clone()));
                prop_assert!(kept.nfkc().eq(kept.chars()));
            }
        }
    }
}
