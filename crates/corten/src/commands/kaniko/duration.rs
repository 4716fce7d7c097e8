//! Spans of time as Go writes them: `336h`, `1h30m`.

/// Returns how many whole seconds `text` is; `None` if it is no such span.
pub(super) fn seconds(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let (number, after) = rest.split_at_checked(rest.len() - digits.len())?;
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let number: u128 = number.parse().ok()?;
        nanoseconds = nanoseconds.checked_add(number.checked_mul(unit)?)?;
        rest = after;
    }
    u64::try_from(nanoseconds / 1_000_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
        check("336h", Some(1_209_600));
        check("1h30m", Some(5400));
        check("2m3s", Some(123));
        check("1500ms", Some(1));
        check("0", Some(0));
        check("0s", Some(0));
        check("24", None);
        check("h", None);
        check("", None);
        check("-1h", None);
        check("1d", None);
        check("99999999999999999999999999999999999999999h", None);
    }
}
