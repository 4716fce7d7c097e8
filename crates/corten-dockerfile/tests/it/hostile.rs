//! Text that nobody meant: nothing panics, everything ends.

use std::collections::{BTreeMap, BTreeSet};

use corten_dockerfile::{
    BaseConfig, Error, Ignore, PlanOptions, Platform, expand, expand_words, glob_match, parse,
    plan, render, resolve, triggers, unsupported,
};
use proptest::prelude::*;

const DOCKERFILE: &str = "# syntax=docker/dockerfile:1\nARG v=12\nFROM --platform=$BUILDPLATFORM debian:$v AS b\n\
ARG x=\"a b\" y\nENV a=${x:-d} b='c'\nWORKDIR /a\nRUN <<EOF\necho $a\nEOF\n\
COPY --chmod=755 --chown=1:2 <<-\"f\" a* \\\n  # note\n /d/\n\tx\n\tf\n\
FROM b\nCOPY --from=0 [\"a\", \"b\"]\nONBUILD RUN [\"x\"]\nEXPOSE 1-3/udp\n\
HEALTHCHECK --interval=5s CMD x\nSHELL [\"s\"]\nVOLUME /v\nSTOPSIGNAL 9\nUSER $a\n";

/// Puts a text through everything; what is refused is shown.
fn everything(text: &str) {
    let dockerfile = match parse(text) {
        Ok(dockerfile) => dockerfile,
        Err(Error::Syntax { diagnostics }) => {
            assert!(!diagnostics.is_empty());
            for diagnostic in &diagnostics {
                let shown = render(diagnostic, "Dockerfile", text);
                assert!(shown.starts_with("error: "), "{shown}");
                assert!(diagnostic.span.end <= text.len(), "{diagnostic:?}");
            }
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let platform = Platform::new("linux", "amd64", "");
    let build_args = BTreeMap::from([("x".to_owned(), "$x${".to_owned())]);
    let options = PlanOptions {
        target: None,
        build_args: &build_args,
        platform: &platform,
        build_platform: &platform,
        contexts: &BTreeSet::new(),
    };
    let Ok(plan) = plan(&dockerfile, &options) else {
        return;
    };
    for diagnostic in unsupported(&plan) {
        render(&diagnostic, "Dockerfile", text);
    }
    for index in &plan.needed {
        let mut state = plan.begin(*index, &BaseConfig::default());
        for instruction in &plan.stages[*index].instructions {
            if let Err(diagnostic) = resolve(instruction, &mut state) {
                render(&diagnostic, "Dockerfile", text);
            }
        }
    }
}

fn pieces(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|parts| parts.concat())
}

const WORDS: &[&str] = &[
    "$", "${", "}", "a", "b", ":", "-", "+", "?", "#", "%", "/", "*", "\"", "'", "\\", " ", "<<",
    "\n", "é", "`", "\u{0}",
];

const LINES: &[&str] = &[
    "FROM a",
    " AS b",
    "\n",
    "RUN ",
    "COPY ",
    "--from=0 ",
    "<<EOF ",
    "EOF\n",
    "\\\n",
    "# ",
    "[\"a\"]",
    "ENV ",
    "a=b ",
    "ONBUILD ",
    "ARG ",
    "\r\n",
    "\t",
    "'",
    "\"",
    "\u{feff}",
    "é",
    "=",
    "HEALTHCHECK ",
    "--x",
    "EXPOSE 0-65 ",
];

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        everything(&text);
    }

    #[test]
    fn pieces_of_dockerfiles(text in pieces(LINES)) {
        everything(&text);
        drop(triggers(&[text], corten_dockerfile::Span::default()));
    }

    #[test]
    fn mutated_dockerfiles(
        cuts in prop::collection::vec((0..DOCKERFILE.len(), 0usize..12, pieces(LINES)), 1..4),
    ) {
        let mut text = DOCKERFILE.to_owned();
        for (at, len, new) in cuts {
            let chars: Vec<char> = text.chars().collect();
            let at = at.min(chars.len());
            let end = (at + len).min(chars.len());
            text = chars[..at].iter().copied().chain(new.chars()).chain(chars[end..].iter().copied())
                .collect();
        }
        everything(&text);
    }

    #[test]
    fn expansion(word in pieces(WORDS), any in any::<String>()) {
        let env = [("a".to_owned(), "x/y.z".to_owned()), ("b".to_owned(), any.clone())];
        for text in [&word, &any] {
            for escape in ['\\', '`'] {
                drop(expand(text, &env, escape));
                drop(expand_words(text, &env, escape));
            }
        }
    }

    #[test]
    fn ignore_files(
        text in prop::collection::vec(any::<u8>(), 0..64),
        pattern in "[ab*/.!?\\[\\]^\\\\\n-]{0,16}",
        path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
    ) {
        for text in [text.as_slice(), pattern.as_bytes()] {
            drop(glob_match(text, path.as_bytes()));
            let Ok(ignore) = Ignore::parse(text) else { continue };
            if ignore.decide(path.as_bytes()).excluded {
                continue;
            }
            // A walk that skips what may be skipped still finds everything that is included.
            let mut dir = path.as_str();
            while let Some((up, _)) = dir.rsplit_once('/') {
                dir = up;
                let skipped = ignore.decide(dir.as_bytes()).excluded
                    && !ignore.may_contain_included_children(dir.as_bytes());
                prop_assert!(!skipped, "{dir:?} hides {path:?}");
            }
        }
    }
}

#[test]
fn the_sample_is_accepted() {
    parse(DOCKERFILE).unwrap();
}

#[test]
fn long_inputs_end() {
    everything(&"FROM a\n".repeat(20_000));
    everything(&format!("FROM a\nRUN {}", "<<a ".repeat(5_000)));
    everything(&format!("FROM a\nCMD {}", "[".repeat(60_000)));
    everything(&format!("FROM a\nENV a={}", "${".repeat(30_000)));
    everything(&format!("FROM a\n{}", "ENV a=$a$a$a$a\n".repeat(200)));
    everything(&format!("FROM a\nEXPOSE {}", "0-65535 ".repeat(5_000)));
}

/// A base image may have as many variables as its config has room for.
#[test]
fn a_base_with_many_variables_takes_linear_time() {
    let env = (0..200_000).map(|number| (format!("A{number}"), String::new()));
    let config = BaseConfig {
        env: env.collect(),
        ..BaseConfig::default()
    };
    let dockerfile = parse("FROM a AS b\nFROM b\n").unwrap();
    let platform = Platform::new("linux", "amd64", "");
    let plan = plan(
        &dockerfile,
        &PlanOptions {
            target: None,
            build_args: &BTreeMap::new(),
            platform: &platform,
            build_platform: &platform,
            contexts: &BTreeSet::new(),
        },
    );
    let state = plan.unwrap().begin(0, &config);
    assert_eq!(state.env.len(), 200_001);
}
