//! Ways to misbehave, and when.

use std::time::Duration;

/// Which requests a [`Fault`] is for.
#[derive(Debug, Clone)]
pub struct On {
    method: String,
    part: String,
    skip: usize,
    times: usize,
}

impl On {
    /// Requests with this method (`*` for all) and this text in path or query.
    pub fn new(method: &str, part: &str) -> Self {
        Self {
            method: method.to_owned(),
            part: part.to_owned(),
            skip: 0,
            times: usize::MAX,
        }
    }

    /// GET requests.
    pub fn get(part: &str) -> Self {
        Self::new("GET", part)
    }

    /// PUT requests.
    pub fn put(part: &str) -> Self {
        Self::new("PUT", part)
    }

    /// POST requests.
    pub fn post(part: &str) -> Self {
        Self::new("POST", part)
    }

    /// All requests.
    pub fn any(part: &str) -> Self {
        Self::new("*", part)
    }

    /// So many times only.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Not the first `skip` of them.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }
}

/// One way to misbehave.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers this and reads no further.
    Status {
        /// The status.
        code: u16,
        /// Additional header lines.
        headers: Vec<(String, String)>,
        /// The body, JSON if it starts with `{`.
        body: String,
    },
    /// Flips the last byte of the answer.
    WrongContent,
    /// Promises the whole body, sends so many bytes of it, closes.
    Truncate(usize),
    /// Does what is asked, sends so many bytes of the body, then nothing.
    StallAfter(usize),
    /// Answers 200 with a web page.
    Html,
    /// Reads the request, does nothing with it and never answers.
    Stall,
    /// Closes without an answer.
    Reset,
    /// Reads so many bytes of the request's body and closes.
    ResetInBody(usize),
    /// Answers 307 to this base URL, with the request's path added.
    Redirect(String),
    /// Answers 307 to exactly this `Location`.
    RedirectTo(String),
    /// Takes a mount for a plain upload.
    RefuseMount,
    /// Sends everything where a part is asked for.
    NoRange,
    /// Claims this digest in `Docker-Content-Digest`.
    ClaimDigest(String),
    /// Leaves a header out of the answer.
    WithoutHeader(String),
    /// Waits before it answers properly.
    Delay(Duration),
    /// Does nothing before so many uploads are open at once, or ten seconds have passed.
    UntilUploads(usize),
}

impl Fault {
    /// Answers with a status and an empty body.
    pub fn status(code: u16) -> Self {
        Self::error(code, "")
    }

    /// Answers with a status and a body.
    pub fn error(code: u16, body: &str) -> Self {
        Self::Status {
            code,
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    /// Answers 429 and names a time to come back.
    pub fn too_many(retry_after: &str) -> Self {
        Self::Status {
            code: 429,
            headers: vec![("Retry-After".to_owned(), retry_after.to_owned())],
            body: String::new(),
        }
    }
}

/// The faults of a registry, oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(On, Fault)>);

impl Faults {
    pub(super) fn add(&mut self, on: On, fault: Fault) {
        self.0.push((on, fault));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for this request, if it is due one.
    pub(super) fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        for (on, fault) in &mut self.0 {
            if (on.method != "*" && on.method != method)
                || !path.contains(&on.part)
                || on.times == 0
            {
                continue;
            }
            if on.skip > 0 {
                on.skip -= 1;
                continue;
            }
            on.times -= 1;
            return Some(fault.clone());
        }
        None
    }
}
