//! The ways a tar archive writes numbers.

/// Reads a numeric field of a header: octal digits, or base-256 when the first bit is set.
///
/// Spaces and NULs around the digits mean nothing, and a field of nothing else is 0. The result of
/// a 12-byte base-256 field has 95 bits, so that the caller decides what is out of range.
pub(crate) fn field(field: &[u8]) -> Result<i128, &'static str> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base_256(field),
        Some(_) | None => octal(field),
    }
}

fn octal(field: &[u8]) -> Result<i128, &'static str> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    // What follows a NUL is not looked at, as in every other reader; what follows a space is.
    let unterminated = rest
        .iter()
        .take_while(|byte| **byte != 0)
        .any(|byte| *byte != b' ');
    if unterminated || !digits.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return Err("a numeric field is not octal");
    }
    Ok(digits
        .iter()
        .fold(0, |value, digit| value << 3 | i128::from(digit - b'0')))
}

/// Reads a big-endian two's complement number whose first bit is only a mark.
fn base_256(field: &[u8]) -> Result<i128, &'static str> {
    let mut bytes = field.iter().copied();
    let first = bytes.next().unwrap_or_default();
    if field.len() > 15 {
        return Err("a numeric field is too long");
    }
    // Bit 6 is the sign: it takes the place of the mark.
    let start = if first & 0x40 == 0 {
        i128::from(first & 0x3f)
    } else {
        i128::from(first) - 256
    };
    Ok(bytes.fold(start, |value, byte| value << 8 | i128::from(byte)))
}

/// Reads a decimal number of a PAX record or sparse map: digits alone.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Reads a decimal number that may be negative.
pub(crate) fn signed_decimal(text: &[u8]) -> Option<i128> {
    match text.strip_prefix(b"-") {
        Some(digits) => Some(-i128::from(decimal(digits)?)),
        None => Some(i128::from(decimal(text)?)),
    }
}

/// Writes `value` as octal digits over the whole field but its last byte, which stays NUL.
///
/// The caller has made sure that it fits: higher digits are lost.
pub(crate) fn write_octal(field: &mut [u8], value: u64) {
    let Some((last, digits)) = field.split_last_mut() else {
        return;
    };
    *last = 0;
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | (rest & 7) as u8;
        rest >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Result<i128, &'static str>) {
            assert_eq!(field(bytes), expected, "{}", bytes.escape_ascii());
        }
        let bad = Err("a numeric field is not octal");
        check(b"0000644\0", Ok(0o644));
        check(b"   644 \0", Ok(0o644));
        check(b"000644 \0", Ok(0o644));
        check(b"77777777", Ok(0o7777_7777));
        check(b"\0\0\0\0\0\0\0\0", Ok(0));
        check(b"        ", Ok(0));
        check(b"", Ok(0));
        check(b"644\0junk", Ok(0o644));
        check(b"644 junk", bad);
        check(b"0000648\0", bad);
        check(b"-000644\0", bad);
        check(b"+000644\0", bad);
        check(b"0x00644\0", bad);
        check(b"\x80\0\0\0\0\0\0\x01", Ok(1));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xff", Ok(-1));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(-2));
        check(b"\x80\0\0\0\0\0\0\0\0\0\x02\0", Ok(512));
        check(
            b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            Ok((1 << 94) - 1),
        );
        check(b"\xc0\0\0\0\0\0\0\0\0\0\0\0", Ok(-(1 << 94)));
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"+1"), None);
        assert_eq!(decimal(b" 1"), None);
        assert_eq!(signed_decimal(b"-1"), Some(-1));
        assert_eq!(signed_decimal(b"--1"), None);
    }

    #[test]
    fn octal_is_written_as_it_is_read() {
        let mut bytes = [b'x'; 12];
        write_octal(&mut bytes, 0o777_7777_7777);
        assert_eq!(&bytes, b"77777777777\0");
        write_octal(&mut bytes, 0o12);
        assert_eq!(field(&bytes), Ok(0o12));
    }
}
