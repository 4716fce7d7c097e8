//! Times as users give them and as images have them.

use std::str::FromStr;

use crate::context::Context;
use crate::error::CommandError;

/// A time in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) i64);

impl Seconds {
    /// Returns what `SOURCE_DATE_EPOCH` says, if it is set.
    pub(crate) fn from_environment(ctx: &Context) -> Result<Option<Self>, CommandError> {
        let Some(text) = &ctx.env.source_date_epoch else {
            return Ok(None);
        };
        text.parse()
            .map(|seconds| Some(Self(seconds)))
            .map_err(|_| {
                CommandError::usage(format!(
                    "`SOURCE_DATE_EPOCH` is `{text}`, expected seconds since 1970"
                ))
            })
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = text.parse::<i64>().ok();
        let seconds = seconds.or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_second()));
        // Years beyond 9999 cannot be written.
        let seconds = seconds.filter(|seconds| jiff::Timestamp::from_second(*seconds).is_ok());
        seconds.map(Self).ok_or_else(|| {
            "expected seconds since 1970, or a time such as `2024-01-31T12:00:00Z`".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, expected: Option<i64>) {
            let seconds = text.parse::<Seconds>().ok().map(|seconds| seconds.0);
            assert_eq!(seconds, expected, "{text:?}");
        }
        check("0", Some(0));
        check("1700000000", Some(1_700_000_000));
        check("2023-11-14T23:13:20.9+01:00", Some(1_700_000_000));
        check("yesterday", None);
        check("9223372036854775807", None);
    }
}
