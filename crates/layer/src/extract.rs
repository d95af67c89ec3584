//! Unpacking a layer below a root.

mod unpacker;

use std::fmt;
use std::io::Read;

use kiln_oci::DiffId;

use crate::{Entry, ImagePath, LayerError, LayerReader, Listing, Owners, Root, Skipped};
use unpacker::Unpacker;

/// The attribute that marks an opaque directory for overlayfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpaqueXattr {
    /// `trusted.overlay.opaque`, for a mount made in the initial user namespace.
    Trusted,
    /// `user.overlay.opaque`, for mounts with the option `userxattr`.
    User,
}

/// What a whiteout does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// Lower content is deleted: the root holds the layers below.
    #[default]
    Apply,
    /// Becomes overlayfs's own form (a 0/0 character device, an opaque attribute): the root holds this layer alone
    /// and will be a lower directory of an overlay mount.
    Overlay(OpaqueXattr),
}

/// Says what a directory looks like that a layer takes for granted.
pub type ImpliedParent = dyn Fn(&ImagePath) -> Option<Entry> + Sync;

/// How [`extract`] treats the layer and the root.
#[derive(Clone, Copy)]
pub struct ExtractOptions<'a> {
    /// Owners of the files.
    pub owners: Owners,
    /// Paths for which this is true are never created, changed or deleted; asked with the real path, that is after
    /// symlinks (conformance: G25, G38, G39).
    pub protected: Option<&'a (dyn Fn(&ImagePath) -> bool + Sync)>,
    /// Make device nodes; otherwise, and where the kernel refuses, they are skipped with a note (conformance: G40).
    pub devices: bool,
    /// Meaning of whiteouts.
    pub whiteouts: Whiteouts,
    /// Give the root itself the mode, owner and time of an entry `./` (conformance: E39 says no for ADD).
    pub root_entry: bool,
    /// Metadata for a parent directory that the layer does not bring and the root does not have; root:root 0755
    /// without it (conformance: G30). With [`Whiteouts::Overlay`] this is how such a parent keeps the metadata it
    /// has in the layer below.
    pub implied_parent: Option<&'a ImpliedParent>,
    /// Fill [`ExtractReport::listing`], unless there is too much for a [`Listing`].
    pub keep_listing: bool,
}

impl Default for ExtractOptions<'_> {
    fn default() -> Self {
        Self {
            owners: Owners::Keep,
            protected: None,
            devices: true,
            whiteouts: Whiteouts::Apply,
            root_entry: false,
            implied_parent: None,
            keep_listing: true,
        }
    }
}

impl fmt::Debug for ExtractOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractOptions")
            .field("owners", &self.owners)
            .field("protected", &self.protected.is_some())
            .field("devices", &self.devices)
            .field("whiteouts", &self.whiteouts)
            .field("root_entry", &self.root_entry)
            .field("implied_parent", &self.implied_parent.is_some())
            .field("keep_listing", &self.keep_listing)
            .finish()
    }
}

/// What [`extract`] did.
#[derive(Debug)]
pub struct ExtractReport {
    /// Digest of the uncompressed tar, for comparison with the config's.
    pub diff_id: DiffId,
    /// What is missing from the root, and why.
    pub skipped: Vec<Skipped>,
    /// Hard links whose target is not in the root; only with [`Whiteouts::Overlay`], where a lower layer has it.
    pub unresolved_links: Vec<Entry>,
    /// The entries in the order of the layer; `None` if they were not asked for, or are too many to be kept.
    pub listing: Option<Vec<Entry>>,
}

/// Unpacks a layer below `root`; no entry can reach anything outside it (conformance: G28 to G36).
///
/// The result does not depend on the process's umask. On error the root holds a part of the layer.
pub fn extract<R: Read>(
    mut reader: LayerReader<R>,
    root: &Root,
    options: &ExtractOptions<'_>,
) -> Result<ExtractReport, LayerError> {
    let mut extraction = Extraction::new(root, options);
    let mut listing = Listing::default();
    if !options.keep_listing {
        listing = Listing::none();
    }
    while let Some((entry, mut content)) = reader.next_entry()? {
        extraction.entry(&entry, &mut content)?;
        listing.push(entry);
    }
    let (skipped, unresolved_links) = extraction.finish()?;
    Ok(ExtractReport {
        diff_id: reader.finish()?,
        skipped,
        unresolved_links,
        listing: listing.into_entries(),
    })
}

/// Unpacks entries that are at hand, without a tar stream; what [`extract`] does with each of a layer's.
pub struct Extraction<'a> {
    unpacker: Unpacker<'a>,
}

impl fmt::Debug for Extraction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extraction").finish_non_exhaustive()
    }
}

impl<'a> Extraction<'a> {
    /// Starts below `root`.
    pub fn new(root: &'a Root, options: &'a ExtractOptions<'a>) -> Self {
        let unpacker = Unpacker::new(root, options);
        Self { unpacker }
    }

    /// Places one entry; `content` must give the bytes of a file and is not looked at for other kinds.
    pub fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        self.unpacker.entry(entry, content)
    }

    /// Gives directories their final looks, and says what is missing from the root: see
    /// [`ExtractReport::skipped`] and [`ExtractReport::unresolved_links`].
    pub fn finish(mut self) -> Result<(Vec<Skipped>, Vec<Entry>), LayerError> {
        self.unpacker.finish_directories()?;
        Ok((self.unpacker.skipped, self.unpacker.unresolved_links))
    }
}
