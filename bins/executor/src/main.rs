//! Builds a container image from a Dockerfile and pushes it, with kaniko's command line.

mod interrupt;
mod log_lines;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kiln_engine::{BuildError, BuildSettings, Cancel, Entered, EventSink};
use kiln_options::{
    CacheAction, CheckFormat, CommandLine as _, ExecutorAction, ExecutorCommand, ExecutorOptions,
    ExplainFormat, ExplainOptions, LogFormat, LoginOptions, OptionError, PushImageOptions,
    Resolved, Stop, report_failure, start_logging, variables_without_meaning,
};

use kiln_shown::redact;

use crate::interrupt::Signals;
use crate::log_lines::LogLines;

fn main() -> ExitCode {
    kiln_engine::init();
    let command = match ExecutorCommand::read(std::env::args_os()) {
        Ok(command) => command,
        Err(stop) => return stop.report(LogFormat::default()),
    };
    let ExecutorCommand { options, action } = command;
    let format = options.log.log_format;
    if let Err(error) = start_logging(&options.log, &|name| std::env::var_os(name)) {
        return report_failure(format, &error, None, None, 1);
    }
    if !matches!(action, Some(ExecutorAction::Version)) {
        let names = std::env::vars_os().map(|(name, _)| name);
        if let Some(notice) = variables_without_meaning(names) {
            tracing::warn!("{notice}");
        }
    }
    if action.is_none()
        && let Some(context) = options.context_dir()
    {
        match kiln_engine::put_context_back(&context) {
            Ok(Some(noticed)) => LogLines::new(&options.log).event(noticed),
            Ok(None) => {}
            Err(error) => return failed(format, &error),
        }
    }
    match action {
        None if options.build.check => check(&options),
        None if options.build.dryrun => dry_run(&options),
        None => build(&options),
        Some(ExecutorAction::Login(login)) => log_in(&login, format),
        Some(ExecutorAction::Push(image)) => push(&image, &options),
        Some(ExecutorAction::Cache(CacheAction::Explain(what))) => explain(&what, &options),
        Some(ExecutorAction::Version) => version(),
    }
}

fn build(options: &ExecutorOptions) -> ExitCode {
    let resolved = options.resolve(&|name| std::env::var_os(name));
    let outcome = entered(options, resolved, kiln_engine::build);
    outcome.map_or_else(std::convert::identity, |_| ExitCode::SUCCESS)
}

/// Nothing is built, so no place to build in is needed, and a signal may end the process where it stands.
fn check(options: &ExecutorOptions) -> ExitCode {
    let format = options.log.log_format;
    let resolved = match options.resolve_check(&|name| std::env::var_os(name)) {
        Ok(resolved) => resolved,
        Err(error) => return Stop::Wrong(error).report(format),
    };
    for notice in &resolved.notices {
        tracing::warn!("{notice}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return report_failure(format, &error, None, None, 1),
    };
    let events = Arc::new(LogLines::new(&options.log));
    let checking = kiln_engine::check(&resolved.settings, events);
    let report = match runtime.block_on(checking) {
        Ok(report) => report,
        Err(error) => return failed(format, &error),
    };
    let text = match options.build.check_format {
        CheckFormat::Text => report.text(),
        CheckFormat::Json => report.json(),
        CheckFormat::Sarif => report.sarif(),
    };
    match std::io::stdout().write_all(redact(&text).as_bytes()) {
        Ok(()) if report.is_clean() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn dry_run(options: &ExecutorOptions) -> ExitCode {
    let resolved = options.resolve(&|name| std::env::var_os(name));
    let outcome = entered(options, resolved, kiln_engine::dry_run);
    outcome.map_or_else(std::convert::identity, |plan| {
        let text = plan.text();
        print_as(options.build.dryrun_format, text, &plan)
    })
}

fn explain(what: &ExplainOptions, options: &ExecutorOptions) -> ExitCode {
    let resolved = what.resolve(&|name| std::env::var_os(name));
    let outcome = entered(options, resolved, kiln_engine::explain);
    outcome.map_or_else(std::convert::identity, |explanation| {
        print_as(what.format, explanation.text(), &explanation)
    })
}

/// Does what needs a place to run commands in. A failure is reported already when this gives its exit code.
fn entered<T, F: Future<Output = Result<T, BuildError>>>(
    options: &ExecutorOptions,
    resolved: Result<Resolved<BuildSettings>, OptionError>,
    work: impl FnOnce(BuildSettings, Entered, Arc<dyn EventSink>, Cancel) -> F,
) -> Result<T, ExitCode> {
    let format = options.log.log_format;
    let resolved = resolved.map_err(|error| Stop::Wrong(error).report(format))?;
    for notice in &resolved.notices {
        tracing::warn!("{notice}");
    }
    let signals = Signals::hold();
    // A process with threads cannot enter a user namespace, so the runtime comes second.
    let entered = kiln_engine::enter(&resolved.settings).map_err(|error| failed(format, &error))?;
    let outcome = on_runtime(options, signals, |events, cancel| {
        work(resolved.settings, entered, events, cancel)
    })?;
    outcome.map_err(|error| failed(format, &error))
}

/// Runs async work with signals, events and a runtime around it.
fn on_runtime<F: Future>(
    options: &ExecutorOptions,
    signals: Signals,
    work: impl FnOnce(Arc<dyn EventSink>, Cancel) -> F,
) -> Result<F::Output, ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| report_failure(options.log.log_format, &error, None, None, 1))?;
    let cancel = Cancel::new();
    signals.watch(&cancel);
    let events = Arc::new(LogLines::new(&options.log));
    let outcome = runtime.block_on(work(events, cancel.clone()));
    // What is left behind, such as an idle connection, is not worth waiting for; nor is anything after a signal.
    let patience = if cancel.is_cancelled() {
        Duration::ZERO
    } else {
        Duration::from_secs(1)
    };
    runtime.shutdown_timeout(patience);
    Ok(outcome)
}

/// Prints for people or for programs.
fn print_as(format: ExplainFormat, text: String, value: &impl serde::Serialize) -> ExitCode {
    let text = match format {
        ExplainFormat::Text => text,
        ExplainFormat::Json => match serde_json::to_string_pretty(value) {
            Ok(json) => json + "\n",
            Err(error) => return report_failure(LogFormat::Text, &error, None, None, 1),
        },
    };
    match std::io::stdout().write_all(redact(&text).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn push(image: &PushImageOptions, options: &ExecutorOptions) -> ExitCode {
    let format = options.log.log_format;
    let settings = match image.resolve(&|name| std::env::var_os(name)) {
        Ok(settings) => settings,
        Err(error) => return Stop::Wrong(error).report(format),
    };
    let pushed = on_runtime(options, Signals::hold(), |events, cancel| {
        kiln_engine::push_archive(settings, events, cancel)
    });
    match pushed {
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(error)) => report_failure(format, &error, None, error.hint().as_deref(), 1),
        Err(code) => code,
    }
}

fn failed(format: LogFormat, error: &BuildError) -> ExitCode {
    let excerpt = error.location().map(|location| location.excerpt.as_str());
    report_failure(
        format,
        error,
        excerpt,
        error.hint().as_deref(),
        error.exit_code(),
    )
}

fn log_in(options: &LoginOptions, format: LogFormat) -> ExitCode {
    match options.store(&|name| std::env::var_os(name), &mut std::io::stdin()) {
        Ok(path) => {
            tracing::info!(
                "stored the credentials for {} in {}",
                options.registry,
                path.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => report_failure(format, &error, None, None, 1),
    }
}

fn version() -> ExitCode {
    let _ = writeln!(
        std::io::stdout(),
        "Kiln version : v{}",
        env!("CARGO_PKG_VERSION")
    );
    ExitCode::SUCCESS
}
