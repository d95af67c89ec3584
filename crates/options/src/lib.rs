//! Option groups that both binaries share, and the checked settings they resolve to
