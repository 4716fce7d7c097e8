//! The cache: what is a hit, and that a hit reads nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::site::{Site, names_in};
use crate::sketch;

const DOCKERFILE: &str = "
    FROM scratch AS files
    COPY d /out/
    FROM base
    WORKDIR /w
    COPY --from=files /out/sub /x
    ADD --chown=app f /y
    ENV A=b
";
const CONTEXT: &str = "file 644 f F\nfile 644 d/a A\nfile 644 d/sub/b B\nlink d/l a";

/// Returns which steps of the last build that can be cached were not.
fn misses(site: &Site) -> Vec<String> {
    let events = site.events();
    let cacheable = events.iter().filter(|event| !event.starts_with("ENV"));
    cacheable
        .filter(|event| !event.ends_with(" CACHED"))
        .cloned()
        .collect()
}

#[test]
fn a_second_build_reads_no_layer() {
    let site = Site::new(CONTEXT).clamp(sketch::TIME);
    let first = site.build(DOCKERFILE);
    assert_eq!(misses(&site).len(), 4);
    // Without the indexes and tars any look into a layer would make them again.
    for name in ["tar", "index"] {
        let shelf = site.store.layers_dir().join(name);
        if shelf.exists() {
            fs::remove_dir_all(shelf).unwrap();
        }
    }
    let second = site.build(DOCKERFILE);
    assert_eq!(first, second);
    assert_eq!(misses(&site), [""; 0]);
    for name in ["tar", "index"] {
        assert_eq!(
            names_in(&site.store.layers_dir().join(name)),
            [""; 0],
            "{name}"
        );
    }
    // What only concerns the config changes nothing.
    let labelled = site.build(&DOCKERFILE.replace("ADD", "LABEL a=b\n    ADD"));
    assert_eq!(site.layers(&first), site.layers(&labelled));
}

#[test]
fn what_is_a_miss() {
    #[track_caller]
    fn check(change: impl FnOnce(&Site), expected: &[&str]) {
        let site = Site::new(CONTEXT);
        site.build(DOCKERFILE);
        change(&site);
        site.build(DOCKERFILE);
        assert_eq!(misses(&site), expected);
    }
    let both = ["COPY d /out/", "COPY --from=files /out/sub /x"];
    let all = [both[0], both[1], "ADD --chown=app f /y"];
    let write = |path: &'static str, content: &'static str| {
        move |site: &Site| sketch::write(&site.path(path), content.as_bytes())
    };
    check(|_| {}, &[]);
    check(|site| sketch::touch(&site.path("d/sub/b"), 5), &[]);
    check(|site| sketch::touch(&site.path("d"), 5), &[]);
    check(write("unused", "x"), &[]);
    check(write("f", "changed"), &all[2..]);
    check(write("d/sub/b", "changed"), &all);
    // The first copy changes, what the second takes from it does not.
    check(write("d/a", "changed"), &both[..1]);
    check(write("d/new", "x"), &both[..1]);
    check(
        |site| fs::rename(site.path("d/a"), site.path("d/z")).unwrap(),
        &both[..1],
    );
    check(
        |site| fs::set_permissions(site.path("f"), fs::Permissions::from_mode(0o600)).unwrap(),
        &all[2..],
    );
    check(
        |site| {
            let none = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(site.path("f"), "user.x", b"y", none).unwrap();
        },
        &all[2..],
    );
    check(
        |site| {
            fs::remove_file(site.path("d/l")).unwrap();
            std::os::unix::fs::symlink("sub", site.path("d/l")).unwrap();
        },
        &both[..1],
    );
}

#[test]
fn what_the_instruction_says_counts() {
    let site = Site::new("file 644 a A\nfile 644 b A");
    let instructions = [
        "COPY a /x",
        "COPY b /y",
        "COPY --chown=5 a /x",
        "COPY --chmod=600 a /x",
        "ADD a /x",
        "COPY a /x/",
        "COPY a b /x/",
        "WORKDIR /x",
        "USER app\nWORKDIR /x",
        "COPY <<a /x\nA\na",
    ];
    for instruction in instructions {
        site.build(&format!("FROM base\n{instruction}\n"));
        let events = site.events();
        assert!(
            !events.iter().any(|event| event.ends_with(" CACHED")),
            "{events:?}"
        );
    }
    // The layers below count, the rest of what is below does not.
    site.build("FROM base\nENV X=y\nCOPY a /x\n");
    assert_eq!(site.events(), ["ENV X=y", "COPY a /x CACHED"]);
    site.build("FROM scratch\nCOPY a /x\n");
    assert_eq!(site.events(), ["COPY a /x"]);
}

#[test]
fn a_record_whose_layer_is_gone_is_a_miss() {
    let site = Site::new(CONTEXT).clamp(sketch::TIME);
    let first = site.build(DOCKERFILE);
    let last = site.layers(&first).pop().unwrap();
    fs::remove_file(site.store.blob_path(&last.blob.digest)).unwrap();
    assert_eq!(site.build(DOCKERFILE), first);
    assert_eq!(misses(&site), ["ADD --chown=app f /y"]);
    // So is one that is damaged.
    for name in names_in(&site.store.cache_dir()) {
        if !name.starts_with("sha256-") {
            continue;
        }
        sketch::write(&site.store.cache_dir().join(name), b"{\"version\":1,");
    }
    assert_eq!(site.build(DOCKERFILE), first);
    assert_eq!(misses(&site).len(), 4);
}

#[test]
fn the_cache_can_be_left_aside() {
    let site = Site::new(CONTEXT).clamp(sketch::TIME);
    let first = site.build(DOCKERFILE);
    let site = site.without_cache();
    assert_eq!(site.build(DOCKERFILE), first);
    assert_eq!(misses(&site).len(), 4);
}

#[test]
fn records_name_what_they_need() {
    let site = Site::new(CONTEXT);
    let built = site.build(DOCKERFILE);
    let layers = site.layers(&built);
    let recorded = corten_build::cached_layers(&site.store).unwrap();
    for (layer_idx, layer) in layers.iter().enumerate().skip(1) {
        let stack: Vec<_> = layers[..=layer_idx]
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect();
        assert!(
            recorded.contains(&(layer.blob.clone(), stack)),
            "{layer_idx}"
        );
    }
    assert!(corten_build::prune_cache(&site.store, std::time::Duration::ZERO).unwrap() >= 4);
    assert_eq!(corten_build::cached_layers(&site.store).unwrap(), []);
    site.build(DOCKERFILE);
    assert_eq!(misses(&site).len(), 4);
}

#[test]
fn misses_are_explained() {
    #[track_caller]
    fn check(
        site: &Site,
        former: &str,
        change: impl FnOnce(&Site),
        latter: &str,
        expected: &[&str],
    ) {
        site.build(former);
        change(site);
        site.build(latter);
        let reasons = site.reasons();
        assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
        for (reason, expected) in reasons.iter().zip(expected) {
            assert!(reason.starts_with(expected), "{reasons:?}");
        }
    }
    let copy = "FROM base\nCOPY d /out/\n";
    let site = || {
        let mut site = Site::new(CONTEXT);
        site.request.explain = true;
        site
    };
    check(&site(), copy, |_| {}, copy, &[]);
    check(
        &site(),
        copy,
        |site| sketch::write(&site.path("d/a"), b"x"),
        copy,
        &[
            "file `d/a`: blake3:32684bfa28c0c84d6f210511aace0efc5171c7889148ba89208d5aa29705fa98 became blake3:3ae7d805f6789a6402acb70ad4096a85a56bf6804eaf25c0493ac697548d30b5",
        ],
    );
    check(
        &site(),
        copy,
        |site| fs::remove_file(site.path("d/a")).unwrap(),
        copy,
        &["file `d/a`: removed"],
    );
    check(
        &site(),
        copy,
        |site| sketch::write(&site.path("d/n"), b"x"),
        copy,
        &["file `d/n`: added"],
    );
    let private = fs::Permissions::from_mode(0o600);
    check(
        &site(),
        copy,
        |site| fs::set_permissions(site.path("d/a"), private).unwrap(),
        copy,
        &["file `d/a`: file of mode 0644 became file of mode 0600"],
    );
    // The text is another, so the step is found by its number.
    check(
        &site(),
        copy,
        |_| {},
        "FROM base\nCOPY --chown=7 d /out/\n",
        &["--chown: `` became `7`"],
    );
    check(
        &site(),
        copy,
        |_| {},
        "FROM scratch\nCOPY d /out/\n",
        &["layers beneath: `sha256:"],
    );
    check(
        &site(),
        copy,
        |_| {},
        "FROM base AS other\nCOPY d /o/\n",
        &["no earlier build of this step is on record"],
    );
    let delete = |site: &Site| corten_build::prune_cache(&site.store, std::time::Duration::ZERO);
    check(
        &site(),
        copy,
        |site| assert!(delete(site).unwrap() > 0),
        copy,
        &["no earlier build of this step is on record"],
    );
    check(
        &site(),
        copy,
        |site| {
            for name in names_in(&site.store.cache_dir()) {
                if name.starts_with("sha256-") {
                    fs::remove_file(site.store.cache_dir().join(name)).unwrap();
                }
            }
        },
        copy,
        &["its inputs are as they were"],
    );
}

#[test]
fn an_explanation_is_only_given_when_asked_for() {
    let site = Site::new(CONTEXT);
    site.build("FROM base\nCOPY d /out/\n");
    assert_eq!(site.reasons(), [""; 0]);
}

/// A digest is taken from the table only while the file is the same, however it was changed.
#[test]
fn known_digests_do_not_hide_changes() {
    let dockerfile = "FROM base\nCOPY d /out/\n";
    let site = Site::new(CONTEXT);
    let path = site.path("d/a");
    site.build(dockerfile);
    let tables = || names_in(&site.store.cache_dir().join("digests"));
    // Nothing was left alone for long enough.
    assert_eq!(tables(), [""; 0]);
    // As if the whole context were old: a table of another content for the same stamps would lie.
    for content in ["B", "C"] {
        sketch::write(&path, content.as_bytes());
        sketch::touch(&path, 5);
        site.build(dockerfile);
        assert_eq!(misses(&site), ["COPY d /out/"], "{content}");
    }
}

/// Other builders served old code of an earlier stage, since the files were not in the key.
/// <https://github.com/GoogleContainerTools/kaniko/issues/2065>
/// <https://github.com/GoogleContainerTools/kaniko/issues/1877>
#[test]
fn a_copy_from_a_stage_sees_what_changed_there() {
    let site = Site::new(CONTEXT).clamp(sketch::TIME);
    let dockerfile = "FROM base AS a\nCOPY f /f\nFROM base\nCOPY --from=a /f /g\n";
    let first = site.build(dockerfile);
    sketch::write(&site.path("f"), b"new code");
    let second = site.build(dockerfile);
    assert_eq!(misses(&site), ["COPY f /f", "COPY --from=a /f /g"]);
    let shown = site.show(&site.layers(&second));
    assert!(shown["g"].contains("new code"), "{shown:?}");
    assert_ne!(first, second);
}

/// What a step does not depend on was in the keys of others: the time and the labels of the base, its
/// digest, labels and annotations of the build.
/// <https://github.com/GoogleContainerTools/kaniko/issues/3088>
/// <https://github.com/GoogleContainerTools/kaniko/issues/1240>
#[test]
fn what_a_step_does_not_depend_on_is_no_miss() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Site), dockerfile: &str) {
        let mut site = Site::new(CONTEXT);
        site.build("FROM base\nARG A\nCOPY d /out/\nWORKDIR /w\nVOLUME /v\nADD f /y\n");
        change(&mut site);
        site.build(dockerfile);
        let made: Vec<_> = misses(&site)
            .into_iter()
            .filter(|step| {
                ["COPY", "WORKDIR", "ADD"]
                    .iter()
                    .any(|word| step.starts_with(word))
            })
            .collect();
        assert_eq!(made, [""; 0], "{dockerfile}");
    }
    let same = "FROM base\nARG A\nCOPY d /out/\nWORKDIR /w\nVOLUME /v\nADD f /y\n";
    check(|_| {}, same);
    check(
        |site| drop(site.request.labels.insert("l".into(), "v".into())),
        same,
    );
    check(
        |site| drop(site.request.build_args.insert("A".into(), "b".into())),
        same,
    );
    check(
        |site| {
            site.image("base", &[crate::site::BASE], |config| {
                config.created = Some("2020-01-01T00:00:00Z".into());
                config.config.labels.insert("of".into(), "base".into());
            });
        },
        same,
    );
    check(
        |_| {},
        &same.replace("COPY", "LABEL x=y\nENV E=f\nEXPOSE 80\nCMD [\"x\"]\nCOPY"),
    );
    // The name of the stage, and where the instruction stands, are nothing to the result.
    check(
        |_| {},
        &same.replace("FROM base", "FROM scratch\nFROM base AS other"),
    );
}

/// Only the variables that an instruction refers to count for it.
#[test]
fn arguments_count_where_they_are_used() {
    let dockerfile = "FROM base\nARG A=1\nARG B=1\nCOPY f /$A\nCOPY f /b\n";
    let site = Site::new(CONTEXT);
    site.build(dockerfile);
    let site = site.arg("B", "2");
    site.build(dockerfile);
    assert_eq!(
        misses(&site)
            .iter()
            .filter(|step| step.starts_with("COPY"))
            .count(),
        0
    );
    let site = site.arg("A", "2");
    site.build(dockerfile);
    let made: Vec<_> = misses(&site)
        .into_iter()
        .filter(|step| step.starts_with("COPY"))
        .collect();
    assert_eq!(made, ["COPY f /$A", "COPY f /b"]);
}
