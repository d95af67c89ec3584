//! The cancellation of a build as something that async code can wait for.

use std::future::Future;

use kiln_sandbox::Cancel;
use tokio::sync::watch;

/// Raised once, when the build is to stop: by the caller, or because a stage failed.
#[derive(Debug, Clone)]
pub struct Interrupt {
    raised: watch::Receiver<bool>,
    cancel: Cancel,
}

impl Interrupt {
    /// Raised when `cancel` is.
    pub fn of(cancel: &Cancel) -> Interrupt {
        let (sender, receiver) = watch::channel(false);
        // Without a receiver nobody waits.
        cancel.on_cancel(move || {
            let _ = sender.send(true);
        });
        Interrupt {
            raised: receiver,
            cancel: cancel.clone(),
        }
    }

    /// The same for blocking code, which looks at it.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The outcome of `work`, or `None` if the build was cancelled before; the work is dropped then.
    pub async fn unless_raised<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut receiver = self.raised.clone();
        let raised = async {
            if receiver.wait_for(|raised| *raised).await.is_err() {
                // Nobody is left who could cancel.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = raised => None,
            done = work => Some(done),
        }
    }
}
