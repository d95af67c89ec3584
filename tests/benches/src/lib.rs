//! Material for the benches: trees, layers and a Dockerfile, always the same.
//!
//! Trees are made in `KILN_BENCH_DIR`, or `/dev/shm` if there is one, so that the benches measure this code and not a
//! disk. Run them with `cargo bench -p kiln-benches`, or one with `cargo bench -p kiln-benches --bench scan`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use kiln_layer::{Compression, Entry, LayerError, LayerWriter, WriterOptions};
use tempfile::TempDir;

/// Files in the tree of many small files.
pub const MANY: usize = 100_000;

/// An empty directory, removed when dropped.
pub fn scratch() -> io::Result<TempDir> {
    let shared = Path::new("/dev/shm");
    let at = match std::env::var_os("KILN_BENCH_DIR") {
        Some(chosen) => PathBuf::from(chosen),
        None if shared.is_dir() => shared.to_path_buf(),
        None => std::env::temp_dir(),
    };
    tempfile::Builder::new()
        .prefix("kiln-bench-")
        .tempdir_in(at)
}

/// The path of the small file `number`: a hundred to a directory, directories three deep.
pub fn small_path(number: usize) -> String {
    format!(
        "lib/{}/module-{}/file-{number}.js",
        number / 5000,
        number / 100
    )
}

/// The content of the small file `number`: some 0.2 to 4 KiB of text.
pub fn small_content(number: usize) -> Vec<u8> {
    let line = format!(
        "exports.value{number} = require('./module-{}');\n",
        number % 977
    );
    line.repeat(4 + (number * 7919) % 90).into_bytes()
}

/// Makes `count` small files below `root`.
pub fn make_many(root: &Path, count: usize) -> io::Result<()> {
    for number in 0..count {
        let path = root.join(small_path(number));
        if number % 100 == 0
            && let Some(dir) = path.parent()
        {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(path, small_content(number))?;
    }
    Ok(())
}

/// Makes a chain of `depth` directories with a few files in each.
pub fn make_deep(root: &Path, depth: usize) -> io::Result<()> {
    let mut dir = root.to_path_buf();
    for level in 0..depth {
        dir.push("d");
        std::fs::create_dir(&dir)?;
        for name in ["a", "b", "c"] {
            std::fs::write(dir.join(name), level.to_string())?;
        }
    }
    Ok(())
}

/// Bytes that no compressor makes smaller.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64: even enough for a compressor.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Text that compresses to about a quarter.
pub fn prose(length: usize) -> Vec<u8> {
    let noise = noise(length / 4 + 8);
    let mut bytes = Vec::with_capacity(length + 16);
    for pair in noise.chunks(2) {
        bytes.extend_from_slice(b"word-");
        bytes.extend(pair.iter().map(|byte| b'a' + byte % 26));
        bytes.push(b' ');
    }
    bytes.truncate(length);
    bytes
}

/// A layer with the tree of [`make_many`].
pub fn layer_of_many(count: usize, compression: Compression) -> Result<Vec<u8>, LayerError> {
    let mut writer = LayerWriter::new(Vec::new(), compression, WriterOptions::default());
    for number in 0..count {
        let content = small_content(number);
        let entry = Entry::file(small_path(number).as_str(), content.len() as u64);
        writer.append(&entry, Some(&mut &content[..]))?;
    }
    Ok(writer.finish()?.1)
}

/// A layer with one file.
pub fn layer_of_one(content: &[u8], compression: Compression) -> Result<Vec<u8>, LayerError> {
    let mut writer = LayerWriter::new(Vec::new(), compression, WriterOptions::default());
    let entry = Entry::file("file", content.len() as u64);
    writer.append(&entry, Some(&mut &*content))?;
    Ok(writer.finish()?.1)
}

/// A Dockerfile with so many stages of a dozen instructions each.
pub fn dockerfile(stages: usize) -> String {
    let mut text = String::from("# syntax=docker/dockerfile:1\nARG VERSION=1.2\n");
    for stage in 0..stages {
        let _ = write!(
            text,
            r#"
# stage {stage}
FROM --platform=$BUILDPLATFORM debian:${{VERSION:-12}} AS stage{stage}
ARG TARGETARCH
ENV PATH=/opt/bin:$PATH NAME="a value" \
    OTHER='single $quoted'
LABEL org.opencontainers.image.title="stage {stage}"
WORKDIR /src/$NAME
COPY --chown=1000:1000 --link . .
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    apt-get update && \
    # a comment between
    apt-get install -y --no-install-recommends \
        build-essential \
        ca-certificates
COPY <<EOF /etc/motd
Hello from $NAME
EOF
RUN <<-'SCRIPT'
	set -eu
	make -j"$(nproc)" TARGET="$TARGETARCH"
	SCRIPT
HEALTHCHECK --interval=30s CMD ["/bin/check", "--fast"]
USER 1000:1000
EXPOSE 80/tcp 443
CMD ["/opt/bin/run", "--stage", "{stage}"]
"#
        );
    }
    text
}

/// A Dockerfile of exactly so many lines, made of whole stages and comments behind them.
pub fn dockerfile_of_lines(lines: usize) -> String {
    let per_stage = dockerfile(2).lines().count() - dockerfile(1).lines().count();
    let head = dockerfile(1).lines().count() - per_stage;
    let mut text = dockerfile(lines.saturating_sub(head) / per_stage);
    for line in text.lines().count()..lines {
        let _ = writeln!(text, "# line {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_have_the_lines_asked_for() {
        for lines in [100, 10_000] {
            assert_eq!(dockerfile_of_lines(lines).lines().count(), lines);
        }
    }
}
