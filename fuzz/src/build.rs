//! What builds read besides Dockerfiles: bake and compose files, source policies, lock files, caches of
//! others, and contexts that are tars.

use std::io::Write as _;
use std::path::Path;

use corten_bake::{File, Request, bake as work_out, definition};
use corten_build::caches::{CacheSource, Caches};
use corten_build::lock::Lock;
use corten_build::policy::{Policy, PolicySource, evaluate};
use corten_build::request::Isolations;
use corten_build::{BuildRequest, NoBases, build, read_context_file};
use corten_content::{Memory, Sink as _, Store};
use corten_spec::Platform;
use corten_tar::LayerLimits;

use crate::images::blobs;
use crate::parts::cut;
use crate::tar::{DECODE_LIMITS, LIMITS};

/// A file name on the first line, and the text of a bake or compose file: what it defines can be said by
/// flags, whatever it is.
pub(crate) fn bake(data: &[u8]) {
    let (name, text) = cut(data, b"\n");
    let (Ok(name), Ok(text)) = (
        str::from_utf8(name),
        str::from_utf8(text.unwrap_or_default()),
    ) else {
        return;
    };
    let ending = ["hcl", "json", "yaml"]
        .into_iter()
        .find(|ending| name.ends_with(ending));
    let files = [File::new(
        &format!("file.{}", ending.unwrap_or("hcl")),
        text,
    )];
    let names = ["*".to_owned()];
    let environment = |name: &str| (name == "A").then(|| "${A} $$ \"".to_owned());
    let baked = work_out(&Request {
        files: &files,
        environment: &environment,
        env_file: name,
        names: &names,
        platform: "linux/amd64",
        now: "2024-01-01T00:00:00Z",
        ..Request::default()
    });
    match baked {
        Ok(baked) => {
            for (name, target) in &baked.targets {
                if let Ok(definition) = definition(name, target) {
                    // A context is the last argument, whatever it begins with.
                    let end = definition.args.iter().rposition(|arg| arg == "--");
                    assert!(
                        end.is_some_and(|end| end + 2 == definition.args.len()),
                        "{definition:?}"
                    );
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The first line is a source, the rest a policy or a lock file: what comes of it is bounded.
pub(crate) fn policy(data: &[u8]) {
    let (source, text) = cut(data, b"\n");
    let text = text.unwrap_or_default();
    if let Ok(lock) = Lock::parse(text) {
        let again = Lock::parse(lock.to_text().as_bytes()).expect("what is written is read");
        assert_eq!(again.to_text(), lock.to_text());
    }
    let (Ok(source), Ok(policy)) = (str::from_utf8(source), Policy::parse(text)) else {
        return;
    };
    let mut source = PolicySource::new(source);
    let asked = source.clone();
    if let Ok(false) = evaluate(&[policy], &mut source) {
        assert_eq!(source.identifier, asked.identifier);
        assert_eq!(source.attrs, asked.attrs);
    }
    assert!(source.identifier.len() < 1 << 20);
}

/// Parts that are blobs, as of `image`; the last is the manifest of a cache.
pub(crate) fn cache(data: &[u8]) {
    let memory = Memory::new();
    let mut root = None;
    for (kind, bytes) in blobs(data) {
        root = Some(memory.add(&kind, &bytes));
    }
    let Some(root) = root else {
        return;
    };
    memory.tag("cache", &root).expect("memory takes every name");
    let source = CacheSource {
        name: "cache".to_owned(),
        place: Box::new(memory),
        tag: "cache".to_owned(),
    };
    let platform = Platform::new("linux", "amd64");
    let (caches, warnings) = Caches::read(vec![source], &platform);
    assert!(caches.n_records() <= 5_000);
    assert!(warnings.iter().all(|warning| !warning.is_empty()));
}

const LAYER_LIMITS: LayerLimits = LayerLimits {
    archive: LIMITS,
    decoding: DECODE_LIMITS,
};

/// A tar that is a context: what is copied of it is a layer, or an error.
pub(crate) fn context(data: &[u8]) {
    let scratch = tempfile::tempdir().expect("there is a directory for temporary files");
    let tar = scratch.path().join("context.tar");
    let written = std::fs::File::create(&tar).and_then(|mut file| file.write_all(data));
    written.expect("there is space");
    for name in ["Dockerfile", "../Dockerfile", "a/b"] {
        drop(read_context_file(
            &tar,
            Path::new(name),
            &LAYER_LIMITS,
            1 << 16,
        ));
    }
    let store = Store::open(&scratch.path().join("store")).expect("there is space");
    let text = "FROM scratch\nCOPY . /a/\nCOPY a* /b/\nADD d /c\n";
    let request = BuildRequest {
        isolation: Isolations::None,
        limits: LAYER_LIMITS,
        ..BuildRequest::new("Dockerfile", text, &tar)
    };
    if let Err(error) = build(&store, &request, &NoBases, &|_| ()) {
        assert!(!error.to_string().is_empty());
    }
}
