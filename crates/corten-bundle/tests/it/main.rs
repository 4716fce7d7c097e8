//! Bundles and runs of small images whose only program is the static busybox of this machine.
//!
//! This is no ordinary test executable: a sandbox' stage is the executable started again, so `main`
//! begins with `init_if_child`. It takes `--list` and filters like one.

#![expect(
    clippy::unwrap_used,
    reason = "tests, which clippy knows only by the harness this executable cannot have"
)]

mod conversion;
mod repacking;
mod rootless;
mod running;
mod runtimes;
mod schema;
mod unpacking;
mod world;

use std::process::ExitCode;

use corten_testing::harness;

fn main() -> ExitCode {
    corten_sandbox::init_if_child();
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(rootless::INSIDE) => rootless::inside(),
        Some(runtimes::UNPACK) => runtimes::unpack_here(args[2].as_ref()),
        _ => harness::main(
            &args,
            &[
                ("conversion", conversion::TESTS),
                ("conversion::users", conversion::users::TESTS),
                ("conversion::kinds", conversion::kinds::TESTS),
                ("unpacking", unpacking::TESTS),
                ("repacking::changes", repacking::changes::TESTS),
                ("repacking::masks", repacking::masks::TESTS),
                ("repacking::owners", repacking::owners::TESTS),
                ("repacking::refreshing", repacking::refreshing::TESTS),
                ("repacking::hostile", repacking::hostile::TESTS),
                ("repacking::random", repacking::random::TESTS),
                ("runtimes", runtimes::TESTS),
                ("running", running::TESTS),
                ("rootless", rootless::TESTS),
            ],
        ),
    }
}
