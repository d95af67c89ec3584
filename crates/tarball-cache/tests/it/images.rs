//! Images made on the spot.

use std::path::Path;

use kiln_oci::{ConfigDraft, Descriptor, DiffId, Digest, Family, Manifest, MediaType, Platform};
use kiln_tarball_cache::{Access, Begun, CacheWriter, CachedImage, ImageCache, NewImage};

pub(crate) struct Image {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) descriptors: Vec<Descriptor>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) digest: Digest,
}

/// An image for `platform` with these layers; their content is of no interest here.
pub(crate) fn image(platform: &str, layers: &[&str]) -> Image {
    let layers: Vec<Vec<u8>> = layers
        .iter()
        .map(|layer| layer.as_bytes().to_vec())
        .collect();
    let descriptors: Vec<Descriptor> = layers
        .iter()
        .map(|layer| Descriptor::of(MediaType::OciLayer, layer))
        .collect();
    let mut config = ConfigDraft::default();
    config.set_platform(&Platform::parse(platform).unwrap());
    config.rootfs.diff_ids = layers.iter().map(DiffId::of).collect();
    let config = config.to_bytes();
    let described = Descriptor::of(MediaType::OciConfig, &config);
    // Spaces, as a registry may send them: the bytes must come back as they are.
    let manifest = [
        b"  ".to_vec(),
        Manifest::new(Family::Oci, described, descriptors.clone()).to_bytes(),
    ]
    .concat();
    Image {
        layers,
        descriptors,
        config,
        digest: Digest::of(&manifest),
        manifest,
    }
}

impl Image {
    pub(crate) fn new_image(&self) -> NewImage<'_> {
        NewImage::new(&self.manifest, MediaType::OciManifest, &self.config)
    }

    pub(crate) fn put_layers(&self, writer: &CacheWriter) {
        for (bytes, descriptor) in self.layers.iter().zip(&self.descriptors) {
            writer.put_blob_from(&bytes[..], descriptor).unwrap();
        }
    }

    pub(crate) fn store(&self, cache: &ImageCache) -> CachedImage {
        let writer = locked(cache.begin(&self.digest).unwrap());
        self.put_layers(&writer);
        writer.commit(&self.new_image()).unwrap()
    }

    /// Everything that was stored comes back, byte for byte.
    pub(crate) fn assert_is(&self, cached: &CachedImage) {
        assert_eq!(cached.manifest_digest, self.digest);
        assert_eq!(cached.manifest_bytes, self.manifest);
        assert_eq!(cached.config_bytes, self.config);
        for (bytes, descriptor) in self.layers.iter().zip(&self.descriptors) {
            let mut read = Vec::new();
            std::io::Read::read_to_end(&mut cached.open_layer(descriptor).unwrap(), &mut read)
                .unwrap();
            assert_eq!(&read, bytes);
            if let Some(path) = cached.blob_path(&descriptor.digest()) {
                assert_eq!(&std::fs::read(path).unwrap(), bytes);
            }
        }
    }
}

pub(crate) fn locked(begun: Begun) -> CacheWriter {
    match begun {
        Begun::Locked(writer) => *writer,
        other => panic!("expected a writer, got {other:?}"),
    }
}

pub(crate) fn platform(text: &str) -> Platform {
    Platform::parse(text).unwrap()
}

pub(crate) fn writable(dir: &Path) -> ImageCache {
    ImageCache::open(dir, Access::ReadWrite).unwrap()
}

/// All files below `dir`, relative and sorted, with digests shortened.
pub(crate) fn tree(dir: &Path) -> Vec<String> {
    let all = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    let mut files: Vec<String> = all
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| {
            entry
                .path()
                .strip_prefix(dir)
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    files.sort();
    files
}
