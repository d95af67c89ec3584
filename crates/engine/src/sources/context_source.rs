//! Where the files of a context are: the seam for new schemes. Each is a file beside this one, and an arm in `named`.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use kiln_context::FileView;

use super::{SourceError, Sources};

/// The files of one context.
pub(super) trait ContextSource: Debug + Send + Sync {
    /// The files, in a form that commands of the build cannot reach. `work` is a folder for what has to be unpacked or
    /// copied. Blocks; not for async code.
    fn files(&self, sources: &Sources, work: &Path) -> Result<Arc<dyn FileView>, SourceError>;

    /// Whether it lies on this machine, where a command in place could change it before it is used.
    fn is_local(&self) -> bool;
}
