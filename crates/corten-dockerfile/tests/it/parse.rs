//! The grammar: what is read, and what each mistake looks like.

use corten_dockerfile::{Command, CopySource, Dockerfile, Error, Kind, parse, render};

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let Err(Error::Syntax { diagnostics }) = parse(text) else {
        panic!("{text:?} is accepted")
    };
    let shown: Vec<String> = diagnostics
        .iter()
        .map(|d| render(d, "Dockerfile", text))
        .collect();
    assert_eq!(shown.join("\n"), expected, "{text:?}");
}

#[test]
fn mistakes_are_shown_at_their_place() {
    check_error(
        "FROM debian\n\n\n\n\n\nRNU apt-get update\n",
        "\
error: unknown instruction `RNU`
 --> Dockerfile:7:1
  |
7 | RNU apt-get update
  | ^^^ did you mean `RUN`?",
    );
    check_error(
        "FROM a\nCOPY --form=x \\\n  a b\nRUN x\nMOVE a b",
        "\
error: unknown flag `--form` of COPY
 --> Dockerfile:2:6
  |
2 | COPY --form=x \\
  |      ^^^^^^^^ did you mean `--from`?
error: unknown instruction `MOVE`
 --> Dockerfile:5:1
  |
5 | MOVE a b
  | ^^^^",
    );
    check_error(
        "FROM a\nRUN [\"a\", 1]",
        "\
error: the exec form takes strings only
 --> Dockerfile:2:11
  |
2 | RUN [\"a\", 1]
  |           ^ put it in double quotes",
    );
    check_error(
        "FROM a\nRUN <<EOF\necho\n",
        "\
error: the here-document `EOF` has no end
 --> Dockerfile:2:1
  |
2 | RUN <<EOF
  | ^^^^^^^^^ expected a line with `EOF` alone",
    );
    check_error(
        "FROM a\nENV a=b \\\n    c",
        "\
error: `c` has no equals sign
 --> Dockerfile:3:5
  |
3 |     c
  |     ^ expected `NAME=value`; a value with blanks needs quotes",
    );
    check_error(
        "RUN x",
        "\
error: RUN before the first FROM
 --> Dockerfile:1:1
  |
1 | RUN x
  | ^^^ only ARG may stand here",
    );
    check_error(
        "FROM a\nRNU <<EOF\nFROM\nEOF\nRUN x",
        "\
error: unknown instruction `RNU`
 --> Dockerfile:2:1
  |
2 | RNU <<EOF
  | ^^^ did you mean `RUN`?",
    );
}

#[test]
fn mistakes() {
    #[track_caller]
    fn check(line: &str, expected: &str) {
        let text = format!("FROM base\n{line}\n");
        let Err(Error::Syntax { diagnostics }) = parse(&text) else {
            panic!("{line:?}")
        };
        let first = &diagnostics[0];
        assert_eq!(first.message, expected, "{line:?}");
        assert!(first.span.line >= 2, "{line:?}");
    }

    check("FROM", "FROM needs an image or a stage");
    check("FROM a b", "unexpected `b` after the image");
    check(
        "FROM a AS",
        "FROM takes an image, or an image and `AS name`",
    );
    check(
        "FROM a AS b c",
        "FROM takes an image, or an image and `AS name`",
    );
    check("FROM a AS 1b", "`1b` cannot be the name of a stage");
    check("FROM a AS b/c", "`b/c` cannot be the name of a stage");
    check("FROM --platform a", "`--platform` needs a value");
    check("COPY a", "COPY needs a source and a destination");
    check("ADD", "ADD needs a source and a destination");
    check(
        "COPY a <<EOF\nEOF",
        "the destination of COPY cannot be a here-document",
    );
    check(
        "COPY --link=maybe a b",
        "`--link` is either true or false, not `maybe`",
    );
    check("COPY --from=a --from=b c d", "`--from` is given twice");
    check("COPY --checksum=x a b", "unknown flag `--checksum` of COPY");
    check("ENV --x a=b", "unknown flag `--x` of ENV");
    check("ENV", "ENV needs at least one `NAME=value`");
    check("ENV a", "ENV needs a value");
    check("ENV =b", "ENV needs a name");
    check("LABEL a=b c", "`c` has no equals sign");
    check("ARG", "ARG needs at least one name");
    check("ARG =b", "ARG needs a name");
    check("WORKDIR", "WORKDIR needs an argument");
    check("USER", "USER needs an argument");
    check("STOPSIGNAL", "STOPSIGNAL needs an argument");
    check("EXPOSE", "EXPOSE needs at least one argument");
    check("VOLUME", "VOLUME needs at least one argument");
    check("VOLUME []", "VOLUME needs at least one argument");
    check("VOLUME [\" \"]", "a volume needs a path");
    check("SHELL /bin/sh", "SHELL needs a JSON array of strings");
    check("SHELL []", "SHELL needs a JSON array of strings");
    check("RUN []", "RUN needs a command");
    check("RUN --network=off x", "unknown network mode `off`");
    check("RUN --security=x y", "unknown security mode `x`");
    check("RUN --mount=type=bund x", "unknown mount type `bund`");
    check("RUN --mount=tpye=bind x", "unknown mount option `tpye`");
    check(
        "RUN --mount=type=bind,source x",
        "the mount option `source` needs a value",
    );
    check(
        "RUN --mount=from=$a x",
        "variables are not expanded in `from`",
    );
    let mount = |options: &str, expected: &str| {
        check(&format!("RUN --mount={options} x"), expected);
    };
    mount(
        "type=cache,ro=maybe",
        "`ro` is either true or false, not `maybe`",
    );
    mount("type=cache,sharing=all", "unknown way of sharing `all`");
    mount("type=cache,mode=9", "`9` is no mode");
    mount("type=cache,uid=app", "`app` is no uid");
    mount("type=tmpfs,size=big", "`big` is no size");
    mount(
        "size=1m,type=tmpfs",
        "a mount of type `bind` has no option `size`",
    );
    mount(
        "required,type=secret,id=x",
        "a mount of type `bind` has no option `required`",
    );
    mount("uid=1", "a mount of type `bind` has no option `uid`");
    mount(
        "type=tmpfs,mode=1",
        "a mount of type `tmpfs` has no option `mode`",
    );
    mount(
        "sharing=locked",
        "a mount of type `bind` has no option `sharing`",
    );
    mount("type=secret", "a secret needs an `id` or a `target`");
    mount(
        "type=secret,id=a,src=b",
        "a secret has either an `id` or a `source`, which mean the same",
    );
    mount(
        "type=secret,id=a,from=b",
        "a mount of type `secret` has no option `from`",
    );
    mount(
        "type=ssh,src=b",
        "a mount of type `ssh` has no option `source`",
    );
    check("HEALTHCHECK", "HEALTHCHECK needs CMD or NONE");
    check("HEALTHCHECK CMD", "HEALTHCHECK CMD needs a command");
    check("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments");
    check("HEALTHCHECK x", "unknown health check `x`");
    check("HEALTHCHECK --interval=5 CMD x", "`5` is not a duration");
    check(
        "HEALTHCHECK --interval=5ns CMD x",
        "`--interval=5ns` is less than 1ms",
    );
    check(
        "HEALTHCHECK --retries=-1 CMD x",
        "`-1` is not a number of retries",
    );
    check(
        "HEALTHCHECK --start=1s CMD x",
        "unknown flag `--start` of HEALTHCHECK",
    );
    check("ONBUILD", "ONBUILD needs an instruction");
    check("ONBUILD FROM a", "FROM cannot be an ONBUILD trigger");
    check(
        "ONBUILD ONBUILD RUN x",
        "ONBUILD cannot be an ONBUILD trigger",
    );
    check(
        "ONBUILD MAINTAINER x",
        "MAINTAINER cannot be an ONBUILD trigger",
    );
    check("ONBUILD FOO", "unknown instruction `FOO`");
    check("MAINTAINER", "MAINTAINER needs an argument");
}

#[test]
fn files_without_stages() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let Err(Error::Syntax { diagnostics }) = parse(text) else {
            panic!("{text:?}")
        };
        assert_eq!(diagnostics[0].message, expected, "{text:?}");
    }

    check("", "the Dockerfile has no instructions");
    check("# nothing\n\n", "the Dockerfile has no instructions");
    check("ARG a", "the Dockerfile has no FROM");
    check(
        &format!("FROM a\nRUN {}", "x".repeat(65_536)),
        "the line is longer than 65535 bytes",
    );
    check("# escape=x\nFROM a", "`x` cannot be the escape character");
    check(
        "# escape=`\n# escape=`\nFROM a",
        "the `escape` directive is given twice",
    );
    check(
        "# check=slip=a\nFROM a",
        "unknown check option `slip`; did you mean `skip`?",
    );
}

#[test]
fn directives() {
    #[track_caller]
    fn check(text: &str) -> Dockerfile {
        parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    assert_eq!(check("# escape=`\nFROM a").escape, '`');
    assert_eq!(check("#ESCAPE = `  \nFROM a").escape, '`');
    assert_eq!(check("# note\n# escape=`\nFROM a").escape, '\\');
    assert_eq!(check("\n# escape=`\nFROM a").escape, '\\');
    assert_eq!(
        check("\u{feff}# syntax=docker/dockerfile:1\r\n# escape=`\r\nFROM a").escape,
        '`'
    );
    for known in [
        "docker/dockerfile",
        "docker/dockerfile:1.7",
        "docker.io/docker/dockerfile:1.7.0",
    ] {
        let dockerfile = check(&format!("# syntax={known}\nFROM a"));
        assert_eq!(dockerfile.notes, [], "{known}");
        assert_eq!(dockerfile.directives.syntax.unwrap().value, known);
    }
    let pinned = check("# syntax=docker/dockerfile:1@sha256:00\nFROM a").notes;
    assert_eq!(
        pinned[0].message,
        "the built-in grammar is used for `docker/dockerfile:1`, whatever its digest is"
    );
    assert_eq!(check("#!/usr/bin/env x\n# escape=`\nFROM a").escape, '\\');
    let shebang = check("#!/usr/bin/env x\n# syntax=docker/dockerfile:1\nFROM a").directives;
    assert_eq!(shebang.syntax.unwrap().value, "docker/dockerfile:1");
    // What is in no grammar of ours has that one fault.
    let Err(Error::Syntax { diagnostics }) = parse("# syntax=other/front:1\nkey: value\n") else {
        panic!()
    };
    let message = "the Dockerfile syntax `other/front:1` is not supported";
    assert_eq!(diagnostics[0].message, message);
    assert_eq!(diagnostics.len(), 1);
    let checks = check("# check=skip=A,B;error=true\nFROM a")
        .directives
        .check
        .unwrap()
        .value;
    assert_eq!(
        (checks.skip, checks.error),
        (vec!["A".to_owned(), "B".to_owned()], true)
    );
}

#[test]
fn shell_and_exec_form() {
    #[track_caller]
    fn check(line: &str, expected: Result<&[&str], &str>) {
        let dockerfile = parse(&format!("FROM a\n{line}\n")).unwrap();
        let Kind::Cmd(command) = &dockerfile.stages[0].instructions[0].kind else {
            panic!()
        };
        match (command, expected) {
            (Command::Exec(words), Ok(expected)) => {
                let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                assert_eq!(words, expected, "{line:?}");
            }
            (Command::Shell(word), Err(expected)) => assert_eq!(word.text, expected, "{line:?}"),
            other => panic!("{line:?}: {other:?}"),
        }
    }

    check("CMD echo  $HOME", Err("echo  $HOME"));
    check("CMD [\"a\", \"b c\"]", Ok(&["a", "b c"]));
    check("CMD [ \"a\", \\\n \"b\" ]", Ok(&["a", "b"]));
    check("CMD ['a']", Err("['a']"));
    check("CMD [\"a\"] b", Err("[\"a\"] b"));
    check("cmd a # b", Err("a # b"));
    check("CMD a \\\n # note\n\n b", Err("a  b"));
    check("CMD", Err(""));
    check("CMD []", Ok(&[]));
}

#[test]
fn here_documents() {
    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, bool)]) {
        let dockerfile = parse(&format!("FROM a\n{text}\nUSER end\n")).unwrap();
        let instructions = &dockerfile.stages[0].instructions;
        assert_eq!(instructions.len(), 2, "{text:?}");
        let found: Vec<_> = match &instructions[0].kind {
            Kind::Run(run) => run.heredocs.clone(),
            Kind::Copy(copy) => copy
                .sources
                .iter()
                .filter_map(|source| match source {
                    CopySource::Inline(heredoc) => Some(heredoc.clone()),
                    CopySource::Path(_) => None,
                })
                .collect(),
            other => panic!("{other:?}"),
        };
        let found: Vec<_> = found
            .iter()
            .map(|h| (h.name.clone(), h.body(), h.expand))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, b, e)| ((*n).to_owned(), (*b).to_owned(), *e))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    check("RUN <<EOF\na\n\n# b\nEOF", &[("EOF", "a\n\n# b\n", true)]);
    check("RUN <<-EOF\n\t\ta\n\tEOF", &[("EOF", "a\n", true)]);
    check("RUN <<'E F'\n$a\nE F", &[("E F", "$a\n", false)]);
    check(
        "RUN cat <<A <<B\n1\nA\n2\nB",
        &[("A", "1\n", true), ("B", "2\n", true)],
    );
    check(
        "COPY <<x.txt <<\"y\" /d/\n1\nx.txt\n2\ny",
        &[("x.txt", "1\n", true), ("y", "2\n", false)],
    );
    check(
        "ADD --chmod=644 <<f /f\r\n1\r\nf\r",
        &[("f", "1\r\n", true)],
    );
    check("RUN echo \"<<EOF\"", &[]);
    check("RUN [\"echo\", \"<<EOF\"]", &[]);
    check("RUN echo $((1<<3))", &[]);
    check("RUN cat <<< word", &[]);
    check("RUN <<EOF\nEOF", &[("EOF", "", true)]);
}

#[test]
fn words_know_their_place() {
    let text = "FROM a\nCOPY --from=b \\\n  src \\\n  # note\n  dst\n";
    let dockerfile = parse(text).unwrap();
    let instruction = &dockerfile.stages[0].instructions[0];
    let Kind::Copy(copy) = &instruction.kind else {
        panic!()
    };
    let CopySource::Path(source) = &copy.sources[0] else {
        panic!()
    };
    let at =
        |span: corten_dockerfile::Span| (span.line, span.column, text.get(span.start..span.end));
    assert_eq!(at(instruction.keyword), (2, 1, Some("COPY")));
    assert_eq!(
        at(copy.from.as_ref().unwrap().span),
        (2, 6, Some("--from=b"))
    );
    assert_eq!(at(source.span), (3, 3, Some("src")));
    assert_eq!(at(copy.dest.span), (5, 3, Some("dst")));
}
