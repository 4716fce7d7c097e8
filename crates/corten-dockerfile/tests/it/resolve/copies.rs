//! `COPY` and `ADD`: sources, flags, and what of them is not shown.

use corten_dockerfile::{
    Address, Base, BaseConfig, Chmod, CopyStep, Diagnostic, HttpSource, Source, Step,
};

use super::steps;

fn copy(lines: &str) -> Result<CopyStep, Diagnostic> {
    let text = format!("FROM b AS first\nFROM a\nENV v=1\nWORKDIR /w\n{lines}\n");
    let found = steps(&text, &[], &BaseConfig::default())?
        .pop()
        .unwrap()
        .step;
    let Step::Copy(copy) = found else {
        panic!("{found:?}")
    };
    Ok(*copy)
}

#[test]
fn copies() {
    let step = copy("COPY --from=FIRST --chmod=4755 --chown=$v ./a/ ../b d/").unwrap();
    assert_eq!(step.from, Some(Base::Stage(0)));
    assert_eq!(step.chmod, Some(Chmod::Octal(0o4755)));
    assert_eq!(step.chown.as_deref(), Some("1"));
    assert_eq!(
        step.sources,
        [Source::Path("/a".to_owned()), Source::Path("/b".to_owned())]
    );
    assert_eq!(step.dest, "/w/d/");
    let step = copy("COPY --chmod=u=rwX,go-w <<f <<'g' /\n\"$v\" \\$v\nf\n$v\ng").unwrap();
    assert_eq!(step.chmod, Some(Chmod::Symbolic("u=rwX,go-w".to_owned())));
    let inline = |name: &str, content: &str| Source::Inline {
        name: name.to_owned(),
        content: content.to_owned(),
    };
    assert_eq!(
        step.sources,
        [inline("f", "\"1\" $v\n"), inline("g", "$v\n")]
    );
}

#[test]
fn flags_of_copies() {
    let step = copy("COPY --link --exclude=a$v --exclude=!b x y").unwrap();
    assert!(step.link && !step.unpack_paths && !step.unpack_addresses);
    assert_eq!(step.excludes, ["a$v", "!b"]);
    // BuildKit links only what keeps its modes.
    assert!(!copy("COPY --link --chmod=1 x y").unwrap().link);
    assert!(copy("COPY --link --chown=1:$v x y").unwrap().link);
    assert!(!copy("COPY --link=false --parents=false x y").unwrap().link);
    let unpacks = |line: &str| {
        let step = copy(line).unwrap();
        (step.unpack_paths, step.unpack_addresses)
    };
    assert_eq!(unpacks("ADD x y"), (true, false));
    assert_eq!(unpacks("ADD --unpack x y"), (true, true));
    assert_eq!(unpacks("ADD --unpack=false x y"), (false, false));
}

#[test]
fn sources_of_copies() {
    #[track_caller]
    fn check(line: &str, expected: &Source) {
        assert_eq!(
            copy(line).unwrap().sources,
            std::slice::from_ref(expected),
            "{line}"
        );
    }
    let parents = |pivot: &str, pattern: &str, required: bool| Source::Parents {
        pivot: pivot.to_owned(),
        pattern: pattern.to_owned(),
        required,
    };
    check("COPY --parents a/b c", &parents("/", "a/b", true));
    check("COPY --parents /a/../b/ c", &parents("/", "b", true));
    check("COPY --parents a/./b/c d", &parents("/a", "b/c", true));
    check("COPY --parents ./a/./b/./c d", &parents("/a", "b/c", true));
    check("COPY --parents a*/./b d", &parents("/a*", "b", false));
    check("COPY --parents a/**/x d", &parents("/", "a/**/x", false));
    check("COPY --parents . d", &parents("/", "", true));
    let http = |url: &str, name: &str, checksum: Option<&str>| {
        Source::Http(Box::new(HttpSource {
            url: Address::new(url),
            name: name.to_owned(),
            checksum: checksum.map(str::to_owned),
        }))
    };
    check("ADD http://h/a$v /", &http("http://h/a1", "a1", None));
    check(
        "ADD --checksum= http://h /",
        &http("http://h", "__unnamed__", None),
    );
    let sha = "a".repeat(64);
    check(
        &format!("ADD --checksum=sha256:{sha} https://h/x?y=z /"),
        &http("https://h/x?y=z", "x", Some(&sha)),
    );
    let git = |line: &str| {
        let step = copy(line).unwrap();
        let [Source::Git(source)] = step.sources.as_slice() else {
            panic!("{step:?}");
        };
        source.url.clone()
    };
    let url = git("ADD --checksum=ABC https://h/a.git?checksum=aBc /");
    assert_eq!(url.checksum.as_deref(), Some("abc"));
    let url = git("ADD https://h/a.git?checksum=ABC /");
    assert_eq!(url.checksum.as_deref(), Some("abc"));
    let url = git("ADD --keep-git-dir --checksum=abc https://h/a.git#r:d /");
    assert_eq!(url.remote, "https://h/a.git");
    assert_eq!(
        (url.keep_git_dir, url.checksum.as_deref()),
        (Some(true), Some("abc"))
    );
    assert_eq!(
        (url.reference.as_deref(), url.subdir.as_str()),
        (Some("r"), "d")
    );
    let url = git("ADD git@h:a?keep-git-dir=true&commit=abc /");
    assert_eq!(
        (url.keep_git_dir, url.checksum.as_deref()),
        (Some(true), Some("abc"))
    );
    // What only looks like one is a path.
    check(
        "ADD github.com/a/b /",
        &Source::Path("/github.com/a/b".to_owned()),
    );
    check("ADD a@b /", &Source::Path("/a@b".to_owned()));
}

#[test]
fn passwords_are_not_in_the_history() {
    let text = "FROM a\nARG p=secret\nADD https://u:$p@h/x https://$p@h/y.git /z/\n";
    let found = steps(text, &[], &BaseConfig::default())
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(
        found.created_by.as_deref(),
        Some("ADD https://xxxxx:xxxxx@h/x https://xxxxx@h/y.git /z/ # buildkit")
    );
    assert!(
        !format!("{:?}", found.step).contains("secret"),
        "{:?}",
        found.step
    );
}
