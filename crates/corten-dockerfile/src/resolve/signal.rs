//! The signals STOPSIGNAL knows: those of Linux.

const NAMES: [&str; 35] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
];

/// Tells whether `text` is a number other than 0, or a name with or without `SIG`, in any case.
pub(super) fn is_known(text: &str) -> bool {
    if let Ok(number) = text.parse::<i32>() {
        return number != 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if NAMES.contains(&name) || name == "RTMAX" {
        return true;
    }
    // RTMIN is 34 and RTMAX 64: from each, up to 15 and 14 steps have names.
    let steps = |prefix: &str, limit: u32| {
        let digits = name
            .strip_prefix(prefix)
            .filter(|d| !d.starts_with(['0', '+']));
        digits
            .and_then(|d| d.parse::<u32>().ok())
            .is_some_and(|n| (1..=limit).contains(&n))
    };
    steps("RTMIN+", 15) || steps("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(is_known(text), expected, "{text:?}");
        }

        check("SIGTERM", true);
        check("term", true);
        check("9", true);
        check("RTMIN+3", true);
        check("SIGRTMAX-14", true);
        check("RTMIN+16", false);
        check("0", false);
        check("SIGNONE", false);
        check("", false);
    }
}
