//! The OCI distribution protocol: auth, retry, mirrors, pull, push, mount
