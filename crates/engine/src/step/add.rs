//! ADD: what COPY does, and archives, URLs and repositories (conformance E37-E48).

use std::sync::Arc;

use kiln_context::Grafted;
use kiln_dockerfile::{Add, Source};
use kiln_git::is_git;
use kiln_oci::Digest;
use kiln_shown::{SecretUrl, redact};

use super::copy::{Transfer, is_url};
use super::{StepError, Stepper};
use kiln_copy::CopySource;

impl Stepper<'_> {
    pub(super) fn add(&mut self, add: &Add) -> Result<(), StepError> {
        let transfer = self.add_words(add, true)?;
        let view = match &transfer.view {
            Some(view) => Arc::clone(view),
            None => self.plan_run.run.sources.context_view()?,
        };
        self.transfer(&view, &transfer, None)
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
        Self::check_path("destination", &transfer.destination)?;
        let checksum = self.checksum(add)?;
        let mut grafted = Grafted::new(self.plan_run.run.sources.context_view()?);
        for source in &add.sources {
            match source {
                Source::Heredoc(_) => {}
                Source::Path(path) => {
                    let path = self.expand(path)?;
                    transfer.shown.push(redact(&path).into_owned());
                    let source = if is_git(&path) {
                        self.repository(&path, add, fetch, &mut grafted)?
                    } else {
                        self.add_source(path, checksum.as_deref(), fetch)?
                    };
                    transfer.sources.push(source);
                }
            }
        }
        self.heredocs(&add.sources, &mut transfer)?;
        transfer.view = Some(Arc::new(grafted));
        Ok(transfer)
    }

    /// The files of a commit; to know what they are, the commit's id is enough (H11).
    fn repository(
        &self,
        path: &str,
        add: &Add,
        fetch: bool,
        grafted: &mut Grafted,
    ) -> Result<CopySource, StepError> {
        let checksum = self.expand_option(add.checksum.as_ref())?;
        if !fetch {
            let commit = self
                .plan_run
                .run
                .sources
                .repositories
                .commit(path, checksum.as_deref())?;
            let parts = format!("{} {:?}", commit.id, add.keep_git_dir);
            return Ok(CopySource::Inline {
                name: b"commit".to_vec(),
                content: parts.into_bytes(),
            });
        }
        let tree = self.plan_run.run.sources.repositories.files(
            path,
            checksum.as_deref(),
            add.keep_git_dir,
        )?;
        let at = grafted.graft(tree);
        Ok(CopySource::Path(at.as_bytes().to_vec()))
    }

    fn add_source(
        &self,
        path: String,
        checksum: Option<&str>,
        fetch: bool,
    ) -> Result<CopySource, StepError> {
        let wrong = |value: &str, expected| StepError::Flag {
            flag: "checksum",
            value: value.to_owned(),
            expected,
        };
        if !is_url(&path) {
            if checksum.is_some() {
                return Err(wrong(
                    &path,
                    "the source has to be a URL or a git repository",
                ));
            }
            return Ok(CopySource::Path(path.into_bytes()));
        }
        let checksum: Option<Digest> = checksum
            .map(|text| {
                let expected = "write `sha256:` and 64 hexadecimal digits";
                text.parse().map_err(|_| wrong(text, expected))
            })
            .transpose()?;
        if let (false, Some(checksum)) = (fetch, checksum) {
            return Ok(CopySource::Inline {
                name: b"checksum".to_vec(),
                content: checksum.to_string().into_bytes(),
            });
        }
        let fetched = self
            .plan_run
            .run
            .sources
            .downloads
            .get(&SecretUrl::from(path), checksum)?;
        Ok(CopySource::Fetched {
            name: fetched.name,
            content: fetched.content,
            size: fetched.size,
            mtime: fetched.mtime,
        })
    }

    /// `--checksum` belongs to exactly one source (E46).
    fn checksum(&self, add: &Add) -> Result<Option<String>, StepError> {
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
        Ok(Some(value))
    }
}
