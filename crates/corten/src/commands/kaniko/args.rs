//! The arguments of `corten kaniko`, read by the table of flags.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::flags::{Does, FLAGS, Flag, Takes};
use crate::error::CommandError;

/// Build as kaniko's executor does
///
/// Takes the executor's flags, and is what runs where the program is called `executor`. A flag that
/// only tunes how kaniko works is taken and named as without effect; one that cannot be done is
/// refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct KanikoArgs {
    values: BTreeMap<&'static str, Vec<String>>,
}

impl Args for KanikoArgs {
    fn augment_args(command: Command) -> Command {
        let command = command
            .about("Build as kaniko's executor does")
            .long_about(
                "Build as kaniko's executor does\n\nTakes the executor's flags, and is what runs where the \
                 program is called `executor`. A flag that only tunes how kaniko works is taken and named \
                 as without effect; one that cannot be done is refused.",
            );
        command.args(FLAGS.iter().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KanikoArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for flag in FLAGS {
            if let Some(values) = matches.get_many::<String>(flag.name) {
                self.values.insert(flag.name, values.cloned().collect());
            }
        }
        Ok(())
    }
}

fn arg(flag: &Flag) -> Arg {
    // Every flag may be repeated, and where one value counts it is the last.
    let arg = Arg::new(flag.name)
        .long(flag.name)
        .action(ArgAction::Append);
    let arg = match flag.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    let arg = match flag.alias {
        Some(alias) => arg.alias(alias),
        None => arg,
    };
    let arg = match flag.takes {
        Takes::Switch => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Takes::One | Takes::Many => arg.value_name("VALUE").allow_hyphen_values(true),
    };
    match flag.does {
        Does::This(help) => arg.help(help),
        Does::Nothing(reason) | Does::Always(reason) => {
            arg.hide(true).help(format!("Without effect: {reason}"))
        }
        Does::Refused(reason, _) => arg.hide(true).help(format!("Refused: {reason}")),
    }
}

impl KanikoArgs {
    /// Returns all values of a flag.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the value of a flag, which counts as not given if it is empty, as for kaniko.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        let last = self.all(name).last().map(String::as_str);
        last.filter(|value| !value.is_empty())
    }

    /// Tells whether a flag is on.
    pub(super) fn is_on(&self, name: &str) -> Result<bool, CommandError> {
        Ok(self.switch(name)?.unwrap_or_default())
    }

    fn switch(&self, name: &str) -> Result<Option<bool>, CommandError> {
        let value = self.last(name).map(|text| {
            boolean(text).ok_or_else(|| {
                CommandError::usage(format!("`--{name}` is `true` or `false`, not `{text}`"))
            })
        });
        value.transpose()
    }

    /// Refuses what cannot be done, and returns the flags that have no effect with the reasons.
    pub(super) fn check(&self) -> Result<Vec<(String, &'static str)>, CommandError> {
        let mut idle = Vec::new();
        for flag in FLAGS.iter().filter(|flag| self.last(flag.name).is_some()) {
            let name = flag.name;
            let is_on = match flag.takes {
                Takes::Switch => self.is_on(name)?,
                Takes::One | Takes::Many => true,
            };
            match flag.does {
                Does::Nothing(reason) => idle.push((format!("--{name}"), reason)),
                Does::Always(_) if is_on => {}
                Does::Always(reason) => {
                    return Err(CommandError::usage(format!(
                        "`--{name}=false` cannot be done: {reason}"
                    )));
                }
                Does::Refused(reason, instead) if is_on => {
                    let error = CommandError::usage(format!("`--{name}` is not done: {reason}"));
                    return Err(error.hint(instead));
                }
                Does::This(_) | Does::Refused(..) => {}
            }
        }
        Ok(idle)
    }
}

/// Reads a boolean as Go's flags do.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
impl KanikoArgs {
    /// Reads arguments as they are written on one line.
    pub(super) fn of(line: &str) -> Self {
        let command = Self::augment_args(Command::new("kaniko").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace());
        Self::from_arg_matches(&matches.unwrap()).unwrap()
    }
}
