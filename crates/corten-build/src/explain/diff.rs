//! What differs between two accounts: values in, values out.

use std::collections::BTreeMap;
use std::fmt;

use corten_layer::Shown;

use crate::explain::account::{Account, FileKind, Hash, Note, Value};

/// Why a step was no hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The build was told not to look.
    NotLookedUp,
    /// Nothing is known about an earlier build of the step.
    NoRecord,
    /// All is as it was, but what the step made is not there any more.
    ResultGone,
    /// Something that the instruction says, or what lies beneath, is another.
    Input {
        /// What, such as `command` or `layers beneath`.
        name: String,
        /// What it was.
        old: Option<String>,
        /// What it is.
        new: Option<String>,
    },
    /// A variable that the command sees is another.
    Variable {
        /// Its name.
        name: String,
        /// What it was.
        old: Side,
        /// What it is.
        new: Side,
    },
    /// A file that was not there is taken.
    FileAdded {
        /// Its path in the source.
        path: Shown,
    },
    /// A file that was taken is not there.
    FileRemoved {
        /// Its path in the source.
        path: Shown,
    },
    /// The content of a file, or the target of a link, is another.
    FileChanged {
        /// Its path in the source.
        path: Shown,
        /// The digest that it had.
        old: String,
        /// The digest that it has.
        new: String,
    },
    /// The type, mode, owner or another attribute of a file is another.
    AttributesChanged {
        /// Its path in the source.
        path: Shown,
        /// What it was.
        old: String,
        /// What it is.
        new: String,
    },
    /// More files differ.
    MoreFiles {
        /// How many.
        n_files: usize,
    },
}

/// The value of a variable on one side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// It is not set.
    Unset,
    /// It is this.
    Value(String),
    /// Its name says that it is secret.
    Hidden,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLookedUp => f.write_str("the cache is not looked at"),
            Self::NoRecord => f.write_str("no earlier build of this step is on record"),
            Self::ResultGone => {
                f.write_str("its inputs are as they were, but what it made is not there any more")
            }
            Self::Input {
                name,
                old: Some(old),
                new: Some(new),
            } => write!(f, "{name}: `{}` became `{}`", one_line(old), one_line(new)),
            Self::Input { name, new, .. } => match new {
                Some(new) => write!(f, "{name}: new, `{}`", one_line(new)),
                None => write!(f, "{name}: gone"),
            },
            Self::Variable { name, old, new } => match (old, new) {
                (Side::Hidden, _) | (_, Side::Hidden) => {
                    write!(f, "variable {name}: changed (its values are not shown)")
                }
                _ => write!(f, "variable {name}: {old} became {new}"),
            },
            Self::FileAdded { path } => write!(f, "file `{path}`: added"),
            Self::FileRemoved { path } => write!(f, "file `{path}`: removed"),
            Self::AttributesChanged { path, old, new } if old == new => {
                write!(
                    f,
                    "file `{path}`: its owner or its extended attributes changed"
                )
            }
            Self::FileChanged { path, old, new } | Self::AttributesChanged { path, old, new } => {
                write!(f, "file `{path}`: {old} became {new}")
            }
            Self::MoreFiles { n_files } => write!(f, "{n_files} more files differ"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("unset"),
            Self::Value(value) => write!(f, "`{}`", one_line(value)),
            Self::Hidden => f.write_str("hidden"),
        }
    }
}

fn one_line(text: &str) -> String {
    const LONGEST: usize = 160;
    let mut letters = text.chars();
    let shown = letters.by_ref().take(LONGEST);
    let mut line: String = shown.flat_map(char::escape_debug).collect();
    if letters.next().is_some() {
        line.push('…');
    }
    line
}

/// How many files are told one by one.
const MOST_FILES: usize = 10;

/// Returns why the key with the account `new` was no hit, when `old` is that of the former one.
pub(crate) fn reasons(old: Option<&Account>, new: &Account) -> Vec<Reason> {
    let Some(old) = old else {
        return vec![Reason::NoRecord];
    };
    let mut reasons = inputs(old, new);
    reasons.extend(variables(old, new));
    let files = files(old, new);
    let n_more = files.len().saturating_sub(MOST_FILES);
    reasons.extend(files.into_iter().take(MOST_FILES));
    if n_more > 0 {
        reasons.push(Reason::MoreFiles { n_files: n_more });
    }
    if reasons.is_empty() {
        reasons.push(Reason::ResultGone);
    }
    reasons
}

fn inputs(old: &Account, new: &Account) -> Vec<Reason> {
    let pairs = both(&old.inputs, &new.inputs);
    let differing = pairs.filter(|(_, old, new)| old != new);
    let reason = |(name, old, new): (&String, Option<&String>, Option<&String>)| Reason::Input {
        name: name.clone(),
        old: old.cloned(),
        new: new.cloned(),
    };
    differing.map(reason).collect()
}

fn variables(old: &Account, new: &Account) -> Vec<Reason> {
    let side = |value: Option<&Value>| match value {
        None => Side::Unset,
        Some(Value::Shown(value)) => Side::Value(value.clone()),
        Some(Value::Hidden(_)) => Side::Hidden,
    };
    let pairs = both(&old.variables, &new.variables);
    let differing = pairs.filter(|(_, old, new)| old != new);
    let reason = |(name, old, new): (&String, _, _)| Reason::Variable {
        name: name.clone(),
        old: side(old),
        new: side(new),
    };
    differing.map(reason).collect()
}

/// Returns what two lists have by name: first all of the new one, then what only the old one has.
fn both<'a, T>(
    old: &'a [(String, T)],
    new: &'a [(String, T)],
) -> impl Iterator<Item = (&'a String, Option<&'a T>, Option<&'a T>)> {
    let of = |list: &'a [(String, T)], wanted: &str| {
        let found = list.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value)
    };
    let there = new
        .iter()
        .map(move |(name, value)| (name, of(old, name), Some(value)));
    let gone = old
        .iter()
        .filter(move |(name, _)| of(new, name).is_none())
        .map(|(name, value)| (name, Some(value), None));
    there.chain(gone)
}

fn files(old: &Account, new: &Account) -> Vec<Reason> {
    let mut former: BTreeMap<&[u8], Note<'_>> =
        old.files.iter().map(|note| (note.path, note)).collect();
    let mut reasons = Vec::new();
    for note in new.files.iter() {
        let path = || Shown::from(note.path);
        match former.remove(note.path) {
            // What does not fit in one record may be in the other.
            None if old.files.is_cut => {}
            None => reasons.push(Reason::FileAdded { path: path() }),
            Some(was) if was.content != note.content && was.kind == note.kind => {
                reasons.push(Reason::FileChanged {
                    path: path(),
                    old: digest(&was.content),
                    new: digest(&note.content),
                });
            }
            Some(was) if was != note => reasons.push(Reason::AttributesChanged {
                path: path(),
                old: attributes(&was),
                new: attributes(&note),
            }),
            Some(_) => {}
        }
    }
    if !new.files.is_cut {
        let gone = former.into_keys().map(|path| Reason::FileRemoved {
            path: Shown::from(path),
        });
        reasons.extend(gone);
    }
    reasons
}

fn digest(hash: &Hash) -> String {
    let mut text = "blake3:".to_owned();
    corten_spec::digest::push_hex(hash, &mut text);
    text
}

fn attributes(note: &Note<'_>) -> String {
    let kind = match note.kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symbolic link",
        FileKind::Other => "special file",
    };
    format!("{kind} of mode {:04o}", note.mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> Account {
        let mut account = Account::default();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match *words.as_slice() {
                ["arg", name, value] => account.variable(name, value),
                ["file", path, mode, content] => account.files.push(&Note {
                    path: path.as_bytes(),
                    kind: FileKind::File,
                    mode: u32::from_str_radix(mode, 8).unwrap(),
                    rest: 0,
                    content: [content.parse().unwrap(); 32],
                }),
                [name, value] => account.input(name, value),
                _ => panic!("{line}"),
            }
        }
        account
    }

    #[track_caller]
    fn check(old: &str, new: &str, expected: &[&str]) {
        let reasons = reasons(Some(&account(old)), &account(new));
        let shown: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        assert_eq!(shown, expected, "{old:?} -> {new:?}");
    }

    #[test]
    fn what_differs() {
        check(
            "command a\narg X 1",
            "command a\narg X 1",
            &["its inputs are as they were, but what it made is not there any more"],
        );
        check("command a", "command b", &["command: `a` became `b`"]);
        check("user a", "", &["user: gone"]);
        check("", "user a", &["user: new, `a`"]);
        check("arg X 1", "arg X 2", &["variable X: `1` became `2`"]);
        check("arg X 1", "", &["variable X: `1` became unset"]);
        check(
            "arg A_TOKEN 1",
            "arg A_TOKEN 2",
            &["variable A_TOKEN: changed (its values are not shown)"],
        );
        let hash = |digit: &str| format!("blake3:{}", digit.repeat(64 / digit.len()));
        check(
            "file a 644 1\nfile b 644 1",
            "file b 644 2\nfile c 644 1",
            &[
                &format!("file `b`: {} became {}", hash("01"), hash("02")),
                "file `c`: added",
                "file `a`: removed",
            ],
        );
        check(
            "file a 644 1",
            "file a 755 1",
            &["file `a`: file of mode 0644 became file of mode 0755"],
        );
        assert_eq!(reasons(None, &Account::default()), [Reason::NoRecord]);
    }

    #[test]
    fn many_files_are_counted() {
        let many: String = (0..25).fold(String::new(), |text, number| {
            format!("{text}file f{number} 644 1\n")
        });
        let told = reasons(Some(&account("")), &account(&many));
        assert_eq!(told.len(), MOST_FILES + 1);
        assert_eq!(told.last(), Some(&Reason::MoreFiles { n_files: 15 }));
    }
}
