//! What is wrong, computed from what is there.

use std::collections::{BTreeMap, HashSet};

use corten_spec::{Descriptor, Digest, Kind, Platform};

use super::survey::{BlobState, Survey};
use super::{Damage, Finding, LostBlob, Need};
use crate::layout::names;

impl Survey {
    /// Returns everything that is wrong, damage first. A function of the survey alone.
    pub fn findings(&self) -> Vec<Finding> {
        let mut judge = Judge {
            survey: self,
            entries: Vec::new(),
            lost: BTreeMap::new(),
            documents: BTreeMap::new(),
            absent: BTreeMap::new(),
        };
        for entry in self.entries() {
            judge.image(entry);
        }
        for content in &self.recorded {
            if let Some(lost) = judge.lost.get_mut(&content.digest) {
                lost.is_recorded = true;
            } else if let Some(BlobState::Damaged(damage)) = self.blobs.get(&content.digest) {
                judge.lose(content, damage.clone()).is_recorded = true;
            }
        }
        for (digest, state) in &self.blobs {
            if let BlobState::Damaged(damage) = state
                && !judge.lost.contains_key(digest)
            {
                let content = Descriptor::new("application/octet-stream", digest.clone(), 0);
                judge.lose(&content, damage.clone());
            }
        }
        judge.into_findings()
    }

    fn others(&self) -> impl Iterator<Item = Finding> + '_ {
        let unverifiable = self.blobs.iter().filter_map(|(digest, state)| match state {
            BlobState::Unverifiable { .. } => Some(Finding::Unverifiable {
                content: digest.clone(),
            }),
            BlobState::Whole { .. } | BlobState::Damaged(_) => None,
        });
        let leftovers = self.ingests.iter().filter(|ingest| !ingest.is_live);
        let strays = self.strays.iter().cloned();
        unverifiable
            .chain(leftovers.cloned().map(Finding::Leftover))
            .chain(strays.map(|path| Finding::Stray { path }))
    }
}

struct Judge<'a> {
    survey: &'a Survey,
    entries: Vec<Finding>,
    lost: BTreeMap<Digest, LostBlob>,
    documents: BTreeMap<Digest, (String, Vec<Need>)>,
    absent: BTreeMap<Digest, (Descriptor, Vec<Need>)>,
}

/// Something that an image leads to, and how it got there.
struct Step {
    content: Descriptor,
    platform: Option<Platform>,
    parent: Option<Digest>,
    /// Whether an index lists it: then it need not be there.
    is_optional: bool,
}

impl Judge<'_> {
    /// Follows one entry of the index to everything that it needs.
    fn image(&mut self, entry: &Descriptor) {
        let name = names::name_of(entry).map(str::to_owned);
        let mut seen = HashSet::new();
        let mut pending = vec![Step {
            content: entry.bare(),
            platform: entry.platform.clone(),
            parent: None,
            is_optional: false,
        }];
        while let Some(step) = pending.pop() {
            let digest = &step.content.digest;
            if !seen.insert((digest.clone(), step.content.size)) {
                continue;
            }
            let need = Need {
                name: name.clone(),
                root: entry.digest.clone(),
                platform: step.platform.clone(),
            };
            match self.survey.blobs.get(digest) {
                None if step.is_optional => {
                    let absent = self.absent.entry(digest.clone());
                    let absent = absent.or_insert_with(|| (step.content.clone(), Vec::new()));
                    absent.1.push(need);
                    continue;
                }
                None => add(
                    &mut self.lose(&step.content, Damage::Missing).needed_by,
                    need,
                ),
                Some(BlobState::Damaged(damage)) => {
                    let lost = self.lose(&step.content, damage.clone());
                    add(&mut lost.needed_by, need);
                }
                Some(BlobState::Whole { size } | BlobState::Unverifiable { size }) => {
                    self.compare_size(&step, *size, name.as_ref(), need);
                }
            }
            self.children(&step, name.as_ref(), entry, &mut pending);
        }
    }

    fn children(
        &mut self,
        step: &Step,
        name: Option<&String>,
        entry: &Descriptor,
        pending: &mut Vec<Step>,
    ) {
        let digest = &step.content.digest;
        let children = match self.survey.documents.get(digest) {
            None => return,
            Some(Ok(children)) => children,
            Some(Err(reason)) => {
                let need = Need {
                    name: name.cloned(),
                    root: entry.digest.clone(),
                    platform: step.platform.clone(),
                };
                return self.misstate(digest, reason.clone(), need);
            }
        };
        // Nobody keeps an index of which nothing is here: then all of it is lost.
        let is_kept = |child: &Descriptor| self.survey.blobs.contains_key(&child.digest);
        let is_sparse = step.content.kind() == Kind::Index && children.iter().any(is_kept);
        pending.extend(children.iter().map(|child| Step {
            content: child.bare(),
            platform: child.platform.clone().or_else(|| step.platform.clone()),
            parent: Some(digest.clone()),
            is_optional: is_sparse && child.kind().has_children(),
        }));
    }

    fn compare_size(&mut self, step: &Step, size: u64, name: Option<&String>, need: Need) {
        let content = &step.content;
        if content.size == size {
            return;
        }
        match &step.parent {
            None => self.entries.push(Finding::EntrySize {
                name: name.cloned(),
                content: content.digest.clone(),
                listed: content.size,
                size,
            }),
            Some(parent) => {
                let reason = format!(
                    "it says that `{}` has {} bytes, and it has {size}",
                    content.digest, content.size
                );
                self.misstate(parent, reason, need);
            }
        }
    }

    fn lose(&mut self, content: &Descriptor, damage: Damage) -> &mut LostBlob {
        let lost = self.lost.entry(content.digest.clone());
        lost.or_insert_with(|| LostBlob {
            content: content.bare(),
            damage,
            needed_by: Vec::new(),
            is_recorded: false,
        })
    }

    fn misstate(&mut self, content: &Digest, reason: String, need: Need) {
        let document = self.documents.entry(content.clone());
        add(
            &mut document.or_insert_with(|| (reason, Vec::new())).1,
            need,
        );
    }

    fn into_findings(self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.survey.files().collect();
        findings.extend(self.lost.into_values().map(Finding::Blob));
        findings.extend(self.entries);
        let documents = self.documents.into_iter();
        findings.extend(
            documents.map(|(content, (reason, needed_by))| Finding::Document {
                content,
                reason,
                needed_by,
            }),
        );
        let absent = self.absent.into_values();
        findings.extend(absent.map(|(content, needed_by)| Finding::Absent { content, needed_by }));
        findings.extend(self.survey.others());
        findings
    }
}

fn add(needs: &mut Vec<Need>, need: Need) {
    if !needs.contains(&need) {
        needs.push(need);
    }
}

#[cfg(test)]
mod tests {
    use corten_spec::annotations::IMAGE_NAME;
    use corten_spec::media_type;

    use super::*;

    fn blob(media_type: &str, text: &str) -> Descriptor {
        Descriptor::of(media_type, text.as_bytes())
    }

    fn whole(content: &Descriptor) -> (Digest, BlobState) {
        let size = content.size;
        (content.digest.clone(), BlobState::Whole { size })
    }

    fn broken(content: &Descriptor) -> (Digest, BlobState) {
        let reason = "input/output error".into();
        let damage = Damage::Unreadable { reason };
        (content.digest.clone(), BlobState::Damaged(damage))
    }

    /// An index `app` of a manifest for amd64, with a layer, and one that is not here.
    struct Image {
        root: Descriptor,
        manifest: Descriptor,
        elsewhere: Descriptor,
        layer: Descriptor,
    }

    fn image() -> Image {
        let mut root = blob(media_type::OCI_INDEX, "index");
        root.annotations.insert(IMAGE_NAME.into(), "app".into());
        let mut manifest = blob(media_type::OCI_MANIFEST, "manifest");
        manifest.platform = "linux/amd64".parse().ok();
        Image {
            root,
            manifest,
            elsewhere: blob(media_type::OCI_MANIFEST, "elsewhere"),
            layer: blob(media_type::OCI_LAYER, "layer"),
        }
    }

    fn survey(image: &Image, blobs: Vec<(Digest, BlobState)>) -> Survey {
        Survey {
            blobs: blobs.into_iter().collect(),
            index: Ok(vec![image.root.clone()]),
            documents: [
                (
                    image.root.digest.clone(),
                    Ok(vec![image.manifest.clone(), image.elsewhere.clone()]),
                ),
                (image.manifest.digest.clone(), Ok(vec![image.layer.clone()])),
            ]
            .into(),
            ..Survey::default()
        }
    }

    #[track_caller]
    fn check(survey: &Survey, expected: &[&str]) {
        let shown: Vec<String> = survey.findings().iter().map(show).collect();
        assert_eq!(shown, expected);
    }

    /// Shows which content is meant by its size: all differ.
    fn show(finding: &Finding) -> String {
        let needs = |needs: &[Need]| -> String {
            let show = |need: &Need| {
                let platform = need.platform.as_ref().map(ToString::to_string);
                format!(
                    " {}/{}",
                    need.name.as_deref().unwrap_or_default(),
                    platform.unwrap_or_default()
                )
            };
            needs.iter().map(show).collect()
        };
        match finding {
            Finding::Blob(lost) => format!(
                "{} {}{}{}",
                if lost.damage == Damage::Missing {
                    "missing"
                } else {
                    "damaged"
                },
                lost.content.size,
                needs(&lost.needed_by),
                if lost.is_recorded { " recorded" } else { "" }
            ),
            Finding::Absent { content, needed_by } => {
                format!("absent {}{}", content.size, needs(needed_by))
            }
            Finding::EntrySize { listed, size, .. } => format!("entry {listed} {size}"),
            Finding::Document {
                reason, needed_by, ..
            } => {
                format!("document {}{}", reason.len() > 10, needs(needed_by))
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_lost_and_who_needs_it() {
        let image = image();
        let (root, manifest, layer) = (&image.root, &image.manifest, &image.layer);
        let absent = "absent 9 app/";
        let all = || vec![whole(root), whole(manifest), whole(layer)];
        check(&survey(&image, all()), &[absent]);
        check(
            &survey(&image, vec![whole(root), whole(manifest)]),
            &["missing 5 app/linux/amd64", absent],
        );
        check(
            &survey(&image, vec![whole(root), whole(manifest), broken(layer)]),
            &["damaged 5 app/linux/amd64", absent],
        );
        check(
            &survey(&image, vec![whole(root), whole(layer)]),
            &["missing 8 app/linux/amd64", "missing 9 app/"],
        );
        // Nothing says what a document that is gone referred to.
        let mut gone = survey(&image, vec![whole(layer)]);
        gone.documents.clear();
        check(&gone, &["missing 5 app/"]);
        // What nothing needs is damaged, too; its size is not known from anywhere.
        let mut unneeded = survey(&image, all());
        unneeded.blobs.extend([broken(&blob("a/b", "other"))]);
        check(&unneeded, &["damaged 0", absent]);
        unneeded.recorded = vec![blob("a/b", "other")];
        check(&unneeded, &["damaged 5 recorded", absent]);
    }

    #[test]
    fn who_says_a_wrong_size_is_at_fault() {
        let mut image = image();
        let blobs = vec![
            whole(&image.root),
            whole(&image.manifest),
            whole(&image.layer),
        ];
        image.root.size = 7;
        check(
            &survey(&image, blobs.clone()),
            &["entry 7 5", "absent 9 app/"],
        );
        image.root.size = 5;
        image.layer.size = 7;
        check(
            &survey(&image, blobs),
            &["document true app/linux/amd64", "absent 9 app/"],
        );
    }
}
