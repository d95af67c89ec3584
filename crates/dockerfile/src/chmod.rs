//! `--chmod` values: octal, and the symbolic form of chmod(1) (E29, E30).

/// A `--chmod` value that is neither form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")]
pub struct ChmodError {
    /// The text given.
    pub text: String,
}

/// A parsed `--chmod` value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// The mode, 0 to 07777, for files and directories alike.
    Octal(u32),
    /// Changes relative to the entry's own mode.
    Symbolic(Vec<ModeChange>),
}

/// One `who op permissions` of the symbolic form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    /// `rwx` bits (and special bits) of those it applies to.
    who: u32,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permissions {
    /// `rwxst` as bits for everyone, and whether `X` is among them.
    Listed { bits: u32, search: bool },
    /// `g=u`: the right shift that brings the class to copy down to the lowest three bits.
    CopyOf { shift: u32 },
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o0007;
const STICKY: u32 = 0o1000;
/// What `g=u` and the like copy and replace.
const CLASSES: u32 = 0o777;

impl Chmod {
    /// Reads an expanded value.
    pub fn parse(text: &str) -> Result<Self, ChmodError> {
        let error = || ChmodError {
            text: text.to_owned(),
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let octal = text.bytes().all(|b| matches!(b, b'0'..=b'7'));
            let mode = u32::from_str_radix(text, 8)
                .ok()
                .filter(|m| octal && *m <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(error);
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause, &mut changes).ok_or_else(error)?;
        }
        Ok(Self::Symbolic(changes))
    }

    /// Whether the value is octal: only then it reaches the parents a copy makes (E21).
    pub fn is_octal(&self) -> bool {
        matches!(self, Self::Octal(_))
    }

    /// The new mode (07777 bits) of an entry that had `mode`; other bits of `mode` are dropped.
    #[must_use]
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let changes = match self {
            Self::Octal(mode) => return *mode,
            Self::Symbolic(changes) => changes,
        };
        let original = mode & 0o7777;
        changes.iter().fold(original, |mode, change| {
            change.apply(mode, original, is_dir)
        })
    }
}

impl ModeChange {
    fn apply(self, mode: u32, original: u32, is_dir: bool) -> u32 {
        let bits = match self.permissions {
            Permissions::Listed { bits, search } => {
                let searchable = is_dir || original & 0o111 != 0;
                bits | if search && searchable { 0o111 } else { 0 }
            }
            Permissions::CopyOf { shift } => ((mode >> shift) & 0o7) * 0o111,
        } & self.who;
        let replaced = match self.permissions {
            Permissions::Listed { .. } => self.who,
            Permissions::CopyOf { .. } => self.who & CLASSES,
        };
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => (mode & !replaced) | bits,
        }
    }
}

/// `[ugoa]*([-+=]([rwxXst]*|[ugo]))+`
fn parse_clause(clause: &str, changes: &mut Vec<ModeChange>) -> Option<()> {
    let mut who = 0;
    let mut rest = clause.as_bytes();
    while let [first, tail @ ..] = rest {
        who |= match first {
            b'u' => USER,
            b'g' => GROUP,
            b'o' => OTHER,
            b'a' => USER | GROUP | OTHER,
            _ => break,
        };
        rest = tail;
    }
    // No one named means everyone: the builder has no umask of its own that should matter.
    let who = if who == 0 { USER | GROUP | OTHER } else { who };
    if rest.is_empty() {
        return None;
    }
    while let [first, tail @ ..] = rest {
        let operator = match first {
            b'+' => Operator::Add,
            b'-' => Operator::Remove,
            b'=' => Operator::Set,
            _ => return None,
        };
        let (permissions, tail) = parse_permissions(tail)?;
        // The sticky bit belongs to no class: only a `t` touches it, and not for others alone.
        let sticky = match permissions {
            Permissions::Listed { bits, .. } if who != OTHER => bits & STICKY,
            _ => 0,
        };
        changes.push(ModeChange {
            who: who | sticky,
            operator,
            permissions,
        });
        rest = tail;
    }
    Some(())
}

fn parse_permissions(text: &[u8]) -> Option<(Permissions, &[u8])> {
    let end = text
        .iter()
        .position(|b| b"+-=".contains(b))
        .unwrap_or(text.len());
    let (list, tail) = text.split_at(end);
    let shift = match list {
        b"u" => Some(6),
        b"g" => Some(3),
        b"o" => Some(0),
        _ => None,
    };
    if let Some(shift) = shift {
        return Some((Permissions::CopyOf { shift }, tail));
    }
    let (mut bits, mut search) = (0, false);
    for permission in list {
        match permission {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= 0o111,
            b's' => bits |= 0o6000,
            b't' => bits |= 0o1000,
            b'X' => search = true,
            _ => return None,
        }
    }
    Some((Permissions::Listed { bits, search }, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: E29, E30
    #[test]
    fn applied() {
        let rows: &[(&str, u32, bool, u32)] = &[
            ("755", 0o600, false, 0o755),
            ("400", 0o755, true, 0o400),
            ("1777", 0o755, true, 0o1777),
            ("4755", 0o644, false, 0o4755),
            ("0", 0o644, false, 0),
            ("07777", 0, false, 0o7777),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a+x", 0o644, false, 0o755),
            ("go-w", 0o666, false, 0o644),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, false, 0o2755),
            ("+t", 0o755, true, 0o1755),
            ("u-s", 0o4755, false, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("o=g-w", 0o660, false, 0o664),
            ("u=", 0o755, false, 0o055),
            ("u=rw,g+r-x,o=", 0o711, false, 0o650 & !0o010),
            ("a=r", 0o100_755, false, 0o444),
            // finding 34
            ("go=rX", 0o1777, true, 0o1755),
            ("a=rx", 0o7777, true, 0o1555),
            ("=r", 0o7777, false, 0o1444),
            ("g=u", 0o2640, false, 0o2660),
            ("u=g", 0o4640, false, 0o4440),
            ("o=g", 0o1640, true, 0o1644),
            ("g=", 0o2775, true, 0o0705),
            ("o+t", 0o755, true, 0o755),
            ("o-s", 0o6755, true, 0o6755),
            ("a-t", 0o1755, true, 0o755),
            ("u=t", 0o755, true, 0o1055),
        ];
        assert!(!rows.is_empty());
        for (text, mode, is_dir, expected) in rows {
            let got = Chmod::parse(text).map(|c| c.apply(*mode, *is_dir));
            assert_eq!(got, Ok(*expected), "{text} on {mode:o}");
        }
    }

    // conformance: E29
    #[test]
    fn refused() {
        let rows = [
            "",
            "8",
            "789",
            "10000",
            "u",
            "rwx",
            "u+q",
            "u=rw,",
            "+755",
            "u=rwx go=r",
            "u=gx",
        ];
        for text in rows {
            let error = Chmod::parse(text).map_err(|e| e.to_string());
            let expected = format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            );
            assert_eq!(error, Err(expected));
        }
    }
}
