//! The graph of an image, for people and for programs.

use corten_image::on_disk;
use corten_image::outline::{Node, Role, State};
use corten_spec::Descriptor;
use serde::Serialize;

use crate::output;

/// What `inspect --tree --format json` prints: `docs/reference/inspect-tree.md`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    role: &'static str,
    media_type: String,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<String>,
    on_disk: OnDisk,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Self>,
}

/// Where others would keep it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnDisk {
    #[serde(skip_serializing_if = "Option::is_none")]
    docker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_cache_id: Option<String>,
    containerd: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    containerd_snapshot: Option<String>,
}

impl Shown {
    /// Returns what there is to show of `node` and of all that is beneath it.
    pub(crate) fn of(node: &Node) -> Self {
        let Descriptor {
            media_type,
            digest,
            size,
            platform,
            ..
        } = &node.content;
        let kept = on_disk(node);
        let mut shown = Self {
            role: "blob",
            media_type: media_type.clone(),
            digest: digest.to_string(),
            size: *size,
            platform: platform.as_ref().map(ToString::to_string),
            artifact_type: node.artifact_type.clone(),
            subject: node.subject.as_ref().map(ToString::to_string),
            state: "known",
            reason: None,
            image_id: None,
            layer: None,
            diff_id: None,
            chain_id: None,
            on_disk: OnDisk {
                docker: kept.docker,
                docker_cache_id: kept.docker_cache_id,
                containerd: kept.containerd,
                containerd_snapshot: kept.containerd_snapshot,
            },
            children: node.children.iter().map(Self::of).collect(),
        };
        shown.set_role(&node.role);
        shown.set_state(&node.state);
        shown
    }

    fn set_role(&mut self, role: &Role) {
        self.role = match role {
            Role::Index => "index",
            Role::Manifest => "manifest",
            Role::Referrer => "referrer",
            Role::Config { image_id } => {
                self.image_id = image_id.as_ref().map(ToString::to_string);
                "config"
            }
            Role::Layer { number, ids } => {
                self.layer = Some(*number);
                if let Some((diff_id, chain_id)) = ids {
                    self.diff_id = Some(diff_id.to_string());
                    self.chain_id = Some(chain_id.to_string());
                }
                "layer"
            }
            Role::Blob => "blob",
        };
    }

    fn set_state(&mut self, state: &State) {
        self.state = match state {
            State::Known => "known",
            State::Repeated => "repeated",
            State::Absent => "absent",
            State::Unreadable { reason } => {
                self.reason = Some(reason.clone());
                "unreadable"
            }
        };
    }

    /// Returns the tree as lines; those that are longer than `width` have their digests shortened.
    pub(crate) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let mut lines = Vec::new();
        self.draw("", "", &mut lines);
        // Everything here is what somebody else wrote.
        lines
            .iter()
            .map(|line| line.chars().filter(|char| !char.is_control()).collect())
            .map(|line: String| fit(line, width))
            .collect()
    }

    /// Draws the node: `first` stands before its first line, `rest` before the others.
    fn draw(&self, first: &str, rest: &str, lines: &mut Vec<String>) {
        lines.push(format!("{first}{} {}", self.heading(), self.digest));
        let bar = if self.children.is_empty() { " " } else { "│" };
        let mut fact = |name: &str, value: &str| {
            lines.push(format!("{rest}{bar}  {name:<11}{value}"));
        };
        fact(
            "type",
            &format!("{}, {}", self.media_type, output::size(self.size)),
        );
        let facts = [
            ("platform", &self.platform),
            ("artifact", &self.artifact_type),
            ("subject", &self.subject),
            ("image id", &self.image_id),
            ("diff id", &self.diff_id),
            ("chain id", &self.chain_id),
            ("docker", &self.on_disk.docker),
        ];
        if self.state == "repeated" {
            return;
        }
        for (name, value) in facts {
            if let Some(value) = value {
                fact(name, value);
            }
        }
        if self.on_disk.docker_cache_id.is_some() {
            fact("", "files in /var/lib/docker/overlay2/<its cache-id>/diff");
        }
        fact("containerd", &self.on_disk.containerd);
        if let Some(key) = &self.on_disk.containerd_snapshot {
            fact("", &format!("snapshot {key}"));
        }
        if let Some(reason) = &self.reason {
            fact("problem", reason);
        }
        for (child_idx, child) in self.children.iter().enumerate() {
            if child_idx + 1 == self.children.len() {
                child.draw(&format!("{rest}└─ "), &format!("{rest}   "), lines);
            } else {
                child.draw(&format!("{rest}├─ "), &format!("{rest}│  "), lines);
            }
        }
    }

    fn heading(&self) -> String {
        let role = match self.layer {
            Some(number) => format!("{} {number}", self.role),
            None => self.role.to_owned(),
        };
        match self.state {
            "known" => role,
            "repeated" => format!("{role} (as above)"),
            state => format!("{role} ({state})"),
        }
    }
}

/// Shortens the digests in a line that is too long, to what people compare.
fn fit(line: String, width: Option<usize>) -> String {
    const SHOWN: usize = 12;
    if width.is_none_or(|width| line.chars().count() <= width) {
        return line;
    }
    let mut short = String::with_capacity(line.len());
    let mut digits = String::new();
    let flush = |digits: &mut String, short: &mut String| {
        if digits.len() >= 64 {
            short.extend(digits.chars().take(SHOWN));
            short.push('…');
        } else {
            short.push_str(digits);
        }
        digits.clear();
    };
    for char in line.chars() {
        if char.is_ascii_hexdigit() {
            digits.push(char);
            continue;
        }
        flush(&mut digits, &mut short);
        short.push(char);
    }
    flush(&mut digits, &mut short);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_get_short_digests() {
        #[track_caller]
        fn check(line: &str, width: Option<usize>, expected: &str) {
            assert_eq!(fit(line.to_owned(), width), expected, "{line} {width:?}");
        }
        let hex = "0123456789abcdef".repeat(4);
        let line = format!("│ layer sha256:{hex} facade");
        check(&line, None, &line);
        check(&line, Some(200), &line);
        check(&line, Some(80), "│ layer sha256:0123456789ab… facade");
        check(
            "a long line without any",
            Some(4),
            "a long line without any",
        );
    }
}
