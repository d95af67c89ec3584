//! Builds an image and prints what happens, from the events alone.
//!
//! ```sh
//! cargo run -p kiln-engine --example progress -- CONTEXT ARCHIVE
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it is told")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use kiln_engine::{
    BuildSettings, Cancel, DockerfileSource, Event, ImageOutput, Transfer, build, enter, init,
    with_causes,
};

fn main() -> ExitCode {
    // Commands of a RUN are started by this same program: it has to step in before anything else.
    init();
    match progress() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn progress() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(context), Some(archive)) = (arguments.next(), arguments.next()) else {
        return Err("usage: progress CONTEXT ARCHIVE".into());
    };
    let settings = BuildSettings {
        dockerfile: DockerfileSource::Path(context.join("Dockerfile")),
        context_dir: context,
        no_push: true,
        outputs: vec![ImageOutput::Archive(archive)],
        ..BuildSettings::default()
    };
    // Before the runtime has threads, since a process with threads cannot enter a user namespace.
    let entered = enter(&settings)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(build(settings, entered, Arc::new(show), Cancel::new()))?;
    println!("{} has {} bytes of layers", report.digest, report.size);
    Ok(())
}

/// Called from several threads, and the build waits for it.
fn show(event: Event) {
    match event {
        Event::StepBegun { step, text } => println!("[{step}] {text}"),
        Event::StepCached { step, place } => println!("[{step}] is in {place}"),
        Event::StepEnded {
            step,
            took,
            outcome,
            ..
        } => println!("[{step}] {outcome:?} after {took:.1?}"),
        Event::Output { step, line, .. } => {
            println!("[{step}] | {}", String::from_utf8_lossy(&line));
        }
        Event::TransferBegun { transfer } => println!("{} begins", named(&transfer)),
        Event::TransferMoved { transfer, moved } => match transfer.wanted {
            Some(wanted) => println!("{}: {moved} of {wanted} bytes", named(&transfer)),
            None => println!("{}: {moved} bytes", named(&transfer)),
        },
        Event::TransferEnded {
            transfer,
            moved,
            took,
            done,
        } => {
            let how = if done { "done" } else { "given up" };
            println!("{} {how}: {moved} bytes in {took:.1?}", named(&transfer));
        }
        Event::Warning { text, .. } => println!("warning: {text}"),
        // There are more, and later versions have others.
        _ => {}
    }
}

fn named(transfer: &Transfer) -> String {
    let kind = transfer.kind.name();
    match &transfer.subject {
        Some(subject) => format!("{kind} {} for {subject}", transfer.id),
        None => format!("{kind} {}", transfer.id),
    }
}
