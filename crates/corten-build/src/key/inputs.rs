//! What of each kind of step goes into its key.

use corten_dockerfile::{Chmod, CopyStep, GitSource, GitTimes, HttpSource, RunStep, Source};
use corten_sandbox::ResourceLimit;
use corten_spec::Digest;

use crate::key::Key;
use crate::remote::GitCommit;

impl Key {
    /// Adds all that the result of a RUN depends on besides the layers beneath.
    pub(crate) fn run(&mut self, run: &RunStep, network: &str) {
        self.list(&run.command);
        self.pairs(&run.env);
        self.text(&run.workdir);
        self.text(&run.user);
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

    /// Adds what a command may see of where it runs.
    pub(crate) fn surroundings(
        &mut self,
        host_name: &str,
        shm_size: Option<u64>,
        limits: &[ResourceLimit],
    ) {
        let shm_size = shm_size.map(|size| size.to_string());
        let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
        self.text(host_name);
        self.optional(shm_size.as_deref());
        self.list(&limits);
        let account = self.account();
        account.input("host name", host_name);
        account.input("size of /dev/shm", &shm_size.unwrap_or_default());
        account.input("limits of resources", &limits.join(" "));
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
                // What is there is added when it is known, and then it does not matter where it is.
                Source::Http(file) => self.list(&["http", &file.name]),
                Source::Git(_) => self.list(&["git"]),
            }
        }
        let account = self.account();
        let names = copy.sources.iter().map(|source| match source {
            Source::Path(path) => path.clone(),
            Source::Parents { pivot, pattern, .. } => format!("{pivot}/./{pattern}"),
            Source::Inline { name, .. } => name.clone(),
            Source::Http(file) => file.url.to_string(),
            Source::Git(tree) => tree.url.shown_remote(),
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

    /// Adds the file that an address turned out to be.
    pub(crate) fn file(&mut self, source: &HttpSource, digest: &Digest) {
        self.list(&["file", digest.as_str()]);
        let name = format!("file at `{}`", source.url);
        self.account().input(&name, digest.as_str());
    }

    /// Adds the commit that an address turned out to be, which stands for its files.
    pub(crate) fn commit(&mut self, source: &GitSource, commit: &GitCommit) {
        let url = &source.url;
        self.list(&["commit", &commit.commit, &url.subdir]);
        self.number(i64::from(url.submodules.unwrap_or(true)));
        self.number(i64::from(url.times == GitTimes::Commit));
        let keeps = url.keep_git_dir == Some(true);
        // `.git` holds them.
        self.optional(commit.reference.as_deref().filter(|_| keeps));
        self.optional(keeps.then_some(url.remote.as_str()));
        let name = format!("commit at `{}`", url.shown_remote());
        self.account().input(&name, &commit.commit);
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

    use corten_dockerfile::{Address, Network, Script, Security};

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
                            security: Security::Sandbox,
                            mounts: Vec::new(),
                            workdir: workdir.clone(),
                            user: "a".into(),
                        });
                    }
                }
            }
        }
        no_two_collide(inputs, |run| key_of(|key| key.run(run, "none")));
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
        sources.push(Source::Parents {
            pivot: "a".into(),
            pattern: "a".into(),
            required: true,
        });
        sources.push(Source::Http(Box::new(HttpSource {
            url: Address::new("http://a/a"),
            name: "a".into(),
            checksum: None,
        })));
        let modes = [
            None,
            Some(Chmod::Octal(0o7)),
            Some(Chmod::Octal(0o70)),
            Some(Chmod::Symbolic("70".into())),
        ];
        let mut inputs = Vec::new();
        for sources in lists(&sources, 2) {
            for chown in [None, Some(String::new()), Some("a".to_owned())] {
                for (number, chmod) in modes.iter().enumerate() {
                    inputs.push(CopyStep {
                        from: None,
                        sources: sources.clone(),
                        dest: "/".into(),
                        chown: chown.clone(),
                        chmod: chmod.clone(),
                        unpack_paths: false,
                        unpack_addresses: false,
                        link: false,
                        excludes: vec!["a".into(); number % 2],
                    });
                }
            }
        }
        no_two_collide(inputs, |copy| key_of(|key| key.copy(copy)));
    }
}
