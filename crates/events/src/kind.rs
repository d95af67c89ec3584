//! What kind of thing is said: each kind has a name that stays.

macro_rules! kinds {
    ($(#[$about:meta])* $kind:ident { $($(#[$doc:meta])* $variant:ident => $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $kind {
            $($(#[$doc])* $variant,)*
        }

        impl $kind {
            /// Every kind there is.
            pub const ALL: &'static [$kind] = &[$($kind::$variant,)*];

            /// The name of the kind, in lower case with dashes; it stays the same in later versions.
            pub fn name(self) -> &'static str {
                match self {
                    $($kind::$variant => $name,)*
                }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

kinds! {
    /// What a warning is about.
    WarningKind {
        /// The lint found something in the Dockerfile.
        Lint => "lint",
        /// A build arg that no ARG declares.
        UnusedBuildArg => "unused-build-arg",
        /// FROM or `--from` may be a misspelt stage.
        SimilarStage => "similar-stage",
        /// An instruction does something that its author may not expect.
        Instruction => "instruction",
        /// A file of the context is left out.
        LeftOutOfContext => "left-out-of-context",
        /// The files of the context are back, which a killed build had moved aside.
        ContextRestored => "context-restored",
        /// The files of the context are not all back.
        ContextNotBack => "context-not-back",
        /// A base image is not quite what was asked for.
        BaseImage => "base-image",
        /// An image in the local volume, or a part of it, cannot be used.
        VolumeImage => "volume-image",
        /// The local volume is not what it should be.
        Volume => "volume",
        /// An image cannot be kept in the local volume.
        ImageNotKept => "image-not-kept",
        /// Somebody else fetches something for too long.
        NotWaited => "not-waited",
        /// Credentials cannot be read or had.
        Credentials => "credentials",
        /// A proxy is set and cannot be used.
        Proxy => "proxy",
        /// Certificates are set and cannot be read.
        Certificates => "certificates",
        /// A mirror or another source of an image did not serve it.
        SourceFailed => "source-failed",
        /// A tag is immutable, and the image is not under it.
        ImmutableTag => "immutable-tag",
        /// The image is not at one of several destinations.
        Destination => "destination",
        /// An entry of the cache of steps is not usable.
        CacheEntry => "cache-entry",
        /// A place of the cache of steps cannot be read.
        CacheUnreadable => "cache-unreadable",
        /// Steps cannot be stored in a place of the cache.
        CacheUnwritable => "cache-unwritable",
        /// Something of a layer is missing from the files that commands see.
        LeftOutOfRoot => "left-out-of-root",
        /// Paths of the image gave way to what the container has there.
        GaveWay => "gave-way",
        /// What RUN --mount showed is not taken back.
        MountNotTakenBack => "mount-not-taken-back",
        /// A filesystem could not be unmounted.
        NotUnmounted => "not-unmounted",
        /// The SSH agent does not answer.
        SshAgent => "ssh-agent",
        /// Something was left behind, or could not be tidied after a failure.
        LeftBehind => "left-behind",
        /// An image could not be brought into the volume.
        NotWarmed => "not-warmed",
    }
}

impl WarningKind {
    /// Whether something of the user's is not where it was: worse than what other warnings tell.
    pub fn is_grave(self) -> bool {
        matches!(
            self,
            WarningKind::ContextNotBack | WarningKind::MountNotTakenBack
        )
    }
}

kinds! {
    /// What a plain fact is about.
    NoteKind {
        /// How commands are kept apart, and why so.
        Isolation => "isolation",
        /// The work folder.
        WorkFolder => "work-folder",
        /// A line of the plan, if the plan is to be printed.
        Plan => "plan",
        /// Where an image is taken from.
        ImageSource => "image-source",
        /// An image is now in the local volume.
        ImageKept => "image-kept",
        /// Something waits for somebody else outside of this build.
        Waiting => "waiting",
        /// The cache of steps.
        Cache => "cache",
        /// The local volume.
        Volume => "volume",
        /// What is pushed, or how.
        Push => "push",
        /// How far an image is on its way into the volume.
        Warming => "warming",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_lower_case_with_dashes_and_each_is_there_once() {
        let warnings = WarningKind::ALL.iter().map(|kind| kind.name());
        let notes = NoteKind::ALL.iter().map(|kind| kind.name());
        for names in [warnings.collect::<Vec<_>>(), notes.collect()] {
            assert!(!names.is_empty());
            let different: BTreeSet<_> = names.iter().collect();
            assert_eq!(different.len(), names.len());
            for name in names {
                let plain = |c: char| c.is_ascii_lowercase() || c == '-';
                assert!(name.chars().all(plain), "{name}");
            }
        }
    }
}
