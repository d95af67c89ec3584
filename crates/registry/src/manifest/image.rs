//! From a reference to one image: through indexes, to manifest and config (C13-C15, C24, I24).

use bytes::Bytes;
use kiln_oci::{
    Descriptor, Digest, ImageConfig, Index, MAX_CANDIDATES, MAX_DOCUMENT, Manifest, NoMatch,
    Platform, Reference, Repository,
};

use crate::client::Client;
use crate::error::RegistryError;
use crate::fetched::Fetched;

/// Indexes in indexes are rare; in more than this many of them something is wrong.
const MAX_DEPTH: u32 = 4;

/// A search through indexes.
struct Hunt<'a> {
    platform: &'a Platform,
    /// What was seen for other platforms.
    available: Vec<Platform>,
    /// Manifests that may still be read to find out what they are for.
    left: usize,
}

/// An image of one platform: manifest and config, both verified. Layers are fetched apart.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    /// Digest of `manifest_bytes`.
    pub manifest_digest: Digest,
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The exact manifest.
    pub manifest_bytes: Bytes,
    /// The parsed config.
    pub config: ImageConfig,
    /// The exact config.
    pub config_bytes: Bytes,
    /// Digest of the index the reference named, if it named one.
    pub index_digest: Option<Digest>,
    /// Where it really came from: ask this repository for the layers.
    pub from: Repository,
    /// What the user should know, e.g. that the image is of another platform (C15).
    pub warnings: Vec<String>,
}

impl Client {
    /// The image behind `r` for platform `p`; a tag is looked up once per client (C13-C15, C24, I24).
    pub async fn image(&self, r: &Reference, p: &Platform) -> Result<RemoteImage, RegistryError> {
        let key = (r.to_string(), self.mirrored);
        let (top, _) = self.inner.resolved.run(key, self.manifest(r)).await?;
        if !top.media_type.is_index() {
            let mut image = self.single(r, top).await?;
            let candidate = image.config.platform();
            if !candidate.is_empty() && p.rank(&candidate).is_none() {
                image.warnings.push(format!(
                    "`{}` is for platform `{candidate}`, not `{p}`",
                    r.familiar()
                ));
            }
            return Ok(image);
        }
        let index_digest = top.digest;
        let mut hunt = Hunt {
            platform: p,
            available: Vec::new(),
            left: MAX_CANDIDATES,
        };
        match self.search(r, &top, &mut hunt, 0).await? {
            Some(mut image) => {
                image.index_digest = Some(index_digest);
                Ok(image)
            }
            None => Err(RegistryError::no_platform(r.familiar(), p, &hunt.available)),
        }
    }

    /// Looks for the platform in an index: labelled entries first, then those that have to be read (I24).
    async fn search(
        &self,
        r: &Reference,
        fetched: &Fetched,
        hunt: &mut Hunt<'_>,
        depth: u32,
    ) -> Result<Option<RemoteImage>, RegistryError> {
        if depth >= MAX_DEPTH {
            return Err(RegistryError::Unusable {
                reference: r.familiar(),
                reason: format!("its indexes are nested more than {MAX_DEPTH} deep"),
            });
        }
        let index =
            Index::parse(&fetched.bytes).map_err(|source| malformed("the index", r, source))?;
        let unlabelled = match index.select(hunt.platform) {
            Ok(entry) => return self.entry(r, fetched, entry, hunt, depth).await,
            Err(miss) => {
                let NoMatch {
                    available: offered,
                    unlabelled,
                    ..
                } = *miss;
                hunt.available.extend(offered);
                unlabelled
            }
        };
        for entry in &unlabelled {
            hunt.left = hunt.left.checked_sub(1).ok_or_else(|| RegistryError::Unusable {
                reference: r.familiar(),
                reason: format!(
                    "it has more than {MAX_CANDIDATES} manifests that do not say what platform they are for \
                     (MAX_CANDIDATES)"
                ),
            })?;
            if let Some(image) = self.entry(r, fetched, entry, hunt, depth).await? {
                let candidate = image.config.platform();
                if candidate.is_empty() || hunt.platform.rank(&candidate).is_some() {
                    return Ok(Some(image));
                }
                hunt.available.push(candidate);
            }
        }
        Ok(None)
    }

    /// The image an entry of an index stands for.
    async fn entry(
        &self,
        r: &Reference,
        parent: &Fetched,
        entry: &Descriptor,
        hunt: &mut Hunt<'_>,
        depth: u32,
    ) -> Result<Option<RemoteImage>, RegistryError> {
        let inner = self.of_digest(&parent.from, &entry.digest()).await?;
        if inner.media_type.is_index() {
            return Box::pin(self.search(r, &inner, hunt, depth + 1)).await;
        }
        self.single(r, inner).await.map(Some)
    }

    /// A manifest by digest, from where its parent came or from where the same content may be.
    async fn of_digest(
        &self,
        from: &Repository,
        digest: &Digest,
    ) -> Result<Fetched, RegistryError> {
        let sources = if self.mirrored {
            self.inner.sources.of_content(from)
        } else {
            vec![from.clone()]
        };
        let mut first = None;
        for repo in sources {
            match self.direct().manifest(&repo.at_digest(*digest)).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| RegistryError::NoSource {
            reference: from.at_digest(*digest).familiar(),
        }))
    }

    /// Manifest and config of an image that is no index.
    async fn single(&self, r: &Reference, fetched: Fetched) -> Result<RemoteImage, RegistryError> {
        let manifest = Manifest::parse(&fetched.bytes)
            .map_err(|source| malformed("the manifest", r, source))?;
        let config_bytes = self
            .blob_bytes(&fetched.from, manifest.config(), MAX_DOCUMENT)
            .await?;
        let config = ImageConfig::parse(&config_bytes)
            .map_err(|source| malformed("the config", r, source))?;
        Ok(RemoteImage {
            manifest_digest: fetched.digest,
            manifest,
            manifest_bytes: fetched.bytes,
            config,
            config_bytes,
            index_digest: None,
            from: fetched.from,
            warnings: Vec::new(),
        })
    }
}

fn malformed(what: &'static str, r: &Reference, source: kiln_oci::DocumentError) -> RegistryError {
    match source {
        kiln_oci::DocumentError::Schema1 { .. } => RegistryError::Schema1 {
            reference: r.familiar(),
        },
        source => RegistryError::Malformed {
            what,
            reference: r.familiar(),
            source,
        },
    }
}
