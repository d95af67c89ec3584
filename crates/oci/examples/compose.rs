//! Puts an image together with `oci-spec`'s own builders, hands it to a layout, and takes it out again.
//!
//! ```sh
//! cargo run -p kiln-oci --example compose -- LAYOUT
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::path::Path;

use kiln_oci::oci_spec::image::{
    ConfigBuilder, ImageConfiguration, ImageConfigurationBuilder, ImageManifest,
    ImageManifestBuilder, MediaType, RootFsBuilder, SCHEMA_VERSION,
};
use kiln_oci::{Descriptor, DiffId, ImageConfig, Layout, Manifest, Platform, REF_NAME};

/// An archive without files, which is a layer all the same.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: compose LAYOUT")?;
    let layout = Layout::create(Path::new(&dir))?;
    put_in(&layout)?;
    let (manifest, config) = take_out(&layout)?;
    println!("layers: {}", manifest.layers().len());
    println!("labels: {:?}", config.labels_of_config());
    Ok(())
}

fn put_in(layout: &Layout) -> Result<(), Box<dyn Error>> {
    let layer = layout.write_bytes(MediaType::ImageLayer, &EMPTY_TAR)?;
    let container = ConfigBuilder::default()
        .cmd(["/bin/true".to_owned()])
        .labels([("made-by".to_owned(), "compose".to_owned())])
        .build()?;
    let rootfs = RootFsBuilder::default()
        .typ("layers")
        .diff_ids([DiffId::of(EMPTY_TAR).to_string()])
        .build()?;
    let config = ImageConfigurationBuilder::default()
        .os("linux")
        .architecture("amd64")
        .config(container)
        .rootfs(rootfs)
        .build()?;
    // Theirs become ours, which are written the same way every time.
    let config = ImageConfig::try_from(config)?;
    let config = layout.write_bytes(MediaType::ImageConfig, &config.to_bytes())?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers([layer.into()])
        .build()?;
    let manifest = Manifest::try_from(manifest)?;
    let entry: Descriptor = layout.write_bytes(MediaType::ImageManifest, &manifest.to_bytes())?;
    layout.add_manifest(&entry.with_annotation(REF_NAME, "latest"))?;
    Ok(())
}

fn take_out(layout: &Layout) -> Result<(ImageManifest, ImageConfiguration), Box<dyn Error>> {
    let wanted = Platform::parse("linux/amd64")?;
    let entry = layout
        .find(Some("latest"), &wanted)?
        .ok_or("no such image")?;
    let manifest = Manifest::parse(&layout.read_blob(&entry.digest())?)?;
    let config = ImageConfig::parse(&layout.read_blob(&manifest.config().digest())?)?;
    // And ours theirs again.
    Ok((manifest.into(), config.into()))
}
