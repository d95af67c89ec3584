//! `COPY` and `ADD`.

use super::Line;
use crate::command::{Add, Copy, Source};
use crate::error::Fault;
use crate::flags::{Known, Takes};
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
        let (sources, destination) = self.sources(rest)?;
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

    /// Sources and destination (A26).
    fn sources(&self, rest: &str) -> Result<(Vec<Source>, String), Located> {
        let mut words = match parse_array(rest) {
            Json::Strings(words) => words.into_iter().map(Source::Path).collect(),
            Json::OtherArray => return Err(self.fault_at(Fault::NotStrings, rest)),
            Json::None => self.words_and_heredocs(rest),
        };
        let instruction = self.name;
        if words.len() < 2 {
            return Err(self.fault(Fault::NoDestination { instruction }));
        }
        match words.pop() {
            Some(Source::Path(destination)) => Ok((words, destination)),
            _ => Err(self.fault_at(Fault::HeredocDestination { instruction }, rest)),
        }
    }

    fn words_and_heredocs(&self, rest: &str) -> Vec<Source> {
        let start = self.logical.range_of(rest).start;
        let mut sources = Vec::new();
        let mut done = 0;
        let paths = |text| words::blank_separated(text).map(|w| Source::Path(w.to_owned()));
        for (opening, body) in &self.logical.heredocs {
            // A heredoc of this line is always behind the flags, but nothing here depends on it.
            let from = opening.range.start.saturating_sub(start);
            let to = opening.range.end.saturating_sub(start);
            sources.extend(paths(rest.get(done..from).unwrap_or_default()));
            sources.push(Source::Heredoc(opening.with_body(body)));
            done = to;
        }
        sources.extend(paths(rest.get(done..).unwrap_or_default()));
        sources
    }
}

/// URLs and git sources belong to `ADD` (E45).
fn is_remote(path: &str) -> bool {
    let scp_like = path.starts_with("git@") && path.contains(':');
    scp_like
        || ["http://", "https://", "git://", "ssh://"]
            .iter()
            .any(|p| path.starts_with(p))
}
