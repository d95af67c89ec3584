//! Fetches base images into a folder that builds take them from, with kaniko's command line.

mod interrupt;
mod volume;

use std::process::ExitCode;
use std::sync::Arc;

use kiln_engine::{Event, WarmReport};
use kiln_options::{
    CommandLine as _, LogFormat, Stop, WarmerAction, WarmerCommand, WarmerOptions, byte_size,
    report_failure, start_logging, variables_without_meaning,
};

fn main() -> ExitCode {
    // The library may start this executable again as its helper.
    kiln_engine::init();
    let WarmerCommand { options, action } = match WarmerCommand::read(std::env::args_os()) {
        Ok(command) => command,
        Err(stop) => return stop.report(LogFormat::default()),
    };
    if let Err(error) = start_logging(&options.log, &|name| std::env::var_os(name)) {
        return report_failure(options.log.log_format, &error, None, None, 1);
    }
    let names = std::env::vars_os().map(|(name, _)| name);
    if let Some(notice) = variables_without_meaning(names) {
        tracing::warn!("{notice}");
    }
    match action {
        None => warm(&options),
        Some(WarmerAction::List(list)) => volume::list(&list, options.log.log_format),
        Some(WarmerAction::Prune(prune)) => volume::prune(&prune, options.log.log_format),
    }
}

fn warm(options: &WarmerOptions) -> ExitCode {
    let format = options.log.log_format;
    let settings = match options.resolve(&|name| std::env::var_os(name)) {
        Ok(settings) => settings,
        Err(error) => return Stop::Wrong(error).report(format),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report_failure(format, &error, None, None, 1),
    };
    let outcome = runtime.block_on(async {
        let told = interrupt::told_to_end()?;
        tokio::select! {
            outcome = kiln_engine::warm(settings, Arc::new(log)) => Ok(Some(outcome)),
            signal = told => {
                tracing::error!("{signal}: images that are not complete are not in the cache");
                Ok(None)
            }
        }
    });
    // Nothing that is still under way is waited for: whatever is not complete has no name in the cache (H33).
    runtime.shutdown_background();
    match outcome {
        Ok(Some(Ok(report))) => summary(&report),
        Ok(Some(Err(error))) => report_failure(format, &error, None, None, 1),
        Ok(None) => ExitCode::FAILURE,
        Err::<_, std::io::Error>(error) => report_failure(format, &error, None, None, 1),
    }
}

fn log(event: Event) {
    match event {
        Event::Note { text, .. } => tracing::info!("{text}"),
        Event::Warning { text, .. } => tracing::warn!("{text}"),
        Event::TransferEnded {
            transfer,
            moved,
            took,
            done: true,
        } => tracing::debug!(
            "fetched {}: {} in {:.1} s",
            transfer
                .digest
                .map(|digest| digest.to_string())
                .unwrap_or_default(),
            byte_size(moved),
            took.as_secs_f64()
        ),
        // What is drawn while it moves, not logged; and what only builds tell.
        _ => {}
    }
}

/// One image that failed fails the run, unlike with kaniko, where all have to (H38); which ones, is logged already.
fn summary(report: &WarmReport) -> ExitCode {
    let wanted = report.images.len();
    if report.is_complete() {
        match wanted {
            1 => tracing::info!("the image is in the cache"),
            _ => tracing::info!("all {wanted} images are in the cache"),
        }
        return ExitCode::SUCCESS;
    }
    let missing = report
        .images
        .iter()
        .filter(|image| image.outcome.is_err())
        .count();
    tracing::error!("{missing} of {wanted} images are not in the cache");
    ExitCode::FAILURE
}
