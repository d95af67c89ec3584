//! Path patterns as a small machine that reads a path once, whatever the pattern is.
//!
//! Backtracking over several `**` takes exponential time on patterns people can write; following all
//! possibilities at once takes pattern times path, and tells about parents and children for free.

/// What one step of a pattern accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// This character.
    Char(u32),
    /// `?`: any character but `/`.
    One,
    /// `[...]`
    Class(Class),
    /// `*`: any number of characters but `/`.
    Star,
    /// `**` at the end: anything at all.
    All,
    /// `**/`: nothing, or anything up to and including a `/`. Always followed by [`Step::Inside`].
    Directories,
    /// The second half of [`Step::Directories`].
    Inside,
}

/// `[a-z]`, `[^a]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Class {
    pub(crate) negated: bool,
    pub(crate) ranges: Vec<(u32, u32)>,
}

impl Class {
    fn contains(&self, code: u32) -> bool {
        self.ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&code))
            != self.negated
    }
}

const SLASH: u32 = '/' as u32;
/// Patterns up to this many states run without allocating.
const SMALL: usize = 2;

/// The compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Automaton {
    steps: Vec<Step>,
}

/// What a path was to a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The path itself matches.
    pub(crate) whole: bool,
    /// The path or one of its parents matches.
    pub(crate) whole_or_parent: bool,
    /// Some longer path that begins with this one could match.
    pub(crate) open: bool,
}

impl Automaton {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// The bytes the pattern stands for when it has no wildcard.
    pub(crate) fn literal(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for step in &self.steps {
            let Step::Char(code) = step else {
                return None;
            };
            encode(*code, &mut bytes);
        }
        Some(bytes)
    }

    /// The longest run of plain characters: a path without it cannot match.
    pub(crate) fn needle(&self) -> Vec<u8> {
        let mut best = Vec::new();
        for run in self.steps.split(|step| !matches!(step, Step::Char(_))) {
            let run = Self::new(run.to_vec()).literal().unwrap_or_default();
            if run.len() > best.len() {
                best = run;
            }
        }
        best
    }

    pub(crate) fn run(&self, path: &[u8]) -> Outcome {
        let words = self.steps.len() / 64 + 1;
        if words <= SMALL {
            self.follow(path, &mut [0; SMALL], &mut [0; SMALL])
        } else {
            self.follow(path, &mut vec![0; words], &mut vec![0; words])
        }
    }

    /// `now` and `next` are sets of states: state n is "steps before n are done".
    fn follow<'a>(
        &self,
        mut path: &[u8],
        mut now: &'a mut [u64],
        mut next: &'a mut [u64],
    ) -> Outcome {
        let done = self.steps.len();
        let mut parent = false;
        self.enter(now, 0);
        while !path.is_empty() {
            let (code, length) = decode(path);
            path = &path[length..];
            parent |= code == SLASH && has(now, done);
            next.fill(0);
            self.step(now, next, code);
            std::mem::swap(&mut now, &mut next);
            if now.iter().all(|word| *word == 0) {
                break;
            }
        }
        let whole = path.is_empty() && has(now, done);
        if has(now, done) {
            now[done / 64] &= !(1 << (done % 64));
        }
        let open = now.iter().any(|word| *word != 0);
        Outcome {
            whole,
            whole_or_parent: whole || parent,
            open,
        }
    }

    fn step(&self, now: &[u64], next: &mut [u64], code: u32) {
        for (index, word) in now.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                let state = index * 64 + word.trailing_zeros() as usize;
                word &= word - 1;
                match self.steps.get(state) {
                    Some(Step::Char(wanted)) if *wanted == code => self.enter(next, state + 1),
                    Some(Step::One) if code != SLASH => self.enter(next, state + 1),
                    Some(Step::Class(class)) if class.contains(code) => self.enter(next, state + 1),
                    Some(Step::Star) if code != SLASH => self.enter(next, state),
                    Some(Step::All) => self.enter(next, state),
                    Some(Step::Inside) => {
                        set(next, state);
                        if code == SLASH {
                            self.enter(next, state + 1);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Adds a state and all that follow it without reading anything.
    fn enter(&self, states: &mut [u64], mut state: usize) {
        loop {
            set(states, state);
            state = match self.steps.get(state) {
                Some(Step::Star | Step::All) => state + 1,
                Some(Step::Directories) => {
                    set(states, state + 1);
                    state + 2
                }
                _ => return,
            };
        }
    }
}

fn set(states: &mut [u64], state: usize) {
    states[state / 64] |= 1 << (state % 64);
}

fn has(states: &[u64], state: usize) -> bool {
    states[state / 64] & (1 << (state % 64)) != 0
}

/// The first character of non-empty bytes and its length; a byte that is not UTF-8 is a character of
/// its own, above all others.
pub(crate) fn decode(bytes: &[u8]) -> (u32, usize) {
    let first = bytes[0];
    let length = match first {
        0..0x80 => return (u32::from(first), 1),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let c = bytes
        .get(..length)
        .and_then(|b| std::str::from_utf8(b).ok()?.chars().next());
    match c {
        Some(c) => (u32::from(c), length),
        None => (INVALID + u32::from(first), 1),
    }
}

/// Codes of bytes that are not UTF-8 start here, behind the last character.
const INVALID: u32 = char::MAX as u32 + 1;

fn encode(code: u32, bytes: &mut Vec<u8>) {
    match char::from_u32(code) {
        Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => bytes.push((code - INVALID) as u8),
    }
}
