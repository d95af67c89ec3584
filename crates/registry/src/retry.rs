//! Trying again: how often, after which wait (I15, I16).

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::error::RegistryError;
use crate::settings::Retries;

/// Doubling stops here; a build should not sleep for hours because somebody asked for many tries.
const LONGEST: Duration = Duration::from_mins(1);

/// The waits that are left before further tries.
#[derive(Debug, Clone)]
pub struct Waits {
    left: u32,
    next: Duration,
    cap: Duration,
}

impl Waits {
    /// For one request (I15).
    pub fn request(retries: &Retries) -> Self {
        Self::new(retries.request, retries.request_delay, retries)
    }

    /// For a whole pull (I16).
    pub(crate) fn download(retries: &Retries) -> Self {
        Self::new(retries.download, retries.delay, retries)
    }

    /// For a whole push (I16).
    pub(crate) fn push(retries: &Retries) -> Self {
        Self::new(retries.push, retries.delay, retries)
    }

    /// For a source that has others behind it: ask once.
    pub(crate) fn none() -> Self {
        Self {
            left: 0,
            next: Duration::ZERO,
            cap: Duration::ZERO,
        }
    }

    /// Sleeps before the next try; gives the error back if there is none, or if it is not `worth` one.
    pub(crate) async fn pause(
        &mut self,
        error: RegistryError,
        worth: impl Fn(&RegistryError) -> bool,
    ) -> Result<(), RegistryError> {
        let wait = if worth(&error) {
            self.after(&error)
        } else {
            None
        };
        let Some(wait) = wait else {
            let refused = self.left > 0 && self.too_long(error.retry_after());
            return Err(if refused {
                error.not_waited_for(self.cap)
            } else {
                error
            });
        };
        tracing::debug!("{}; trying again in {} ms", error.full(), wait.as_millis());
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn new(left: u32, next: Duration, retries: &Retries) -> Self {
        Self {
            left,
            next,
            cap: retries.retry_after_cap,
        }
    }

    /// The wait before the next try, if there is one.
    pub(crate) fn after(&mut self, error: &RegistryError) -> Option<Duration> {
        self.next(error.retry_after())
    }

    /// The wait before the next try, if there is one. A server that named a time is obeyed, unless it is longer than
    /// anybody wants to wait: to come back earlier would be in vain.
    pub fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.too_long(asked) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let own = self.next;
        self.next = own.saturating_mul(2).min(LONGEST);
        Some(asked.map_or(own, |asked| asked.max(own)))
    }

    fn too_long(&self, asked: Option<Duration>) -> bool {
        asked.is_some_and(|asked| asked > self.cap)
    }
}

/// Runs `job` until it succeeds, fails in a way that is not `worth` another try, or the waits are used up.
///
/// `job` makes plain futures rather than being an async closure: those of today lose `Send`.
pub(crate) async fn repeat<T, F>(
    mut waits: Waits,
    worth: impl Fn(&RegistryError) -> bool,
    mut job: impl FnMut() -> F,
) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    loop {
        let error = match job().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        waits.pause(error, &worth).await?;
    }
}

/// `Retry-After` as seconds or as a date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(
            httpdate::parse_http_date(text)
                .ok()?
                .duration_since(now)
                .unwrap_or_default(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Cause, StatusText};

    fn broken() -> RegistryError {
        RegistryError::Connection {
            registry: "h".into(),
            ask: "x".into(),
            source: Cause::new("reset", true),
        }
    }

    fn busy(seconds: u64) -> RegistryError {
        RegistryError::Status {
            registry: "h".into(),
            ask: "x".into(),
            status: StatusText(429),
            codes: vec![],
            message: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
            limit: None,
        }
    }

    // conformance: I16
    #[test]
    fn waits_double_and_end() {
        let retries = Retries {
            push: 3,
            ..Retries::default()
        };
        let mut waits = Waits::push(&retries);
        let seen: Vec<_> = std::iter::from_fn(|| waits.after(&broken()))
            .map(|wait| wait.as_secs())
            .collect();
        assert_eq!(seen, [1, 2, 4]);
        assert_eq!(Waits::download(&retries).after(&broken()), None);
    }

    // conformance: I15
    #[test]
    fn retry_after_is_obeyed_up_to_a_cap() {
        let mut waits = Waits::request(&Retries::default());
        assert_eq!(waits.after(&busy(7)), Some(Duration::from_secs(7)));
        assert_eq!(waits.after(&busy(120)), Some(Duration::from_mins(2)));
        assert_eq!(waits.after(&busy(0)), Some(Duration::from_millis(800)));
        assert_eq!(waits.after(&busy(0)), None);
        // finding 8
        for long in [121, 999_999_999, u64::MAX] {
            assert_eq!(Waits::request(&Retries::default()).after(&busy(long)), None);
        }
    }

    // conformance: I15
    #[test]
    fn retry_after_may_be_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let table = [
            ("3", Some(3)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
        ];
        assert!(!table.is_empty());
        for (text, expected) in table {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
