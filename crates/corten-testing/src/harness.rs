//! A test runner in a screen, for executables that have to start by themselves (`harness = false`):
//! one test after the other, on the main thread, for a sandbox dies with the thread that runs it.

#![expect(clippy::print_stdout, reason = "it is what shows the results of tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// The name of a test and the test, which returns the reason where it cannot run.
pub type Test = (&'static str, fn() -> Result<(), String>);

/// Runs the tests whose `module::name` the arguments, those of a test executable, do not leave out.
///
/// It knows `--list`, `--exact` and words to filter by, and passes over other flags.
pub fn main(args: &[String], modules: &[(&str, &[Test])]) -> ExitCode {
    let is_exact = args.iter().any(|arg| arg == "--exact");
    let filters: Vec<&String> = args
        .iter()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let tests = modules.iter().flat_map(|(module, tests)| {
        tests
            .iter()
            .map(move |(name, test)| (format!("{module}::{name}"), test))
    });
    let chosen = tests.filter(|(name, _)| {
        filters.is_empty()
            || filters.iter().any(|f| {
                if is_exact {
                    name == *f
                } else {
                    name.contains(f.as_str())
                }
            })
    });
    let (mut n_passed, mut n_failed, mut n_not_run) = (0, 0, 0);
    for (name, test) in chosen {
        if args.iter().any(|arg| arg == "--list") {
            println!("{name}: test");
            continue;
        }
        match catch_unwind(AssertUnwindSafe(test)) {
            Ok(Ok(())) => {
                n_passed += 1;
                println!("test {name} ... ok");
            }
            Ok(Err(reason)) => {
                n_not_run += 1;
                println!("not run: {name}: {reason}");
            }
            Err(_) => {
                n_failed += 1;
                println!("test {name} ... FAILED");
            }
        }
    }
    println!("test result: {n_passed} passed; {n_failed} failed; {n_not_run} not run");
    ExitCode::from(u8::from(n_failed > 0))
}
