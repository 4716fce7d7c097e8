//! Instructions that cannot be resolved.

use corten_dockerfile::BaseConfig;

use super::steps;

#[test]
fn steps_that_cannot_be_resolved() {
    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let text = format!("FROM a\n{lines}\n");
        let diagnostic = steps(&text, &[], &BaseConfig::default()).unwrap_err();
        assert_eq!(diagnostic.message, expected, "{lines:?}");
        assert_eq!(diagnostic.span.line, 2, "{lines:?}");
    }

    check("ENV a=${b:?wanted}", "b: wanted");
    check("ENV a=${b", "missing `}`");
    check(
        "COPY --chmod=999 a b",
        "`999` is not an octal mode up to 7777",
    );
    check(
        "COPY --chmod=10000 a b",
        "`10000` is not an octal mode up to 7777",
    );
    check("COPY --chmod=u+q a b", "`u+q` is not a mode");
    check("COPY https://a/b c", "COPY cannot fetch an address");
    check("COPY git@a:b c", "COPY cannot fetch an address");
    check("COPY ssh://a/b c", "COPY cannot fetch an address");
    check(
        "COPY --link --chown=app a b",
        "`--chown=app` names a user, and `--link` knows no users",
    );
    check("COPY --exclude=[ a b", "`[` is not a valid pattern");
    check("COPY --exclude=! a b", "`!` is not a valid pattern");
    let sha = "0".repeat(64);
    check(
        &format!("ADD --checksum=sha256:{sha} a b"),
        "`--checksum` is for files that are fetched over HTTP or with git",
    );
    check(
        &format!("ADD --checksum=sha256:{sha} http://a/b http://a/c d/"),
        "`--checksum` needs exactly one source",
    );
    check(
        &format!("ADD --checksum=sha256:{sha} http://a/b <<f d/\nf"),
        "`--checksum` needs exactly one source",
    );
    for checksum in ["sha512:00", "sha256:0", "md5:0", "00", "$x:y"] {
        let shown = checksum.trim_start_matches("$x");
        check(
            &format!("ADD --checksum={checksum} http://a/b c"),
            &format!("`{shown}` is not a checksum"),
        );
    }
    check("ADD --checksum=xyz git@a:b c", "`xyz` is not a commit");
    check(
        "ADD --checksum=ab git@a:b?checksum=cd c",
        "`--checksum` and the address name different commits",
    );
    check(
        "ADD --keep-git-dir git@a:b?keep-git-dir=0 c",
        "`--keep-git-dir` and the address do not agree",
    );
    check(
        "ADD https://u:secret@a/b.git?x=y c",
        "`https://a/b.git` is not a place in a git repository: `x` is not known in its query",
    );
    check("EXPOSE 80/foo", "`80/foo` is not a port");
    check("STOPSIGNAL SIGFOO", "`SIGFOO` is not a signal");
    check("VOLUME $no", "`$no` is empty");
}
