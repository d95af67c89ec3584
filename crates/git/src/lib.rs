//! Git repositories as sources of files: what a name means, which commit it is, and the files of that commit.
//!
//! No `git` program is needed (but `ssh` for repositories named by SSH). Users, passwords and tokens go to the server
//! they are for and into nothing else: not into errors, logs, or the `.git` directory that is kept on request.
//!
//! Everything that asks a server needs the feature `fetch`, which is on by default and brings a whole implementation of
//! git. Without it, names can still be read, and [`Repository`] answers each question with [`GitError::BuiltWithout`].
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//!
//! use kiln_git::{GitReference, Options, Repository};
//!
//! fn main() -> Result<(), kiln_git::GitError> {
//!     let wanted = GitReference::parse("https://example.com/project.git#v1.0:docs")?;
//!     let roots = rustls::RootCertStore::empty();
//!     let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
//!     let repository = Repository::new(wanted, None, tls.into(), "/var/tmp".as_ref());
//!     let never = AtomicBool::new(false);
//!     let commit = repository.resolve(&never)?;
//!     let files = repository.check_out(&commit, "/tmp/project".as_ref(), Options::default(), &never)?;
//!     println!("{} is in {}", files.commit, files.path.display());
//!     Ok(())
//! }
//! ```

#[cfg(not(feature = "fetch"))]
#[path = "absent.rs"]
mod repository;
#[cfg(feature = "fetch")]
mod repository;

mod commit;
mod error;
#[cfg(feature = "fetch")]
mod http;
mod reference;
#[cfg(feature = "fetch")]
mod submodules;

pub use commit::{CheckedOut, Commit, Options};
pub use error::{Cause, GitError};
pub use reference::{GitReference, Login, is_git, without_login};
pub use repository::Repository;
