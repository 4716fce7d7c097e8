//! ADD of addresses: what is asked for when, and what is a hit.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corten_build::remote::Failure;
use corten_build::{Built, Error, GitCommit, GitFiles, HttpAnswer, Remotes, Validators};
use corten_content::{Durability, GcRoots, Store};
use corten_dockerfile::{Address, GitUrl};
use corten_sandbox::Cancel;
use corten_spec::Digest;

use crate::site::{Site, chain};
use crate::sketch;

/// Everything that can be fetched.
#[derive(Default)]
pub(crate) struct Web {
    files: HashMap<String, (String, Validators)>,
    /// What the default branch of each repository is at, and what is there.
    repositories: HashMap<String, (String, String)>,
    asked: Mutex<Vec<String>>,
    /// What happens while a repository is checked out.
    at_checkout: Option<Box<dyn Fn() + Sync>>,
    /// What is sent instead of any file, and never ends before this is cancelled by its first bytes.
    endless: Option<(Cancel, Arc<AtomicUsize>)>,
}

/// A body that cancels when it is read, and counts how often it is.
struct Endless(Cancel, Arc<AtomicUsize>);

impl Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.cancel(Duration::ZERO);
        // It ends all the same, so that whoever does not stop fails the test and does not hang it.
        let n_reads = self.1.fetch_add(1, Ordering::Relaxed);
        Ok(if n_reads < 9 { buf.len() } else { 0 })
    }
}

impl Web {
    fn with_file(mut self, url: &str, content: &str, etag: Option<&str>) -> Self {
        let validators = Validators {
            etag: etag.map(str::to_owned),
            last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        };
        let file = (content.to_owned(), validators);
        self.files.insert(url.to_owned(), file);
        self
    }

    fn with_repository(mut self, remote: &str, digit: char, text: &str) -> Self {
        let commit = digit.to_string().repeat(40);
        let repository = (commit, text.to_owned());
        self.repositories.insert(remote.to_owned(), repository);
        self
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    /// Returns what was asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Remotes for Web {
    fn http(&self, url: &Address, known: &Validators) -> Result<HttpAnswer, Failure> {
        if let Some((cancel, n_reads)) = &self.endless {
            return Ok(HttpAnswer::File {
                body: Box::new(Endless(cancel.clone(), Arc::clone(n_reads))),
                validators: Validators::default(),
            });
        }
        let Some((content, validators)) = self.files.get(url.reveal()) else {
            self.note("nothing".to_owned());
            return Err("the server answered with status 404".into());
        };
        if known.etag.is_some() && known.etag == validators.etag {
            self.note("unchanged".to_owned());
            return Ok(HttpAnswer::Unchanged);
        }
        self.note("file".to_owned());
        Ok(HttpAnswer::File {
            body: Box::new(Cursor::new(content.clone().into_bytes())),
            validators: validators.clone(),
        })
    }

    fn git_commit(&self, url: &GitUrl, _cancel: &Cancel) -> Result<GitCommit, Failure> {
        self.note("commit".to_owned());
        let (commit, _) = self
            .repositories
            .get(&url.remote)
            .ok_or("it is not there")?;
        Ok(GitCommit {
            commit: commit.clone(),
            object: commit.clone(),
            reference: Some("refs/heads/main".to_owned()),
        })
    }

    fn git_checkout(
        &self,
        url: &GitUrl,
        _commit: &GitCommit,
        _cancel: &Cancel,
    ) -> Result<GitFiles, Failure> {
        self.note("checkout".to_owned());
        if let Some(act) = &self.at_checkout {
            act();
        }
        let (_, text) = self
            .repositories
            .get(&url.remote)
            .ok_or("it is not there")?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("tree");
        fs::create_dir(&path)?;
        sketch::make(&path, text);
        Ok(GitFiles {
            path: path.join(&url.subdir),
            keeper: Box::new(directory),
        })
    }
}

const URL: &str = "http://h.example/dir/a.txt";

fn site(web: Web) -> Site {
    let mut site = Site::new("file 644 f F");
    site.web = web;
    site
}

fn try_build(site: &Site, line: &str) -> Result<Built, Error> {
    site.try_build(&format!("FROM base\n{line}\n"))
}

#[track_caller]
fn check(site: &Site, line: &str, expected: &str) {
    let built = try_build(site, line).unwrap_or_else(|error| panic!("{line}: {}", chain(&error)));
    assert_eq!(site.listing(&built), sketch::trimmed(expected), "{line}");
}

#[track_caller]
fn check_error(site: &Site, line: &str, expected: &str) {
    let error = try_build(site, line).expect_err(line);
    assert_eq!(
        sketch::trimmed(&chain(&error)),
        sketch::trimmed(expected),
        "{line}"
    );
}

fn is_hit(site: &Site) -> bool {
    site.events().iter().all(|step| step.ends_with(" CACHED"))
}

#[test]
fn files() {
    let web =
        Web::default()
            .with_file(URL, "A", Some("\"1\""))
            .with_file("http://h.example/", "B", None);
    let site = site(web);
    check(&site, &format!("ADD {URL} /x"), "file 600 x A");
    check(
        &site,
        &format!("ADD {URL} /x/"),
        "dir 755 x\nfile 600 x/a.txt A",
    );
    check(
        &site,
        &format!("ADD {URL} f /tmp/"),
        "file 600 tmp/a.txt A\nfile 644 tmp/f F",
    );
    check(
        &site,
        &format!("ADD --chmod=644 --chown=5 {URL} /x"),
        "file 644 5:5 x A",
    );
    check(
        &site,
        "ADD http://h.example/ /x/",
        "dir 755 x\nfile 600 x/__unnamed__ B",
    );
    check(
        &site,
        &format!("ADD --link {URL} /lib/x"),
        "dir 755 lib\nfile 600 lib/x A",
    );
    let built = try_build(&site, &format!("ADD {URL} /x")).unwrap();
    let tree = corten_snapshot::Snapshots::new(&site.store)
        .tree(&site.layers(&built))
        .unwrap();
    let node = tree.node(tree.exact(b"x").unwrap());
    assert_eq!(node.meta.mtime.seconds, 784_111_777);
    check_error(
        &site,
        "ADD http://u:secret@h.example/none /x",
        "
        Dockerfile:2: `ADD http://xxxxx:xxxxx@h.example/none /x` failed
        cannot fetch `http://xxxxx:xxxxx@h.example/none`
        the server answered with status 404
        ",
    );
}

#[test]
fn archives_stay_as_they_are_unless_unpacked() {
    let tar = "a.tar".to_owned() + &"\0".repeat(95);
    let header = |text: &str, len: usize| format!("{text}{}", "\0".repeat(len - text.len()));
    let mut block = tar
        + &header("0000644", 8)
        + &header("0000000", 8)
        + &header("0000000", 8)
        + &header("00000000001", 12)
        + &header("00000000000", 12)
        + "        "
        + "0"
        + &"\0".repeat(100)
        + "ustar\u{0}00"
        + &"\0".repeat(247);
    let sum: u32 = block.bytes().map(u32::from).sum();
    block.replace_range(148..156, &format!("{sum:06o}\0 "));
    let archive = block + "I" + &"\0".repeat(511 + 1024);
    let site = site(Web::default().with_file("http://h.example/a.tar", &archive, None));
    check(
        &site,
        "ADD --unpack http://h.example/a.tar /x",
        "dir 755 x\nfile 644 x/a.tar I",
    );
    for flag in ["", "--unpack=false "] {
        let built = try_build(&site, &format!("ADD {flag}http://h.example/a.tar /x")).unwrap();
        assert!(
            site.listing(&built).starts_with("file 600 x a.tar\0"),
            "{flag}"
        );
    }
}

#[test]
fn an_unchanged_file_is_a_hit() {
    let mut site = site(Web::default().with_file(URL, "A", Some("\"1\"")));
    let line = format!("ADD {URL} /x");
    check(&site, &line, "file 600 x A");
    assert_eq!(site.web.asked(), ["file"]);
    check(&site, &line, "file 600 x A");
    assert!(is_hit(&site));
    assert_eq!(site.web.asked(), ["unchanged"]);
    // Another step takes it from the store, or fetches it again where gc took it.
    check(&site, &format!("ADD {URL} /y"), "file 600 y A");
    assert_eq!(site.web.asked(), ["unchanged"]);
    fs::remove_file(site.store.blob_path(&Digest::sha256(b"A"))).unwrap();
    check(&site, &format!("ADD {URL} /z"), "file 600 z A");
    assert_eq!(site.web.asked(), ["unchanged", "file"]);
    // The content counts, not what it is known by, nor where it is.
    let web = Web::default().with_file(URL, "A", Some("\"2\""));
    site.web = web.with_file("https://other.example/a.txt", "A", None);
    check(&site, &line, "file 600 x A");
    assert!(is_hit(&site));
    check(&site, "ADD https://other.example/a.txt /x", "file 600 x A");
    assert!(is_hit(&site));
    assert_eq!(site.web.asked(), ["file", "file"]);
    site.web = Web::default().with_file(URL, "changed", Some("\"3\""));
    check(&site, &line, "file 600 x changed");
    assert!(!is_hit(&site));
}

#[test]
fn a_file_is_asked_for_once_in_a_build() {
    let site = site(Web::default().with_file(URL, "A", None));
    let text =
        format!("FROM base AS a\nADD {URL} /x\nFROM base\nADD {URL} /y\nCOPY --from=a /x /x\n");
    site.build(&text);
    assert_eq!(site.web.asked(), ["file"]);
}

#[test]
fn checksums() {
    let mut site = site(Web::default().with_file(URL, "A", None));
    let sha = |text: &[u8]| Digest::sha256(text).to_string();
    let line = format!("ADD --checksum={} {URL} /x", sha(b"A"));
    check(&site, &line, "file 600 x A");
    // A hit asks nobody.
    site.web = Web::default();
    check(&site, &line, "file 600 x A");
    assert!(is_hit(&site));
    assert_eq!(site.web.asked(), [""; 0]);
    site.web = Web::default().with_file(URL, "B", None);
    check_error(
        &site,
        &format!("ADD --checksum={} {URL} /x", sha(b"C")),
        &format!(
            "
            Dockerfile:2: `ADD --checksum={} {URL} /x` failed
            cannot fetch `{URL}`
            content does not match its digest
            expected {}
            received {}
            ",
            sha(b"C"),
            sha(b"C"),
            sha(b"B")
        ),
    );
    assert!(!site.store.blob_path(&Digest::sha256(b"B")).exists());
}

#[test]
fn gc_leaves_a_file_that_is_about_to_be_copied() {
    let web = Web::default().with_file(URL, "A", Some("\"1\""));
    let mut site = site(web.with_repository("https://h.example/a.git", 'a', "file 644 R R"));
    site.build(&format!("FROM scratch\nADD {URL} /y\n"));
    // Nothing but the second build protects the file, and no record names it.
    let again = || Store::open_with(&site.dir.path().join("store"), Durability::None).unwrap();
    let (store, other) = (again(), again());
    site.store = store;
    site.web.at_checkout = Some(Box::new(move || {
        let report = other.gc(&GcRoots::default()).unwrap();
        assert!(!report.held_back, "{report:?}");
    }));
    let built = site.build(&format!(
        "FROM scratch\nADD {URL} https://h.example/a.git /d/\n"
    ));
    assert_eq!(
        site.listing(&built),
        sketch::trimmed("dir 755 d\nfile 644 d/R R\nfile 600 d/a.txt A")
    );
}

#[test]
fn what_cannot_be_noted_about_a_file_fails_nothing() {
    let site = site(Web::default().with_file(URL, "A", Some("\"1\"")));
    fs::create_dir_all(site.store.cache_dir()).unwrap();
    fs::File::create(site.store.cache_dir().join("http")).unwrap();
    check(&site, &format!("ADD {URL} /x"), "file 600 x A");
    check(&site, &format!("ADD {URL} /y"), "file 600 y A");
    assert_eq!(site.web.asked(), ["file", "file"]);
}

#[test]
fn a_build_that_ends_reads_no_further() {
    let cancel = Cancel::new().unwrap();
    let n_reads = Arc::new(AtomicUsize::new(0));
    let mut site = site(Web {
        endless: Some((cancel.clone(), Arc::clone(&n_reads))),
        ..Web::default()
    });
    site.request.cancel = Some(cancel);
    let error = try_build(&site, &format!("ADD {URL} /x")).unwrap_err();
    assert!(
        chain(&error).ends_with("\nthe build was stopped"),
        "{error:?}"
    );
    assert_eq!(n_reads.load(Ordering::Relaxed), 1);
}

#[test]
fn no_password_is_kept() {
    let url = "https://user:s3cret@h.example/a.txt";
    let site = site(Web::default().with_file(url, "A", Some("\"1\"")));
    let built = try_build(&site, &format!("ADD {url} /x")).unwrap();
    assert!(
        site.config(&built)
            .to_string()
            .contains("xxxxx:xxxxx@h.example")
    );
    let mut todo = vec![site.dir.path().join("store")];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if let Ok(bytes) = fs::read(&path) {
            let is_there = bytes.windows(6).any(|window| window == b"s3cret");
            assert!(!is_there, "{}", path.display());
        }
    }
    assert!(!format!("{:?}", site.events()).contains("s3cret"));
}

#[test]
fn repositories() {
    const REMOTE: &str = "https://h.example/a.git";
    let text = "file 644 README R\nfile 755 run X\nfile 644 src/main M";
    let mut site = site(Web::default().with_repository(REMOTE, 'a', text));
    let all =
        "dir 755 x\nfile 644 x/README R\nfile 755 x/run X\ndir 755 x/src\nfile 644 x/src/main M";
    let line = format!("ADD {REMOTE} /x");
    check(&site, &line, all);
    assert_eq!(site.web.asked(), ["commit", "checkout"]);
    check(&site, &line, all);
    assert!(is_hit(&site));
    assert_eq!(site.web.asked(), ["commit"]);
    check(
        &site,
        &format!("ADD {REMOTE}#main:src /x/"),
        "dir 755 x\nfile 644 x/main M",
    );
    check(
        &site,
        &format!("ADD --exclude=src --chown=7 --chmod=700 {REMOTE} /x"),
        "dir 700 7:7 x\nfile 700 7:7 x/README R\nfile 700 7:7 x/run X",
    );
    // The commit is the key, wherever it is.
    site.web = Web::default().with_repository("git@other.example:b", 'a', text);
    check(&site, "ADD git@other.example:b /x", all);
    assert!(is_hit(&site));
    site.web = Web::default().with_repository(REMOTE, 'b', "file 644 README other");
    check(
        &site,
        &format!("ADD --checksum=bbb {REMOTE} /x"),
        "dir 755 x\nfile 644 x/README other",
    );
    assert!(!is_hit(&site));
    check_error(
        &site,
        &format!("ADD --checksum=aaa {REMOTE} /x"),
        &format!(
            "
            Dockerfile:2: `ADD --checksum=aaa {REMOTE} /x` failed
            `{REMOTE}` has another commit
            expected aaa
            received {}
            ",
            "b".repeat(40)
        ),
    );
}
