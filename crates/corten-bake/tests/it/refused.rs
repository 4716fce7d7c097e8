//! What is refused, and how that is said.

use corten_bake::{File, Request, bake, definition};

#[track_caller]
fn check(file: &str, text: &str, expected: &str) {
    let files = [File::new(file, text)];
    let request = Request {
        files: &files,
        ..Request::default()
    };
    let error = match bake(&request) {
        Err(error) => error,
        Ok(baked) => {
            let target = &baked.targets["default"];
            definition("default", target).expect_err(text)
        }
    };
    assert!(error.to_string().contains(expected), "{text}: {error}");
}

#[test]
fn what_is_not_known_is_an_error() {
    let check = |text: &str, expected: &str| check("docker-bake.hcl", text, expected);
    let default = |inside: &str| format!("target \"default\" {{\n {inside}\n}}");
    check(
        &default("tag = [\"x\"]"),
        "`tag` of the target `default` is not supported",
    );
    check(&default("policy = [{}]"), "policies in Rego are not read");
    check(
        &default("resources = { memory = \"1g\" }"),
        "limits are not set for a target",
    );
    check(&default("call = \"check\""), "`corten build --check`");
    check(&default("context = \"-\""), "standard input");
    check(
        &default("context = nothing"),
        "there is no variable `nothing`",
    );
    check(
        &default("tags = \"x\""),
        "`tags` of the target `default` is `\"x\"`",
    );
    check(
        &default("args = { a = [1] }"),
        "and is to be an object of texts",
    );
    check(
        &default("args = { a = sha256(\"\") }"),
        "`sha256`: this function of buildx",
    );
    check(
        &default("args = { a = nothing() }"),
        "`nothing`: there is no such function",
    );
    check(
        &default("args = { a = upper() }"),
        "it takes 1 arguments, not 0",
    );
    check(
        &default("inherits = [\"b\"]"),
        "no target or group `b`, which `default` needs",
    );
    check(
        &default("contexts = { x = \"target:b\" }"),
        "no target or group `b`",
    );
    check(
        &default("matrix = { a = [1] }"),
        "no `name` that would tell",
    );
    check(
        &default("name = \"x\""),
        "only a target with a `matrix` has one",
    );
    check(
        &default("matrix = { a = [1, 2] }\nname = \"x\""),
        "two targets of the matrix are called `x`",
    );
    check(&default("x {}"), "`x` of the target `default`");
    check("target \"a b\" {}", "letters, digits");
    check(
        "task \"a\" {}",
        "`variable`, `function`, `group` and `target` are",
    );
    check("target {}", "`target` is to have one name");
    check("target = 1", "`target` is to be a block");
    check(
        "variable \"a\" { value = 1 }",
        "`value` of the variable `a`",
    );
    check("function \"f\" { params = [] }", "is to have a `result`");
    check("", "there is no target or group `default`");
    check(
        "group \"default\" { targets = [\"b\"] }",
        "which `default` names",
    );
    check(&default("tags = [timestamp()]"), "the time is not known");
    check("variable \"a\" { type = strin }", "`strin` is no type");
    check(
        "variable \"a\" {\n default = 1\n validation {\n condition = a > 1\n error_message = \"small\"\n }\n}",
        "the variable `a` is refused: small",
    );
}

#[test]
fn compose_files() {
    let check = |text: &str, expected: &str| check("compose.yaml", text, expected);
    let build = |inside: &str| format!("services:\n  a:\n    build:\n      {inside}\n");
    check("a: 1", "it has no `services`");
    check("services: [", "cannot read `compose.yaml`");
    check(&build("isolation: x"), "it is not of bake files");
    check(
        &build("contxt: x"),
        "`contxt` of the service `a` is not supported",
    );
    check(
        &build("ulimits: { nofile: { soft: 1 } }"),
        "a list of texts",
    );
    check(&build("secrets: [x]"), "`x` among the secrets");
    check(&build("x-bake: { tag: x }"), "`x-bake.tag`");
    check(&build("context: ${A?say it}"), "`A` has to be set: say it");
    check(
        "include: [x]\nservices: {}",
        "cannot read `x`: it is not read here",
    );
    check("include: x\nservices: {}", "`include` is no list");
    check(
        "services:\n  a:\n    extends: b\n    build: .\n",
        "`b`, which the service `a` extends",
    );
    check(
        "services:\n  a:\n    extends: b\n  b:\n    extends: a\n",
        "`a` needs itself, by way of `a`, `b`",
    );
}
