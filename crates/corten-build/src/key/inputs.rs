//! What of each kind of step goes into its key.

use corten_dockerfile::{Chmod, CopyStep, Network, RunStep, Source};

use crate::key::Key;

impl Key {
    /// Adds all that the result of a RUN depends on besides the layers beneath.
    pub(crate) fn run(&mut self, run: &RunStep) {
        self.list(&run.command);
        self.pairs(&run.env);
        self.text(&run.workdir);
        self.text(&run.user);
        let network = match run.network {
            Network::Default | Network::Host => "host",
            Network::None => "none",
        };
        self.text(network);
        self.count(usize::from(run.script.is_some()));
        if let Some(script) = &run.script {
            self.list(&[&script.path, &script.content]);
        }
        let account = self.account();
        account.input("command", &run.command.join(" "));
        for (name, value) in &run.env {
            account.variable(name, value);
        }
        account.input("working directory", &run.workdir);
        account.input("user", &run.user);
        account.input("network", network);
        if let Some(script) = &run.script {
            account.input("script", &script.content);
        }
    }

    /// Adds what a COPY or ADD does with what it takes.
    pub(crate) fn copy(&mut self, copy: &CopyStep) {
        let mode = copy.chmod.as_ref().map(shown);
        self.text(&copy.dest);
        self.optional(copy.chown.as_deref());
        self.optional(mode.as_deref());
        self.number(i64::from(copy.unpack_paths));
        self.number(i64::from(copy.unpack_addresses));
        self.list(&copy.excludes);
        self.count(copy.sources.len());
        for source in &copy.sources {
            match source {
                Source::Path(path) => self.list(&["path", path]),
                Source::Parents { pivot, pattern, .. } => self.list(&["parents", pivot, pattern]),
                Source::Inline { name, content } => self.list(&["text", name, content]),
                // The content tells what it is, wherever it comes from.
                Source::Http(file) => self.list(&["http", &file.name]),
                Source::Git(_) => self.list(&["git"]),
            }
        }
        let account = self.account();
        let names = copy.sources.iter().map(|source| match source {
            Source::Path(path) => path.as_str(),
            Source::Parents { pattern, .. } => pattern,
            Source::Inline { name, .. } => name,
            Source::Http(file) => &file.name,
            Source::Git(_) => "a repository",
        });
        account.input("sources", &names.collect::<Vec<_>>().join(" "));
        for source in &copy.sources {
            if let Source::Inline { name, content } = source {
                account.input(&format!("here-document `{name}`"), content);
            }
        }
        account.input("destination", &copy.dest);
        account.input("--chown", copy.chown.as_deref().unwrap_or_default());
        account.input("--chmod", mode.as_deref().unwrap_or_default());
        account.input("--exclude", &copy.excludes.join(" "));
    }
}

fn shown(mode: &Chmod) -> String {
    match mode {
        Chmod::Octal(mode) => format!("{mode:o}"),
        // What it does begins with a letter, so that no number looks like it.
        Chmod::Symbolic(text) => format!("symbolic {text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fmt::Debug;

    use corten_dockerfile::Script;
    use corten_spec::Digest;

    use super::*;
    use crate::explain::Ledger;

    /// Texts that look like the frames around texts, besides plain ones.
    fn texts() -> Vec<String> {
        let number = |number: u8| format!("{}{}", char::from(number), "\0".repeat(7));
        vec![String::new(), "a".into(), number(0), number(1), number(2)]
    }

    fn key_of(add: impl FnOnce(&mut Key)) -> Digest {
        let mut key = Key::new("x", &Ledger::default());
        add(&mut key);
        key.finish()
    }

    #[track_caller]
    fn no_two_collide<T: Debug>(inputs: impl IntoIterator<Item = T>, key: impl Fn(&T) -> Digest) {
        let mut seen: HashMap<Digest, T> = HashMap::new();
        let mut n_inputs = 0;
        for input in inputs {
            n_inputs += 1;
            if let Some(other) = seen.insert(key(&input), input) {
                panic!("another input has the key of {other:?}");
            }
        }
        assert_eq!(seen.len(), n_inputs);
    }

    /// Returns all lists of up to `most` of `items`.
    fn lists<T: Clone>(items: &[T], most: usize) -> Vec<Vec<T>> {
        let mut all = vec![Vec::new()];
        let mut longest = all.clone();
        for _ in 0..most {
            let longer = longest.iter().flat_map(|list: &Vec<T>| {
                items.iter().map(|item| {
                    let mut list = list.clone();
                    list.push(item.clone());
                    list
                })
            });
            longest = longer.collect();
            all.extend(longest.iter().cloned());
        }
        all
    }

    #[test]
    fn no_two_commands_have_the_same_key() {
        let texts = texts();
        let few: Vec<String> = texts[..3].to_vec();
        let pairs: Vec<_> = few
            .iter()
            .flat_map(|name| few.iter().map(|value| (name.clone(), value.clone())))
            .collect();
        let mut inputs = Vec::new();
        for command in lists(&few, 2) {
            for env in lists(&pairs, 1)
                .into_iter()
                .chain([vec![("a".into(), "a".into()), (String::new(), "a".into())]])
            {
                for workdir in &texts {
                    for script in [None, Some(("a", "")), Some(("", "a"))] {
                        inputs.push(RunStep {
                            command: command.clone(),
                            env: env.clone(),
                            proxy_env: Vec::new(),
                            script: script.map(|(path, content)| Script {
                                path: path.into(),
                                content: content.into(),
                            }),
                            network: Network::None,
                            workdir: workdir.clone(),
                            user: "a".into(),
                        });
                    }
                }
            }
        }
        no_two_collide(inputs, |run| key_of(|key| key.run(run)));
    }

    #[test]
    fn no_two_copies_have_the_same_key() {
        let texts = texts();
        let mut sources: Vec<_> = texts.iter().cloned().map(Source::Path).collect();
        for text in ["text", "path", "a"] {
            sources.push(Source::Inline {
                name: text.into(),
                content: "a".into(),
            });
        }
        let modes = [
            None,
            Some(Chmod::Octal(0o7)),
            Some(Chmod::Octal(0o70)),
            Some(Chmod::Symbolic("70".into())),
        ];
        let mut inputs = Vec::new();
        for sources in lists(&sources, 2) {
            for chown in [None, Some(String::new()), Some("a".to_owned())] {
                for chmod in &modes {
                    inputs.push(CopyStep {
                        from: None,
                        sources: sources.clone(),
                        dest: "/".into(),
                        chown: chown.clone(),
                        chmod: chmod.clone(),
                        unpack_paths: false,
                        unpack_addresses: false,
                        link: false,
                        excludes: Vec::new(),
                    });
                }
            }
        }
        no_two_collide(inputs, |copy| key_of(|key| key.copy(copy)));
    }
}
