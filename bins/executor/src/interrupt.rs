//! Ctrl-C and termination stop the build in an orderly way.

use kiln_build::Cancel;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Cancels the build at the first SIGINT or SIGTERM; a second one ends the process as it is.
pub(crate) fn watch(cancel: &Cancel) {
    let signals =
        signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(
                "cannot watch for signals, an interrupted build will not clean up: {error}"
            );
            return;
        }
    };
    let cancel = cancel.clone();
    tokio::spawn(async move {
        let name = either(&mut interrupt, &mut terminate).await.0;
        tracing::warn!("{name}: stopping; once more to stop at once");
        // Stopping waits for processes to end, so it does not belong on a thread of the runtime.
        drop(tokio::task::spawn_blocking(move || cancel.cancel()));
        let code = either(&mut interrupt, &mut terminate).await.1;
        at_once(code);
    });
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = interrupt.recv() => ("interrupted", 130),
        _ = terminate.recv() => ("terminated", 143),
    }
}

#[expect(
    clippy::exit,
    reason = "the user asked twice; nothing may hold the process up any more"
)]
fn at_once(code: i32) -> ! {
    std::process::exit(code)
}
