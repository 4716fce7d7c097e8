//! How commands are kept apart from this machine: `--isolation`, and their end on Ctrl-C.

use clap::{Args, ValueEnum};
use corten_build::request::Isolations;
use corten_sandbox::Limits;

use crate::namespace::Ids;

#[derive(Debug, Args)]
pub(crate) struct IsolationArgs {
    /// How to isolate the commands of RUN; what this machine does not allow is an error before anything
    /// runs
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    isolation: Isolation,
    /// Bytes of memory that a command may use, such as `512m` or `2g` (cgroup v2)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// How many processors a command may use, such as `1.5` (cgroup v2)
    #[arg(long, value_name = "NUMBER", value_parser = milli_cpus)]
    cpus: Option<u64>,
    /// How many processes and threads a command may be (cgroup v2)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pids_limit: Option<u64>,
}

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Isolation {
    /// The first of those below that works
    #[default]
    Auto,
    /// As root, with namespaces and an overlay
    Root,
    /// The same in a user namespace, as an ordinary user
    Userns,
    /// The same with one id, where no user but root is needed
    UsernsOne,
    /// As root in a directory, without mounts and namespaces: in a default container
    Chroot,
    /// As any user in a directory, supervised: in a pod that is allowed nothing
    Traced,
    /// Nothing may be run
    None,
}

impl IsolationArgs {
    /// Tells whether an ordinary user's program is to become root of a user namespace, and with which
    /// ids.
    pub(crate) fn ids(&self) -> Option<Ids> {
        match self.isolation {
            Isolation::Auto => Some(Ids::Any),
            Isolation::Userns => Some(Ids::Many),
            Isolation::UsernsOne => Some(Ids::One),
            Isolation::Root | Isolation::Chroot | Isolation::Traced | Isolation::None => None,
        }
    }

    /// Returns what a command may use of the machine.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            milli_cpus: self.cpus,
            pids: self.pids_limit,
        }
    }

    /// Returns what the build may use.
    pub(crate) fn isolations(&self) -> Isolations {
        match self.isolation {
            Isolation::Auto => Isolations::Any,
            Isolation::Root => Isolations::Only(corten_sandbox::Isolation::Root),
            Isolation::Userns => Isolations::Only(corten_sandbox::Isolation::UserNamespace),
            Isolation::UsernsOne => Isolations::Only(corten_sandbox::Isolation::OneId),
            Isolation::Chroot => Isolations::Only(corten_sandbox::Isolation::Chroot),
            Isolation::Traced => Isolations::Only(corten_sandbox::Isolation::Traced),
            Isolation::None => Isolations::None,
        }
    }
}

/// Reads a size as Docker does: a number with `b`, `k`, `m` or `g`, in powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return Err(format!("`{unit}` is no unit: use b, k, m or g")),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a number".to_owned())?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "expected a size that is not 0 and fits 64 bits".to_owned())
}

/// Reads a number of processors as thousandths.
fn milli_cpus(text: &str) -> Result<u64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 3 {
        return Err("expected a number with at most three decimals".to_owned());
    }
    let part: u64 = format!("{part:0<3}").parse().unwrap_or_default();
    let whole: Option<u64> = whole.parse().ok();
    let all = whole.and_then(|whole| whole.checked_mul(1000)?.checked_add(part));
    all.filter(|all| *all > 0)
        .ok_or_else(|| "expected a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        #[track_caller]
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(size(text).ok(), expected, "{text:?}");
        }
        check("512m", Some(512 << 20));
        check("2G", Some(2 << 30));
        check("7", Some(7));
        check("0", None);
        check("m", None);
        check("1t", None);
        check("99999999999g", None);
    }

    #[test]
    fn processors() {
        #[track_caller]
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(milli_cpus(text).ok(), expected, "{text:?}");
        }
        check("1.5", Some(1500));
        check("2", Some(2000));
        check("0.25", Some(250));
        check("0", None);
        check("-1", None);
        check("1.0001", None);
        check(".5", None);
    }
}
