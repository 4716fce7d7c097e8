//! From kaniko's arguments to those of `corten build`, as a function of values.

use std::collections::BTreeSet;

use corten_registry::Mirror;
use corten_spec::Reference;

use super::args::{KanikoArgs, boolean};
use super::duration;
use crate::env::KanikoEnvironment;
use crate::error::CommandError;
use crate::output::Verbosity;
use crate::registry::{Hosts, Reach};

/// What the arguments mean.
#[derive(Debug)]
pub(super) struct Translation {
    /// The arguments of `corten build`, but for the Dockerfile and the context.
    pub(super) build: Vec<String>,
    /// How registries are reached.
    pub(super) reach: Reach,
    /// What the image is called.
    pub(super) names: Vec<Reference>,
    /// Whether it is pushed.
    pub(super) is_pushed: bool,
    /// How much is told.
    pub(super) verbosity: Option<Verbosity>,
}

/// What the arguments are read with.
pub(super) struct Surroundings<'a> {
    pub(super) env: &'a KanikoEnvironment,
    /// Returns a variable of the environment.
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
    /// The time, in seconds since 1970.
    pub(super) now: u64,
}

/// The name in a `docker save` archive of an image that has none, as kaniko has it.
const NAMELESS: &str = "docker.io/unset-repo/unset-image-name";

/// Returns what `args` mean.
pub(super) fn translate(
    args: &KanikoArgs,
    around: &Surroundings<'_>,
) -> Result<Translation, CommandError> {
    let names = names(args)?;
    let no_push = match &around.env.no_push {
        Some(text) => boolean(text).ok_or_else(|| {
            CommandError::usage(format!(
                "`KANIKO_NO_PUSH` is `true` or `false`, not `{text}`"
            ))
        })?,
        None => args.is_on("no-push")?,
    };
    if names.is_empty() {
        if !no_push {
            return Err(CommandError::usage("the image has no place to go to")
                .hint("give `--destination NAME`, or `--no-push`"));
        }
        for flag in [
            "image-name-with-digest-file",
            "image-name-tag-with-digest-file",
        ] {
            if args.last(flag).is_some() {
                return Err(CommandError::usage(format!(
                    "`--{flag}` needs `--destination`"
                )));
            }
        }
    }
    let mut build = Vec::new();
    add_image(args, around, &names, &mut build)?;
    add_outputs(args, &names, no_push, &mut build)?;
    add_cache(args, around, &names, no_push, &mut build)?;
    let verbosity = add_logging(args, &mut build)?;
    Ok(Translation {
        build,
        reach: reach(args, around.env, &names, no_push)?,
        names,
        is_pushed: !no_push,
        verbosity,
    })
}

fn names(args: &KanikoArgs) -> Result<Vec<Reference>, CommandError> {
    let destinations = args.all("destination").iter();
    destinations
        .filter(|text| !text.is_empty())
        .map(|text| {
            let name: Reference = text
                .parse()
                .map_err(|error: corten_spec::Error| CommandError::usage(error.to_string()))?;
            if name.digest().is_some() {
                return Err(CommandError::usage(format!(
                    "`--destination {text}` has a digest, and the image's own is not known yet"
                )));
            }
            Ok(name.or_latest())
        })
        .collect()
}

fn add_image(
    args: &KanikoArgs,
    around: &Surroundings<'_>,
    names: &[Reference],
    build: &mut Vec<String>,
) -> Result<(), CommandError> {
    let mut put = |flag: &str, value: &str| build.push(format!("{flag}={value}"));
    for name in names {
        put("--tag", &name.to_string());
    }
    for text in args.all("build-arg") {
        if text.contains('=') {
            put("--build-arg", text);
        } else {
            // As for kaniko, what is not set is set to nothing.
            let value = (around.lookup)(text).unwrap_or_default();
            put("--build-arg", &format!("{text}={value}"));
        }
    }
    for text in args.all("label") {
        put("--label", text);
    }
    for text in args.all("annotation") {
        put("--annotation", &format!("manifest:{text}"));
    }
    for text in args.all("secret") {
        put("--secret", text);
    }
    // Lists, and names of their own, are the build's: here there is one stage, and one platform.
    if let Some(target) = args.last("target") {
        if target.contains('=') {
            let text = format!("`--target {target}` is not a valid target build stage");
            return Err(CommandError::usage(text).hint("name the image with `--destination`"));
        }
        put("--target", target);
    }
    if let Some(platform) = args.last("custom-platform") {
        if platform.contains(',') {
            let text = format!("`--custom-platform {platform}`: it is one platform, `OS/ARCH`");
            return Err(CommandError::usage(text)
                .hint("build for each in a run of its own, or use `corten build --platform`"));
        }
        put("--platform", platform);
    }
    Ok(())
}

fn add_outputs(
    args: &KanikoArgs,
    names: &[Reference],
    no_push: bool,
    build: &mut Vec<String>,
) -> Result<(), CommandError> {
    if args.is_on("reproducible")? {
        build.push("--timestamp=0".to_owned());
    }
    let level: Option<i32> = args
        .last("compression-level")
        .map(|text| {
            text.parse().map_err(|_| {
                CommandError::usage(format!("`--compression-level {text}`: expected a number"))
            })
        })
        .transpose()?;
    let kind = args.last("compression").unwrap_or("gzip");
    if !matches!(kind, "gzip" | "zstd") {
        return Err(CommandError::usage(format!(
            "`--compression {kind}`: it is `gzip` or `zstd`"
        )));
    }
    let compression = match level.filter(|level| *level > 0) {
        Some(level) => format!("{kind}:{level}"),
        None => kind.to_owned(),
    };
    build.push(format!("--compression={compression}"));
    let mut output = |flag: &str, kind: &str, name: &str| {
        let Some(path) = args.last(flag) else {
            return Ok(());
        };
        if path.contains(',') {
            return Err(CommandError::usage(format!(
                "`--{flag} {path}`: a path with a comma is not supported"
            )));
        }
        build.push(format!("--output=type={kind},dest={path}{name}"));
        Ok(())
    };
    let name = if names.is_empty() {
        format!(",name={NAMELESS}")
    } else {
        String::new()
    };
    if args.last("tar-path").is_some() && names.len() > 1 {
        return Err(CommandError::usage(
            "an archive of `--tar-path` has one name, and there are several destinations",
        )
        .hint("give one destination, or run it once for each"));
    }
    output("tar-path", "docker", &name)?;
    output("oci-layout-path", "oci-layout", "")?;
    if !no_push {
        build.push("--push".to_owned());
    }
    Ok(())
}

fn add_cache(
    args: &KanikoArgs,
    around: &Surroundings<'_>,
    names: &[Reference],
    no_push: bool,
    build: &mut Vec<String>,
) -> Result<(), CommandError> {
    if !args.is_on("cache")? {
        // Without it kaniko runs every step, also where the store knows its result.
        build.push("--no-cache".to_owned());
        return Ok(());
    }
    let no_push_cache = args.is_on("no-push-cache")?;
    let repository = match (args.last("cache-repo"), names.first()) {
        (Some(repository), _) => repository.to_owned(),
        (None, Some(first)) if !no_push || no_push_cache => format!("{}/cache", first.name()),
        (None, _) => {
            return Err(
                CommandError::usage("a cache without a place to push to has to be named")
                    .hint("give `--cache-repo NAME`"),
            );
        }
    };
    let tag = cache_tag(args.last("cache-ttl").unwrap_or("336h"), around.now)?;
    let place = |key: &str| match repository.strip_prefix("oci:") {
        Some(path) => format!("type=local,{key}={path},tag={tag}"),
        None => format!("type=registry,ref={repository}:{tag}"),
    };
    build.push(format!("--cache-from={}", place("src")));
    if !no_push_cache {
        // As for kaniko, an image is not worse for a cache that cannot be written.
        build.push(format!(
            "--cache-to={},mode=max,ignore-error=true",
            place("dest")
        ));
    }
    Ok(())
}

/// Returns the tag of a cache in which nothing is older than `ttl`: there is one for each such span of
/// time, counted from 1970.
fn cache_tag(ttl: &str, now: u64) -> Result<String, CommandError> {
    let seconds = duration::seconds(ttl).ok_or_else(|| {
        CommandError::usage(format!(
            "`--cache-ttl {ttl}`: expected a time such as `6h` or `1h30m`"
        ))
    })?;
    Ok(match now.checked_div(seconds) {
        Some(number) => format!("corten-{seconds}-{number}"),
        None => format!("corten-0-{now}"),
    })
}

fn add_logging(
    args: &KanikoArgs,
    build: &mut Vec<String>,
) -> Result<Option<Verbosity>, CommandError> {
    let progress = match args.last("log-format") {
        None | Some("color") => "auto",
        Some("text") => "plain",
        Some("json") => "json",
        Some(other) => {
            return Err(CommandError::usage(format!(
                "`--log-format {other}`: it is `text`, `color` or `json`"
            )));
        }
    };
    build.push(format!("--progress={progress}"));
    Ok(match args.last("verbosity") {
        None | Some("info") => None,
        Some("trace" | "debug") => Some(Verbosity::Verbose),
        Some("warn" | "warning" | "error" | "fatal" | "panic") => Some(Verbosity::Quiet),
        Some(other) => {
            return Err(CommandError::usage(format!(
                "`--verbosity {other}`: it is trace, debug, info, warn, error, fatal or panic"
            )));
        }
    })
}

fn reach(
    args: &KanikoArgs,
    env: &KanikoEnvironment,
    names: &[Reference],
    no_push: bool,
) -> Result<Reach, CommandError> {
    let pushed: BTreeSet<_> = if no_push {
        BTreeSet::new()
    } else {
        names
            .iter()
            .map(|name| name.registry().to_owned())
            .collect()
    };
    let hosts = |named: &[&str], push: &str, pull: &str| {
        let named = named.iter().flat_map(|flag| args.all(flag));
        Ok::<_, CommandError>(Hosts {
            named: named.map(|host| registry(host)).collect(),
            pushed: pushed.clone(),
            are_pushed: args.is_on(push)?,
            are_others: args.is_on(pull)?,
        })
    };
    let mut reach = Reach::default();
    reach.plain = hosts(&["insecure-registry"], "insecure", "insecure-pull")?;
    reach.insecure = hosts(
        &["skip-tls-verify-registry"],
        "skip-tls-verify",
        "skip-tls-verify-pull",
    )?;
    for text in args.all("registry-certificate") {
        let (host, file) = pair("registry-certificate", text)?;
        reach.certificates.insert(registry(host), file.into());
    }
    let maps = args.all("registry-map").iter().chain(&env.registry_map);
    for pair_of in maps
        .flat_map(|text| text.split(';'))
        .filter(|text| !text.is_empty())
    {
        let (of, to) = pair("registry-map", pair_of)?;
        reach.mirrors.push(mirror(registry(of), to));
    }
    let mirrors = args
        .all("registry-mirror")
        .iter()
        .chain(&env.registry_mirror);
    for to in mirrors.filter(|text| !text.is_empty()) {
        reach.mirrors.push(mirror("docker.io".to_owned(), to));
    }
    reach.only_mirrors = args.is_on("skip-default-registry-fallback")?;
    for flag in [
        "push-retry",
        "image-download-retry",
        "image-fs-extract-retry",
    ] {
        let Some(text) = args.last(flag) else {
            continue;
        };
        let n_times: u32 = text
            .parse()
            .map_err(|_| CommandError::usage(format!("`--{flag} {text}`: expected a number")))?;
        reach.retries = reach.retries.max(n_times);
    }
    Ok(reach)
}

fn pair<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str), CommandError> {
    text.split_once('=')
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .ok_or_else(|| CommandError::usage(format!("`--{flag} {text}`: expected `HOST=VALUE`")))
}

/// Returns what a registry is called here.
fn registry(name: &str) -> String {
    match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

/// Reads `HOST[/PATH]`: the path is put before the names of repositories.
fn mirror(of: String, to: &str) -> Mirror {
    let (scheme, rest) = match to.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), to),
    };
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Mirror {
        of,
        base: format!("{scheme}{}", registry(host)),
        prefix: prefix.trim_matches('/').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str, env: &KanikoEnvironment) -> Result<Translation, String> {
        let around = Surroundings {
            env,
            lookup: &|name| (name == "SET").then(|| "here".to_owned()),
            now: 1_000_000,
        };
        translate(&KanikoArgs::of(line), &around).map_err(|error| {
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        })
    }

    /// Writes arguments as users do.
    fn on_a_line(words: Vec<String>) -> String {
        let apart = words.into_iter().map(|word| word.replacen('=', " ", 1));
        apart.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_asked_of_build() {
        #[track_caller]
        fn check(line: &str, expected: &str) {
            let found = match translated(line, &KanikoEnvironment::default()) {
                Ok(translation) => on_a_line(translation.build),
                Err(error) => error,
            };
            assert_eq!(found, expected, "{line}");
        }
        const USUAL: &str = "--compression gzip";
        const NONE: &str = "--no-cache --progress auto";
        check(
            "-d e.com/a -d e.com/a:2",
            &format!("--tag e.com/a:latest --tag e.com/a:2 {USUAL} --push {NONE}"),
        );
        check("--no-push", &format!("{USUAL} {NONE}"));
        check("--no-push=false", "error: the image has no place to go to");
        check(
            "--no-push=maybe",
            "error: `--no-push` is `true` or `false`, not `maybe`",
        );
        check(
            "--no-push --image-name-with-digest-file f",
            "error: `--image-name-with-digest-file` needs `--destination`",
        );
        check(
            "--no-push --build-arg A=1 --build-arg SET --build-arg UNSET --label a=b --label c \
             --annotation d=e:f --target t --customPlatform linux/arm64 --secret id=a,src=b",
            &format!(
                "--build-arg A=1 --build-arg SET=here --build-arg UNSET= --label a=b --label c \
                 --annotation manifest:d=e:f --secret id=a,src=b --target t --platform linux/arm64 \
                 {USUAL} {NONE}"
            ),
        );
        check(
            "--no-push --target a --target= --custom-platform linux/arm64 --custom-platform linux/arm",
            &format!("--platform linux/arm {USUAL} {NONE}"),
        );
        check(
            "--target a=evil:2 -d e.com/good:1",
            "error: `--target a=evil:2` is not a valid target build stage",
        );
        check(
            "--no-push --custom-platform linux/amd64,linux/arm64",
            "error: `--custom-platform linux/amd64,linux/arm64`: it is one platform, `OS/ARCH`",
        );
        check(
            "--no-push --tarPath a.tar --oci-layout-path l --reproducible",
            &format!(
                "--timestamp 0 {USUAL} --output \
                 type=docker,dest=a.tar,name=docker.io/unset-repo/unset-image-name \
                 --output type=oci-layout,dest=l {NONE}"
            ),
        );
        check(
            "-d a --no-push --tar-path a.tar",
            &format!(
                "--tag docker.io/library/a:latest {USUAL} --output type=docker,dest=a.tar {NONE}"
            ),
        );
        check(
            "-d a -d b --tar-path a.tar",
            "error: an archive of `--tar-path` has one name, and there are several destinations",
        );
        check(
            "--no-push --compression zstd --compression-level 9",
            &format!("--compression zstd:9 {NONE}"),
        );
        check(
            "--no-push --compression-level -1",
            &format!("{USUAL} {NONE}"),
        );
        check(
            "--no-push --compression xz",
            "error: `--compression xz`: it is `gzip` or `zstd`",
        );
        check(
            "--no-push --log-format json",
            &format!("{USUAL} --no-cache --progress json"),
        );
        check(
            "-d e.com/a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "error: `--destination \
             e.com/a@sha256:0000000000000000000000000000000000000000000000000000000000000000` has a \
             digest, and the image's own is not known yet",
        );
    }

    #[test]
    fn where_the_cache_is() {
        #[track_caller]
        fn check(line: &str, expected: &str) {
            let found = match translated(line, &KanikoEnvironment::default()) {
                Ok(translation) => {
                    let mut words = translation.build;
                    words.retain(|word| word.contains("-cache"));
                    on_a_line(words)
                }
                Err(error) => error,
            };
            assert_eq!(found, expected, "{line}");
        }
        check(
            "-d e.com/a:1 --cache",
            "--cache-from type=registry,ref=e.com/a/cache:corten-1209600-0 --cache-to \
             type=registry,ref=e.com/a/cache:corten-1209600-0,mode=max,ignore-error=true",
        );
        check(
            "--no-push --cache=true --cache-repo e.com/c --cache-ttl=6h --no-push-cache",
            "--cache-from type=registry,ref=e.com/c:corten-21600-46",
        );
        check(
            "--no-push --cache --cache-repo oci:/c --cache-ttl=0s",
            "--cache-from type=local,src=/c,tag=corten-0-1000000 --cache-to \
             type=local,dest=/c,tag=corten-0-1000000,mode=max,ignore-error=true",
        );
        check(
            "-d a --no-push --cache",
            "error: a cache without a place to push to has to be named",
        );
        check(
            "-d a --cache --cache-ttl 3",
            "error: `--cache-ttl 3`: expected a time such as `6h` or `1h30m`",
        );
        check("-d a --cache=false --cache-repo c", "--no-cache");
    }

    #[test]
    fn how_registries_are_reached() {
        let env = KanikoEnvironment {
            registry_map: Some("quay.io=m.com;ghcr.io=n.com".into()),
            registry_mirror: Some("e.com".into()),
            ..KanikoEnvironment::default()
        };
        let line = "-d p.com/a --insecure --skip-tls-verify-pull --insecure-registry i.com \
             --skip-tls-verify-registry index.docker.io --registry-certificate c.com=/c.pem \
             --registry-map docker.io=g.com/group/proxy --registry-mirror http://h.com:1 \
             --skip-default-registry-fallback --push-retry 9 --image-download-retry 7";
        let reach = translated(line, &env).unwrap().reach;
        let set = |host: &str| BTreeSet::from([host.to_owned()]);
        assert_eq!(
            reach.plain,
            Hosts {
                named: set("i.com"),
                pushed: set("p.com"),
                are_pushed: true,
                are_others: false,
            }
        );
        assert_eq!(
            reach.insecure,
            Hosts {
                named: set("docker.io"),
                pushed: set("p.com"),
                are_pushed: false,
                are_others: true,
            }
        );
        let mirrors: Vec<_> = reach
            .mirrors
            .iter()
            .map(|mirror| format!("{}={}|{}", mirror.of, mirror.base, mirror.prefix))
            .collect();
        assert_eq!(
            mirrors,
            [
                "docker.io=g.com|group/proxy",
                "quay.io=m.com|",
                "ghcr.io=n.com|",
                "docker.io=http://h.com:1|",
                "docker.io=e.com|"
            ]
        );
        assert!(reach.only_mirrors);
        assert_eq!(reach.retries, 9);
        assert_eq!(reach.certificates.len(), 1);
    }

    #[test]
    fn the_environment_says_whether_to_push() {
        let mut env = KanikoEnvironment {
            no_push: Some("1".into()),
            ..KanikoEnvironment::default()
        };
        assert!(!translated("-d a", &env).unwrap().is_pushed);
        env.no_push = Some("false".into());
        assert!(translated("-d a --no-push", &env).unwrap().is_pushed);
        env.no_push = Some("no".into());
        assert_eq!(
            translated("-d a", &env).unwrap_err(),
            "error: `KANIKO_NO_PUSH` is `true` or `false`, not `no`"
        );
    }
}
