//! Base images made from this machine's static busybox.

use std::fs;

use serde_json::json;

use crate::layout::{ImageSpec, LayerSpec, Packing, TarTree, host_architecture};
use crate::tool::tool;

/// The base images that tests start from; all hold the same files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// OCI manifest, gzip layers: the everyday base.
    Busybox,
    /// Docker schema2 manifest, gzip layers.
    Docker,
    /// OCI manifest, zstd layers.
    Zstd,
    /// OCI manifest, layers that are not compressed.
    Plain,
    /// An index with an image for this machine and two others.
    Index,
}

/// Applets that get a link in `/bin`; the rest can be called as `busybox NAME`.
const APPLETS: &str = "[ ash awk base64 basename cat chgrp chmod chown cp cut date dd df dirname du echo env expr false \
                       find getopt grep gunzip gzip head hostname id install ip kill ln ls md5sum mkdir mkfifo mknod \
                       mktemp mount mv nc nohup nproc od pidof ping printenv printf ps pwd readlink realpath rm rmdir sed \
                       seq setsid sh sha256sum sleep sort stat stty sync tail tar tee test timeout touch tr true truncate \
                       tty umount uname uniq unshare usleep vi wc wget which whoami xargs yes";

impl Base {
    /// `name:tag` below a registry.
    pub(crate) fn name(self) -> String {
        format!("base/{}:1", format!("{self:?}").to_lowercase())
    }

    /// The image itself, to be pushed with changes.
    pub fn image_spec(self) -> ImageSpec {
        self.spec()
    }

    /// The image itself.
    pub(crate) fn spec(self) -> ImageSpec {
        let packing = match self {
            Self::Zstd => Packing::Zstd,
            Self::Plain => Packing::Plain,
            Self::Busybox | Self::Docker | Self::Index => Packing::Gzip,
        };
        let layers = [files(), changes()].map(|tar| LayerSpec {
            tar: tar.finish(),
            packing,
        });
        let config = json!({
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "BASE_ENV=from base"],
            "Cmd": ["sh"],
            "Labels": { "base.label": "kept" },
        });
        let mut spec = ImageSpec::new(layers.to_vec(), config);
        spec.docker = self == Self::Docker;
        if self == Self::Index {
            // Others first, so that taking the first entry is seen as the mistake it is.
            spec.platforms = vec![
                ("riscv64", None),
                ("arm", Some("v7")),
                (host_architecture(), None),
            ];
        }
        spec
    }
}

/// A small root: busybox, users, and the folders that every distribution has.
fn files() -> TarTree {
    let busybox = fs::read(tool("busybox")).expect("busybox can be read");
    let mut tar = TarTree::new()
        .dir("bin/", 0o755)
        .file("bin/busybox", 0o755, busybox);
    for applet in APPLETS.split_whitespace() {
        tar = tar.symlink(&format!("bin/{applet}"), "busybox");
    }
    tar.dir("dev/", 0o755)
        .dir("etc/", 0o755)
        .file(
            "etc/group",
            0o644,
            "root:x:0:\ndaemon:x:1:\nmail:x:8:app\nwww-data:x:33:\nstaff:x:50:app\napp:x:1000:\n",
        )
        .file(
            "etc/passwd",
            0o644,
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nwww-data:x:33:33::/var/www:/bin/false\n\
             app:x:1000:1000::/home/app:/bin/sh\n",
        )
        .file("etc/removed-later", 0o644, "gone in the second layer\n")
        .dir("home/", 0o755)
        .owner(1000, 1000)
        .dir("home/app/", 0o750)
        .file("home/app/.profile", 0o600, "umask 022\n")
        .owner(0, 0)
        .dir("proc/", 0o555)
        .dir("root/", 0o700)
        .dir("sys/", 0o555)
        .dir("tmp/", 0o1777)
        .dir("usr/", 0o755)
        .dir("usr/bin/", 0o755)
        .file("usr/bin/suid", 0o4755, "not really a program\n")
        .hardlink("usr/bin/suid-twin", 0o4755, "usr/bin/suid")
        .xattr("security.capability", &NET_RAW)
        .file("usr/bin/capable", 0o755, "not a program either\n")
        .dir("var/", 0o755)
        .dir("var/old/", 0o755)
        .file("var/old/below-opaque", 0o644, "hidden by the second layer\n")
        .symlink("var/run", "/run")
        .dir("run/", 0o755)
}

/// `cap_net_raw=ep` as the kernel stores it (revision 2).
pub(crate) const NET_RAW: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// A second layer, so that every test also merges layers: a change, a whiteout and an opaque directory.
fn changes() -> TarTree {
    TarTree::new()
        .dir("etc/", 0o755)
        .file("etc/.wh.removed-later", 0o0, "")
        .file("etc/motd", 0o644, "second layer\n")
        .dir("var/", 0o755)
        .dir("var/old/", 0o750)
        .file("var/old/.wh..wh..opq", 0o0, "")
        .file("var/old/new", 0o644, "above the opaque marker\n")
}
