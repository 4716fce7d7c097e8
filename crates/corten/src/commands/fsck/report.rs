//! What `corten fsck` prints.

use std::path::Path;

use corten_build::CacheReport;
use corten_content::fsck::{Damage, Finding, Need, Recovered, Repaired, Survey};
use corten_snapshot::{Derived, DerivedState};
use corten_spec::Digest;
use serde::Serialize;

use crate::output;

/// What was found, and what was done about it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Whether nothing is damaged or missing, at the end.
    pub(super) is_sound: bool,
    /// How many blobs there are.
    blobs: usize,
    /// How many bytes the whole ones have.
    bytes: u64,
    /// How many tars and header indexes were compared with what they should be.
    derived: usize,
    /// How many directories were not compared with their layers: their marks alone were looked at.
    directories: usize,
    /// How many build records there are.
    records: usize,
    /// What is not as it should be, at the end.
    findings: Vec<Found>,
    /// What was done.
    repaired: Changes,
}

/// One finding.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    /// `damage`, or `note` for what may be so.
    level: &'static str,
    /// What it is about, such as `missing-blob`.
    kind: &'static str,
    /// The content, or where it is.
    subject: String,
    /// What is wrong.
    message: String,
    /// The images that need it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needed_by: Vec<NeededBy>,
}

/// An image that needs something.
#[derive(Debug, Serialize)]
struct NeededBy {
    name: Option<String>,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
}

/// What a repair did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changes {
    /// The blobs that came back from elsewhere.
    pub(super) refetched: Vec<Digest>,
    /// How many things derived from layers were dropped.
    pub(super) dropped: usize,
    /// How many build records without a use were forgotten.
    pub(super) forgotten: usize,
    #[serde(flatten, serialize_with = "serialize_repaired")]
    pub(super) repaired: Repaired,
}

fn serialize_repaired<S: serde::Serializer>(
    repaired: &Repaired,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown<'a> {
        set_aside: &'a [Digest],
        in_use: &'a [Digest],
        resized_entries: usize,
        header_rewritten: bool,
        recovered_entries: Option<usize>,
        recovered_names: Option<usize>,
        index_gaps: Option<usize>,
        old_index: Option<&'a Path>,
    }
    let Repaired {
        set_aside,
        in_use,
        resized,
        header,
        recovered,
    } = repaired;
    let shown = Shown {
        set_aside,
        in_use,
        resized_entries: *resized,
        header_rewritten: *header,
        recovered_entries: recovered.as_ref().map(|index| index.entries),
        recovered_names: recovered.as_ref().map(|index| index.names),
        index_gaps: recovered.as_ref().map(|index| index.gaps),
        old_index: recovered.as_ref().and_then(|index| index.old.as_deref()),
    };
    shown.serialize(serializer)
}

impl Report {
    pub(super) fn new(
        survey: &Survey,
        derived: &[Derived],
        cache: &CacheReport,
        repaired: Changes,
    ) -> Self {
        let found = survey.findings();
        let is_damaged = |derived: &&Derived| matches!(derived.state, DerivedState::Damaged { .. });
        let is_sound =
            !found.iter().any(Finding::is_damage) && !derived.iter().any(|one| is_damaged(&one));
        let mut findings: Vec<Found> = found.into_iter().map(Found::of).collect();
        findings.extend(derived.iter().filter_map(Found::of_derived));
        let useless = cache.useless.iter().filter(|(path, _)| path.exists());
        findings.extend(useless.map(|(path, reason)| {
            let subject = path.display().to_string();
            Found::note("useless-record", subject, reason.clone())
        }));
        let (blobs, bytes) = survey.blobs();
        let count = |is_it: fn(&DerivedState) -> bool| {
            derived
                .iter()
                .filter(|derived| is_it(&derived.state))
                .count()
        };
        Self {
            is_sound,
            blobs,
            bytes,
            derived: count(|state| {
                matches!(state, DerivedState::Whole | DerivedState::Damaged { .. })
            }),
            directories: count(|state| {
                matches!(state, DerivedState::Complete | DerivedState::Stale)
            }),
            records: cache.n_records,
            findings,
            repaired,
        }
    }

    /// Returns what people read: a line a finding, and one for each image that needs it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for found in &self.findings {
            let Found {
                kind,
                subject,
                message,
                needed_by,
                ..
            } = found;
            lines.push(format!("{} {subject}: {message}", kind.replace('-', " ")));
            lines.extend(needed_by.iter().map(|need| {
                let name = need.name.as_deref().unwrap_or(need.digest.as_str());
                let platform = need.platform.as_ref().map(|on| format!(" ({on})"));
                format!("  needed by {name}{}", platform.unwrap_or_default())
            }));
        }
        // Names and reasons are what somebody else wrote.
        let printable = |line: &String| line.chars().filter(|char| !char.is_control()).collect();
        lines.iter().map(printable).collect()
    }

    /// Returns what was checked and done, for people.
    pub(super) fn summary(&self) -> String {
        let Repaired {
            set_aside,
            in_use,
            resized,
            header,
            recovered,
        } = &self.repaired.repaired;
        let done = [
            (self.repaired.refetched.len(), "blobs refetched"),
            (set_aside.len(), "damaged blobs set aside until the next gc"),
            (in_use.len(), "damaged blobs left to running processes"),
            (self.repaired.dropped, "damaged tars and indexes dropped"),
            (self.repaired.forgotten, "build records forgotten"),
            (*resized, "sizes in the index corrected"),
            (usize::from(*header), "`oci-layout` written anew"),
        ];
        let checked = format!(
            "checked {} blobs ({}), {} tars and header indexes, {} build records; {} directories were \
             not compared with their layers",
            self.blobs,
            output::size(self.bytes),
            self.derived,
            self.records,
            self.directories
        );
        let done = done.iter().filter(|(count, _)| *count > 0);
        let done = done.map(|(count, what)| format!("{count} {what}"));
        [checked]
            .into_iter()
            .chain(done)
            .chain(recovered.iter().map(show_recovered))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Returns what to do about what is still damaged.
    pub(super) fn advice(&self) -> Option<&'static str> {
        let lost = self
            .findings
            .iter()
            .any(|found| !found.needed_by.is_empty());
        match (self.is_sound, lost) {
            (true, _) => None,
            (false, true) => Some(
                "`corten fsck --repair --refetch` takes what is lost from the images' registries, \
                 `--from PLACE` from elsewhere; do it before `corten gc`, which takes what only a \
                 lost manifest needs",
            ),
            (false, false) => Some("`corten fsck --repair` moves it out of the way"),
        }
    }
}

/// Says what became of a damaged index; above all, that names are lost.
fn show_recovered(recovered: &Recovered) -> String {
    let Recovered {
        entries,
        names,
        gaps,
        old,
    } = recovered;
    let old = match old {
        Some(old) => format!("; the old index is kept as `{}`", old.display()),
        None => "; there was no old index".to_owned(),
    };
    let lost = match gaps {
        0 => String::new(),
        _ => format!(
            "; names are lost where the old index could not be read, at {gaps} or more places"
        ),
    };
    format!("{entries} entries are in a new index, {names} of them with a name{lost}{old}")
}

impl Found {
    fn note(kind: &'static str, subject: String, message: String) -> Self {
        Self {
            level: "note",
            kind,
            subject,
            message,
            needed_by: Vec::new(),
        }
    }

    fn of(finding: Finding) -> Self {
        let level = if finding.is_damage() {
            "damage"
        } else {
            "note"
        };
        let (kind, subject, message, needed_by) = match finding {
            Finding::File { name, reason } => ("damaged-file", name.to_owned(), reason, Vec::new()),
            Finding::Blob(lost) => {
                let (kind, message) = describe(&lost.damage, lost.content.size);
                let nobody = if lost.is_recorded {
                    "; only the build cache needs it"
                } else {
                    "; nothing needs it"
                };
                let nobody = if lost.needed_by.is_empty() {
                    nobody
                } else {
                    ""
                };
                let digest = lost.content.digest.to_string();
                (kind, digest, format!("{message}{nobody}"), lost.needed_by)
            }
            Finding::Document {
                content,
                reason,
                needed_by,
            } => ("wrong-document", content.to_string(), reason, needed_by),
            Finding::EntrySize {
                name,
                content,
                listed,
                size,
            } => {
                let name = name.unwrap_or_else(|| content.to_string());
                let message = format!(
                    "index.json says that `{content}` has {listed} bytes, and it has {size}"
                );
                ("wrong-entry", name, message, Vec::new())
            }
            Finding::Absent { content, needed_by } => (
                "absent-manifest",
                content.digest.to_string(),
                "its index lists it, and it is not here, which is allowed".to_owned(),
                needed_by,
            ),
            Finding::Unverifiable { content } => (
                "unknown-algorithm",
                content.to_string(),
                "it cannot be verified".to_owned(),
                Vec::new(),
            ),
            Finding::Leftover(ingest) => (
                "unfinished-write",
                ingest.path.display().to_string(),
                format!("{}; `corten gc` removes it", output::size(ingest.size)),
                Vec::new(),
            ),
            Finding::Stray { path } => (
                "stray-file",
                path.display().to_string(),
                "it does not belong here".to_owned(),
                Vec::new(),
            ),
            other => (
                "something-else",
                String::new(),
                format!("{other:?}"),
                Vec::new(),
            ),
        };
        Self {
            level,
            kind,
            subject,
            message,
            needed_by: needed_by.into_iter().map(NeededBy::of).collect(),
        }
    }

    fn of_derived(derived: &Derived) -> Option<Self> {
        let subject = derived.path.display().to_string();
        let found = match &derived.state {
            DerivedState::Whole | DerivedState::Complete | DerivedState::Stale => return None,
            DerivedState::Damaged { reason } => Self {
                level: "damage",
                ..Self::note(
                    "damaged-copy",
                    subject,
                    format!("{reason}; it can be made again"),
                )
            },
            DerivedState::Unfinished => Self::note(
                "unfinished-copy",
                subject,
                "`corten gc` removes it if nobody is at it".to_owned(),
            ),
            DerivedState::Unknown => {
                Self::note("unknown-copy", subject, "it is not checked".to_owned())
            }
        };
        Some(found)
    }
}

impl NeededBy {
    fn of(need: Need) -> Self {
        Self {
            name: need.name,
            digest: need.root,
            platform: need.platform.map(|platform| platform.to_string()),
        }
    }
}

fn describe(damage: &Damage, expected: u64) -> (&'static str, String) {
    match damage {
        Damage::Missing => (
            "missing-blob",
            format!("{} are not there", output::size(expected)),
        ),
        Damage::WrongBytes { received, size } => (
            "damaged-blob",
            format!("its {size} bytes hash to {received}"),
        ),
        Damage::Unreadable { reason } => ("damaged-blob", format!("it cannot be read: {reason}")),
    }
}
