//! Modes as chmod(1) of BSD reads them, which is what BuildKit does.

/// Returns the mode that `text`, such as `u=rwX,go-w`, makes of `mode`; `None` if it is not a mode.
///
/// A clause without `u`, `g`, `o` or `a` means all, without regard to any umask. Unlike GNU's chmod,
/// `o+t` does nothing, `=` clears the set-id bits of directories, too, and `X` looks at the mode as it
/// was before the first clause.
pub(crate) fn symbolic(text: &str, mode: u32, is_directory: bool) -> Option<u32> {
    let before = Before {
        is_searched: is_directory || mode & 0o111 != 0,
    };
    text.split(',')
        .try_fold(mode & 0o7777, |mode, clause| before.apply(clause, mode))
}

/// What `X` depends on.
struct Before {
    is_searched: bool,
}

const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;

impl Before {
    fn apply(&self, clause: &str, mode: u32) -> Option<u32> {
        let operators = clause.find(['+', '-', '='])?;
        let (who, actions) = clause.split_at_checked(operators)?;
        let mut who_mask = 0;
        for letter in who.chars() {
            who_mask |= match letter {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o0007,
                'a' => 0o6777,
                _ => return None,
            };
        }
        let mut mode = mode;
        let mut rest = actions;
        while let Some(operator) = rest.chars().next() {
            let permissions = rest.strip_prefix(operator)?;
            let end = permissions
                .find(['+', '-', '='])
                .unwrap_or(permissions.len());
            let (permissions, next) = permissions.split_at_checked(end)?;
            mode = self.act(operator, who_mask, permissions, mode)?;
            rest = next;
        }
        Some(mode)
    }

    /// Applies one operator with its permissions; no `who` is 0.
    fn act(&self, operator: char, who: u32, permissions: &str, mode: u32) -> Option<u32> {
        let is_for_others_alone = who != 0 && who & !0o007 == 0;
        let mut who = who;
        let mut mode = mode;
        let (mut bits, mut search, mut is_copied) = (0, 0, false);
        for letter in permissions.chars() {
            match letter {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' if operator == '-' => bits |= 0o111,
                'X' => search = 0o111,
                's' if !is_for_others_alone => bits |= SET_ID,
                't' if !is_for_others_alone => {
                    // Without `who` it is now for the sticky bit alone: `+rt` is `+t`.
                    who |= STICKY;
                    bits |= STICKY;
                }
                's' | 't' => {}
                'u' | 'g' | 'o' => {
                    if bits != 0 {
                        mode = change(operator, who, bits, mode);
                        bits = 0;
                    }
                    mode = self.search(who, search, mode);
                    search = 0;
                    is_copied = true;
                    mode = copy(operator, who, letter, mode);
                }
                _ => return None,
            }
        }
        if bits != 0 || (operator == '=' && !is_copied) {
            mode = change(operator, who, bits, mode);
        }
        Some(self.search(who, search, mode))
    }

    fn search(&self, who: u32, bits: u32, mode: u32) -> u32 {
        if self.is_searched {
            change('+', who, bits, mode)
        } else {
            mode
        }
    }
}

fn change(operator: char, who: u32, bits: u32, mode: u32) -> u32 {
    let bits = if who == 0 { bits } else { who & bits };
    match operator {
        '-' => mode & !bits,
        '=' if who == 0 => (mode & !0o6777) | bits,
        '=' => (mode & !who) | bits,
        _ => mode | bits,
    }
}

/// `g=u`: the permissions of one class become, or are added to or taken from, those of others.
fn copy(operator: char, who: u32, from: char, mode: u32) -> u32 {
    let shift = match from {
        'u' => 6,
        'g' => 3,
        _ => 0,
    };
    let value = (mode >> shift) & 7;
    [(0o400, 6), (0o040, 3), (0o004, 0)]
        .into_iter()
        .filter(|(read, _)| who == 0 || who & read != 0)
        .fold(mode, |mode, (_, shift)| match operator {
            '-' => mode & !(value << shift),
            '=' => (mode & !(7 << shift)) | (value << shift),
            _ => mode | (value << shift),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What github.com/tonistiigi/dchapes-mode at 73d941a28323, which BuildKit uses, makes of 0644, 0100,
    /// 06755 and 07777 of a file and of 0644 of a directory.
    #[test]
    fn as_buildkit_does() {
        let table = [
            ("u+x", [0o0744, 0o0100, 0o6755, 0o7777, 0o0744]),
            ("+x", [0o0755, 0o0111, 0o6755, 0o7777, 0o0755]),
            ("go-rwx", [0o0600, 0o0100, 0o6700, 0o7700, 0o0600]),
            ("u=rwX,go=rX", [0o0644, 0o0755, 0o0755, 0o1755, 0o0755]),
            ("a=r", [0o0444, 0o0444, 0o0444, 0o1444, 0o0444]),
            ("g=u", [0o0664, 0o0110, 0o6775, 0o7777, 0o0664]),
            ("u+rw-x", [0o0644, 0o0600, 0o6655, 0o7677, 0o0644]),
            ("u+s,o+t", [0o4644, 0o4100, 0o6755, 0o7777, 0o4644]),
            ("o+t", [0o0644, 0o0100, 0o6755, 0o7777, 0o0644]),
            ("o+s", [0o0644, 0o0100, 0o6755, 0o7777, 0o0644]),
            ("+t", [0o1644, 0o1100, 0o7755, 0o7777, 0o1644]),
            ("a+t", [0o1644, 0o1100, 0o7755, 0o7777, 0o1644]),
            ("u+t", [0o1644, 0o1100, 0o7755, 0o7777, 0o1644]),
            ("g=t", [0o1604, 0o1100, 0o5705, 0o5707, 0o1604]),
            ("=", [0o0000, 0o0000, 0o0000, 0o1000, 0o0000]),
            ("=r", [0o0444, 0o0444, 0o0444, 0o1444, 0o0444]),
            ("u=", [0o0044, 0o0000, 0o2055, 0o3077, 0o0044]),
            ("a=", [0o0000, 0o0000, 0o0000, 0o1000, 0o0000]),
            ("g+s,+X", [0o2644, 0o2111, 0o6755, 0o7777, 0o2755]),
            ("-X", [0o0644, 0o0000, 0o6644, 0o7666, 0o0644]),
            ("a-X", [0o0644, 0o0000, 0o6644, 0o7666, 0o0644]),
            ("a-x,+X", [0o0644, 0o0111, 0o6755, 0o7777, 0o0755]),
            ("u-x,a+X", [0o0644, 0o0111, 0o6755, 0o7777, 0o0755]),
            ("g=u,u=rx", [0o0564, 0o0510, 0o2575, 0o3577, 0o0564]),
            ("o=g", [0o0644, 0o0100, 0o6755, 0o7777, 0o0644]),
            ("u=go", [0o0444, 0o0000, 0o6555, 0o7777, 0o0444]),
            ("g=rw,o=g-w", [0o0664, 0o0164, 0o4764, 0o5764, 0o0664]),
            ("+s", [0o6644, 0o6100, 0o6755, 0o7777, 0o6644]),
            ("u+st", [0o5644, 0o5100, 0o7755, 0o7777, 0o5644]),
            ("g-s", [0o0644, 0o0100, 0o4755, 0o5777, 0o0644]),
            ("=u", [0o0666, 0o0111, 0o6777, 0o7777, 0o0666]),
            ("+u", [0o0666, 0o0111, 0o6777, 0o7777, 0o0666]),
            ("-g", [0o0200, 0o0100, 0o6200, 0o7000, 0o0200]),
            ("g=ug", [0o0664, 0o0110, 0o6775, 0o7777, 0o0664]),
            ("u=rwxs,g=rxs,o=t", [0o6750, 0o6750, 0o6750, 0o7750, 0o6750]),
            ("a-t", [0o0644, 0o0100, 0o6755, 0o6777, 0o0644]),
            ("o-t", [0o0644, 0o0100, 0o6755, 0o7777, 0o0644]),
            ("-t", [0o0644, 0o0100, 0o6755, 0o6777, 0o0644]),
            ("=t", [0o1644, 0o1100, 0o7755, 0o7777, 0o1644]),
            ("u=X", [0o0044, 0o0100, 0o2155, 0o3177, 0o0144]),
            ("g+Xu", [0o0664, 0o0110, 0o6775, 0o7777, 0o0674]),
            ("g=rXu", [0o0664, 0o0110, 0o4775, 0o5777, 0o0664]),
            ("o+sx", [0o0645, 0o0101, 0o6755, 0o7777, 0o0645]),
            ("ug+s", [0o6644, 0o6100, 0o6755, 0o7777, 0o6644]),
            ("uo+t", [0o1644, 0o1100, 0o7755, 0o7777, 0o1644]),
            ("go=u-w", [0o0644, 0o0111, 0o6755, 0o7755, 0o0644]),
            ("a=rwx-w+t", [0o1555, 0o1555, 0o1555, 0o1555, 0o1555]),
            ("+rt", [0o1644, 0o1100, 0o7755, 0o7777, 0o1644]),
            ("=rt", [0o1644, 0o1100, 0o7755, 0o7777, 0o1644]),
            ("u=t", [0o1044, 0o1000, 0o3055, 0o3077, 0o1044]),
        ];
        for (text, expected) in table {
            let file = [0o644, 0o100, 0o6755, 0o7777].map(|mode| symbolic(text, mode, false));
            let [a, b, c, d, directory] = expected.map(Some);
            assert_eq!(file, [a, b, c, d], "{text}");
            assert_eq!(
                symbolic(text, 0o644, true),
                directory,
                "{text} on a directory"
            );
        }
    }

    #[test]
    fn what_is_no_mode() {
        for text in ["q+x", "u", "", "u+x,", ",u+x", "u+q", "ux"] {
            assert_eq!(symbolic(text, 0o644, false), None, "{text}");
        }
    }
}
