//! Names of variables that sound as if they held a secret.

/// Words that give a secret away: the whole name, or a part of it between underscores.
const SECRET: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// Words that say that it is none after all.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// Tells whether a variable called `name` sounds as if it held a secret, as BuildKit's check
/// `SecretsUsedInArgOrEnv` has it.
pub fn sounds_secret(name: &str) -> bool {
    let has = |words: &[&str]| {
        name.split('_')
            .any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
    };
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        #[track_caller]
        fn check(name: &str, expected: bool) {
            assert_eq!(sounds_secret(name), expected, "{name:?}");
        }

        check("SECRET_PASSPHRASE", true);
        check("SUPER_Secret", true);
        check("super_duper_secret_token", true);
        check("git_key", true);
        check("auth", true);
        check("GITHUB_TOKEN", true);
        check("sunflower", false);
        check("PUBLIC_KEY", false);
        check("SECRET_PASSPHRASE_FILE", false);
        check("AUTH_MODULE_VERSION", false);
        check("keyboard", false);
        check("author", false);
        check("", false);
    }
}
