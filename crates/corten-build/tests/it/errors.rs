//! What cannot be built is refused, with the place, and before anything is done where that can be.

use std::sync::atomic::{AtomicBool, Ordering};

use corten_build::{BuildRequest, Event};

use crate::site::{Site, chain, check_error, lines};
use crate::sketch;

/// Compares the error of a whole Dockerfile, and that no step began.
#[track_caller]
fn refused(dockerfile: &str, expected: &str) {
    let site = Site::new("file 644 f F");
    let found = chain(&site.try_build(dockerfile).expect_err(dockerfile));
    assert_eq!(
        found.trim_end(),
        lines(expected).trim_end(),
        "{dockerfile}\nfound:\n{found}"
    );
    assert_eq!(site.events(), [""; 0], "{dockerfile}");
}

#[test]
fn before_anything_is_done() {
    refused(
        "FROM base\nCOPY f /\nRNU x\n",
        "
        error: unknown instruction `RNU`
         --> Dockerfile:3:1
          |
        3 | RNU x
          | ^^^ did you mean `RUN`?
        ",
    );
    refused(
        "FROM base AS a\nCOPY f /\nFROM base\nCOPY --from=7 f /\n",
        "
        error: there is no stage number 7
         --> Dockerfile:4:6
          |
        4 | COPY --from=7 f /
          |      ^^^^^^^^ the stages are 0 to 1
        ",
    );
}

#[test]
fn an_unknown_target() {
    let site = Site::new("").target("fnal");
    let error = site
        .try_build("FROM base AS build\nFROM base AS final\n")
        .unwrap_err();
    let expected = "
        error: there is no stage `fnal`
         --> Dockerfile:2:1
          |
        2 | FROM base AS final
          | ^^^^^^^^^^^^^^^^^^ did you mean `final`?
        hint: the stages are `build`, `final`
    ";
    assert_eq!(chain(&error).trim_end(), lines(expected).trim_end());
}

#[test]
fn bases_that_are_not_there() {
    let site = Site::new("file 644 f F");
    let error = site.try_build("FROM nowhere\n").unwrap_err();
    assert_eq!(
        chain(&error),
        "cannot get the image `nowhere`\nthere is no image `nowhere`"
    );
    check_error(
        "COPY --from=nowhere f /",
        "",
        "
        Dockerfile:2: `COPY --from=nowhere f /` failed
        cannot get the image `nowhere`
        there is no image `nowhere`
        ",
    );
}

#[test]
fn sources_that_are_not_there() {
    let site = Site::new("file 644 f F");
    let dockerfile = "FROM scratch AS a\nCOPY f /\nFROM base\nCOPY --from=a /f /gone /x/\n";
    let expected = "
        error: `gone` is not in the stage `a`
         --> Dockerfile:4:18
          |
        4 | COPY --from=a /f /gone /x/
          |                  ^^^^^
    ";
    let found = chain(&site.try_build(dockerfile).unwrap_err());
    assert_eq!(found.trim_end(), lines(expected).trim_end());
    // A failed build leaves what was made before it in the cache.
    site.build("FROM scratch AS a\nCOPY f /\n");
    assert_eq!(site.events(), ["COPY f / CACHED"]);
    // A trigger has no place of its own.
    let mut site = Site::new("");
    site.image("triggering", &["file 644 b B"], |config| {
        config.config.on_build = vec!["COPY gone /trigger".to_owned()];
    });
    let expected = "
        error: `gone` is not in the build context
         --> Dockerfile:1:1
          |
        1 | FROM triggering
          | ^^^^^^^^^^^^^^^
    ";
    let found = chain(&site.try_build("FROM triggering\n").unwrap_err());
    assert_eq!(found.trim_end(), lines(expected).trim_end());
    check_error(
        "COPY --from=base /none /",
        "",
        "
        error: `none` is not in `base`
         --> Dockerfile:2:18
          |
        2 | COPY --from=base /none /
          |                  ^^^^^
        ",
    );
}

#[test]
fn a_context_that_is_not_there() {
    let mut site = Site::new("");
    site.request.context = site.dir.path().join("missing");
    // Nothing is looked at that is not needed.
    site.build("FROM base\nWORKDIR /x\n");
    let error = chain(&site.try_build("FROM base\nCOPY a /\n").unwrap_err());
    assert!(error.contains("/missing`"), "{error}");
}

#[test]
fn a_file_that_changes_while_it_is_built() {
    #[track_caller]
    fn check(change: impl Fn(&Site) + Sync, cause: &str) {
        let site = Site::new("file 644 a A\nfile 644 f F");
        let changed = AtomicBool::new(false);
        let request = BuildRequest {
            text: "FROM scratch\nCOPY a /\nCOPY f /x\n".to_owned(),
            ..site.request.clone()
        };
        // The context is looked at once, so the second step meets another file than the first saw.
        let listener = |event: Event<'_>| {
            if let Event::Step { number: 2, .. } = event {
                change(&site);
                changed.store(true, Ordering::SeqCst);
            }
        };
        let result = corten_build::build(&site.store, &request, &site, &listener);
        assert!(changed.load(Ordering::SeqCst));
        let found = chain(&result.unwrap_err());
        assert!(
            found.starts_with("Dockerfile:3: `COPY f /x` failed\ncannot read the content of `f`"),
            "{found}"
        );
        assert!(found.ends_with(cause), "{found}");
    }
    let cause = "it changed while the image was built";
    check(|site| sketch::write(&site.path("f"), b"longer"), cause);
    check(|site| sketch::touch(&site.path("f"), 7), cause);
    // Other content of the same length and time: only the time of the change tells.
    check(
        |site| {
            let path = site.path("f");
            let mtime = std::fs::metadata(&path).unwrap().modified().unwrap();
            sketch::write(&path, b"G");
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(mtime).unwrap();
        },
        cause,
    );
    check(
        |site| {
            std::fs::rename(site.path("a"), site.path("f")).unwrap();
        },
        cause,
    );
}

/// Layers are packed beside the steps, and what fails there is still told with its step.
#[test]
fn a_layer_that_cannot_be_stored() {
    let site = Site::new("file 644 f F\nfile 644 g G");
    let ingest = site.store.root().join("ingest");
    std::fs::remove_dir(&ingest).unwrap();
    sketch::write(&ingest, b"");
    let error = site
        .try_build("FROM base\nCOPY f /\nCOPY g /\nCOPY f /f2\n")
        .unwrap_err();
    let found = chain(&error);
    assert!(
        found.starts_with("Dockerfile:2: `COPY f /` failed\n"),
        "{found}"
    );
    assert!(found.contains("ingest"), "{found}");
    let recorded = corten_build::list_cache(&site.store).unwrap();
    assert_eq!(recorded, []);
}

/// What names an image promises that it can be read.
#[test]
fn no_image_is_made_of_a_layer_that_is_nowhere() {
    let site = Site::new("");
    let built = site.build("FROM base\n");
    let blob = site.layers(&built).remove(0).blob.digest;
    std::fs::remove_file(site.store.blob_path(&blob)).unwrap();
    let error = site.try_build("FROM base\nLABEL a=b\n").unwrap_err();
    let expected = format!(
        "the image has the layer {blob}, which is neither in the store nor where its bases and caches \
         are from\n  pull the base image again"
    );
    assert_eq!(chain(&error), expected);
}
