//! `COPY` and `ADD`.

use super::Line;
use crate::command::{Add, Copy, Source};
use crate::error::Fault;
use crate::flags::{Flags, Known, Takes};
use crate::json::{Json, parse_array};
use crate::logical::Located;
use crate::words;

const COPY_FLAGS: Known = &[
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("parents", Takes::Bool),
    ("exclude", Takes::Values),
];

const ADD_FLAGS: Known = &[
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("exclude", Takes::Values),
    ("checksum", Takes::Value),
    ("keep-git-dir", Takes::Bool),
    ("unpack", Takes::Bool),
];

impl Line<'_> {
    pub(super) fn copy(&self) -> Result<Copy, Located> {
        let (flags, rest) = self.flags(COPY_FLAGS)?;
        if let Some((value, source)) = flags.get("from")
            && value.contains('$')
        {
            return Err(self.fault_at(
                Fault::FromVariable {
                    value: value.to_owned(),
                },
                source,
            ));
        }
        if let Some((value, part)) = flags.get("from") {
            self.refers_to(value, part);
        }
        self.check_flags(&flags);
        let (sources, destination) = self.sources(rest)?;
        let remote = |source: &Source| matches!(source, Source::Path(path) if is_remote(path));
        if sources.iter().any(remote) {
            return Err(self.fault_at(Fault::CopyUrl, rest));
        }
        Ok(Copy {
            sources,
            destination,
            from: flags.text("from"),
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.bool("link").unwrap_or(false),
            parents: flags.bool("parents").unwrap_or(false),
            excludes: flags.texts("exclude"),
        })
    }

    pub(super) fn add(&self) -> Result<Add, Located> {
        let (flags, rest) = self.flags(ADD_FLAGS)?;
        self.check_flags(&flags);
        let (sources, destination) = self.sources(rest)?;
        self.check_checksum(&flags, &sources);
        Ok(Add {
            sources,
            destination,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.bool("link").unwrap_or(false),
            excludes: flags.texts("exclude"),
            checksum: flags.text("checksum"),
            keep_git_dir: flags.bool("keep-git-dir"),
            unpack: flags.bool("unpack"),
        })
    }

    fn check_flags(&self, flags: &Flags<'_>) {
        self.check_flag(flags, "chown");
        self.check_chmod(flags);
        self.check_excludes(flags);
    }

    /// Sources and destination (A26).
    fn sources(&self, rest: &str) -> Result<(Vec<Source>, String), Located> {
        let mut words = match parse_array(rest) {
            Json::Strings(words) => words
                .into_iter()
                .map(|word| (Source::Path(word), rest))
                .collect(),
            Json::OtherArray => return Err(self.fault_at(Fault::NotStrings, rest)),
            Json::None => self.words_and_heredocs(rest),
        };
        let instruction = self.name;
        if words.len() < 2 {
            return Err(self.fault(Fault::NoDestination { instruction }));
        }
        let Some((Source::Path(destination), part)) = words.pop() else {
            return Err(self.fault_at(Fault::HeredocDestination { instruction }, rest));
        };
        for (source, part) in &words {
            if let Source::Path(path) = source {
                self.check_source(path, part);
            }
        }
        self.check_value(&destination, part);
        let sources = words.into_iter().map(|(source, _)| source).collect();
        Ok((sources, destination))
    }

    /// The words, each with the part of the line it was taken from.
    fn words_and_heredocs<'r>(&self, rest: &'r str) -> Vec<(Source, &'r str)> {
        let start = self.logical.range_of(rest).start;
        let mut sources = Vec::new();
        let mut done = 0;
        let paths = |text| words::blank_separated(text).map(|w| (Source::Path(w.to_owned()), w));
        for (opening, body) in &self.logical.heredocs {
            // A heredoc of this line is always behind the flags, but nothing here depends on it.
            let from = opening.range.start.saturating_sub(start);
            let to = opening.range.end.saturating_sub(start);
            sources.extend(paths(rest.get(done..from).unwrap_or_default()));
            let part = rest.get(from..to).unwrap_or(rest);
            sources.push((Source::Heredoc(opening.with_body(body)), part));
            done = to;
        }
        sources.extend(paths(rest.get(done..).unwrap_or_default()));
        sources
    }

    /// `--checksum` belongs to exactly one source, and to one that comes from elsewhere (E46).
    fn check_checksum(&self, flags: &Flags<'_>, sources: &[Source]) {
        let Some((_, part)) = flags.get("checksum") else {
            return;
        };
        let Some(value) = self.check_flag(flags, "checksum") else {
            return;
        };
        let source = match sources {
            [Source::Path(path)] => self.check_value(path, part),
            _ => {
                let expected = "there has to be exactly one source";
                return self.doubt(Fault::Checksum { value, expected }, part);
            }
        };
        let Some(source) = source else { return };
        let expected = if !is_remote(&source) {
            "the source has to be a URL or a git repository"
        } else if is_download(&source) && !is_digest(&value) {
            "write `sha256:` and 64 hexadecimal digits"
        } else {
            return;
        };
        self.doubt(Fault::Checksum { value, expected }, part);
    }
}

/// A file behind a URL, as far as that can be told from the URL.
fn is_download(source: &str) -> bool {
    let path = source.split(['#', '?']).next().unwrap_or_default();
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    is_url && path.strip_suffix(".git").is_none()
}

/// `sha256:`, `sha384:` or `sha512:` with as many hexadecimal digits as it has.
fn is_digest(value: &str) -> bool {
    let lengths = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
    let Some((name, digits)) = value.split_once(':') else {
        return false;
    };
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    lengths.contains(&(name, digits.len())) && digits.bytes().all(hex)
}

/// URLs and git sources belong to `ADD` (E45).
pub(crate) fn is_remote(path: &str) -> bool {
    let scp_like = path.starts_with("git@") && path.contains(':');
    scp_like
        || ["http://", "https://", "git://", "ssh://"]
            .iter()
            .any(|p| path.starts_with(p))
}
