//! Says what is in a volume of base images.
//!
//! ```sh
//! cargo run -p kiln-tarball-cache --example survey -- VOLUME
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::path::Path;

use kiln_tarball_cache::{Access, ImageCache};

fn main() -> Result<(), Box<dyn Error>> {
    let volume = std::env::args_os().nth(1).ok_or("usage: survey VOLUME")?;
    let cache = ImageCache::open(Path::new(&volume), Access::ReadOnly)?;
    let survey = cache.survey()?;
    for image in &survey.images {
        let name = image.reference.as_deref().unwrap_or("without a name");
        let platform = image.platform.as_ref().map(ToString::to_string);
        let platform = platform.unwrap_or_default();
        println!("{name} {platform} {} bytes, {}", image.size, image.digest);
        if let Some(problem) = &image.problem {
            println!("  cannot be used: {problem}");
        }
    }
    println!(
        "{} results of steps, {} bytes in all",
        survey.steps, survey.size
    );
    Ok(())
}
