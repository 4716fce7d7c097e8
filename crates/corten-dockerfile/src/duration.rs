//! Durations as Go writes them: `1h30m`, `1.5s`, `300ms`. Values are nanoseconds.

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration; `None` if the text is none or does not fit.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit = after.trim_start_matches(|c: char| c != '.' && !c.is_ascii_digit());
        let (unit, after) = after.split_at_checked(after.len() - unit.len())?;
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        total = total
            .checked_add(whole.checked_mul(*scale)?)?
            .checked_add(part(fraction, *scale))?;
        rest = after;
    }
    let total = i64::try_from(total).ok()?;
    Some(if negative { -total } else { total })
}

/// Returns `0.fraction` of `scale`, cut to whole nanoseconds; further digits cannot matter.
fn part(fraction: &str, scale: u64) -> u64 {
    let mut sum: u128 = 0;
    let mut divisor: u128 = 1;
    for digit in fraction.bytes().take(18) {
        sum = sum * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    u64::try_from(sum * u128::from(scale) / divisor).unwrap_or(0)
}

fn digits(text: &str) -> (&str, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.split_at_checked(text.len() - rest.len())
        .unwrap_or((text, ""))
}

/// Writes a duration as Go prints it: `1h0m0s`, `1.5s`, `300ms`, `0s`.
pub(crate) fn show(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let value = nanoseconds.unsigned_abs();
    match value {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{value}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(value, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(value, 1_000_000)),
        _ => {
            let seconds = value / 1_000_000_000;
            let below_minute = decimal(value % 60_000_000_000, 1_000_000_000);
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => format!("{sign}{below_minute}s"),
                (0, minutes) => format!("{sign}{minutes}m{below_minute}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{below_minute}s"),
            }
        }
    }
}

fn decimal(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        #[track_caller]
        fn check(text: &str, expected: Option<i64>, shown: &str) {
            assert_eq!(parse(text), expected, "{text:?}");
            if let Some(value) = expected {
                assert_eq!(show(value), shown, "{text:?}");
            }
        }

        check("0", Some(0), "0s");
        check("30s", Some(30_000_000_000), "30s");
        check("1m30s", Some(90_000_000_000), "1m30s");
        check("1h", Some(3_600_000_000_000), "1h0m0s");
        check("1.5s", Some(1_500_000_000), "1.5s");
        check(".5ms", Some(500_000), "500µs");
        check("300ms", Some(300_000_000), "300ms");
        check("100ns", Some(100), "100ns");
        check("-2s", Some(-2_000_000_000), "-2s");
        check("1µs", Some(1_000), "1µs");
        check("30", None, "");
        check("s", None, "");
        check("", None, "");
        check("1d", None, "");
        check("9999999999h", None, "");
    }
}
