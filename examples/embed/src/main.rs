//! Builds an image from a directory and writes it as an archive for `docker load`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_engine::{
    BuildSettings, Cancel, DockerfileSource, Event, ImageOutput, build, enter, init,
};

fn main() -> Result<(), Box<dyn Error>> {
    // Commands of a RUN are started by this same program: it has to step in before anything else.
    init();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(context), Some(archive)) = (arguments.next(), arguments.next()) else {
        return Err("usage: kiln-embed CONTEXT ARCHIVE".into());
    };
    let settings = BuildSettings {
        dockerfile: DockerfileSource::Path(context.join("Dockerfile")),
        context_dir: context,
        outputs: vec![ImageOutput::Archive(archive)],
        ..BuildSettings::default()
    };
    // Before the runtime has threads, since a process with threads cannot enter a user namespace.
    let entered = enter(&settings)?;
    let events = Arc::new(|event: Event| drop(event));
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(build(settings, entered, events, Cancel::new()))?;
    std::fs::write("digest", report.digest.to_string())?;
    Ok(())
}
