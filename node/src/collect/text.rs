//! The little parsing that `/proc` needs, over bytes: names in it need not be UTF-8.

/// The lines of `text`, without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

/// The words of `line`, split at blanks.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ' || byte == b'\t').filter(|word| !word.is_empty())
}

/// An unsigned decimal number. `None` when empty, when another character stands in it, or beyond 64 bits.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// A hexadecimal number of at most 32 bits, without a prefix. `None` when empty, longer, or when another character stands
/// in it.
pub(super) fn hexadecimal(word: &[u8]) -> Option<u32> {
    if word.is_empty() || word.len() > 8 {
        return None;
    }
    word.iter().try_fold(0, |value: u32, &byte| Some(value << 4 | char::from(byte).to_digit(16)?))
}

/// A decimal number with two digits after the point, as the kernel prints load averages and uptime, in hundredths.
pub(super) fn hundredths(word: &[u8]) -> Option<u64> {
    let point = word.iter().position(|&byte| byte == b'.')?;
    let (whole, fraction) = (&word[..point], &word[point + 1..]);
    if fraction.len() != 2 {
        return None;
    }
    number(whole)?.checked_mul(100)?.checked_add(number(fraction)?)
}

/// `name` for people and for a label: bytes that are not UTF-8 and control characters become `\xNN`, and so does a
/// backslash before an "x", so that two names never become one.
pub(super) fn printable(name: &[u8]) -> String {
    let mut printable = String::with_capacity(name.len());
    let escape = |to: &mut String, bytes: &[u8]| bytes.iter().for_each(|byte| to.push_str(&format!("\\x{byte:02x}")));
    for chunk in name.utf8_chunks() {
        let mut characters = chunk.valid().chars().peekable();
        while let Some(character) = characters.next() {
            let ambiguous = character == '\\' && characters.peek() == Some(&'x');
            if character.is_control() || ambiguous {
                escape(&mut printable, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                printable.push(character);
            }
        }
        escape(&mut printable, chunk.invalid());
    }
    printable
}

/// The start of a line for people.
pub(super) fn excerpt(line: &[u8]) -> String {
    /// Enough to recognise it.
    const BYTES_MAX: usize = 60;
    printable(line.get(..BYTES_MAX).unwrap_or(line).trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "-1", "1.0", "18446744073709551616", "99999999999999999999999", "1 ", "0x1"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!((hexadecimal(b"000000fF"), hexadecimal(b"ffffffff")), (Some(255), Some(u32::MAX)));
        for bad in ["", "100000000", "0x1", "g", "-1"] {
            assert_eq!(hexadecimal(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(hundredths(b"1336.61"), Some(133_661));
        assert_eq!(hundredths(b"0.05"), Some(5));
        for bad in ["", "1", "1.", "1.5", "1.234", ".", "x.00", "184467440737095516.15999"] {
            assert_eq!(hundredths(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn names_that_are_not_utf8_stay_apart() {
        assert_eq!(printable("größe".as_bytes()), "größe");
        assert_eq!(printable(b"/mnt/\xff\xfe"), "/mnt/\\xff\\xfe");
        let alike: [&[u8]; 7] = [b"\xff", b"\xfe", b"\\xff", b"\\x5cxff", b"w\x01", b"w\x02", b"w\\x01"];
        let printed: std::collections::HashSet<String> = alike.iter().map(|name| printable(name)).collect();
        assert_eq!(printed.len(), alike.len(), "{printed:?}");
        assert_eq!(printable(b"tab\there \\ \xc2\x85"), "tab\\x09here \\ \\xc2\\x85");
    }

    proptest! {
        #[test]
        fn no_two_names_become_one(
            a in proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'x'), Just(b'f'), Just(0xff), Just(1)], 0..8),
            b in proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'x'), Just(b'f'), Just(0xff), Just(1)], 0..8),
        ) {
            prop_assert_eq!(a == b, printable(&a) == printable(&b));
            prop_assert!(!printable(&a).chars().any(char::is_control));
        }
    }
}
