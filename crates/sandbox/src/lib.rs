//! Runs one command in a root: namespaces or in place
