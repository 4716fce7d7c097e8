//! Which sources a build may use, and what is used instead: BuildKit's source policies.
//!
//! A source is an identifier, such as `docker-image://docker.io/library/debian:12`, with attributes.
//! Rules are looked at in order: of `ALLOW` and `DENY` the last that matches counts, and a `CONVERT`
//! that changes anything begins again with what it made.
//!
//! ```
//! use corten_build::policy::{Policy, PolicySource, evaluate};
//!
//! let text = br#"{"rules": [{"action": "DENY", "selector": {"identifier": "docker-image://*"}}]}"#;
//! let policies = [Policy::parse(text)?];
//! let mut debian = PolicySource::new("docker-image://docker.io/library/debian:12");
//! assert!(evaluate(&policies, &mut debian).is_err());
//! let mut file = PolicySource::new("https://example.org/file");
//! assert!(!evaluate(&policies, &mut file)?);
//! # Ok::<(), corten_build::Error>(())
//! ```

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer};

use crate::{Error, Result};

/// A list of rules.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// Something that a build wants to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// What it is, and where: `docker-image://NAME`, `https://…`, `git://…#REF`, `local://context`.
    pub identifier: String,
    /// What else is known about it, such as `http.checksum`.
    pub attrs: BTreeMap<String, String>,
}

impl PolicySource {
    /// Returns a source without attributes.
    pub fn new(identifier: impl Into<String>) -> Self {
        Self {
            identifier: identifier.into(),
            attrs: BTreeMap::new(),
        }
    }
}

#[derive(Debug)]
struct Rule {
    /// What the identifier has to look like; `None` where it is the identifier itself.
    pattern: Option<Regex>,
    /// Those of the constraints, in their order.
    constraints: Vec<Option<Regex>>,
    text: RuleText,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyText {
    #[serde(default)]
    version: i64,
    #[serde(default)]
    rules: Vec<RuleText>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    #[serde(default)]
    action: Action,
    selector: Selector,
    updates: Option<Updates>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selector {
    #[serde(default)]
    identifier: String,
    #[serde(default, alias = "matchType")]
    match_type: MatchType,
    #[serde(default)]
    constraints: Vec<Constraint>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Updates {
    #[serde(default)]
    identifier: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Constraint {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    condition: Condition,
}

/// Makes an enum whose values are written as names or as numbers, as protocol buffers are in JSON. The
/// first value is the one where nothing is said.
macro_rules! numbered {
    ($name:ident { $($value:ident = $text:literal),* }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        enum $name { #[default] $($value),* }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(from)?;
                let all = [$(($text, Self::$value)),*];
                let found = match &value {
                    serde_json::Value::String(text) => {
                        all.into_iter().find(|(name, _)| name == text)
                    }
                    number => number
                        .as_u64()
                        .and_then(|number| all.get(usize::try_from(number).ok()?).copied()),
                };
                let expected = [$($text),*].join(", ");
                let wrong = || serde::de::Error::custom(format!("{value} is none of {expected}"));
                found.map(|(_, value)| value).ok_or_else(wrong)
            }
        }
    };
}

numbered!(Action { Allow = "ALLOW", Deny = "DENY", Convert = "CONVERT" });
numbered!(Condition { Equal = "EQUAL", NotEqual = "NOTEQUAL", Matches = "MATCHES" });
numbered!(MatchType { Wildcard = "WILDCARD", Exact = "EXACT", Regex = "REGEX" });

/// How often a source may be converted, as in BuildKit.
const MOST_CONVERSIONS: usize = 21;

/// How long, in bytes, what a source becomes may be, and the text that says so: conversions could double it
/// each time.
const LONGEST_IDENTIFIER: usize = 8 << 10;

/// What a compiled pattern may take, in bytes: who writes the policy need not be who builds.
const LARGEST_PATTERN: usize = 1 << 20;

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// What is no policy of version 1, names something that is not known, or has a pattern that is none.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text: PolicyText = serde_json::from_slice(bytes).map_err(|error| Error::Policy {
            reason: error.to_string(),
        })?;
        if !matches!(text.version, 0 | 1) {
            let reason = format!("version {} is not known; 1 is", text.version);
            return Err(Error::Policy { reason });
        }
        let rules = text.rules.into_iter().map(Rule::new);
        let rules = rules.collect::<Result<_>>()?;
        Ok(Self { rules })
    }
}

impl Rule {
    fn new(text: RuleText) -> Result<Self> {
        let selector = &text.selector;
        let pattern = match selector.match_type {
            MatchType::Exact => None,
            MatchType::Regex => Some(compile(&selector.identifier)?),
            MatchType::Wildcard => Some(compile(&wildcard(&selector.identifier)?)?),
        };
        let constraints = selector.constraints.iter().map(|constraint| {
            let is_pattern = constraint.condition == Condition::Matches;
            is_pattern.then(|| compile(&constraint.value)).transpose()
        });
        let constraints = constraints.collect::<Result<_>>()?;
        if text.action == Action::Convert && text.updates.is_none() {
            let reason = format!("the rule `{}` converts to nothing", selector.identifier);
            return Err(Error::Policy { reason });
        }
        if let Some(updates) = &text.updates {
            check_length(&updates.identifier)?;
        }
        Ok(Self {
            pattern,
            constraints,
            text,
        })
    }

    fn matches(&self, source: &PolicySource) -> bool {
        let selector = &self.text.selector;
        let mut constraints = selector.constraints.iter().zip(&self.constraints);
        let holds = constraints.all(|(constraint, pattern)| {
            let value = source.attrs.get(&constraint.key);
            let value = value.map_or("", String::as_str);
            match constraint.condition {
                Condition::Equal => value == constraint.value,
                Condition::NotEqual => value != constraint.value,
                Condition::Matches => pattern.as_ref().is_some_and(|one| one.is_match(value)),
            }
        });
        let identifier = &source.identifier;
        let is_alike = || {
            let pattern = self.pattern.as_ref();
            pattern.is_some_and(|pattern| pattern.is_match(identifier))
        };
        holds && (selector.identifier == *identifier || is_alike())
    }

    /// Makes of `source` what the rule says; tells whether that changed anything.
    fn convert(&self, source: &mut PolicySource) -> bool {
        let Some(updates) = &self.text.updates else {
            return false;
        };
        let to = match updates.identifier.as_str() {
            "" => &self.text.selector.identifier,
            to => to,
        };
        let from = &source.identifier;
        let to = match (&self.text.selector.match_type, &self.pattern) {
            (MatchType::Exact, _) | (_, None) => to.to_owned(),
            (MatchType::Regex, Some(pattern)) => pattern.replace_all(from, to).into_owned(),
            (MatchType::Wildcard, Some(pattern)) => match pattern.captures(from) {
                Some(parts) => {
                    let mut expanded = String::new();
                    parts.expand(to, &mut expanded);
                    expanded
                }
                None => from.clone(),
            },
        };
        let mut is_changed = false;
        if !to.is_empty() && to != source.identifier {
            source.identifier = to;
            is_changed = true;
        }
        for (key, value) in &updates.attrs {
            let old = source.attrs.insert(key.clone(), value.clone());
            is_changed |= old.as_ref() != Some(value);
        }
        is_changed
    }
}

/// Applies `policies` to `source`; returns whether that made something else of it.
///
/// # Errors
///
/// The source is denied, or is converted again and again.
pub fn evaluate(policies: &[Policy], source: &mut PolicySource) -> Result<bool> {
    let asked = source.identifier.clone();
    for n_conversions in 0..MOST_CONVERSIONS {
        if !evaluate_once(policies, source, &asked)? {
            return Ok(n_conversions > 0);
        }
    }
    Err(Error::Policy {
        reason: format!("`{asked}` is converted again and again"),
    })
}

fn evaluate_once(policies: &[Policy], source: &mut PolicySource, asked: &str) -> Result<bool> {
    for policy in policies {
        let mut is_denied = false;
        for rule in &policy.rules {
            if !rule.matches(source) {
                continue;
            }
            match rule.text.action {
                Action::Allow => is_denied = false,
                Action::Deny => is_denied = true,
                Action::Convert => {
                    if rule.convert(source) {
                        check_length(&source.identifier)?;
                        return Ok(true);
                    }
                }
            }
        }
        if is_denied {
            let source = match source.identifier.as_str() {
                same if same == asked => asked.to_owned(),
                other => format!("{other}` for `{asked}"),
            };
            return Err(Error::Denied {
                source_name: source,
            });
        }
    }
    Ok(false)
}

fn check_length(identifier: &str) -> Result<()> {
    if identifier.len() <= LONGEST_IDENTIFIER {
        return Ok(());
    }
    let start: String = identifier.chars().take(40).collect();
    Err(Error::Policy {
        reason: format!("a source is to become `{start}`, of more than {LONGEST_IDENTIFIER} bytes"),
    })
}

fn compile(pattern: &str) -> Result<Regex> {
    let compiled = RegexBuilder::new(pattern)
        .size_limit(LARGEST_PATTERN)
        .build();
    compiled.map_err(|error| Error::Policy {
        reason: format!("`{pattern}` is no pattern: {error}"),
    })
}

/// Returns the pattern of a text in which `*` stands for anything.
fn wildcard(text: &str) -> Result<String> {
    if text.contains("**") {
        return Err(Error::Policy {
            reason: format!("`{text}` has `**`, and `*` already stands for anything"),
        });
    }
    let pattern = regex::escape(text).replace("\\*", "(.*)");
    Ok(format!("^{pattern}$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        Policy::parse(format!("{{\"version\": 1, \"rules\": [{rules}]}}").as_bytes()).unwrap()
    }

    const DEBIAN: &str = "docker-image://docker.io/library/debian:12";

    /// Ten times over this is more than there is memory.
    #[test]
    fn a_source_that_grows_with_each_conversion_is_refused() {
        let update = |to: &str| {
            policy(&format!(
                r#"{{"action": "CONVERT", "selector": {{"identifier": "*"}}, "updates": {{"identifier": "{to}"}}}}"#
            ))
        };
        let mut source = PolicySource::new(DEBIAN);
        let error = evaluate(&[update(&"$1".repeat(1000))], &mut source).unwrap_err();
        assert!(
            error.to_string().contains("more than 8192 bytes"),
            "{error}"
        );
        assert!(source.identifier.len() < 1 << 20);
    }

    #[test]
    fn what_becomes_of_a_source() {
        #[track_caller]
        fn check(rules: &str, identifier: &str, expected: Option<&str>) {
            let mut source = PolicySource::new(identifier);
            let result = evaluate(&[policy(rules)], &mut source);
            let found = result.is_ok().then_some(source.identifier.as_str());
            assert_eq!(found, expected, "{rules}: {result:?}");
        }
        let rule = |action: &str, selector: &str| {
            format!(r#"{{"action": "{action}", "selector": {{"identifier": "{selector}"}}}}"#)
        };
        let deny_all = rule("DENY", "*");
        let allow = rule("ALLOW", "docker-image://docker.io/library/*");
        check("", DEBIAN, Some(DEBIAN));
        check(&deny_all, DEBIAN, None);
        // The last that matches counts.
        check(&format!("{deny_all},{allow}"), DEBIAN, Some(DEBIAN));
        check(&format!("{allow},{deny_all}"), DEBIAN, None);
        check(&format!("{deny_all},{allow}"), "https://x.io/a", None);
        // `.` is no pattern, and a wildcard matches the whole.
        check(
            &rule("DENY", "docker-image://docker.io/library/debianx12"),
            DEBIAN,
            Some(DEBIAN),
        );
        check(
            &rule("DENY", "docker-image://docker.io/library/debian"),
            DEBIAN,
            Some(DEBIAN),
        );
        let exact = r#"{"action": 1, "selector": {"identifier": "docker-image://*", "match_type": "EXACT"}}"#;
        check(exact, DEBIAN, Some(DEBIAN));
        let regex = r#"{"action": "DENY", "selector": {"identifier": "debian:1[0-2]", "match_type": "REGEX"}}"#;
        check(regex, DEBIAN, None);
        let convert = |from: &str, kind: &str, to: &str| {
            format!(
                r#"{{"action": "CONVERT", "selector": {{"identifier": "{from}", "match_type": "{kind}"}},
                    "updates": {{"identifier": "{to}"}}}}"#
            )
        };
        let mirror = convert(
            "docker-image://docker.io/library/*",
            "WILDCARD",
            "docker-image://m.io/${1}-slim",
        );
        check(&mirror, DEBIAN, Some("docker-image://m.io/debian:12-slim"));
        // What was converted is looked at again, from the first rule on.
        let denied = format!("{},{mirror}", rule("DENY", "docker-image://m.io/*"));
        check(&denied, DEBIAN, None);
        let replaced = convert("library/(\\\\w+):12", "REGEX", "mine/$1:13");
        check(
            &replaced,
            DEBIAN,
            Some("docker-image://docker.io/mine/debian:13"),
        );
        // What changes nothing is no conversion; what never ends is an error.
        check(
            &convert("docker-image://*", "WILDCARD", "docker-image://$1"),
            DEBIAN,
            Some(DEBIAN),
        );
        check(
            &convert("docker-image://*", "WILDCARD", "docker-image://${1}x"),
            DEBIAN,
            None,
        );
    }

    #[test]
    fn attributes() {
        #[track_caller]
        fn check(constraint: &str, value: Option<&str>, expected: bool) {
            let rules = format!(
                r#"{{"action": "DENY", "selector": {{"identifier": "*", "constraints": [{constraint}]}}}}"#
            );
            let mut source = PolicySource::new("https://x.io/a");
            if let Some(value) = value {
                source.attrs.insert("k".to_owned(), value.to_owned());
            }
            let found = evaluate(&[policy(&rules)], &mut source).is_err();
            assert_eq!(found, expected, "{constraint} {value:?}");
        }
        check(r#"{"key": "k", "value": "v"}"#, Some("v"), true);
        check(r#"{"key": "k", "value": "v"}"#, None, false);
        check(
            r#"{"key": "k", "value": "v", "condition": "NOTEQUAL"}"#,
            None,
            true,
        );
        check(
            r#"{"key": "k", "value": "^a.c$", "condition": "MATCHES"}"#,
            Some("abc"),
            true,
        );
        check(
            r#"{"key": "k", "value": "^a.c$", "condition": 2}"#,
            Some("abcd"),
            false,
        );
    }

    #[test]
    fn checksums_are_set() {
        let rules = r#"{"action": "CONVERT", "selector": {"identifier": "https://x.io/a"},
            "updates": {"attrs": {"http.checksum": "sha256:00"}}}"#;
        let mut source = PolicySource::new("https://x.io/a");
        assert!(evaluate(&[policy(rules)], &mut source).unwrap());
        assert_eq!(source.attrs["http.checksum"], "sha256:00");
        assert_eq!(source.identifier, "https://x.io/a");
    }

    #[test]
    fn what_is_no_policy() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = Policy::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check("[", "");
        check(r#"{"version": 2}"#, "version 2");
        check(r#"{"rulez": []}"#, "rulez");
        check(
            r#"{"rules": [{"action": "NO", "selector": {}}]}"#,
            "none of ALLOW, DENY, CONVERT",
        );
        check(
            r#"{"rules": [{"action": "CONVERT", "selector": {}}]}"#,
            "converts to nothing",
        );
        check(
            r#"{"rules": [{"selector": {"identifier": "a**"}}]}"#,
            "`**`",
        );
        check(
            r#"{"rules": [{"selector": {"identifier": "(", "match_type": "REGEX"}}]}"#,
            "no pattern",
        );
    }
}
