//! `--annotation`: which document of the result gets what.

use std::collections::BTreeMap;
use std::str::FromStr;

/// A kind of document that can be annotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Annotated {
    /// The manifest of each image.
    Manifest,
    /// The index of the images of several platforms.
    Index,
    /// The entry of each image in that index.
    ManifestDescriptor,
}

/// One `--annotation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    kinds: Vec<Annotated>,
    key: String,
    value: String,
}

impl FromStr for Annotation {
    type Err = String;

    /// Reads `[KIND[,KIND…]:]KEY=VALUE`, as buildx does.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or("expected `KEY=VALUE`")?;
        let (kinds, key) = key.split_once(':').unwrap_or(("manifest", key));
        let kinds: Result<Vec<_>, _> = kinds.split(',').map(kind).collect();
        Ok(Self {
            kinds: kinds?,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl Annotation {
    /// Tells whether only what has an index can be annotated so.
    pub(crate) fn needs_index(&self) -> bool {
        self.kinds.iter().any(|kind| *kind != Annotated::Manifest)
    }
}

/// Returns what documents of `kind` are annotated with.
pub(crate) fn of(annotations: &[Annotation], kind: Annotated) -> BTreeMap<String, String> {
    let of_kind = annotations.iter().filter(|one| one.kinds.contains(&kind));
    of_kind
        .map(|one| (one.key.clone(), one.value.clone()))
        .collect()
}

fn kind(name: &str) -> Result<Annotated, String> {
    match name {
        "manifest" => Ok(Annotated::Manifest),
        "index" => Ok(Annotated::Index),
        "manifest-descriptor" => Ok(Annotated::ManifestDescriptor),
        "index-descriptor" => Err("nothing lists the index: it is the result itself".to_owned()),
        _ => Err(format!(
            "`{name}` is no document that can be annotated; `manifest`, `index` and \
             `manifest-descriptor` are"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_documents() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&[Annotated], &str, &str)>) {
            let found = text.parse::<Annotation>().ok();
            let expected = expected.map(|(kinds, key, value)| Annotation {
                kinds: kinds.to_vec(),
                key: key.to_owned(),
                value: value.to_owned(),
            });
            assert_eq!(found, expected, "{text:?}");
        }
        check("a=b=c", Some((&[Annotated::Manifest], "a", "b=c")));
        check("index:a=", Some((&[Annotated::Index], "a", "")));
        let both = &[Annotated::Manifest, Annotated::ManifestDescriptor];
        check("manifest,manifest-descriptor:a=b", Some((both, "a", "b")));
        check("index-descriptor:a=b", None);
        check("manifest[linux/amd64]:a=b", None);
        check("=b", None);
        check("a", None);
    }
}
