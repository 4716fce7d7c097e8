//! The same inputs give the same image, anywhere.

use corten_content::{Durability, Store};
use corten_layer::Tree;
use corten_snapshot::Snapshots;
use corten_tar::{Compression, Timestamp};

use crate::site::Site;
use crate::sketch;

const CLAMP: i64 = 1_600_000_000;
const CONTEXT: &str = "
    file 644 f F
    file 644 d/a A
    hard d/b d/a
    file 4711 d/sub/c C
    link d/l a
    dir 700 d/empty
    time f 1700000000
    time d/sub 1700000001
    time d/a 5
    time d/b 5
";
const DOCKERFILE: &str = "
    FROM base AS one
    WORKDIR /w
    COPY d /x
    FROM base
    COPY --from=one /x /y
    COPY f /new/deep/
    COPY <<EOF /text
    hello
    EOF
";

#[test]
fn equal_in_every_store() {
    let [one, two] = [0, 1].map(|_| Site::new(CONTEXT).clamp(CLAMP));
    let built = one.build(DOCKERFILE);
    assert_eq!(built, two.build(DOCKERFILE));
    assert_eq!(built, two.without_cache().build(DOCKERFILE));
    // The digests are part of what others rely on: a change is a change of every image.
    let mut stored = Site::new(CONTEXT).clamp(CLAMP);
    stored.request.pack.compression = Compression::None;
    let built_stored = stored.build(DOCKERFILE);
    assert_ne!(built.manifest, built_stored.manifest);
    assert_eq!(built.image_id, built_stored.image_id);
    for threads in [1, 3] {
        let mut site = Site::new(CONTEXT).clamp(CLAMP);
        site.request.pack.threads = threads;
        assert_eq!(site.build(DOCKERFILE), built, "{threads} threads");
    }
}

#[test]
fn times() {
    let site = Site::new(CONTEXT).clamp(CLAMP);
    let built = site.build(DOCKERFILE);
    let tree = Snapshots::new(&site.store)
        .tree(&site.layers(&built))
        .unwrap();
    let check = |path: &str, expected: i64| {
        let id = tree.exact(path.as_bytes()).unwrap();
        assert_eq!(
            tree.node(id).meta.mtime,
            Timestamp::from_seconds(expected),
            "{path}"
        );
    };
    check("new/deep/f", CLAMP);
    check("new", CLAMP);
    check("y/a", 5);
    check("y/sub", CLAMP);
    check("y/sub/c", sketch::TIME);
    check("y", sketch::TIME);
    check("text", CLAMP);
    // What the base has is left alone, even if something new lies in it.
    assert_eq!(tree.node(Tree::ROOT).meta.mtime, Timestamp::default());
    // Without a clamp they are as they were.
    let site = Site::new(CONTEXT);
    let built = site.build("FROM base\nCOPY f /x\n");
    let tree = Snapshots::new(&site.store)
        .tree(&site.layers(&built))
        .unwrap();
    let id = tree.exact(b"x").unwrap();
    assert_eq!(
        tree.node(id).meta.mtime,
        Timestamp::from_seconds(1_700_000_000)
    );
}

/// Whatever is copied into a directory, it keeps its owner and mode; its time becomes that of what is copied,
/// as for BuildKit.
#[test]
fn the_time_of_a_destination_that_is_there() {
    let site = Site::new("file 644 d/f F\nfile 644 d/sub/g G\nfile 644 f F");
    let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(77);
    std::fs::File::open(site.path("d"))
        .unwrap()
        .set_modified(past)
        .unwrap();
    let check = |instruction: &str, expected: i64| {
        let built = site.build(&format!("FROM base\n{instruction}\n"));
        let tree = Snapshots::new(&site.store)
            .tree(&site.layers(&built))
            .unwrap();
        let meta = &tree.node(tree.exact(b"home/app").unwrap()).meta;
        let found = (meta.uid, meta.mode, meta.mtime);
        let time = Timestamp::from_seconds(expected);
        assert_eq!(found, (1000, 0o700, time), "{instruction}");
    };
    check("COPY d /home/app", 77);
    check("COPY --exclude=sub d /home/app/", 77);
    check("COPY --chown=7 --chmod=755 d /home/app", 77);
    check("COPY --parents d/./f /home/app", 77);
    check("ADD d /home/app", 77);
    for instruction in [
        "COPY . /home/app",
        "COPY --exclude=* d /home/app/",
        "COPY f /home/app",
        "COPY --parents d/f /home/app",
    ] {
        check(instruction, sketch::TIME);
    }
}

#[test]
fn the_clamp_is_part_of_the_key() {
    let site = Site::new(CONTEXT).clamp(CLAMP);
    let first = site.build(DOCKERFILE);
    let site = site.clamp(CLAMP + 1);
    let second = site.build(DOCKERFILE);
    assert_ne!(first, second);
    assert!(!site.events().iter().any(|event| event.ends_with("CACHED")));
}

#[test]
fn two_builds_at_once() {
    let site = Site::new(CONTEXT).clamp(CLAMP);
    let request = corten_build::BuildRequest {
        text: "FROM scratch\nCOPY d /x\nCOPY f /y\nWORKDIR /z\n".to_owned(),
        ..site.request.clone()
    };
    let root = site.store.root();
    let built: Vec<_> = std::thread::scope(|scope| {
        let build = || {
            let store = Store::open_with(root, Durability::None).unwrap();
            corten_build::build(&store, &request, &corten_build::NoBases, &|_| {}).unwrap()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(build)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(built.windows(2).all(|two| two[0] == two[1]), "{built:?}");
}
