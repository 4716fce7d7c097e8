//! The options of the checks: `skip=A,B;error=true;experimental=C`.

use crate::directive;
use crate::suggest;

/// Which checks are made, and what a finding means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// Names of rules that are not applied; `all` for every one.
    pub skip: Vec<String>,
    /// Names of experimental rules that are applied; `all` for every one.
    pub experimental: Vec<String>,
    /// Whether a finding fails the build.
    pub error: bool,
}

const OPTIONS: [&str; 3] = ["skip", "error", "experimental"];

impl Check {
    /// Reads what `# check=` or the build argument `BUILDKIT_DOCKERFILE_CHECK` says.
    ///
    /// # Errors
    ///
    /// A message about the first option that is not known or has no value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut check = Self::default();
        if text.trim().is_empty() {
            return Ok(check);
        }
        for option in text.split(';') {
            let Some((name, value)) = option.split_once('=') else {
                return Err(format!("the check option `{option}` has no value"));
            };
            match (name.trim(), value.trim()) {
                ("skip", list) => check.skip = rules(list),
                ("experimental", list) => check.experimental = rules(list),
                ("error", "true" | "1" | "t" | "T" | "TRUE" | "True") => check.error = true,
                ("error", "false" | "0" | "f" | "F" | "FALSE" | "False") => check.error = false,
                ("error", other) => {
                    return Err(format!("`error` is either true or false, not `{other}`"));
                }
                (unknown, _) => return Err(unknown_option(unknown)),
            }
        }
        Ok(check)
    }

    /// Returns these options with those of the comments above an instruction: `# check=skip=A`.
    ///
    /// The first comment of that form counts; one that is malformed is a comment like any other.
    pub(crate) fn with_comments(&self, comments: &[String]) -> Self {
        let mut merged = self.clone();
        let mut found = comments.iter().filter_map(|comment| {
            let (name, value) = directive::split(comment)?;
            name.eq_ignore_ascii_case("check").then_some(value)
        });
        let options = found.next().and_then(|value| value.split(' ').next());
        if let Some(Ok(local)) = options.map(Self::parse) {
            merged.skip.extend(local.skip);
            merged.experimental.extend(local.experimental);
        }
        merged
    }

    /// Tells whether the rule `name` is applied.
    pub(crate) fn applies(&self, name: &str, experimental: bool) -> bool {
        let named = |list: &[String]| list.iter().any(|rule| rule == name || rule == "all");
        if experimental {
            named(&self.experimental)
        } else {
            !named(&self.skip)
        }
    }
}

fn rules(list: &str) -> Vec<String> {
    let names = list.split(',').map(|rule| rule.trim().to_owned());
    names.filter(|rule| !rule.is_empty()).collect()
}

fn unknown_option(name: &str) -> String {
    match suggest::nearest(name, OPTIONS) {
        Some(near) => format!("unknown check option `{name}`; did you mean `{near}`?"),
        None => format!("unknown check option `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&[&str], &[&str], bool)>) {
            let found = Check::parse(text).ok();
            let expected = expected.map(|(skip, experimental, error)| Check {
                skip: skip.iter().map(|rule| (*rule).to_owned()).collect(),
                experimental: experimental.iter().map(|rule| (*rule).to_owned()).collect(),
                error,
            });
            assert_eq!(found, expected, "{text:?}");
        }

        check("", Some((&[], &[], false)));
        check("skip=all", Some((&["all"], &[], false)));
        check(" skip = A, B ;error= True", Some((&["A", "B"], &[], true)));
        check("experimental=C;error=0", Some((&[], &["C"], false)));
        check("skip=A;skip=B", Some((&["B"], &[], false)));
        check("error", None);
        check("error=yes", None);
        check("skip=A;", None);
        check("skp=A", None);
    }

    #[test]
    fn comments_above_an_instruction() {
        #[track_caller]
        fn check(comments: &[&str], expected: &[&str]) {
            let comments: Vec<String> = comments.iter().map(|c| (*c).to_owned()).collect();
            let base = Check::parse("skip=A").unwrap();
            assert_eq!(base.with_comments(&comments).skip, expected, "{comments:?}");
        }

        check(&["note", "check=skip=B // why"], &["A", "B"]);
        check(&["Check = skip=B,C"], &["A", "B", "C"]);
        check(&["check=skip=B", "check=skip=C"], &["A", "B"]);
        check(&["check=nonsense", "check=skip=C"], &["A"]);
        check(&["# check=skip=B"], &["A"]);
    }

    #[test]
    fn experimental_rules_are_asked_for() {
        let check = Check::parse("skip=all;experimental=X").unwrap();
        assert!(check.applies("X", true) && !check.applies("Y", true));
        assert!(!check.applies("Z", false));
    }
}
