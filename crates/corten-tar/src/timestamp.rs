//! A point in time with nanoseconds, before 1970 or after.

use std::io::Write;

const NANOSECONDS: u32 = 1_000_000_000;

/// Seconds and nanoseconds since 1970.
///
/// The seconds are the floor, so half a second before 1970 is `-1` and 500,000,000: this is what
/// `utimensat` takes, and it orders as time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// What is to be added to them, less than 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Returns a whole second.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }

    /// Reads a PAX time: decimal seconds with an optional fraction and sign.
    ///
    /// Digits beyond nanoseconds are dropped, and seconds beyond an `i64` are clamped: a time no
    /// file system can hold is not a reason to refuse a layer. `None` if it is not a number.
    pub fn from_pax(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let point = text
            .iter()
            .position(|byte| *byte == b'.')
            .unwrap_or(text.len());
        let (whole, fraction) = (&text[..point], text.get(point + 1..).unwrap_or_default());
        if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        let digit = |byte: &u8| byte - b'0';
        let seconds = whole.iter().map(digit).fold(0_u64, |value, digit| {
            value.saturating_mul(10).saturating_add(u64::from(digit))
        });
        let nanoseconds = fraction
            .iter()
            .map(digit)
            .chain(std::iter::repeat(0))
            .take(9)
            .fold(0_u32, |value, digit| value * 10 + u32::from(digit));
        let before = |seconds: i128| i64::try_from(-seconds).unwrap_or(i64::MIN);
        Some(match (negative, nanoseconds) {
            (false, _) => Self {
                seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
                nanoseconds,
            },
            (true, 0) => Self {
                seconds: before(seconds.into()),
                nanoseconds,
            },
            (true, _) => Self {
                seconds: before(i128::from(seconds) + 1),
                nanoseconds: NANOSECONDS - nanoseconds,
            },
        })
    }

    /// Appends the time as a PAX record writes it, without zeros at the end of the fraction.
    pub(crate) fn write_pax(self, out: &mut Vec<u8>) {
        let nanoseconds = self.nanoseconds.min(NANOSECONDS - 1);
        let (sign, seconds, nanoseconds) = if self.seconds < 0 && nanoseconds > 0 {
            (
                "-",
                (self.seconds + 1).unsigned_abs(),
                NANOSECONDS - nanoseconds,
            )
        } else {
            (
                if self.seconds < 0 { "-" } else { "" },
                self.seconds.unsigned_abs(),
                nanoseconds,
            )
        };
        let fits = "a vector takes every byte";
        if nanoseconds == 0 {
            write!(out, "{sign}{seconds}").expect(fits);
            return;
        }
        write!(out, "{sign}{seconds}.{nanoseconds:09}").expect(fits);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_times() {
        #[track_caller]
        fn check(text: &str, seconds: i64, nanoseconds: u32) {
            let expected = Timestamp {
                seconds,
                nanoseconds,
            };
            assert_eq!(
                Timestamp::from_pax(text.as_bytes()),
                Some(expected),
                "{text}"
            );
            let mut written = Vec::new();
            expected.write_pax(&mut written);
            assert_eq!(
                Timestamp::from_pax(&written),
                Some(expected),
                "{}",
                written.escape_ascii()
            );
        }
        check("0", 0, 0);
        check("1350244992.023960108", 1_350_244_992, 23_960_108);
        check("1350244992.", 1_350_244_992, 0);
        check("1.5", 1, 500_000_000);
        check("1.0000000019", 1, 1);
        check("-1.5", -2, 500_000_000);
        check("-0.5", -1, 500_000_000);
        check("-1", -1, 0);
        check("-0.000000001", -1, 999_999_999);
        check("99999999999999999999", i64::MAX, 0);
        check("-99999999999999999999", i64::MIN, 0);
        check("-9223372036854775808", i64::MIN, 0);
        check("-9223372036854775807", i64::MIN + 1, 0);
        check("-99999999999999999999.5", i64::MIN, 500_000_000);
    }

    #[test]
    fn what_is_not_a_time() {
        for text in [
            "", "-", ".5", "+1", "1e5", "1.5.5", "1,5", " 1", "--1", "1.-5", "nan",
        ] {
            assert_eq!(Timestamp::from_pax(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_written_form_has_no_spare_zeros() {
        let mut out = Vec::new();
        Timestamp {
            seconds: -1,
            nanoseconds: 500_000_000,
        }
        .write_pax(&mut out);
        assert_eq!(out, b"-0.5");
    }
}
