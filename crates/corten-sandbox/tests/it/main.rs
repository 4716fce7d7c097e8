//! Sandboxes of a tiny root, made from the static busybox of this machine.
//!
//! This is no ordinary test executable: a sandbox' stage is the executable started again, so `main`
//! begins with `init_if_child`. It takes `--list` and filters like one.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, which clippy knows only by the harness this executable cannot have"
)]

mod chrooted;
mod escapes;
mod files;
mod isolation;
mod lifetime;
mod parts;
mod rootless;
mod terminal;
mod traced;
mod traced_attacks;
mod world;

use std::process::ExitCode;

use corten_testing::harness;

fn main() -> ExitCode {
    corten_sandbox::init_if_child();
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(lifetime::HOLD) => lifetime::hold(),
        Some(chrooted::HOLD) => chrooted::hold(&args[2]),
        Some(terminal::TYPE) => terminal::show(&args[2]),
        Some(traced::RUN) => traced::run_script(&args[2..]),
        Some(rootless::SCENARIO) => rootless::scenario(&args[2]),
        Some(rootless::PROBE) => rootless::print_probe(),
        _ => harness::main(
            &args,
            &[
                ("isolation", isolation::TESTS),
                ("chrooted", chrooted::TESTS),
                ("files", files::TESTS),
                ("escapes", escapes::TESTS),
                ("lifetime", lifetime::TESTS),
                ("parts", parts::TESTS),
                ("terminal", terminal::TESTS),
                ("rootless", rootless::TESTS),
                ("traced", traced::TESTS),
                ("traced_attacks", traced_attacks::TESTS),
            ],
        ),
    }
}
