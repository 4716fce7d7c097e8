//! Configs of images for other systems than Linux: what conversion.md copies verbatim, and nothing
//! that only somebody who runs such a system could decide.

use std::collections::BTreeMap;

use corten_spec::ImageConfig;
use serde::Serialize;

use crate::annotate::annotations;
use crate::config::Note;
use crate::process::{self, Overrides};
use crate::spec::OCI_VERSION;
use crate::{Error, Result};

/// The part of a `config.json` that an image config gives word for word.
///
/// Whoever runs it adds the rest: on Windows `windows.layerFolders`, on `FreeBSD` a root and mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerbatimConfig {
    /// The version of the specification.
    pub oci_version: &'static str,
    /// What runs.
    pub process: VerbatimProcess,
    /// What the image says about itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The process of a container, as far as the image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerbatimProcess {
    /// Whom it runs as, unresolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<VerbatimUser>,
    /// The executable and its arguments, unless there is a `command_line`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The whole command, escaped already (Windows, `ArgsEscaped`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// The environment, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The working directory, absolute.
    pub cwd: String,
}

/// A user by name, which only the system of the container can look up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerbatimUser {
    /// What the image says.
    pub username: String,
}

/// Returns what the config of `image` gives verbatim, whatever system it is for.
///
/// # Errors
/// Fails if the image names no command, or names its user in a way that cannot be kept: outside
/// Windows, the runtime specification has ids of users only.
pub fn verbatim_config(
    image: &ImageConfig,
    overrides: &Overrides,
) -> Result<(VerbatimConfig, Vec<Note>)> {
    let is_windows = image.os == "windows";
    let args = process::args(&image.config, overrides)?;
    let has_own_command = overrides.entrypoint.is_some() || overrides.command.is_some();
    let (args, command_line) = if is_windows && args_are_escaped(image) && !has_own_command {
        (Vec::new(), Some(command_line(&args)))
    } else {
        (args, None)
    };
    let (annotations, notes) = annotations(image);
    let config = VerbatimConfig {
        oci_version: OCI_VERSION,
        process: VerbatimProcess {
            user: user(image, is_windows)?,
            args,
            command_line,
            env: process::image_env(&image.config, overrides),
            cwd: cwd(image, overrides, is_windows),
        },
        annotations,
    };
    Ok((config, notes))
}

fn user(image: &ImageConfig, is_windows: bool) -> Result<Option<VerbatimUser>> {
    let user = &image.config.user;
    match user.as_str() {
        "" => Ok(None),
        _ if is_windows => Ok(Some(VerbatimUser {
            username: user.clone(),
        })),
        _ => Err(Error::UnresolvableUser {
            user: user.clone(),
            os: image.os.clone(),
        }),
    }
}

fn cwd(image: &ImageConfig, overrides: &Overrides, is_windows: bool) -> String {
    let given = overrides.working_dir.as_ref();
    match given.unwrap_or(&image.config.working_dir).as_str() {
        "" if is_windows => r"C:\".to_owned(),
        path if is_windows => path.to_owned(),
        _ => process::cwd(&image.config, overrides),
    }
}

/// The deprecated `ArgsEscaped` says that the first word is the whole command line already (CFG-26).
fn args_are_escaped(image: &ImageConfig) -> bool {
    let value = image.config.extra.get("ArgsEscaped");
    value.and_then(serde_json::Value::as_bool) == Some(true)
}

/// Joins what is escaped already and arguments that are not.
fn command_line(args: &[String]) -> String {
    let (first, rest) = args.split_first().expect("a command has a first word");
    let mut line = first.clone();
    for arg in rest {
        line.push(' ');
        escape(arg, &mut line);
    }
    line
}

/// Quotes an argument as `CommandLineToArgvW` reads it: backslashes count only before a quote.
fn escape(arg: &str, line: &mut String) {
    if !arg.is_empty() && !arg.contains([' ', '\t', '"']) {
        return line.push_str(arg);
    }
    line.push('"');
    let mut n_backslashes = 0;
    for char in arg.chars() {
        match char {
            '\\' => n_backslashes += 1,
            '"' => {
                line.push_str(&"\\".repeat(n_backslashes + 1));
                n_backslashes = 0;
            }
            _ => n_backslashes = 0,
        }
        line.push(char);
    }
    line.push_str(&"\\".repeat(n_backslashes));
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_spec::{Platform, RunConfig};
    use serde_json::json;

    #[track_caller]
    fn check(os: &str, run: serde_json::Value, expected: std::result::Result<&str, &str>) {
        let mut image = ImageConfig::scratch(&Platform::new(os, "amd64"));
        image.config = serde_json::from_value::<RunConfig>(run).unwrap();
        let found = verbatim_config(&image, &Overrides::default());
        match expected {
            Ok(expected) => {
                let found = serde_json::to_string(&found.unwrap().0.process).unwrap();
                assert_eq!(found, expected);
            }
            Err(part) => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn windows_and_others() {
        check(
            "windows",
            json!({"Cmd": ["cmd", "/c", "dir"], "User": "ContainerUser", "WorkingDir": "C:\\app",
                "Env": ["A=1", "A=2"]}),
            Ok(
                r#"{"user":{"username":"ContainerUser"},"args":["cmd","/c","dir"],"env":["A=1","A=2"],"cwd":"C:\\app"}"#,
            ),
        );
        check(
            "windows",
            json!({"Entrypoint": ["cmd /S /C \"a b\""], "Cmd": ["x", "a\\\\b c\\", "q\"", ""],
                "ArgsEscaped": true}),
            Ok(
                r#"{"commandLine":"cmd /S /C \"a b\" x \"a\\\\b c\\\\\" \"q\\\"\" \"\"","cwd":"C:\\"}"#,
            ),
        );
        check(
            "freebsd",
            json!({"Cmd": ["/bin/sh"], "ArgsEscaped": true, "Env": ["A=1"]}),
            Ok(r#"{"args":["/bin/sh"],"env":["A=1"],"cwd":"/"}"#),
        );
        check(
            "freebsd",
            json!({"Cmd": ["/bin/sh"], "User": "www"}),
            Err("the user `www` of an image for `freebsd`"),
        );
        check("windows", json!({}), Err("names no command"));
    }
}
