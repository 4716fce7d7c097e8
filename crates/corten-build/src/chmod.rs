//! Modes as chmod(1) writes them.

/// Returns the mode that `text`, such as `u=rwX,go-w`, makes of `mode`; `None` if it is not a mode.
///
/// As for chmod, a clause without `u`, `g`, `o` or `a` means all, here without regard to any umask.
pub(crate) fn symbolic(text: &str, mode: u32, is_directory: bool) -> Option<u32> {
    text.split(',').try_fold(mode & 0o7777, |mode, clause| {
        apply(clause, mode, is_directory)
    })
}

fn apply(clause: &str, mode: u32, is_directory: bool) -> Option<u32> {
    let operators = clause.find(['+', '-', '='])?;
    let (who, actions) = clause.split_at_checked(operators)?;
    let mut who_mask = 0;
    for letter in who.chars() {
        who_mask |= match letter {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    if who.is_empty() {
        who_mask = 0o7777;
    }
    let mut mode = mode;
    let mut rest = actions;
    while let Some(operator) = rest.chars().next() {
        let permissions = rest.strip_prefix(operator)?;
        let end = permissions
            .find(['+', '-', '='])
            .unwrap_or(permissions.len());
        let (permissions, next) = permissions.split_at_checked(end)?;
        let bits = bits_of(permissions, mode, is_directory)? & who_mask;
        mode = match operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            '=' => {
                // chmod keeps set-id bits of directories unless they are named.
                let kept = if is_directory { 0o6000 } else { 0 };
                (mode & (!who_mask | kept)) | bits
            }
            _ => return None,
        };
        rest = next;
    }
    Some(mode)
}

fn bits_of(permissions: &str, mode: u32, is_directory: bool) -> Option<u32> {
    if let "u" | "g" | "o" = permissions {
        let shift = match permissions {
            "u" => 6,
            "g" => 3,
            _ => 0,
        };
        return Some(((mode >> shift) & 7) * 0o111);
    }
    permissions.chars().try_fold(0, |bits, letter| {
        Some(
            bits | match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_directory || mode & 0o111 != 0 => 0o111,
                'X' => 0,
                's' => 0o6000,
                't' => 0o1000,
                _ => return None,
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_chmod_does() {
        #[track_caller]
        fn check(text: &str, mode: u32, is_directory: bool, expected: u32) {
            let found = symbolic(text, mode, is_directory);
            assert_eq!(found, Some(expected), "{text} on {mode:o}: {found:?}");
        }
        check("u+x", 0o644, false, 0o744);
        check("+x", 0o644, false, 0o755);
        check("go-rwx", 0o755, false, 0o700);
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o600, true, 0o755);
        check("u=rwX,go=rX", 0o700, false, 0o755);
        check("a=r", 0o4755, false, 0o444);
        check("g=u", 0o640, false, 0o660);
        check("u+s,o+t", 0o755, false, 0o5755);
        check("u+rw-x", 0o100, false, 0o600);
        assert_eq!(symbolic("q+x", 0, false), None);
        assert_eq!(symbolic("u", 0, false), None);
    }
}
