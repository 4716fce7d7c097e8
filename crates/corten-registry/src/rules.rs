//! What configuration files say about registries: other places, mirrors, and what is not to be asked
//! (containers-registries.conf(5), containerd's hosts.toml).
//!
//! ```text
//! [[registry]]
//! prefix = "example.com/foo"          names that begin so, or "*.example.com"
//! location = "internal.example/bar"   are there instead
//! insecure = false                    without a certificate that we trust
//! blocked = false                     are not asked for
//! [[registry.mirror]]
//! location = "mirror.example/foo"     asked before the location, when something is pulled
//! pull-from-mirror = "digest-only"    or "tag-only", or "all"
//! ```

use serde::Deserialize;

/// What is said about names of repositories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(Vec<Rule>);

/// What is said about names that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A host, or a host and the beginning of a path, or `*.` and a domain.
    pub prefix: String,
    /// What takes the prefix's place.
    pub location: String,
    /// Whether the location need not have a certificate that we trust, or TLS at all.
    pub insecure: bool,
    /// Whether nothing is asked for.
    pub blocked: bool,
    /// Where to ask first, in order.
    pub mirrors: Vec<RuleMirror>,
}

/// A place that is asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMirror {
    /// What takes the prefix's place.
    pub location: String,
    /// Whether it need not have a certificate that we trust, or TLS at all.
    pub insecure: bool,
    /// What it is asked for.
    pub asked: Asked,
}

/// What a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// Tags and digests.
    #[default]
    All,
    /// Digests, by which nobody can be deceived.
    Digests,
    /// Tags.
    Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorEntry {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<String>,
}

impl Rules {
    /// Reads a `registries.conf` of version 2, in the place of what was said before about the same
    /// prefixes.
    ///
    /// # Errors
    /// Says what is wrong with the file, on one line.
    pub fn read(&mut self, text: &str) -> Result<(), String> {
        let file: File = toml::from_str(text)
            .map_err(|error| error.message().lines().collect::<Vec<_>>().join(" "))?;
        let rules = file.registry.into_iter().map(Entry::rule);
        for rule in rules.collect::<Result<Vec<_>, _>>()? {
            self.0.retain(|other| other.prefix != rule.prefix);
            self.0.push(rule);
        }
        Ok(())
    }

    /// Forgets all mirrors.
    pub fn forget_mirrors(&mut self) {
        self.0.iter_mut().for_each(|rule| rule.mirrors.clear());
    }

    /// Returns what is said about the repository `name`, which begins with its registry: the rule
    /// with the longest prefix.
    pub fn about(&self, name: &str) -> Option<&Rule> {
        let rules = self.0.iter().filter(|rule| rule.rest(name).is_some());
        rules.max_by_key(|rule| rule.prefix.len())
    }

    /// Returns the hosts that what is said about repositories of `registry` leads to, and for which no
    /// certificate is asked.
    pub fn insecure_hosts(&self, registry: &str) -> Vec<String> {
        let is_about =
            |rule: &&Rule| host_of(&rule.prefix) == registry || rule.rest(registry).is_some();
        let places = self.0.iter().filter(is_about).flat_map(|rule| {
            let mirrors = rule.mirrors.iter();
            let mirrors = mirrors.map(|mirror| (&mirror.location, mirror.insecure));
            mirrors.chain([(&rule.location, rule.insecure)])
        });
        let insecure = places.filter(|(_, insecure)| *insecure);
        // A wildcard without a location leaves the host as it is.
        let host = |location: &str| match host_of(location) {
            host if host.starts_with('*') => registry.to_owned(),
            host => host.to_owned(),
        };
        insecure.map(|(location, _)| host(location)).collect()
    }
}

impl Rule {
    /// Returns what follows the prefix in `name`, which begins with a slash or is empty; of a
    /// wildcard, all of it.
    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        if let Some(domain) = self.prefix.strip_prefix('*') {
            let host = host_of(name);
            let host = host.split_once(':').map_or(host, |(host, _)| host);
            return host.ends_with(domain).then_some(name);
        }
        let rest = name.strip_prefix(self.prefix.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Returns where the repository `name`, which the rule is about, is at `location`.
    pub fn at(&self, location: &str, name: &str) -> String {
        let Some(rest) = self.rest(name).filter(|_| !location.starts_with('*')) else {
            return name.to_owned();
        };
        // Of a wildcard, only the host is what it stands for.
        let is_wildcard = self.prefix.starts_with('*');
        let after_host = rest.strip_prefix(host_of(rest)).filter(|_| is_wildcard);
        format!("{location}{}", after_host.unwrap_or(rest))
    }
}

impl Entry {
    fn rule(self) -> Result<Rule, String> {
        let trimmed = |text: &str| text.trim_end_matches('/').to_owned();
        let (prefix, location) = match (trimmed(&self.prefix), trimmed(&self.location)) {
            (prefix, location) if prefix.is_empty() && location.is_empty() => {
                return Err("a `[[registry]]` has neither `prefix` nor `location`".to_owned());
            }
            (prefix, location) if prefix.is_empty() => (location.clone(), location),
            (prefix, location) if location.is_empty() => (prefix.clone(), prefix),
            both => both,
        };
        let mut mirrors = Vec::new();
        for mirror in self.mirror {
            let asked = match mirror.pull_from_mirror.as_deref() {
                None if self.mirror_by_digest_only => Asked::Digests,
                None | Some("all" | "") => Asked::All,
                Some("digest-only") => Asked::Digests,
                Some("tag-only") => Asked::Tags,
                Some(other) => return Err(format!("`pull-from-mirror` is `{other}`")),
            };
            mirrors.push(RuleMirror {
                location: trimmed(&mirror.location),
                insecure: mirror.insecure,
                asked,
            });
        }
        Ok(Rule {
            prefix,
            location,
            insecure: self.insecure,
            blocked: self.blocked,
            mirrors,
        })
    }
}

fn host_of(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r#"
        unqualified-search-registries = ["docker.io"]
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.example/hub"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "example.com/foo"
        location = "internal.example:5000/bar/"
        insecure = true
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "m.example"
        insecure = true
        [[registry]]
        prefix = "example.com/foo/secret"
        blocked = true
        [[registry]]
        prefix = "*.corp.example"
        insecure = true
        [aliases]
        "fedora" = "registry.fedoraproject.org/fedora"
    "#;

    fn rules() -> Rules {
        let mut rules = Rules::default();
        rules.read(CONF).unwrap();
        rules
    }

    #[test]
    fn which_rule_and_where() {
        #[track_caller]
        fn check(name: &str, expected: Option<(&str, &[&str])>) {
            let rules = rules();
            let found = rules.about(name).map(|rule| {
                let mirrors = rule
                    .mirrors
                    .iter()
                    .map(|mirror| rule.at(&mirror.location, name));
                (rule.at(&rule.location, name), mirrors.collect::<Vec<_>>())
            });
            let found = found.as_ref().map(|(location, mirrors)| {
                (
                    location.as_str(),
                    mirrors.iter().map(String::as_str).collect::<Vec<_>>(),
                )
            });
            assert_eq!(
                found,
                expected.map(|(location, mirrors)| (location, mirrors.to_vec()))
            );
        }
        check(
            "docker.io/library/debian",
            Some((
                "docker.io/library/debian",
                &["mirror.example/hub/library/debian"],
            )),
        );
        check(
            "example.com/foo/app",
            Some(("internal.example:5000/bar/app", &["m.example/app"])),
        );
        check(
            "example.com/foo",
            Some(("internal.example:5000/bar", &["m.example"])),
        );
        check("example.com/foobar", None);
        check(
            "a.corp.example:5000/x",
            Some(("a.corp.example:5000/x", &[])),
        );
        check("corp.example/x", None);
        assert!(rules().about("example.com/foo/secret/x").unwrap().blocked);
        let asked = |name: &str| rules().about(name).unwrap().mirrors[0].asked;
        assert_eq!(asked("docker.io/a"), Asked::Digests);
        assert_eq!(asked("example.com/foo/app"), Asked::Digests);
    }

    #[test]
    fn whose_certificates_are_not_checked() {
        let rules = rules();
        assert_eq!(
            rules.insecure_hosts("example.com"),
            ["m.example", "internal.example:5000"]
        );
        assert_eq!(rules.insecure_hosts("a.corp.example"), ["a.corp.example"]);
        assert_eq!(rules.insecure_hosts("docker.io"), Vec::<String>::new());
    }

    #[test]
    fn later_files_take_the_place_of_earlier_ones() {
        let mut rules = rules();
        rules
            .read("[[registry]]\nlocation = \"docker.io\"\nblocked = true")
            .unwrap();
        let rule = rules.about("docker.io/a").unwrap();
        assert!(rule.blocked && rule.mirrors.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = Rules::default().read(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
        check("[[registry]]", "neither `prefix` nor `location`");
        check("[[registry", "");
        check(
            "[[registry]]\nlocation = \"a\"\n[[registry.mirror]]\nlocation = \"b\"\npull-from-mirror = \"x\"",
            "`pull-from-mirror` is `x`",
        );
        check("[[registry]]\nlocation = 1", "invalid type");
    }
}
