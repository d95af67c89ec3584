//! How fast layers are packed and read: `throughput <file> [repeat]` for each compression, on one thread and on two.
//!
//! ```text
//! cargo run --release -p kiln-layer --example throughput -- /usr/bin/gdb 4
//! ```
#![expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "its results are for the person who starts it"
)]

use std::error::Error;
use std::fs::File;
use std::io;
use std::time::Instant;

use kiln_layer::{Compression, Entry, LayerWriter, WriterOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: throughput <file> [repeat]")?;
    let repeat: u64 = args.next().map_or(Ok(1), |text| text.parse())?;
    let size = File::open(&path)?.metadata()?.len();
    let mut cases = vec![Compression::None];
    cases.extend([1, 3, 4, 5, 6, 9].map(|level| Compression::Gzip { level: Some(level) }));
    cases.extend([1, 3].map(|level| Compression::Zstd { level: Some(level) }));
    for compression in cases {
        for threads in [1, 2] {
            let options = WriterOptions {
                threads,
                ..WriterOptions::default()
            };
            let start = Instant::now();
            let mut writer = LayerWriter::new(io::sink(), compression, options);
            for number in 0..repeat {
                let mut file = File::open(&path)?;
                let entry = Entry::file(format!("file{number}").as_str(), size);
                writer.append(&entry, Some(&mut file))?;
            }
            let (info, _) = writer.finish()?;
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{compression:?} x{threads}: {:.2} s, {:.0} MB/s, {:.1} %",
                seconds,
                info.uncompressed_size as f64 / seconds / 1e6,
                info.size as f64 / info.uncompressed_size as f64 * 100.0,
            );
        }
    }
    Ok(())
}
