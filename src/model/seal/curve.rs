//! The points on Curve25519 that make no secret: with one of them X25519 gives zero, whatever the other half is.

/// The low bytes of the two points of order 8.
const ORDER_EIGHT: [[u8; 32]; 2] = [
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
];

/// Whether X25519 (RFC 7748) gives zero for this public value, which is 0, 1, -1 or of order 8 modulo 2^255 - 19.
/// Public values are no secret, so the time it takes may tell them.
pub(super) fn is_low_order(point: &[u8; 32]) -> bool {
    let mut point = *point;
    // X25519 does not look at the highest bit.
    point[31] &= 0x7f;
    let small = point[1..].iter().all(|&byte| byte == 0) && point[0] <= 1;
    let top = point[31] == 0x7f && point[1..31].iter().all(|&byte| byte == 0xff);
    // -1, 0 and 1 once more, written with the prime added.
    small || top && (0xec..=0xee).contains(&point[0]) || ORDER_EIGHT.contains(&point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_make_no_secret_are_known_however_they_are_written() {
        let with = |first: u8, rest: u8, last: u8| {
            let mut point = [rest; 32];
            (point[0], point[31]) = (first, last);
            point
        };
        let mut low = vec![with(0, 0, 0), with(1, 0, 0)];
        low.extend([0xec, 0xed, 0xee].map(|first| with(first, 0xff, 0x7f)));
        low.extend(ORDER_EIGHT);
        for mut point in low {
            assert!(is_low_order(&point));
            point[31] ^= 0x80;
            assert!(is_low_order(&point), "with the bit that is not looked at");
        }
        for good in
            [with(9, 0, 0), with(2, 0, 0), with(0xeb, 0xff, 0x7f), with(0xef, 0xff, 0x7f), with(1, 1, 0)]
        {
            assert!(!is_low_order(&good));
        }
    }
}
