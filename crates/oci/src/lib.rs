//! References, digests, media types, manifests, configs, OCI layouts and docker archives
