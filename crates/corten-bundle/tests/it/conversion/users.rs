//! Who the process is: `User` and the tables of the image (CNV-21 to CNV-27).

use corten_bundle::config::ConfigOptions;
use corten_testing::harness::Test;
use serde_json::{Value, json};

use super::{PASSWD, converted, run, tables};
use crate::world::{Item, directory, file, symlink};

pub(crate) const TESTS: &[Test] = &[("users_of_the_image", || {
    users();
    Ok(())
})];

fn users() {
    #[track_caller]
    fn check_user(row: &str, layer: Vec<Item>, user: &str, expected: Result<Value, &str>) {
        let image = run(&json!({"User": user}));
        let found = converted(layer, &image, false, ConfigOptions::default());
        match expected {
            Ok(expected) => {
                let (config, _) = found.unwrap_or_else(|error| panic!("{row}: {user}: {error}"));
                assert_eq!(config["process"]["user"], expected, "{row}: {user}");
            }
            Err(part) => {
                let error = found.unwrap_err();
                assert!(error.contains(part), "{row}: {user}: {error}");
            }
        }
    }
    let ids = |uid: u32, gid: u32| Ok(json!({"uid": uid, "gid": gid}));
    let app = Ok(json!({"uid": 1000, "gid": 100, "additionalGids": [100, 44, 29]}));
    let known = |row: &str, user: &str, expected| check_user(row, tables(), user, expected);
    // The six forms (CNV-21), and no form at all (CNV-26).
    known("CNV-26", "", ids(0, 0));
    known("CNV-21", "app", app.clone());
    known("CNV-24", "app:", app);
    known("CNV-21", "1000", ids(1000, 100));
    known("CNV-21", "app:video", ids(1000, 44));
    known("CNV-21", "app:7", ids(1000, 7));
    known("CNV-21", "1000:video", ids(1000, 44));
    known("CNV-22", "12345:54321", ids(12345, 54321));
    known("CNV-22", "12345", ids(12345, 0));
    known(
        "CNV-22",
        "4294967294:4294967294",
        ids(4_294_967_294, 4_294_967_294),
    );
    known("CNV-25", "1000:100", ids(1000, 100));
    // A name with digits in it is one, a name of digits alone is a number.
    known(
        "CNV-24",
        "web1",
        Ok(json!({"uid": 33, "gid": 33, "additionalGids": [44]})),
    );
    known("CNV-22", "77", ids(77, 0));
    known("CNV-27", "nosuch", Err("has no user called `nosuch`"));
    known("CNV-27", "app:nosuch", Err("has no group called `nosuch`"));
    known("CNV-27", "none", Err("has no user called `none`"));
    known("CNV-27", "4294967295", Err("4294967295 is no id"));
    known("CNV-27", "0:99999999999999999999", Err("is no id"));
    known("CNV-27", ":100", Err("no user before the colon"));

    // Without tables only numbers are anybody.
    let none = || vec![file("a", b"")];
    check_user("CNV-22", none(), "7:8", ids(7, 8));
    check_user("CNV-26", none(), "", ids(0, 0));
    check_user("CNV-27", none(), "root", Err("has no user called `root`"));
    // The host has these, and the way to them does not leave the root.
    for link in [
        "/proc/self/root/etc/passwd",
        "../../../../../../etc/passwd",
        "/etc/passwd-",
    ] {
        let outside = vec![directory("etc"), symlink("etc/passwd", link)];
        let found = converted(
            outside,
            &run(&json!({"User": "daemon"})),
            false,
            ConfigOptions::default(),
        );
        let error = found.unwrap_err();
        let is_refused =
            error.contains("has no user called `daemon`") || error.contains("symbolic links");
        assert!(is_refused, "CNV-23: {link}: {error}");
    }
    let inside = vec![
        symlink("etc", "/usr/etc"),
        directory("usr/etc"),
        file("usr/etc/passwd", PASSWD),
    ];
    check_user("CNV-23", inside, "app", ids(1000, 100));
}
