//! What references are, by what `git ls-remote` answers.

use corten_dockerfile::is_commit;

use super::Resolved;

pub(super) fn default_branch(answer: &str) -> Option<Resolved> {
    let lines = || answer.lines().filter_map(|line| line.split_once('\t'));
    let name = lines().find_map(|(start, name)| {
        let target = start.strip_prefix("ref: ")?;
        (name == "HEAD" && target.starts_with("refs/heads/")).then(|| target.to_owned())
    });
    let object = lines().find(|(object, name)| *name == "HEAD" && is_commit(object));
    object.map(|(object, _)| Resolved {
        object: object.to_owned(),
        peeled: None,
        name,
    })
}

/// Chooses what `reference` is from what `ls-remote` answered: the reference of that very name, a
/// branch, or a tag.
pub(super) fn choose(answer: &str, reference: &str) -> Option<Resolved> {
    let bare = reference.strip_prefix("refs/").unwrap_or(reference);
    let names = [
        format!("refs/{bare}"),
        format!(
            "refs/heads/{}",
            reference.strip_prefix("refs/heads/").unwrap_or(reference)
        ),
        format!(
            "refs/tags/{}",
            reference.strip_prefix("refs/tags/").unwrap_or(reference)
        ),
    ];
    names.into_iter().find_map(|wanted| {
        let find = |wanted: &str| {
            let mut lines = answer.lines().filter_map(|line| line.split_once('\t'));
            let found = lines.find(|(object, name)| *name == wanted && is_commit(object));
            found.map(|(object, _)| object.to_owned())
        };
        Some(Resolved {
            object: find(&wanted)?,
            peeled: find(&format!("{wanted}^{{}}")),
            name: Some(wanted),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reference_is() {
        #[track_caller]
        fn check(answer: &[(char, &str)], reference: &str, expected: Option<(char, &str)>) {
            let line = |(digit, name): &(char, &str)| {
                format!("{}\t{name}\n", digit.to_string().repeat(40))
            };
            let answer: String = answer.iter().map(line).collect();
            let expected = expected.map(|(digit, name)| Resolved {
                object: digit.to_string().repeat(40),
                peeled: answer.contains("^{}").then(|| "c".repeat(40)),
                name: Some(name.to_owned()),
            });
            assert_eq!(
                choose(&answer, reference),
                expected,
                "{reference}: {answer}"
            );
        }
        let both = [('a', "refs/tags/v"), ('b', "refs/heads/v")];
        check(&both, "v", Some(('b', "refs/heads/v")));
        check(&both, "refs/tags/v", Some(('a', "refs/tags/v")));
        check(&both, "tags/v", Some(('a', "refs/tags/v")));
        check(&both[..1], "v", Some(('a', "refs/tags/v")));
        check(
            &[('a', "refs/tags/v"), ('c', "refs/tags/v^{}")],
            "v",
            Some(('a', "refs/tags/v")),
        );
        // A pattern of `ls-remote` finds the ends of names, too.
        check(&[('a', "refs/heads/other/v")], "v", None);
        check(
            &[('a', "refs/pull/1/head")],
            "pull/1/head",
            Some(('a', "refs/pull/1/head")),
        );
        check(&[('x', "refs/heads/v")], "v", None);
    }

    #[test]
    fn the_default_branch() {
        let object = "a".repeat(40);
        let answer = format!("ref: refs/heads/main\tHEAD\n{object}\tHEAD\n");
        let expected = |name: Option<&str>| {
            Some(Resolved {
                object: object.clone(),
                peeled: None,
                name: name.map(str::to_owned),
            })
        };
        assert_eq!(default_branch(&answer), expected(Some("refs/heads/main")));
        assert_eq!(default_branch(&format!("{object}\tHEAD\n")), expected(None));
        assert_eq!(default_branch(""), None);
    }
}
