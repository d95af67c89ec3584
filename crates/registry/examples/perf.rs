//! scratch
use kiln_oci::*;
use kiln_registry::*;
#[tokio::main]
async fn main() {
    let host = std::env::args().nth(1).unwrap();
    let file = std::path::PathBuf::from(std::env::args().nth(2).unwrap());
    let hex = std::env::args().nth(3).unwrap();
    let n: usize = std::env::args().nth(4).map_or(1, |s| s.parse().unwrap());
    let size = std::fs::metadata(&file).unwrap().len();
    let d = Descriptor::new(
        MediaType::OciLayer,
        format!("sha256:{hex}").parse().unwrap(),
        size,
    );
    let c = Client::new(RegistrySettings::default()).unwrap();
    let t = std::time::Instant::now();
    let all = (0..n).map(|i| {
        let repo = Repository {
            registry: host.clone(),
            path: format!("perf/x{i}"),
        };
        let (c, d, file) = (c.clone(), d.clone(), file.clone());
        tokio::spawn(async move {
            c.push_blob(&repo, &d, BlobSource::File(file), &[])
                .await
                .unwrap()
        })
    });
    for r in all.collect::<Vec<_>>() {
        println!("{:?}", r.await.unwrap());
    }
    println!(
        "push {:.0} MB/s",
        n as f64 * size as f64 / 1e6 / t.elapsed().as_secs_f64()
    );
    if std::env::var_os("PULL").is_some() {
        let t = std::time::Instant::now();
        let repo = Repository {
            registry: host.clone(),
            path: "perf/x0".into(),
        };
        c.blob_to_file(
            &repo,
            &d,
            std::path::Path::new("/dev/shm/ktb-perf/out"),
            &|_| (),
        )
        .await
        .unwrap();
        println!(
            "pull {:.0} MB/s",
            size as f64 / 1e6 / t.elapsed().as_secs_f64()
        );
    }
    for l in std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .filter(|l| l.starts_with("VmHWM") || l.starts_with("RssAnon"))
    {
        println!("{l}");
    }
}
