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

/// A decimal number with two digits after the point, as the kernel prints load averages and uptime, in hundredths.
pub(super) fn hundredths(word: &[u8]) -> Option<u64> {
    let point = word.iter().position(|&byte| byte == b'.')?;
    let (whole, fraction) = (&word[..point], &word[point + 1..]);
    if fraction.len() != 2 {
        return None;
    }
    number(whole)?.checked_mul(100)?.checked_add(number(fraction)?)
}

/// `name` for people and for a label: bytes that are not UTF-8 become `\xNN`, so that two names never become one.
pub(super) fn printable(name: &[u8]) -> String {
    let mut printable = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        printable.push_str(chunk.valid());
        for byte in chunk.invalid() {
            printable.push_str(&format!("\\x{byte:02x}"));
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "-1", "1.0", "18446744073709551616", "99999999999999999999999", "1 ", "0x1"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
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
        assert_ne!(printable(b"\xff"), printable(b"\xfe"));
    }
}
