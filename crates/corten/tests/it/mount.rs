//! `mount` and `umount`.

use std::fmt::Write as _;
use std::fs;

use crate::program::{Program, not_run};

/// The index of an image names the tar of every layer, and the kernel is given each as a file.
#[test]
fn an_image_may_have_more_layers_than_files_may_be_open() {
    if !rustix::process::geteuid().is_root() {
        let test = "mount::an_image_may_have_more_layers_than_files_may_be_open";
        not_run(test, "only root mounts an index");
        return;
    }
    let program = Program::new();
    let mut dockerfile = "FROM scratch\n".to_owned();
    for number in 0..80 {
        writeln!(dockerfile, "COPY file /{number}").unwrap();
    }
    program.write("context/Dockerfile", &dockerfile);
    program.write("context/file", "x");
    program.ok(&["build", "context", "-t", "app"]);
    fs::create_dir(program.path("mounted")).unwrap();
    let mount = ["mount", "--kind", "erofs", "app", "mounted"];
    let mounted = program.limited(60, &mount).output().unwrap();
    let stderr = String::from_utf8_lossy(&mounted.stderr);
    assert!(mounted.status.success(), "{stderr}");
    let n_files = fs::read_dir(program.path("mounted")).unwrap().count();
    program.ok(&["umount", "mounted"]);
    assert_eq!(n_files, 80);
}
