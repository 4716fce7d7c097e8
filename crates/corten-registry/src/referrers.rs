//! Manifests that name another as their subject (distribution-spec, Listing Referrers), and the
//! tag that stands in for the list where a registry keeps none.

use corten_content::{Error as ContentError, Result as ContentResult};
use corten_spec::{Descriptor, Digest, Document, Index, media_type};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::read_body;
use crate::list::{Next, pages};
use crate::repository::{Repository, longest_manifest};
use crate::transport::{Body, Method};
use crate::{Result, retry};

/// What was under a tag before it is written.
enum Seen {
    /// Nothing.
    Absent,
    /// What the registry calls so, and can be told not to overwrite anything else than.
    Named(String),
    /// Something that the registry has no name for.
    Unnamed,
}

/// What a manifest says that its entry in a list of referrers needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<ConfigType>,
    #[serde(default)]
    annotations: corten_spec::annotations::Annotations,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigType {
    media_type: String,
}

/// Returns the subject that `manifest` names, and the entry that its list of referrers gets.
pub(crate) fn entry_of(content: &Descriptor, manifest: &[u8]) -> Option<(Digest, Descriptor)> {
    let referrer: Referrer = serde_json::from_slice(manifest).ok()?;
    let subject = referrer.subject?.digest;
    let mut entry = content.bare();
    entry.artifact_type = referrer
        .artifact_type
        .or(referrer.config.map(|config| config.media_type));
    entry.annotations = referrer.annotations;
    Some((subject, entry))
}

/// Returns the tag that stands in for the list of `subject`'s referrers.
pub(crate) fn fallback_tag(subject: &Digest) -> String {
    let cut = |text: &str, limit: usize| -> String {
        let is_legal = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        let legal = |c: char| if is_legal(&c) { c } else { '-' };
        text.chars().take(limit).map(legal).collect()
    };
    let (algorithm, encoded) = (subject.algorithm_name(), subject.encoded());
    format!("{}-{}", cut(algorithm, 32), cut(encoded, 64))
}

impl Repository {
    /// Lists the manifests that name `subject` as their subject, those of one artifact type if it
    /// is given.
    ///
    /// Where the registry keeps no such list, the fallback tag is read; where that holds something
    /// else, there are none (DST-52).
    pub fn referrers_of_type(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> ContentResult<Vec<Descriptor>> {
        let found = self
            .listed_referrers(subject, artifact_type)
            .map_err(|error| self.error(error, subject.as_str()))?;
        let mut referrers = match found {
            Some(referrers) => referrers,
            None => self
                .tagged_referrers(subject)
                .map_err(|error| self.error(error, subject.as_str()))?,
        };
        // Not every registry filters, and not every one that does says so.
        if let Some(wanted) = artifact_type {
            referrers.retain(|referrer| referrer.artifact_type.as_deref() == Some(wanted));
        }
        Ok(referrers)
    }

    /// Asks the registry's own list; `None` if it keeps none.
    fn listed_referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>> {
        let mut url = self.origin.url(&format!("referrers/{subject}"));
        if let Some(artifact_type) = artifact_type {
            url = url.with("artifactType", artifact_type);
        }
        let mut referrers = Vec::new();
        let mut is_index = true;
        let realm = self.origin.pull(Method::Get, "referrers").realm;
        let asked = pages(&self.client, url, &realm, |_, body| {
            match Document::<Index>::from_bytes(media_type::OCI_INDEX, body.to_vec()) {
                Ok(index) => referrers.extend(index.value.manifests),
                // A web page with status 200, from a registry that answers so to anything.
                Err(_) => is_index = false,
            }
            Ok(Next::Linked)
        });
        match asked {
            Ok(()) => Ok(is_index.then_some(referrers)),
            Err(error) if matches!(error.status(), Some(400 | 404 | 405 | 501)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn tagged_referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        match self.read_manifest(&self.origin, &fallback_tag(subject)) {
            Ok((_, bytes)) => {
                let index = Document::<Index>::from_bytes(media_type::OCI_INDEX, bytes);
                Ok(index.map_or_else(|_| Vec::new(), |index| index.value.manifests))
            }
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds `entry` to the fallback tag of `subject` (distribution-spec, Pushing Manifests with
    /// Subject).
    pub(crate) fn remember_referrer(
        &self,
        subject: &Digest,
        entry: &Descriptor,
    ) -> ContentResult<()> {
        self.edit_referrers(subject, |entries| {
            let digest = entry.digest.as_str();
            let is_there = entries
                .iter()
                .any(|found| found.get("digest").and_then(Value::as_str) == Some(digest));
            if !is_there {
                entries.push(json!(entry));
            }
            !is_there
        })
    }

    /// Takes `referrer` off the fallback tag of `subject`, unless the registry keeps a list itself.
    pub(crate) fn forget_referrer(&self, subject: &Digest, referrer: &Digest) -> ContentResult<()> {
        let listed = self
            .listed_referrers(subject, None)
            .map_err(|error| self.error(error, subject.as_str()))?;
        if listed.is_some() {
            return Ok(());
        }
        self.edit_referrers(subject, |entries| {
            let n_before = entries.len();
            let digest = referrer.as_str();
            entries.retain(|found| found.get("digest").and_then(Value::as_str) != Some(digest));
            entries.len() < n_before
        })
    }

    /// Returns the subject of the manifest `digest`, if it can be read and has one.
    pub(crate) fn subject_of(&self, digest: &Digest) -> Option<Digest> {
        let (_, bytes) = self.read_manifest(&self.origin, digest.as_str()).ok()?;
        let referrer: Referrer = serde_json::from_slice(&bytes).ok()?;
        referrer.subject.map(|subject| subject.digest)
    }

    /// Changes the index that the fallback tag names, with what it holds that we do not know; `edit`
    /// tells whether it changed anything.
    fn edit_referrers(
        &self,
        subject: &Digest,
        edit: impl Fn(&mut Vec<Value>) -> bool,
    ) -> ContentResult<()> {
        /// How many others may change the tag while we do.
        const RACES: u32 = 30;
        let tag = fallback_tag(subject);
        let _guard = self.client.lock_referrers_tags();
        let policy = self.client.settings().retry;
        for race in 0..RACES {
            let (mut index, seen) = self.read_referrers_tag(&tag)?;
            let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
            if !entries.is_some_and(&edit) {
                return Ok(());
            }
            if self
                .write_referrers_tag(&tag, &index, &seen)
                .map_err(|error| self.write_error(error))?
            {
                return Ok(());
            }
            // One of those who write at once wins each time: the others come back apart.
            let wait = policy.wait(race.min(4), None, retry::random());
            self.client
                .pause(wait)
                .map_err(|error| self.write_error(error))?;
        }
        Err(ContentError::Unusable {
            place: self.name.clone(),
            reason: format!("the tag `{tag}` changes faster than it can be written"),
        })
    }

    fn read_referrers_tag(&self, tag: &str) -> ContentResult<(Value, Seen)> {
        let (headers, bytes) = match self.read_manifest(&self.origin, tag) {
            Ok(found) => found,
            Err(error) if error.is_not_found() => {
                return Ok((json!(Index::oci(Vec::new())), Seen::Absent));
            }
            Err(error) => return Err(self.error(error, tag)),
        };
        // GitLab, for one, lets the tag name the subject itself: never to be overwritten (DST-41).
        let value = Document::<Index>::from_bytes(media_type::OCI_INDEX, bytes.clone())
            .and_then(|_| corten_spec::json::parse("index", &bytes))
            .map_err(|source| ContentError::Invalid {
                what: format!("`{tag}` in {}, which should list referrers,", self.name),
                source: Box::new(source),
            })?;
        // A weak one is never equal to any (RFC 9110 section 8.8.3.2): a proxy has made it so.
        let etag = headers.value("etag").filter(|etag| !etag.starts_with("W/"));
        let seen = etag.map_or(Seen::Unnamed, |etag| Seen::Named(etag.to_owned()));
        Ok((value, seen))
    }

    /// Writes the tag; `false` if somebody else did meanwhile, where the registry can tell.
    fn write_referrers_tag(&self, tag: &str, index: &Value, seen: &Seen) -> Result<bool> {
        let url = self.origin.url(&format!("manifests/{tag}"));
        let mut call = self.origin.push(Method::Put, url.clone());
        call.headers.add("Content-Type", media_type::OCI_INDEX);
        match seen {
            Seen::Absent => call.headers.add("If-None-Match", "*"),
            Seen::Named(etag) => call.headers.add("If-Match", etag.as_str()),
            Seen::Unnamed => {}
        }
        call.body = Body::Bytes(corten_spec::document::to_bytes(index).into());
        let response = self.client.expect(call, &[200, 201, 204, 412])?;
        let is_written = response.status != 412;
        read_body(response, longest_manifest(), &url)?;
        Ok(is_written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fallback_tags() {
        #[track_caller]
        fn check(digest: &str, expected: &str) {
            assert_eq!(fallback_tag(&digest.parse().unwrap()), expected);
        }
        let hex = "0123456789abcdef".repeat(8);
        let short: String = hex.chars().take(64).collect();
        check(&format!("sha256:{short}"), &format!("sha256-{short}"));
        check(&format!("sha512:{hex}"), &format!("sha512-{short}"));
        check("a+b:x=y", "a-b-x-y");
    }

    #[test]
    fn entries_of_manifests() {
        #[track_caller]
        fn check(fields: &str, artifact_type: Option<&str>) {
            let subject = Descriptor::of(media_type::OCI_MANIFEST, b"s");
            let manifest = format!(
                r#"{{"subject":{},"annotations":{{"k":"v"}}{fields}}}"#,
                serde_json::to_string(&subject).unwrap()
            );
            let content = Descriptor::of(media_type::OCI_MANIFEST, manifest.as_bytes());
            let (found, entry) = entry_of(&content, manifest.as_bytes()).unwrap();
            assert_eq!(found, subject.digest);
            assert_eq!(entry.artifact_type.as_deref(), artifact_type, "{manifest}");
            assert_eq!(entry.annotations.get("k").map(String::as_str), Some("v"));
        }
        check("", None);
        check(
            r#","artifactType":"a/b","config":{"mediaType":"c/d"}"#,
            Some("a/b"),
        );
        check(r#","config":{"mediaType":"c/d"}"#, Some("c/d"));
        assert!(entry_of(&Descriptor::of("a/b", b""), b"{}").is_none());
        assert!(entry_of(&Descriptor::of("a/b", b""), b"junk").is_none());
    }
}
