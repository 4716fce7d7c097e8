//! How the entries of an `index.json` are named, and which of them a name means (formats: an image
//! layout's `ref.name` is a tag for Docker and umoci, a full reference for `BuildKit`, any text for
//! skopeo; LAY-15 allows all of it).

use corten_spec::annotations::{IMAGE_NAME, REF_NAME};
use corten_spec::{Descriptor, Digest, Platform, Reference, platform};

use crate::graph::{self, platforms};
use crate::{Error, Result, Source};

/// Returns the name that an entry is kept under: the full one where there is one.
pub fn name_of(entry: &Descriptor) -> Option<&str> {
    let annotation = |key| entry.annotations.get(key).map(String::as_str);
    annotation(IMAGE_NAME).or_else(|| annotation(REF_NAME))
}

/// Returns `content` as the entry that is called `name`.
///
/// A full normalised reference is written as containerd and Docker write it; any other text is a
/// tag.
pub fn named(content: &Descriptor, name: &str) -> Descriptor {
    let mut entry = content.clone();
    entry.data = None;
    entry.annotations.remove(IMAGE_NAME);
    entry.annotations.remove(REF_NAME);
    let reference = name.parse::<Reference>().ok();
    match reference.filter(|reference| reference.to_string() == name) {
        Some(reference) => {
            entry.annotations.insert(IMAGE_NAME.into(), name.into());
            if let Some(tag) = reference.tag() {
                entry.annotations.insert(REF_NAME.into(), tag.into());
            }
        }
        None => {
            entry.annotations.insert(REF_NAME.into(), name.into());
        }
    }
    entry
}

/// Returns the digest that `name` is, with or without `@` before it.
///
/// Without it only algorithms that we know count: `debian:12` has the form of a digest, too.
pub fn as_digest(name: &str) -> Option<Digest> {
    match name.strip_prefix('@') {
        Some(digest) => digest.parse().ok(),
        None => Digest::known(name),
    }
}

/// Returns the entries that `name` means, each content once. An empty name means all.
pub fn candidates<'a>(entries: &'a [Descriptor], name: &str) -> Vec<&'a Descriptor> {
    if name.is_empty() {
        return distinct(entries.iter().collect());
    }
    let full = name.parse::<Reference>().ok().map(Reference::or_latest);
    let full = full.map(|reference| reference.to_string());
    let normalized = |text: Option<&str>| {
        let reference = text?.parse::<Reference>().ok()?;
        Some(reference.or_latest().to_string())
    };
    // The most literal reading that fits anything wins.
    let readings: [&dyn Fn(&Descriptor) -> bool; 5] = [
        &|entry| name_of(entry) == Some(name),
        &|entry| {
            entry
                .annotations
                .get(REF_NAME)
                .is_some_and(|found| found == name)
        },
        &|entry| full.is_some() && name_of(entry) == full.as_deref(),
        &|entry| full.is_some() && normalized(name_of(entry)) == full,
        &|entry| {
            name_of(entry)
                .and_then(|found| found.parse::<Reference>().ok())
                .is_some_and(|found| found.tag() == Some(name))
        },
    ];
    for fits in readings {
        let found: Vec<_> = entries.iter().filter(|entry| fits(entry)).collect();
        if !found.is_empty() {
            return distinct(found);
        }
    }
    let digest = as_digest(name);
    let has_digest = |entry: &&'a Descriptor| Some(&entry.digest) == digest.as_ref();
    entries.iter().filter(has_digest).take(1).collect()
}

/// Returns the one entry among `candidates`.
pub fn one(place: &str, name: &str, candidates: &[&Descriptor]) -> Result<Descriptor> {
    match candidates {
        [] => Err(Error::NotFound {
            name: name.into(),
            place: place.into(),
        }),
        [entry] => Ok((*entry).clone()),
        several => Err(ambiguous(place, name, several)),
    }
}

/// Returns the one entry among `candidates` that fits `wanted` best (LAY-17).
pub fn one_for(
    place: &str,
    name: &str,
    candidates: &[&Descriptor],
    wanted: &Platform,
) -> Result<Descriptor> {
    if candidates.len() < 2 || candidates.iter().any(|entry| entry.platform.is_none()) {
        return one(place, name, candidates);
    }
    let entries: Vec<Descriptor> = candidates.iter().map(|&entry| entry.clone()).collect();
    let Some(chosen) = platform::select(&entries, wanted) else {
        return Err(Error::NoPlatform {
            wanted: Box::new(wanted.clone()),
            // The only image of a place may have no name.
            name: if name.is_empty() { place } else { name }.into(),
            offered: platforms(&entries),
        });
    };
    let equals: Vec<_> = entries
        .iter()
        .filter(|entry| entry.platform == chosen.platform)
        .collect();
    one(place, name, &equals)
}

/// Returns `candidates` if they are one image for several platforms, each for another (LAY-17).
pub fn of_platforms(candidates: &[&Descriptor]) -> Option<Vec<Descriptor>> {
    let mut platforms = Vec::new();
    for entry in candidates {
        let platform = entry.platform.as_ref()?.normalized();
        if platforms.contains(&platform) {
            return None;
        }
        platforms.push(platform);
    }
    (candidates.len() > 1).then(|| candidates.iter().map(|&entry| entry.clone()).collect())
}

/// Finds the manifests among `entries`, which are listed in `source`, that name `subject`; reads
/// every listed document.
pub fn referrers(
    source: &dyn Source,
    entries: Vec<Descriptor>,
    subject: &Digest,
) -> Result<Vec<Descriptor>> {
    // The name that clients give to the list where a registry keeps none (distribution-spec).
    let fallback = format!("{}-{}", subject.algorithm_name(), subject.encoded());
    let mut found: Vec<Descriptor> = Vec::new();
    let mut add = |entry: Descriptor| {
        if !found.iter().any(|known| known.digest == entry.digest) {
            found.push(entry);
        }
    };
    for entry in entries {
        if name_of(&entry).is_some_and(|name| name.ends_with(&fallback)) {
            graph::children(source, &entry)?
                .into_iter()
                .for_each(&mut add);
            continue;
        }
        match graph::referrer(source, &entry, subject) {
            Err(error) if error.is_not_found() => {}
            other => other?.into_iter().for_each(&mut add),
        }
    }
    Ok(found)
}

fn ambiguous(place: &str, name: &str, candidates: &[&Descriptor]) -> Error {
    let show = |entry: &&Descriptor| {
        let name = name_of(entry).map(|name| format!("{name} "));
        let platform = entry.platform.as_ref().map(|on| format!(" ({on})"));
        let (name, platform) = (name.unwrap_or_default(), platform.unwrap_or_default());
        format!("{name}{}{platform}", entry.digest)
    };
    Error::Ambiguous {
        name: name.into(),
        place: place.into(),
        candidates: candidates.iter().map(show).collect(),
    }
}

/// Drops entries that repeat the content of an earlier one: layouts list one a tag (moby).
fn distinct(entries: Vec<&Descriptor>) -> Vec<&Descriptor> {
    let mut kept: Vec<&Descriptor> = Vec::new();
    for entry in entries {
        let repeats = |other: &&Descriptor| {
            other.bare() == entry.bare()
                && (other.platform == entry.platform || other.platform.is_none())
        };
        if !kept.iter().any(repeats) {
            kept.push(entry);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(content: &str, annotations: &[(&str, &str)]) -> Descriptor {
        let mut entry = Descriptor::of(corten_spec::media_type::OCI_MANIFEST, content.as_bytes());
        for (key, value) in annotations {
            entry
                .annotations
                .insert((*key).to_owned(), (*value).to_owned());
        }
        entry
    }

    #[test]
    fn names_against_entries() {
        #[track_caller]
        fn check(entries: &[Descriptor], name: &str, expected: &[usize]) {
            let found = candidates(entries, name);
            let expected: Vec<_> = expected.iter().map(|&idx| &entries[idx]).collect();
            assert_eq!(found, expected, "{name:?}");
        }
        let saved = [
            entry(
                "debian",
                &[
                    (IMAGE_NAME, "docker.io/library/debian:12"),
                    (REF_NAME, "12"),
                ],
            ),
            entry(
                "alpine",
                &[
                    (IMAGE_NAME, "docker.io/library/alpine:12"),
                    (REF_NAME, "12"),
                ],
            ),
        ];
        check(&saved, "debian:12", &[0]);
        check(&saved, "docker.io/library/alpine:12", &[1]);
        check(&saved, "12", &[0, 1]);
        check(&saved, "", &[0, 1]);
        check(&saved, "13", &[]);
        check(&saved, &format!("@{}", saved[1].digest), &[1]);
        check(&saved, saved[0].digest.as_str(), &[0]);

        let mixed = [
            entry("a", &[(REF_NAME, "v1.0")]),
            entry("b", &[(REF_NAME, "registry.example/x:y")]),
            entry("c", &[(REF_NAME, "any text at all")]),
            entry("d", &[]),
            entry("a", &[(REF_NAME, "latest")]),
            entry("e", &[(REF_NAME, "docker.io/library/app:latest")]),
        ];
        check(&mixed, "v1.0", &[0]);
        check(&mixed, "registry.example/x:y", &[1]);
        check(&mixed, "y", &[1]);
        check(&mixed, "any text at all", &[2]);
        check(&mixed, "latest", &[4]);
        check(&mixed, "app", &[5]);
        check(&mixed, "", &[0, 1, 2, 3, 5]);
        check(&[entry("only", &[])], "", &[0]);
    }

    #[test]
    fn how_entries_are_named() {
        #[track_caller]
        fn check(name: &str, image: Option<&str>, tag: Option<&str>) {
            let entry = named(&entry("x", &[(REF_NAME, "old")]), name);
            let found = |key| entry.annotations.get(key).map(String::as_str);
            assert_eq!((found(IMAGE_NAME), found(REF_NAME)), (image, tag), "{name}");
        }
        check("12", None, Some("12"));
        check("debian:12", None, Some("debian:12"));
        check(
            "docker.io/library/debian:12",
            Some("docker.io/library/debian:12"),
            Some("12"),
        );
        let digest = Digest::sha256(b"");
        let by_digest = format!("docker.io/library/debian@{digest}");
        check(&by_digest, Some(&by_digest), None);
    }
}
