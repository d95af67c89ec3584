//! Every blob and layer of a build: where it is, fetched once, or made and packed here; and the base images they belong to.

pub mod base;
pub mod blob_folder;
pub mod blobs;
pub mod early;
pub mod image_view;
pub mod keep_base;
pub mod layers;
pub mod noticed;
pub mod origin;
pub mod pack;
pub mod parcel;
pub mod send;
