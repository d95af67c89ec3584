//! Recognises the archives that ADD unpacks, by content and not by name (conformance E37, E38).

use std::io::{self, BufReader, Read};

use kiln_layer::{MAX_DECODER_MEMORY, ZSTD_WINDOW_LOG, is_tar_header};

/// How a stream is compressed, as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveCompression {
    /// Not compressed, or in no format that is known here.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl ArchiveCompression {
    /// Reads the magic number at the start of a stream.
    pub fn detect(head: &[u8]) -> ArchiveCompression {
        const MAGIC: [(&[u8], ArchiveCompression); 4] = [
            (&[0x1f, 0x8b, 0x08], ArchiveCompression::Gzip),
            (b"BZh", ArchiveCompression::Bzip2),
            (
                &[0xfd, b'7', b'z', b'X', b'Z', 0x00],
                ArchiveCompression::Xz,
            ),
            (&[0x28, 0xb5, 0x2f, 0xfd], ArchiveCompression::Zstd),
        ];
        MAGIC
            .iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map_or(ArchiveCompression::None, |(_, kind)| *kind)
    }
}

/// Opens `stream` as a tar stream if it is one, plain or compressed; `None` when it is not an archive
/// and has to be copied as a file.
///
/// Only the first block decides: an archive that is damaged later is an error of the unpacking.
pub fn open_tar<'a, R: Read + Send + 'a>(
    stream: R,
) -> io::Result<Option<Box<dyn Read + Send + 'a>>> {
    let mut stream = stream;
    let (head, stream) =
        peek(&mut stream, 6).map(|head| (head.clone(), head.chain_owned(stream)))?;
    let mut plain: Box<dyn Read + Send + 'a> = match ArchiveCompression::detect(&head.0) {
        ArchiveCompression::None => Box::new(stream),
        ArchiveCompression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stream)),
        ArchiveCompression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(stream)),
        ArchiveCompression::Xz => {
            use liblzma::stream::{CONCATENATED, Stream};
            let decoder = Stream::new_auto_decoder(MAX_DECODER_MEMORY, CONCATENATED)?;
            Box::new(liblzma::read::XzDecoder::new_stream(stream, decoder))
        }
        ArchiveCompression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(stream)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    };
    let block = match peek(&mut plain, 512) {
        Ok(block) => block,
        Err(error) if wants_too_much(&error) => return Err(too_much(&error)),
        // A stream whose very start does not decompress is a file like any other (E38).
        Err(_) => return Ok(None),
    };
    if !is_tar_header(&block.0) {
        return Ok(None);
    }
    Ok(Some(Box::new(BufReader::with_capacity(
        256 * 1024,
        block.chain_owned(plain),
    ))))
}

/// Does it fail because unpacking takes more memory than is granted? The header of an xz file of a hundred bytes can ask
/// for gigabytes.
fn wants_too_much(error: &io::Error) -> bool {
    let xz = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
    matches!(xz, Some(liblzma::stream::Error::MemLimit))
        || error.to_string().contains("requires too much memory")
}

fn too_much(error: &io::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "unpacking it takes more than {MAX_DECODER_MEMORY} bytes of memory (MAX_DECODER_MEMORY); \
             pack it with a smaller dictionary or window: {error}"
        ),
    )
}

/// The first bytes of a stream, read ahead.
#[derive(Clone)]
struct Head(Vec<u8>);

impl Head {
    /// The whole stream again: what was read ahead, then the rest.
    fn chain_owned<R: Read>(self, rest: R) -> impl Read + use<R> {
        io::Cursor::new(self.0).chain(rest)
    }
}

/// Reads up to `len` bytes; fewer only at the end of the stream.
fn peek<R: Read>(stream: &mut R, len: usize) -> io::Result<Head> {
    let mut head = Vec::with_capacity(len);
    stream.take(len as u64).read_to_end(&mut head)?;
    Ok(Head(head))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn sample_tar() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(2);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, "f", &b"hi"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    // conformance: E37
    #[test]
    fn a_tar_is_known_by_its_content_in_five_forms() {
        let tar = sample_tar();
        let forms = [
            tar.clone(),
            gzip(&tar),
            bzip2(&tar),
            xz(&tar),
            zstd::encode_all(&tar[..], 1).unwrap(),
        ];
        for form in forms {
            let mut read = Vec::new();
            let mut plain = open_tar(&form[..]).unwrap().expect("an archive");
            plain.read_to_end(&mut read).unwrap();
            assert_eq!(read, tar);
        }
    }

    // finding 5
    #[test]
    fn archives_that_take_too_much_memory_are_refused() {
        let tar = sample_tar();
        let mut filters = liblzma::stream::Filters::new();
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(1 << 30);
        filters.lzma2(&options);
        let check = liblzma::stream::Check::None;
        let encoder = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
        let mut xz = liblzma::write::XzEncoder::new_stream(Vec::new(), encoder);
        xz.write_all(&tar).unwrap();
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        zstd.window_log(ZSTD_WINDOW_LOG + 1).unwrap();
        zstd.include_contentsize(false).unwrap();
        zstd.write_all(&tar).unwrap();
        for packed in [xz.finish().unwrap(), zstd.finish().unwrap()] {
            let error = open_tar(&packed[..]).map(drop).unwrap_err();
            assert!(error.to_string().contains("MAX_DECODER_MEMORY"), "{error}");
        }
    }

    // conformance: E37 E38
    #[test]
    fn what_is_not_a_tar_is_a_file() {
        let truncated = gzip(&sample_tar())[..4].to_vec();
        let cases = [
            Vec::new(),
            b"hello".to_vec(),
            gzip(b"just text"),
            gzip(b""),
            truncated,
            vec![0; 1024],
        ];
        for case in cases {
            assert!(open_tar(&case[..]).unwrap().is_none());
        }
    }
}
