//! The graph that an image is, as a tree: indexes, manifests, configs, layers, and what refers to them.

use std::collections::{HashMap, HashSet};

use corten_content::graph::MAX_DEPTH;
use corten_content::{Error as ContentError, Result, Source, load};
use corten_spec::{
    ChainId, Descriptor, DiffId, Digest, Document, ImageConfig, ImageId, Index, Kind, Manifest,
};

/// Bytes of documents that one outline reads, far more than any image has.
const MAX_BYTES: u64 = 256 << 20;

/// Content of an image, with what it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is to what is above it.
    pub role: Role,
    /// What names it there.
    pub content: Descriptor,
    /// The type of the artifact that it is, if it is one.
    pub artifact_type: Option<String>,
    /// What it says that it is about.
    pub subject: Option<Digest>,
    /// Whether what is beneath it is told here.
    pub state: State,
    /// What it refers to, then what refers to it.
    pub children: Vec<Self>,
}

/// What content is to what is above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// An index or a manifest list.
    Index,
    /// A manifest.
    Manifest,
    /// A manifest or index that names what is above it as its subject.
    Referrer,
    /// The config of an image.
    Config {
        /// The image's id; `None` if the config could not be read.
        image_id: Option<ImageId>,
    },
    /// A layer of an image.
    Layer {
        /// Which, counted from 1.
        number: usize,
        /// What it is called by its tar, and by the stack that it ends; `None` if the config does not say.
        ids: Option<(DiffId, ChainId)>,
    },
    /// Anything else.
    Blob,
}

/// How much is known of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was read, or it is there and nothing that has to be read.
    Known,
    /// It stands elsewhere in the tree, with what is beneath it.
    Repeated,
    /// It is not in this place, as in a sparse index.
    Absent,
    /// It could not be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// Reads the documents that `root` leads to, and those that name them as their subjects.
///
/// What is absent or damaged is told in its place, and nothing stops for it. Layers are not read, only
/// looked for; what cannot be read has no children.
pub fn outline(source: &dyn Source, root: &Descriptor) -> Node {
    let mut outline = Outline {
        source,
        seen: HashSet::new(),
        found: HashMap::new(),
        n_bytes: 0,
    };
    outline.document(root, None, 0)
}

struct Outline<'a> {
    source: &'a dyn Source,
    seen: HashSet<Digest>,
    found: HashMap<Digest, State>,
    n_bytes: u64,
}

impl Outline<'_> {
    fn document(&mut self, content: &Descriptor, role: Option<Role>, depth: usize) -> Node {
        let own = match content.kind() {
            Kind::Index => Role::Index,
            Kind::Manifest | Kind::Schema1 => Role::Manifest,
            Kind::Config | Kind::Layer { .. } | Kind::Other => Role::Blob,
        };
        let is_blob = own == Role::Blob;
        let mut node = leaf(role.unwrap_or(own), content);
        node.artifact_type.clone_from(&content.artifact_type);
        if is_blob {
            node.state = self.look_for(content);
            return node;
        }
        if !self.seen.insert(content.digest.clone()) {
            node.state = State::Repeated;
            return node;
        }
        self.n_bytes = self.n_bytes.saturating_add(content.size);
        if depth > MAX_DEPTH || self.n_bytes > MAX_BYTES {
            node.state = State::Unreadable {
                reason: "there is more of it than any image has".to_owned(),
            };
            return node;
        }
        let filled = if content.kind() == Kind::Index {
            self.index(&mut node, depth)
        } else {
            self.manifest(&mut node)
        };
        if let Err(error) = filled {
            node.state = state_of(&error);
            return node;
        }
        match self.source.referrers(&content.digest) {
            Ok(referrers) => {
                for referrer in referrers {
                    let child = self.document(&referrer, Some(Role::Referrer), depth + 1);
                    node.children.push(child);
                }
            }
            Err(error) => {
                node.state = State::Unreadable {
                    reason: format!("its referrers cannot be listed: {}", chain(&error)),
                };
            }
        }
        node
    }

    fn index(&mut self, node: &mut Node, depth: usize) -> Result<()> {
        let index: Document<Index> = load(self.source, &node.content)?;
        node.subject = index.value.subject.map(|subject| subject.digest);
        node.artifact_type = index.value.artifact_type.or(node.artifact_type.take());
        for entry in &index.value.manifests {
            let child = self.document(entry, None, depth + 1);
            node.children.push(child);
        }
        Ok(())
    }

    fn manifest(&mut self, node: &mut Node) -> Result<()> {
        let manifest: Document<Manifest> = load(self.source, &node.content)?;
        let manifest = manifest.value;
        node.subject = manifest.subject.map(|subject| subject.digest);
        node.artifact_type = manifest.artifact_type.or(node.artifact_type.take());
        let (config, diff_ids) = self.config(&manifest.config);
        // What is no image has no ids, whatever its blobs are called.
        let is_image = matches!(config.role, Role::Config { .. });
        node.children.push(config);
        let mut chain: Option<ChainId> = None;
        for (layer_idx, layer) in manifest.layers.iter().enumerate() {
            let ids = diff_ids.get(layer_idx).map(|diff_id| {
                let next = match chain.take() {
                    Some(below) => below.then(diff_id),
                    None => ChainId::base(diff_id),
                };
                chain = Some(next.clone());
                (diff_id.clone(), next)
            });
            let number = layer_idx + 1;
            let role = if is_image {
                Role::Layer { number, ids }
            } else {
                Role::Blob
            };
            let mut child = leaf(role, layer);
            child.state = self.look_for(layer);
            node.children.push(child);
        }
        Ok(())
    }

    /// Tells whether content that is not read is there; each is asked for once.
    fn look_for(&mut self, content: &Descriptor) -> State {
        if let Some(state) = self.found.get(&content.digest) {
            return state.clone();
        }
        // What a descriptor embeds need not be anywhere else (DSC-11).
        let is_there = match content.embedded() {
            Ok(Some(_)) => Ok(true),
            Ok(None) | Err(_) => self.source.holds(content),
        };
        let state = match is_there {
            Ok(true) => State::Known,
            Ok(false) => State::Absent,
            Err(error) => state_of(&error),
        };
        self.found.insert(content.digest.clone(), state.clone());
        state
    }

    /// Reads a config for the ids of the layers; one of an unknown type is bytes (MAN-09).
    fn config(&mut self, content: &Descriptor) -> (Node, Vec<DiffId>) {
        if content.kind() != Kind::Config {
            let mut node = leaf(Role::Blob, content);
            node.state = self.look_for(content);
            return (node, Vec::new());
        }
        let mut node = leaf(Role::Config { image_id: None }, content);
        self.n_bytes = self.n_bytes.saturating_add(content.size);
        match load::<ImageConfig>(self.source, content) {
            Ok(config) => {
                let image_id = ImageId(Digest::sha256(&config.bytes));
                node.role = Role::Config {
                    image_id: Some(image_id),
                };
                node.content.platform = Some(config.value.platform());
                (node, config.value.rootfs.diff_ids)
            }
            Err(error) => {
                node.state = state_of(&error);
                (node, Vec::new())
            }
        }
    }
}

fn leaf(role: Role, content: &Descriptor) -> Node {
    Node {
        role,
        content: content.clone(),
        artifact_type: None,
        subject: None,
        state: State::Known,
        children: Vec::new(),
    }
}

fn state_of(error: &ContentError) -> State {
    if error.is_not_found() {
        return State::Absent;
    }
    State::Unreadable {
        reason: chain(error),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
