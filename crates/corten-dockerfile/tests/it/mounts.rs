//! `RUN --mount`: what BuildKit makes of each option.

use std::collections::{BTreeMap, BTreeSet};

use corten_dockerfile::{
    Base, BaseConfig, PlanOptions, Platform, RunMountKind, Sharing, Step, parse, plan, resolve,
};

/// Resolves the last instruction of `text`, or says what is wrong.
fn last(text: &str, args: &[(&str, &str)]) -> Result<Step, String> {
    let dockerfile = parse(text).map_err(|error| error.to_string())?;
    let build_args: BTreeMap<String, String> = args
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let platform = Platform::new("linux", "amd64", "");
    let options = PlanOptions {
        target: None,
        build_args: &build_args,
        platform: &platform,
        build_platform: &platform,
        contexts: &BTreeSet::new(),
    };
    let plan = plan(&dockerfile, &options).map_err(|error| error.message)?;
    let mut state = plan.begin(plan.target, &BaseConfig::default());
    let mut last = Err("no instruction".to_owned());
    for instruction in &plan.stages[plan.target].instructions {
        let resolved = resolve(instruction, &mut state).map_err(|error| error.message)?;
        last = Ok(resolved.step);
    }
    last
}

/// Returns each mount of the last RUN in a line.
fn mounts(lines: &str, args: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let text = format!("FROM a AS one\nFROM b AS two\n{lines}\n");
    let Step::Run(run) = last(&text, args)? else {
        panic!("no RUN: {lines}");
    };
    Ok(run
        .mounts
        .iter()
        .map(|mount| {
            let readonly = if mount.readonly { "ro" } else { "rw" };
            format!("{} {readonly} {}", mount.target, show(&mount.kind))
        })
        .collect())
}

fn show(kind: &RunMountKind) -> String {
    let place = |from: &Option<Base>| match from {
        None => "-".to_owned(),
        Some(Base::Scratch) => "scratch".to_owned(),
        Some(Base::Stage(stage)) => format!("stage {stage}"),
        Some(Base::Image { name, .. }) => name.clone(),
    };
    match kind {
        RunMountKind::Bind { from, source } => format!("bind {} {source}", place(from)),
        RunMountKind::Cache {
            id,
            sharing,
            from,
            source,
            owner,
        } => {
            let sharing = match sharing {
                Sharing::Shared => "shared",
                Sharing::Private => "private",
                Sharing::Locked => "locked",
            };
            let owner = owner.map_or(String::new(), |owner| {
                format!(" {:o} {}:{}", owner.mode, owner.uid, owner.gid)
            });
            format!("cache {id} {sharing} {} {source}{owner}", place(from))
        }
        RunMountKind::Tmpfs { size } => format!("tmpfs {size:?}"),
        RunMountKind::Secret {
            id,
            required,
            file,
            env,
            owner,
        } => format!(
            "secret {id} {} {} {:o} {}:{}{}",
            if *required { "required" } else { "optional" },
            if *file { "file" } else { "no file" },
            owner.mode,
            owner.uid,
            owner.gid,
            env.as_ref().map_or(String::new(), |env| format!(" ${env}")),
        ),
        RunMountKind::Ssh {
            id,
            required,
            owner,
        } => format!(
            "ssh {id} {} {:o} {}:{}",
            if *required { "required" } else { "optional" },
            owner.mode,
            owner.uid,
            owner.gid
        ),
    }
}

#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    let found = mounts(lines, &[]);
    assert_eq!(found.as_deref(), Ok(&expected.map_owned()[..]), "{lines}");
}

#[track_caller]
fn check_error(lines: &str, expected: &str) {
    let found = mounts(lines, &[]);
    assert_eq!(found, Err(expected.to_owned()), "{lines}");
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn binds() {
    check("RUN --mount=target=/x y", &["/x ro bind - /"]);
    check("RUN --mount=target=/x,rw y", &["/x rw bind - /"]);
    check(
        "RUN --mount=target=/x,readwrite=false y",
        &["/x ro bind - /"],
    );
    check("RUN --mount=target=/x,ro=0 y", &["/x rw bind - /"]);
    check(
        "RUN --mount=type=bind,from=ONE,src=../a/./b,dst=/x y",
        &["/x ro bind stage 0 /a/b"],
    );
    // A number is an image, unlike in COPY.
    check("RUN --mount=from=0,target=/x y", &["/x ro bind 0 /"]);
    check(
        "RUN --mount=from=scratch,target=/x y",
        &["/x ro bind scratch /"],
    );
    check(
        "RUN --mount=target=/x --mount=\\\"target=/a,b\\\" y",
        &["/x ro bind - /", "/a,b ro bind - /"],
    );
    check_error(
        "RUN --mount=from=two,target=/x y",
        "a stage cannot copy from itself",
    );
}

#[test]
fn targets() {
    check("WORKDIR /w\nRUN --mount=target=x y", &["/w/x ro bind - /"]);
    check("WORKDIR /w\nRUN --mount=target=../x y", &["/x ro bind - /"]);
    check("WORKDIR /w\nRUN --mount=source=a y", &["/w ro bind - /a"]);
    check(
        "WORKDIR /w\nRUN --mount=type=secret,id=a,target=b y",
        &["/w/b ro secret a optional file 400 0:0"],
    );
    let root = "a mount cannot cover the root of the image";
    check_error("RUN --mount=source=a y", root);
    check_error("RUN --mount=target=/a/.. y", root);
    check_error("RUN --mount=type=tmpfs,target=/ y", root);
    check("RUN --mount=target=/a/../b/./c/ y", &["/b/c ro bind - /"]);
}

#[test]
fn variables() {
    let lines =
        "ARG t=cache\nENV p=/q\nRUN --mount=type=$t,id=${i:-c},target=$p/x,sharing=lo${e}cked y";
    let found = mounts(&format!("ARG e\nARG i\n{lines}"), &[("i", "d")]);
    assert_eq!(found.unwrap(), ["/q/x rw cache /d locked - /"]);
    check("RUN --mount=target='/a b' y", &["/a b ro bind - /"]);
    check_error(
        "ARG t=nfs\nRUN --mount=type=$t,target=/x y",
        "unknown mount type `nfs`",
    );
    check_error("RUN --mount=type=$t,target=/x y", "unknown mount type ``");
    check_error(
        "ARG s=1m\nRUN --mount=size=$s,target=/x y",
        "a mount of type `bind` has no option `size`",
    );
}

#[test]
fn caches() {
    check(
        "RUN --mount=type=cache,target=/x/ y",
        &["/x rw cache //x shared - /"],
    );
    check(
        "RUN --mount=type=cache,target=x,ro y",
        &["/x ro cache /x shared - /"],
    );
    check(
        "RUN --mount=type=cache,id=a,target=/x,sharing=PRIVATE,from=one,source=s y",
        &["/x rw cache /a private stage 0 /s"],
    );
    check(
        "RUN --mount=type=cache,id=a,target=/x,uid=7,gid=8 y",
        &["/x rw cache /a shared - / 755 7:8"],
    );
    check(
        "RUN --mount=type=cache,id=a,target=/x,mode=700,from=scratch y",
        &["/x rw cache /a shared - / 700 0:0"],
    );
    let found = mounts(
        "RUN --mount=type=cache,target=/x y",
        &[("BUILDKIT_CACHE_MOUNT_NS", "ns")],
    );
    assert_eq!(found.unwrap(), ["/x rw cache ns//x shared - /"]);
}

#[test]
fn memory() {
    check("RUN --mount=type=tmpfs,target=/x y", &["/x rw tmpfs None"]);
    check(
        "RUN --mount=type=tmpfs,target=/x,size=1k,ro y",
        &["/x ro tmpfs Some(1024)"],
    );
}

#[test]
fn secrets() {
    check(
        "RUN --mount=type=secret,id=a/b y",
        &["/run/secrets/b ro secret a/b optional file 400 0:0"],
    );
    check(
        "RUN --mount=type=secret,target=/x/y y",
        &["/x/y ro secret y optional file 400 0:0"],
    );
    check(
        "RUN --mount=type=secret,source=s,required=true,mode=0440,gid=5 y",
        &["/run/secrets/s ro secret s required file 440 0:5"],
    );
    check(
        "RUN --mount=type=secret,id=a,required,env=A y",
        &["/run/secrets/a ro secret a required no file 400 0:0 $A"],
    );
    check(
        "RUN --mount=type=secret,id=a,env=A,target=/x y",
        &["/x ro secret a optional file 400 0:0 $A"],
    );
}

#[test]
fn agents() {
    check(
        "RUN --mount=type=ssh --mount=type=tmpfs,target=/t --mount=type=ssh,id=b,required,uid=1 y",
        &[
            "/run/buildkit/ssh_agent.0 ro ssh default optional 600 0:0",
            "/t rw tmpfs None",
            "/run/buildkit/ssh_agent.1 ro ssh b required 600 1:0",
        ],
    );
    let variable = |lines: &str| {
        let text = format!("FROM a\n{lines}\n");
        let Ok(Step::Run(run)) = last(&text, &[]) else {
            panic!("no RUN: {lines}");
        };
        let found = run
            .env
            .into_iter()
            .find(|(name, _)| name == "SSH_AUTH_SOCK");
        found.map(|(_, value)| value)
    };
    assert_eq!(variable("RUN x"), None);
    assert_eq!(
        variable("RUN --mount=type=ssh,target=/s x").as_deref(),
        Some("/s")
    );
    assert_eq!(
        variable("ENV SSH_AUTH_SOCK=/mine\nRUN --mount=type=ssh x").as_deref(),
        Some("/mine")
    );
    // It is for the command alone.
    assert_eq!(variable("RUN --mount=type=ssh x\nRUN y"), None);
}
