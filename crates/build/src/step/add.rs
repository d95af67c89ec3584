//! ADD: what COPY does, and archives and URLs (conformance E37-E46).

use kiln_dockerfile::{Add, Source};
use kiln_oci::Digest;

use super::copy::{Transfer, is_git, is_url};
use super::{StepError, Stepper};
use crate::copy::CopySource;

impl Stepper<'_> {
    pub(super) fn add(&mut self, add: &Add) -> Result<(), StepError> {
        let transfer = self.add_words(add, true)?;
        let view = self.shop.context_view()?;
        self.transfer(&view, &transfer)
    }

    /// The words of an ADD, expanded; `fetch` says whether the content of URLs is wanted where a checksum already
    /// says what it is.
    pub(super) fn add_words(&self, add: &Add, fetch: bool) -> Result<Transfer, StepError> {
        let mut transfer = Transfer {
            name: "ADD",
            destination: self.expand(&add.destination)?,
            chown: self.expand_option(add.chown.as_ref())?,
            chmod: self.expand_option(add.chmod.as_ref())?,
            excludes: self.expand_all(&add.excludes)?,
            link: add.link,
            // Local archives are unpacked unless told otherwise, downloads only if told so (E37, E43).
            unpack_local: add.unpack != Some(false),
            unpack_fetched: add.unpack == Some(true),
            ..Transfer::default()
        };
        let checksum = self.checksum(add)?;
        for source in &add.sources {
            match source {
                Source::Heredoc(heredoc) => self.inline(heredoc, &mut transfer)?,
                Source::Path(path) => {
                    let path = self.expand(path)?;
                    transfer.shown.push(path.clone());
                    let known = checksum.filter(|_| !fetch && is_url(&path));
                    let source = match known {
                        Some(checksum) => CopySource::Inline {
                            name: b"checksum".to_vec(),
                            content: checksum.to_string().into_bytes(),
                        },
                        None => self.add_source(path, checksum)?,
                    };
                    transfer.sources.push(source);
                }
            }
        }
        Ok(transfer)
    }

    fn add_source(&self, path: String, checksum: Option<Digest>) -> Result<CopySource, StepError> {
        if is_git(&path) {
            return Err(StepError::Unsupported {
                what: format!("ADD from git (`{path}`)"),
            });
        }
        if !is_url(&path) {
            if checksum.is_some() {
                return Err(StepError::Flag {
                    flag: "checksum",
                    value: path,
                    expected: "the source has to be a URL",
                });
            }
            return Ok(CopySource::Path(path.into_bytes()));
        }
        let fetched = self.shop.fetch(&path, checksum)?;
        Ok(CopySource::Fetched {
            name: fetched.name,
            content: fetched.content,
            size: fetched.size,
            mtime: fetched.mtime,
        })
    }

    /// `--checksum` belongs to exactly one source (E46).
    fn checksum(&self, add: &Add) -> Result<Option<Digest>, StepError> {
        let Some(value) = self.expand_option(add.checksum.as_ref())? else {
            return Ok(None);
        };
        if add.sources.len() != 1 {
            return Err(StepError::Flag {
                flag: "checksum",
                value,
                expected: "there has to be exactly one source",
            });
        }
        match value.parse() {
            Ok(digest) => Ok(Some(digest)),
            Err(_) => Err(StepError::Flag {
                flag: "checksum",
                value,
                expected: "write `sha256:` and 64 hexadecimal digits",
            }),
        }
    }
}
