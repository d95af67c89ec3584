//! A volume of the warmer, looked at with no code of Kiln's but `warmer list`; and disks that are full or read-only.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::case::Case;
use crate::tool::output;

/// A volume.
#[derive(Debug)]
pub struct Volume<'a> {
    case: &'a Case,
    dir: PathBuf,
}

impl<'a> Volume<'a> {
    /// The volume in a folder, which need not exist.
    pub fn new(case: &'a Case, dir: PathBuf) -> Self {
        Self { case, dir }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Fetches these images.
    pub fn warm(&self, images: &[&str]) {
        let images = images.iter().flat_map(|image| ["--image", image]);
        output(self.case.warmer(&self.dir).args(images));
    }

    /// `warmer list --json`.
    pub fn list(&self) -> Value {
        let listed = output(self.case.warmer_does("list", &self.dir).arg("--json"));
        serde_json::from_str(&listed.stdout).expect("the list is JSON")
    }

    /// The images of the list; none of them may be broken.
    pub fn images(&self) -> Vec<Value> {
        let images = self.list()["images"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for image in &images {
            assert_eq!(image["problem"], Value::Null, "{image}");
        }
        images
    }

    /// Names of the blobs, each of which must be what its name says.
    pub fn verified_blobs(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.dir.join("blobs/sha256")) else {
            return Vec::new();
        };
        let names = files.flatten().map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let content = fs::read(file.path()).expect("a blob can be read");
            assert_eq!(hex::encode(Sha256::digest(content)), name);
            name
        });
        names.collect()
    }

    /// Names below `kiln-v1/` and this folder.
    pub fn own(&self, folder: &str) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.dir.join("kiln-v1").join(folder)) else {
            return Vec::new();
        };
        files
            .flatten()
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

/// A filesystem of a few megabytes, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// Mounts a tmpfs on a folder with options such as `size=2m`.
    pub fn mount(at: &'a Path, options: &str) -> Self {
        let flags = MsFlags::empty();
        let done = mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options));
        assert!(
            done.is_ok(),
            "a tmpfs can be mounted at {}: {done:?}",
            at.display()
        );
        crate::case::open_up(at);
        Self(at)
    }

    /// From now on nothing can be written to it.
    pub fn seal(&self) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let done = mount(None::<&str>, self.0, None::<&str>, flags, None::<&str>);
        assert!(done.is_ok(), "a tmpfs can be made read-only: {done:?}");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // The test has failed already if it is busy.
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

/// Bytes that no compression makes smaller, the same for the same seed.
pub fn incompressible(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state =
        0x9e37_79b9_7f4a_7c15_u64.wrapping_add(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out
}
