//! What commands find around them: how names are resolved, `/dev/shm`, limits of resources.

use std::io::{self, IsTerminal as _};
use std::net::IpAddr;
use std::str::FromStr;

use clap::Args;
use corten_build::{Dns, FailureShell, RunOptions};
use corten_sandbox::ResourceLimit;

use super::isolation::size;
use crate::env;
use crate::error::CommandError;
use crate::progress::Style;

#[derive(Debug, Args)]
pub(crate) struct SurroundingArgs {
    /// Ask this server for names in RUN, instead of the machine's; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// Look for names in this domain in RUN, instead of the machine's; `.` for none; may be repeated
    #[arg(long, value_name = "DOMAIN", value_parser = word)]
    dns_search: Vec<String>,
    /// Resolve names in RUN with this option of resolv.conf(5), instead of the machine's; may be repeated
    #[arg(long, value_name = "OPTION", value_parser = word)]
    dns_option: Vec<String>,
    /// Bytes of `/dev/shm` in RUN, such as `128m` [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    shm_size: Option<u64>,
    /// Limit a resource of RUN, as `nofile=1024:2048`; may be repeated
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
    /// If a command fails, open a shell where it ran, as it ran; the build fails when the shell ends
    #[arg(long)]
    shell_on_failure: bool,
}

/// A limit as Docker writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ulimit(ResourceLimit);

impl SurroundingArgs {
    /// Adds what these say to what else is said about commands.
    ///
    /// # Errors
    /// A shell is asked for and there is no terminal for it.
    pub(crate) fn add_to(&self, options: RunOptions) -> Result<RunOptions, CommandError> {
        Ok(RunOptions {
            dns: Dns {
                servers: self.dns.clone(),
                search: self.dns_search.clone(),
                options: self.dns_option.clone(),
            },
            shm_size: self.shm_size,
            resource_limits: self.ulimit.iter().map(|limit| limit.0.clone()).collect(),
            failure_shell: self.failure_shell()?,
            ..options
        })
    }

    fn failure_shell(&self) -> Result<Option<FailureShell>, CommandError> {
        if !self.shell_on_failure {
            return Ok(None);
        }
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            let message = "there is no terminal for `--shell-on-failure`";
            return Err(CommandError::usage(message)
                .hint("standard input and output must be one; leave the flag out elsewhere"));
        }
        let term = env::lookup("TERM");
        Ok(Some(FailureShell { term }))
    }

    /// Returns how to show what happens: nothing may be drawn where a shell is.
    pub(crate) fn style(&self, wanted: Style) -> Style {
        match wanted {
            Style::Auto | Style::Tty if self.shell_on_failure => Style::Plain,
            wanted => wanted,
        }
    }
}

/// Nothing else may get into a line of a file.
fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("expected one word".to_owned());
    }
    Ok(text.to_owned())
}

impl FromStr for Ulimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, values) = text.split_once('=').ok_or("expected `NAME=SOFT[:HARD]`")?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (limit(soft)?, limit(hard)?);
        if name == "cpu" && soft == Some(0) {
            return Err("no command could start: it needs 1 second at least".to_owned());
        }
        let limit = ResourceLimit::new(name, soft, hard);
        limit.map(Self).ok_or_else(|| {
            if ResourceLimit::names().any(|known| known == name) {
                "the soft limit is above the hard one".to_owned()
            } else {
                let names: Vec<&str> = ResourceLimit::names().collect();
                format!("`{name}` is no resource: {} are", names.join(", "))
            }
        })
    }
}

/// Reads a limit; -1 is none.
fn limit(text: &str) -> Result<Option<u64>, String> {
    if text == "-1" {
        return Ok(None);
    }
    let number = text.parse().ok();
    let number = number.filter(|number| *number != u64::MAX);
    number
        .map(Some)
        .ok_or_else(|| format!("`{text}` is no limit: a number is, or -1 for none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_does() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let found: Result<Ulimit, _> = text.parse();
            let found = found.ok().map(|limit| limit.0.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
        check("nofile=1024", Some("nofile=1024:1024"));
        check("nofile=1024:2048", Some("nofile=1024:2048"));
        check("core=0:-1", Some("core=0:-1"));
        check("stack=-1", Some("stack=-1:-1"));
        check("cpu=1", Some("cpu=1:1"));
        check("cpu=0", None);
        check("cpu=0:5", None);
        check("nofile=2:1", None);
        check("nofile=-1:1", None);
        check("files=1", None);
        check("nofile", None);
        check("nofile=x", None);
    }

    #[test]
    fn a_word_is_no_line() {
        assert!(word("a.example").is_ok());
        assert!(word("a\nnameserver 1.2.3.4").is_err());
        assert!(word("").is_err());
    }
}
