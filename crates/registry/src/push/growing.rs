//! Blobs that are sent while they are still being written: their digest is known only at the end.

use kiln_oci::{Descriptor, Repository};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::check_stored;
use super::session::{OCTETS, Session, complete, session_after};
use crate::ask::Ask;
use crate::client::Client;
use crate::error::RegistryError;
use crate::growing_file::GrowingFile;
use crate::pushed::Pushed;
use crate::request::Payload;
use crate::retry::Waits;

/// A blob that a registry has the bytes of, but not the name.
#[derive(Debug)]
pub struct UnnamedBlob {
    repo: Repository,
    session: Session,
}

impl UnnamedBlob {
    /// Where it is.
    pub fn repository(&self) -> &Repository {
        &self.repo
    }
}

impl Client {
    /// Starts an upload for bytes whose digest is not known yet.
    pub async fn open_upload(&self, repo: &Repository) -> Result<UnnamedBlob, RegistryError> {
        let session = self.start_upload(repo, &Ask::push_check(repo)).await?;
        Ok(UnnamedBlob {
            repo: repo.clone(),
            session,
        })
    }

    /// Sends a file to the end of its growth, in one streamed PATCH. Not tried again: after a failure the file can
    /// be pushed as a whole, see [`push_blob`](Self::push_blob).
    pub async fn send_growing(
        &self,
        mut blob: UnnamedBlob,
        file: &GrowingFile,
    ) -> Result<UnnamedBlob, RegistryError> {
        let _permit = self.inner.transfers.acquire().await;
        let ask = Ask::push_check(&blob.repo);
        let location = blob.session.location().clone();
        let mut call = self.upload_call(&blob.repo, &ask, Method::PATCH, location);
        call.headers.insert(CONTENT_TYPE, OCTETS);
        call.body = Payload::Growing(file.clone());
        call.waits = Waits::none();
        let answer = self.attempt(&call).await?;
        let base = answer.response.url().clone();
        let headers = answer.response.headers();
        blob.session = session_after(&call, &base, headers, Some(blob.session))?;
        Ok(blob)
    }

    /// Gives the bytes their digest, which the registry compares with what it got.
    pub async fn name_upload(
        &self,
        blob: UnnamedBlob,
        d: &Descriptor,
    ) -> Result<Pushed, RegistryError> {
        let ask = Ask::blob_push(&blob.repo, &d.digest());
        let location = complete(blob.session.location(), &d.digest());
        let mut call = self.upload_call(&blob.repo, &ask, Method::PUT, location);
        call.waits = Waits::none();
        let name = async {
            let answer = self.attempt(&call).await?;
            check_stored(&ask, answer.response.headers(), d.digest())?;
            Ok::<_, RegistryError>(Pushed::Uploaded)
        };
        let key = (blob.repo.clone(), d.digest());
        Ok(self.inner.pushed.run(key, name).await?.0)
    }

    /// Has the registry forget bytes that are not wanted any more.
    pub async fn drop_upload(&self, blob: UnnamedBlob) {
        self.cancel_upload(&blob.repo, &blob.session).await;
    }
}
