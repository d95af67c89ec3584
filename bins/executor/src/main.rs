//! Builds a container image from a Dockerfile and pushes it, with kaniko's command line.

mod interrupt;
mod log_lines;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kiln_build::{BuildError, Cancel};
use kiln_options::{
    CacheAction, CommandLine as _, ExecutorAction, ExecutorCommand, ExecutorOptions, LoginOptions,
    Stop, byte_size, report_failure, start_logging,
};

use crate::interrupt::Signals;
use crate::log_lines::LogLines;

fn main() -> ExitCode {
    kiln_build::init();
    let command = match ExecutorCommand::read(std::env::args_os()) {
        Ok(command) => command,
        Err(stop) => return stop.report(),
    };
    let ExecutorCommand { options, action } = command;
    if let Err(error) = start_logging(&options.log, &|name| std::env::var_os(name)) {
        return report_failure(&error, None, None, 1);
    }
    match action {
        None => build(&options),
        Some(ExecutorAction::Login(login)) => log_in(&login),
        Some(ExecutorAction::Push(_)) => unavailable("push"),
        Some(ExecutorAction::Cache(CacheAction::Explain(_))) => unavailable("cache explain"),
        Some(ExecutorAction::Version) => version(),
    }
}

fn build(options: &ExecutorOptions) -> ExitCode {
    let resolved = match options.resolve(&|name| std::env::var_os(name)) {
        Ok(resolved) => resolved,
        Err(error) => return Stop::Wrong(error).report(),
    };
    for notice in &resolved.notices {
        tracing::warn!("{notice}");
    }
    let signals = Signals::hold();
    // A process with threads cannot enter a user namespace, so the runtime comes second.
    let entered = match kiln_build::enter(&resolved.settings) {
        Ok(entered) => entered,
        Err(error) => return failed(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report_failure(&error, None, None, 1),
    };
    let cancel = Cancel::new();
    signals.watch(&cancel);
    let events = Arc::new(LogLines::new(&options.log));
    let build = kiln_build::build(resolved.settings, entered, events, cancel);
    let outcome = runtime.block_on(build);
    // What a finished build left behind, such as an idle connection, is not worth waiting for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(report) => {
            tracing::info!(
                "built {}, {} in layers",
                report.digest,
                byte_size(report.size)
            );
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &BuildError) -> ExitCode {
    let excerpt = error.location().map(|location| location.excerpt.as_str());
    report_failure(error, excerpt, error.hint().as_deref(), error.exit_code())
}

fn log_in(options: &LoginOptions) -> ExitCode {
    match options.store(&|name| std::env::var_os(name), &mut std::io::stdin()) {
        Ok(path) => {
            tracing::info!(
                "stored the credentials for {} in {}",
                options.registry,
                path.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => report_failure(&error, None, None, 1),
    }
}

fn unavailable(action: &str) -> ExitCode {
    let _ = writeln!(
        std::io::stderr(),
        "error: `executor {action}` is not available in this version"
    );
    ExitCode::FAILURE
}

fn version() -> ExitCode {
    let _ = writeln!(
        std::io::stdout(),
        "Kiln version : v{}",
        env!("CARGO_PKG_VERSION")
    );
    ExitCode::SUCCESS
}
