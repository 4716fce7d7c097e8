//! Whether two builds gave the same image, and where they began to differ.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};

use corten_content::{Store, load_image};
use corten_layer::bytes::open_file;
use corten_layer::tree::{File, Kind, Node, NodeId};
use corten_layer::{Shown, Tree, path};
use corten_snapshot::{Bytes, LayerRef, Snapshots};
use corten_tar::LayerLimits;
use serde_json::Value;

use crate::{Built, BuiltStep, Error, Result};

/// Where two builds began to differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Divergence {
    /// A step left other files.
    Step {
        /// The step, in the first build.
        step: BuiltStep,
        /// What differs first; `None` if the files are the same and their order in the layer is not.
        found: Option<PathDifference>,
    },
    /// A document has other fields.
    Document {
        /// `config` or `manifest`.
        document: &'static str,
        /// Which field: a JSON pointer (RFC 6901).
        pointer: String,
        /// What it is in the first build and in the second, as JSON; empty where it is not there.
        values: [String; 2],
    },
}

/// A path at which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathDifference {
    /// The path, without a leading slash; empty for the root.
    pub path: Shown,
    /// What differs.
    pub what: Difference,
}

/// What differs between two files of the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Only one of the trees has it.
    Only {
        /// Whether that is the first.
        is_first: bool,
    },
    /// An attribute: its name and values.
    Attribute(&'static str, [String; 2]),
    /// The content, from this byte on, counted from 0.
    Content(u64),
}

impl fmt::Display for PathDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            Difference::Only { is_first: true } => {
                write!(f, "`/{path}` is only in the first build")
            }
            Difference::Only { is_first: false } => {
                write!(f, "`/{path}` is only in the second build")
            }
            Difference::Attribute(name, [first, second]) => write!(
                f,
                "the {name} of `/{path}` differs\n  first  {first}\n  second {second}"
            ),
            Difference::Content(offset) => {
                write!(f, "the content of `/{path}` differs from byte {offset} on")
            }
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { step, found } => {
                let text = step.text.lines().next().unwrap_or_default();
                write!(f, "line {}: `{text}`: ", step.line)?;
                match found {
                    Some(found) => found.fmt(f),
                    None => {
                        f.write_str("the files are the same, and their order in the layer is not")
                    }
                }
            }
            Self::Document {
                document,
                pointer,
                values: [first, second],
            } => write!(
                f,
                "`{pointer}` of the {document} differs\n  first  {first}\n  second {second}"
            ),
        }
    }
}

/// Returns where two builds of the same request began to differ; `None` if they gave the same image.
///
/// Steps come first, in the order of the Dockerfile: the first that differs is the one that others
/// differ because of. Then the config, then the manifest.
///
/// # Errors
///
/// Something of the images cannot be read.
pub fn compare(
    [first, second]: [(&Store, &Built); 2],
    limits: LayerLimits,
) -> Result<Option<Divergence>> {
    if first.1 == second.1 {
        return Ok(None);
    }
    let steps = first.1.steps.iter().zip(&second.1.steps);
    let is_other = |(one, two): &(&BuiltStep, &BuiltStep)| diff_ids(one) != diff_ids(two);
    if let Some((one, two)) = steps.into_iter().find(is_other) {
        let sides = [(first.0, &one.layers), (second.0, &two.layers)];
        let found = compare_layers(sides, limits)?;
        let step = one.clone();
        return Ok(Some(Divergence::Step { step, found }));
    }
    compare_documents([first, second])
}

fn diff_ids(step: &BuiltStep) -> impl PartialEq + use<'_> {
    let layers = step.layers.iter();
    layers.map(|layer| &layer.diff_id).collect::<Vec<_>>()
}

fn compare_layers(
    [first, second]: [(&Store, &Vec<LayerRef>); 2],
    limits: LayerLimits,
) -> Result<Option<PathDifference>> {
    let [one, two] = [first, second].map(|(store, _)| Snapshots::new(store).with_limits(limits));
    let trees = [one.tree(first.1)?, two.tree(second.1)?];
    let bytes = [Bytes::new(one, first.1), Bytes::new(two, second.1)];
    let contents = |one: &File, two: &File| {
        let [tree_one, tree_two] = &trees;
        let [bytes_one, bytes_two] = &bytes;
        let one = open_file(tree_one, bytes_one, one)?;
        let two = open_file(tree_two, bytes_two, two)?;
        first_difference(one, two)
    };
    let [tree_one, tree_two] = &trees;
    let found = compare_trees(tree_one, tree_two, &contents);
    found.map_err(Error::system("compare", "two layers"))
}

/// Returns the offset of the first byte that differs, or at which one of the two ends.
fn first_difference(mut one: impl Read, mut two: impl Read) -> io::Result<Option<u64>> {
    let mut offset = 0;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        one.by_ref().take(64 << 10).read_to_end(&mut left)?;
        two.by_ref().take(64 << 10).read_to_end(&mut right)?;
        if left != right {
            let same = left.iter().zip(&right).take_while(|(one, two)| one == two);
            return Ok(Some(offset + same.count() as u64));
        }
        if left.is_empty() {
            return Ok(None);
        }
        offset += left.len() as u64;
    }
}

/// Tells from which byte on two files differ.
type CompareContents<'a> = dyn Fn(&File, &File) -> io::Result<Option<u64>> + 'a;

/// Returns the first path, in the order of names, at which two trees differ.
///
/// # Errors
///
/// Those of `contents`.
pub fn compare_trees(
    first: &Tree,
    second: &Tree,
    contents: &CompareContents<'_>,
) -> io::Result<Option<PathDifference>> {
    let mut todo = vec![(Vec::new(), Some(Tree::ROOT), Some(Tree::ROOT))];
    while let Some((path, one, two)) = todo.pop() {
        let (one, two) = match (one, two) {
            (Some(one), Some(two)) => (one, two),
            (one, _) => {
                let is_first = one.is_some();
                return Ok(Some(at(&path, Difference::Only { is_first })));
            }
        };
        let (node_one, node_two) = (first.node(one), second.node(two));
        if let Some(what) = compare_nodes(node_one, node_two, contents)? {
            return Ok(Some(at(&path, what)));
        }
        if matches!(node_one.kind, Kind::Directory(_)) {
            let names: BTreeSet<&[u8]> = names(first, one).chain(names(second, two)).collect();
            // The last is taken first.
            for name in names.into_iter().rev() {
                let children = (first.child(one, name), second.child(two, name));
                todo.push((path::join(&path, name), children.0, children.1));
            }
        }
    }
    Ok(None)
}

fn names(tree: &Tree, directory: NodeId) -> impl Iterator<Item = &[u8]> {
    tree.children(directory).map(|(name, _)| name)
}

fn at(path: &[u8], what: Difference) -> PathDifference {
    let path = path.into();
    PathDifference { path, what }
}

fn compare_nodes(
    one: &Node,
    two: &Node,
    contents: &CompareContents<'_>,
) -> io::Result<Option<Difference>> {
    let attributes = attributes(one).into_iter().zip(attributes(two));
    for ((name, first), (_, second)) in attributes {
        if first != second {
            return Ok(Some(Difference::Attribute(name, [first, second])));
        }
    }
    match (&one.kind, &two.kind) {
        (Kind::File(one), Kind::File(two)) => Ok(contents(one, two)?.map(Difference::Content)),
        _ => Ok(None),
    }
}

/// Returns everything about a file but its content, in the order in which it is worth telling.
fn attributes(node: &Node) -> [(&'static str, String); 10] {
    let (kind, target) = match &node.kind {
        Kind::File(_) => ("file", String::new()),
        Kind::Directory(_) => ("directory", String::new()),
        Kind::Symlink(target) => ("symbolic link", Shown::from(&**target).to_string()),
        Kind::Device {
            block: true,
            major,
            minor,
        } => ("block device", format!("{major}:{minor}")),
        Kind::Device { major, minor, .. } => ("character device", format!("{major}:{minor}")),
        Kind::Fifo => ("pipe", String::new()),
    };
    let size = match &node.kind {
        Kind::File(file) => file.size.to_string(),
        _ => String::new(),
    };
    let meta = &node.meta;
    let pairs = |pairs: &[(Vec<u8>, Vec<u8>)]| {
        let show = |bytes: &Vec<u8>| Shown::from(&**bytes).to_string();
        let pairs = pairs.iter();
        let shown: Vec<_> = pairs
            .map(|(name, value)| format!("{}={}", show(name), show(value)))
            .collect();
        shown.join(" ")
    };
    [
        ("type", kind.to_owned()),
        ("target", target),
        ("mode", format!("{:04o}", meta.mode)),
        ("owner", meta.uid.to_string()),
        ("group", meta.gid.to_string()),
        ("number of names", node.n_links.to_string()),
        ("extended attributes", pairs(meta.xattrs())),
        ("size", size),
        (
            "time",
            format!("{}.{:09}", meta.mtime.seconds, meta.mtime.nanoseconds),
        ),
        ("PAX records", pairs(meta.records())),
    ]
}

fn compare_documents(sides: [(&Store, &Built); 2]) -> Result<Option<Divergence>> {
    let [first, second] = sides.map(|(store, built)| {
        let platform = built.manifest.platform.clone().unwrap_or_default();
        load_image(store, &built.manifest, &platform)
    });
    let (first, second) = (first?, second?);
    let documents = [
        ("config", [&first.config.bytes, &second.config.bytes]),
        ("manifest", [&first.manifest.bytes, &second.manifest.bytes]),
    ];
    for (document, bytes) in documents {
        let [one, two] = bytes.map(|bytes| serde_json::from_slice(bytes).unwrap_or(Value::Null));
        if let Some((pointer, values)) = compare_json(&one, &two) {
            return Ok(Some(Divergence::Document {
                document,
                pointer,
                values,
            }));
        }
    }
    Ok(None)
}

/// Returns the pointer to the first value that differs, and both.
fn compare_json(first: &Value, second: &Value) -> Option<(String, [String; 2])> {
    // What is nested is bounded: the documents were read as such before.
    let mut todo = vec![(String::new(), Some(first), Some(second))];
    while let Some((pointer, first, second)) = todo.pop() {
        if first == second {
            continue;
        }
        let keys: Vec<String> = match (first, second) {
            (Some(Value::Object(one)), Some(Value::Object(two))) => {
                let keys: BTreeSet<_> = one.keys().chain(two.keys()).cloned().collect();
                keys.into_iter().collect()
            }
            (Some(Value::Array(one)), Some(Value::Array(two))) => (0..one.len().max(two.len()))
                .map(|index| index.to_string())
                .collect(),
            (first, second) => {
                let show = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
                return Some((pointer, [show(first), show(second)]));
            }
        };
        for key in keys.iter().rev() {
            let step = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            todo.push((
                format!("{pointer}{step}"),
                first.and_then(|value| value.pointer(&step)),
                second.and_then(|value| value.pointer(&step)),
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use corten_layer::{Data, Item, Meta, Put, TreeBuilder};
    use corten_tar::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_documents() {
        #[track_caller]
        #[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
        fn check(first: Value, second: Value, expected: Option<(&str, &str, &str)>) {
            let found = compare_json(&first, &second);
            let expected = expected.map(|(pointer, first, second)| {
                (pointer.to_owned(), [first.to_owned(), second.to_owned()])
            });
            assert_eq!(found, expected, "{first} {second}");
        }
        check(json!({"a": 1}), json!({"a": 1}), None);
        check(json!({"a": 1}), json!({"a": 2}), Some(("/a", "1", "2")));
        check(json!({"a": 1}), json!({}), Some(("/a", "1", "")));
        check(
            json!({"b": [{"x/y": 1}, 2], "c": 1}),
            json!({"b": [{"x/y": "s"}, 3], "c": 2}),
            Some(("/b/0/x~1y", "1", "\"s\"")),
        );
        check(json!([1]), json!([1, null]), Some(("/1", "", "null")));
        check(json!([1]), json!({"0": 1}), Some(("", "[1]", "{\"0\":1}")));
    }

    #[test]
    fn bytes() {
        #[track_caller]
        fn check(one: &[u8], two: &[u8], expected: Option<u64>) {
            assert_eq!(first_difference(one, two).unwrap(), expected);
        }
        check(b"", b"", None);
        check(b"abc", b"abc", None);
        check(b"abc", b"abd", Some(2));
        check(b"abc", b"ab", Some(2));
        let long = vec![7; 200_000];
        let mut other = long.clone();
        check(&long, &other, None);
        other[150_000] = 8;
        check(&long, &other, Some(150_000));
    }

    #[test]
    fn trees() {
        #[track_caller]
        fn check(one: &[(&str, Put)], two: &[(&str, Put)], expected: &str) {
            let [one_tree, two_tree] = [one, two].map(tree);
            let contents = |one: &File, two: &File| Ok((one.data != two.data).then_some(3));
            let found = compare_trees(&one_tree, &two_tree, &contents).unwrap();
            let found = found.map(|found| found.to_string());
            assert_eq!(found.unwrap_or_default(), expected, "{one:?} {two:?}");
        }
        let file = |size, data| {
            Item::File(File {
                size,
                data: Data::External(data),
                sparse: None,
            })
        };
        let plain = |item| put(item, 0o644, 0);
        let old = [("a/b", plain(file(4, 1))), ("c", plain(file(4, 2)))];
        check(&old, &old, "");
        check(&old, &old[..1], "`/c` is only in the first build");
        check(&old[1..], &old, "`/a` is only in the second build");
        let with = |item: Put| [("a/b", item), ("c", plain(file(4, 3)))];
        // The first path counts, not the worst difference.
        check(
            &old,
            &with(plain(file(4, 1))),
            "the content of `/c` differs from byte 3 on",
        );
        check(
            &old,
            &with(plain(file(4, 7))),
            "the content of `/a/b` differs from byte 3 on",
        );
        let differs = |name: &str, first: &str, second: &str| {
            format!("the {name} of `/a/b` differs\n  first  {first}\n  second {second}")
        };
        check(
            &old,
            &with(put(file(4, 1), 0o600, 0)),
            &differs("mode", "0644", "0600"),
        );
        check(
            &old,
            &with(put(file(4, 1), 0o644, 9)),
            &differs("time", "0.000000000", "9.000000000"),
        );
        check(&old, &with(plain(file(5, 1))), &differs("size", "4", "5"));
        check(
            &old,
            &with(plain(Item::Fifo)),
            &differs("type", "file", "pipe"),
        );
        let link = |target: &[u8]| plain(Item::Symlink(target.into()));
        check(
            &with(link(b"x")),
            &with(link(b"y")),
            &differs("target", "x", "y"),
        );
    }

    fn put(item: Item, mode: u32, mtime: i64) -> Put {
        Put {
            item,
            meta: Meta::new(mode, 0, 0, Timestamp::from_seconds(mtime)),
            group: None,
        }
    }

    fn tree(files: &[(&str, Put)]) -> Tree {
        let root = Meta::implied_directory(Timestamp::default());
        let mut tree = TreeBuilder::new(root.clone());
        if files.iter().any(|(path, _)| path.starts_with("a/")) {
            tree.add(b"a", Put::directory(root)).unwrap();
        }
        for (path, put) in files {
            tree.add(path.as_bytes(), put.clone()).unwrap();
        }
        tree.finish()
    }
}
