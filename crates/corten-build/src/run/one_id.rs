//! What a user namespace of one id does to commands.

use corten_sandbox::Isolation;

use crate::Error;

/// What commands say when the kernel knows no other user, and what helps them.
const SIGNS: [(&str, &str); 4] = [
    (
        "setgroups",
        "there is no other user to become (for apt: `-o APT::Sandbox::User=root`)",
    ),
    (
        "seteuid",
        "there is no other user to become (for apt: `-o APT::Sandbox::User=root`)",
    ),
    ("ownership", "nothing can be given to another user"),
    ("chown", "nothing can be given to another user"),
];

/// A command may have failed for what it cannot do here, which its output tells only to those who know.
pub(crate) fn explained(error: Error, isolation: Isolation) -> Error {
    match error {
        Error::Run {
            command,
            status,
            tail,
            is_disk_full,
        } if isolation == Isolation::OneId => {
            let sign = SIGNS.iter().find(|(sign, _)| tail.contains(sign));
            let reason = sign.map_or("root was the only user there was", |(_, reason)| *reason);
            let status = format!("{status}; isolated by {isolation}: {reason}");
            Error::Run {
                command,
                status,
                tail,
                is_disk_full,
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_for_want_of_users_is_explained() {
        #[track_caller]
        fn check(tail: &str, isolation: Isolation, expected: &str) {
            let error = Error::Run {
                command: "x".to_owned(),
                status: "exit status 1".to_owned(),
                tail: tail.to_owned(),
                is_disk_full: false,
            };
            let told = explained(error, isolation).to_string();
            assert!(told.contains(expected), "{told}");
        }
        let apt = "E: setgroups 65534 failed - setgroups (1: Operation not permitted)";
        check(apt, Isolation::OneId, "APT::Sandbox::User=root");
        let chown = "chown: changing ownership of 'a': Invalid argument";
        check(chown, Isolation::OneId, "nothing can be given");
        check("no", Isolation::OneId, "root was the only user");
        check(chown, Isolation::UserNamespace, "exit status 1\n");
    }
}
