//! Files that would take forever, or all memory: each is refused soon.

use std::ops::Range;
use std::time::{Duration, Instant};

use corten_bake::{File, Request, bake};
use proptest::prelude::*;

fn error_of(file: &str, text: &str) -> Option<String> {
    let files = [File::new(file, text)];
    let request = Request {
        files: &files,
        ..Request::default()
    };
    bake(&request).err().map(|error| error.to_string())
}

fn lines(numbers: Range<usize>, line: impl Fn(usize) -> String) -> String {
    numbers.map(|n| line(n) + "\n").collect()
}

#[track_caller]
fn check(file: &str, text: &str, expected: &str) {
    let start = Instant::now();
    let error = error_of(file, text).unwrap_or_default();
    let shown: String = text.chars().take(60).collect();
    assert!(error.contains(expected), "{shown}: {error}");
    // Without a bound each of these takes hours.
    assert!(start.elapsed() < Duration::from_mins(1), "{shown}");
}

const DEEP: &str = "nested too deeply";
const WORK: &str = "more work than they are worth";

#[test]
fn nesting() {
    let many = |text: &str| text.repeat(100_000);
    let hcl = |text: &str| check("a.hcl", text, DEEP);
    hcl(&format!("a = {}", many("[")));
    hcl(&format!("a = {}1", many("!")));
    hcl(&format!("a = {}", many("1 + ")));
    hcl(&format!("a = {}1", many("a ? b : ")));
    hcl(&format!("a = {}", many("\"${")));
    hcl(&many("a {\n"));
    hcl(&format!("a = x{}", many(".y")));
    let heredoc = format!("variable \"a\" {{\n default = <<E\n{}\nE\n}}", many("${["));
    check("a.hcl", &heredoc, DEEP);
    let json = |value: &str| format!("{{\"variable\": {{\"a\": {{\"default\": {value}}}}}}}");
    check("a.json", &json(&many("[")), "recursion limit");
    check("a.json", &json(&format!("\"{}\"", many("${["))), DEEP);
    check(
        "a.yaml",
        &format!("services: {}", many("[")),
        "cannot read `a.yaml`",
    );
    let defaults = format!(
        "services: {{ a: {{ image: \"{}\" }} }}",
        "${A:-".repeat(1000)
    );
    check("a.yaml", &defaults, "does not end");
}

#[test]
fn repetition() {
    let doubled = |of: &str, by: &dyn Fn(usize) -> String| {
        let text = lines(1..200, |n| format!("v{n} = {}", by(n - 1)));
        format!("{of}\n{text}target \"default\" {{ tags = [v199] }}")
    };
    let texts = doubled("v0 = \"aa\"", &|n| format!("\"${{v{n}}}${{v{n}}}\""));
    check("a.hcl", &texts, WORK);
    let lists = doubled("v0 = [1, 2]", &|n| format!("concat(v{n}, v{n})"));
    check("a.hcl", &lists, WORK);
    let replaced = doubled("v0 = \"aa\"", &|n| format!("replace(v{n}, \"a\", v{n})"));
    check("a.hcl", &replaced, WORK);
    let each = doubled("v0 = range(1000)", &|n| format!("[for x in v{n}: v{n}]"));
    check("a.hcl", &each, WORK);
    let product = doubled("v0 = range(1000)", &|n| format!("setproduct(v{n}, v{n})"));
    check("a.hcl", &product, WORK);
    let calls = lines(1..60, |n| {
        let inner = n - 1;
        let result = format!("f{inner}(x) + f{inner}(x)");
        format!("function \"f{n}\" {{\n params = [x]\n result = {result}\n}}")
    });
    let calls = format!("function \"f0\" {{\n params = [x]\n result = x\n}}\n{calls}");
    check(
        "a.hcl",
        &format!("{calls}target \"default\" {{ tags = [f59(1)] }}"),
        WORK,
    );
    let digits = "range(10)";
    let matrix = (0..20)
        .map(|n| format!("a{n} = {digits}"))
        .collect::<Vec<_>>()
        .join("\n");
    let matrix = format!("target \"default\" {{\n matrix = {{\n{matrix}\n}}\n name = \"x\"\n}}");
    check("a.hcl", &matrix, "more than 1000 targets");
    let wide = "target \"default\" { tags = [format(\"%999999999d\", 1)] }";
    check("a.hcl", wide, "a width is more than");
    check(
        "a.hcl",
        "target \"default\" { tags = range(1, 1e9) }",
        "more than 1024 elements",
    );
}

#[test]
fn cycles() {
    let hcl = |text: &str, expected: &str| check("a.hcl", text, expected);
    hcl(
        "a = b\nb = a\ntarget \"default\" { tags = [a] }",
        "needs itself",
    );
    hcl("variable \"a\" { default = a }", "needs itself");
    hcl(
        "function \"f\" {\n params = [x]\n result = f(x)\n}\ntarget \"default\" { tags = [f(1)] }",
        "the function `f` calls itself",
    );
    hcl(
        "target \"default\" { tags = target.a.tags }\ntarget \"a\" { tags = target.default.tags }",
        "needs itself",
    );
    hcl(
        "target \"default\" { inherits = [\"b\"] }\ntarget \"b\" { inherits = [\"default\"] }",
        "`default` needs itself, by way of `default`, `b`",
    );
    hcl(
        "target \"default\" { contexts = { x = \"target:default\" } }",
        "needs itself",
    );
    hcl(
        "group \"default\" { targets = [\"default\"] }",
        "needs itself",
    );
    let long = lines(0..2000, |n| format!("v{n} = v{}", n + 1));
    // It is deep, but no cycle; what is missing is found, or it is too deep.
    hcl(&format!("{long}target \"default\" {{ tags = [v0] }}"), "v");
    let twice = lines(1..60, |n| {
        let parent = n - 1;
        format!("target \"t{n}\" {{ inherits = [\"t{parent}\", \"t{parent}\"] }}")
    });
    let twice = format!("target \"t0\" {{ annotations = [\"a=b\"] }}\n{twice}");
    let file = format!("{twice}target \"default\" {{ inherits = [\"t59\"] }}");
    assert_eq!(error_of("a.hcl", &file), None);
}

#[test]
fn aliases_of_yaml() {
    let text = lines(1..30, |n| {
        let one = format!("*a{}", n - 1);
        let ten = [one.as_str(); 10].join(", ");
        format!("a{n}: &a{n} [{ten}]")
    });
    let text = format!("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{text}services: {{}}\n");
    check("a.yaml", &text, "cannot read `a.yaml`");
}

proptest! {
    /// Nothing panics, whatever the text.
    #[test]
    fn any_text(
        text in "(target|variable|\"a\"|default| |\n|=|\\{|\\}|\\[|\\]|\"|\\$\\{|\\(|\\)|<<E|E|1|\\.|\\*|~|%\\{|for|in|:|a|,|if|endif){0,60}",
        file in prop_oneof![Just("a.hcl"), Just("a.json"), Just("a.yaml")],
    ) {
        drop(error_of(file, &text));
    }
}
