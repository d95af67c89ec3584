//! Copies an image of this machine's platform from one registry to another, byte for byte.
//!
//! ```sh
//! cargo run -p kiln-registry --example copy -- FROM TO
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use kiln_registry::oci::{Descriptor, Platform, Reference};
use kiln_registry::{BlobSource, Client, RegistrySettings, RemoteImage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("usage: copy FROM TO".into());
    };
    let (from, to): (Reference, Reference) = (from.parse()?, to.parse()?);
    let client = Client::new(RegistrySettings::default())?;
    let image = client.image(&from, &Platform::host()).await?;

    let config = BlobSource::Bytes(image.config_bytes.clone());
    push(&client, &image, image.manifest.config(), &to, config).await?;
    let scratch = tempfile::tempdir()?;
    for layer in image.manifest.layers() {
        // What can be mounted from the other repository, or is there, is not fetched.
        let mount_from = std::slice::from_ref(&image.from);
        if let Some(pushed) = client.claim_blob(&to.repo(), layer, mount_from).await? {
            println!("{} {pushed:?}", layer.digest());
            continue;
        }
        let file = scratch.path().join(layer.digest().hex());
        client
            .blob_to_file(&image.from, layer, &file, &|_bytes| ())
            .await?;
        push(&client, &image, layer, &to, BlobSource::File(file)).await?;
    }
    let media_type = image.manifest.effective_media_type();
    let bytes = image.manifest_bytes.clone();
    let digest = client.push_manifest(&to, bytes, &media_type).await?;
    println!("{to} is {digest}");
    Ok(())
}

async fn push(
    client: &Client,
    image: &RemoteImage,
    blob: &Descriptor,
    to: &Reference,
    source: BlobSource,
) -> Result<(), Box<dyn Error>> {
    let mount_from = std::slice::from_ref(&image.from);
    let pushed = client
        .push_blob(&to.repo(), blob, source, mount_from)
        .await?;
    println!("{} {pushed:?}", blob.digest());
    Ok(())
}
