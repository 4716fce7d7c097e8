//! `--annotation`: which document of the result gets what.

use std::collections::BTreeMap;
use std::str::FromStr;

use corten_spec::Platform;

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
    /// The kinds of documents, and of which platform each has to be, if it says so.
    kinds: Vec<(Annotated, Option<Platform>)>,
    key: String,
    value: String,
}

impl FromStr for Annotation {
    type Err = String;

    /// Reads `[KIND[PLATFORM][,KIND…]:]KEY=VALUE`, as buildx does: brackets are around a platform.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or("expected `KEY=VALUE`")?;
        let (kinds, key) = key.split_once(':').unwrap_or(("manifest", key));
        if key.is_empty() {
            return Err("expected `KEY=VALUE`".to_owned());
        }
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
        let mut kinds = self.kinds.iter();
        kinds.any(|(kind, _)| *kind != Annotated::Manifest)
    }

    /// Returns a platform that it names and that is not among `built`.
    pub(crate) fn absent<'a>(&'a self, built: &[Platform]) -> Option<&'a Platform> {
        let mut named = self.kinds.iter().filter_map(|(_, named)| named.as_ref());
        named.find(|named| !built.iter().any(|built| is_same(built, named)))
    }
}

fn is_same(one: &Platform, other: &Platform) -> bool {
    one.normalized().to_string() == other.normalized().to_string()
}

/// Returns what the document of `kind` is annotated with that is of `platform`, or of all of them.
pub(crate) fn of(
    annotations: &[Annotation],
    kind: Annotated,
    platform: Option<&Platform>,
) -> BTreeMap<String, String> {
    let is_it = |(own, named): &(Annotated, Option<Platform>)| {
        let fits = match (named, platform) {
            (None, _) => true,
            (Some(named), Some(platform)) => is_same(named, platform),
            (Some(_), None) => false,
        };
        *own == kind && fits
    };
    let of_kind = annotations.iter().filter(|one| one.kinds.iter().any(is_it));
    of_kind
        .map(|one| (one.key.clone(), one.value.clone()))
        .collect()
}

fn kind(text: &str) -> Result<(Annotated, Option<Platform>), String> {
    let (name, platform) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((name, platform)) => {
            let platform = platform.parse::<Platform>();
            (name, Some(platform.map_err(|error| error.to_string())?))
        }
        None => (text, None),
    };
    match (name, platform) {
        ("manifest", platform) => Ok((Annotated::Manifest, platform)),
        ("manifest-descriptor", platform) => Ok((Annotated::ManifestDescriptor, platform)),
        ("index", None) => Ok((Annotated::Index, None)),
        ("index" | "index-descriptor", Some(_)) => {
            Err(format!("`{name}` is of all platforms, and not of one"))
        }
        ("index-descriptor", None) => {
            Err("nothing lists the index: it is the result itself".to_owned())
        }
        (name, _) => Err(format!(
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
                kinds: kinds.iter().map(|kind| (*kind, None)).collect(),
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
        check("index[linux/amd64]:a=b", None);
        check("manifest[]:a=b", None);
        check("manifest:=b", None);
        check("=b", None);
        check("a", None);
    }

    #[test]
    fn documents_of_one_platform() {
        let texts = [
            "a=all",
            "manifest[linux/amd64],manifest-descriptor[linux/arm64]:b=one",
        ];
        let all = texts.map(|text| text.parse::<Annotation>().unwrap());
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        let of = |kind, text: &str| {
            let found = of(&all, kind, Some(&platform(text)));
            found.into_keys().collect::<Vec<_>>().concat()
        };
        assert_eq!(of(Annotated::Manifest, "linux/amd64"), "ab");
        assert_eq!(of(Annotated::Manifest, "linux/arm64/v8"), "a");
        assert_eq!(of(Annotated::ManifestDescriptor, "linux/arm64/v8"), "b");
        assert_eq!(of(Annotated::ManifestDescriptor, "linux/amd64"), "");
        let built = [platform("linux/amd64"), platform("linux/arm64/v8")];
        assert_eq!(all[1].absent(&built), None);
        assert_eq!(all[1].absent(&built[..1]), Some(&platform("linux/arm64")));
    }
}
