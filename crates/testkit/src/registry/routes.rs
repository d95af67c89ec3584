//! The distribution protocol, server side.

use kiln_oci::Digest;

use super::fault::Fault;
use super::http::{Request, Response};
use super::{Shared, lock};

/// A token in upload addresses that has to come back, as the state parameter of `docker-registry` does.
const STATE: &str = "a+b/c=";
const STATE_ENCODED: &str = "a%2Bb%2Fc%3D";

/// What a path below `/v2/` is about.
enum Route<'a> {
    Ping,
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Uploads(&'a str),
    Upload(&'a str, &'a str),
    Tags(&'a str),
}

fn route(path: &str) -> Option<Route<'_>> {
    let rest = path.strip_prefix("/v2")?;
    let Some(rest) = rest.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
        return Some(Route::Ping);
    };
    if let Some((repo, id)) = rest.rsplit_once("/blobs/uploads/") {
        return Some(if id.is_empty() {
            Route::Uploads(repo)
        } else {
            Route::Upload(repo, id)
        });
    }
    if let Some(repo) = rest.strip_suffix("/tags/list") {
        return Some(Route::Tags(repo));
    }
    if let Some((repo, digest)) = rest.rsplit_once("/blobs/") {
        return Some(Route::Blob(repo, digest));
    }
    rest.rsplit_once("/manifests/")
        .map(|(repo, name)| Route::Manifest(repo, name))
}

impl Route<'_> {
    fn repo(&self) -> Option<&str> {
        match self {
            Self::Ping => None,
            Self::Manifest(repo, _)
            | Self::Blob(repo, _)
            | Self::Uploads(repo)
            | Self::Upload(repo, _)
            | Self::Tags(repo) => Some(repo),
        }
    }
}

pub(super) fn handle(
    request: &Request,
    body: Vec<u8>,
    shared: &Shared,
    fault: Option<&Fault>,
) -> Response {
    if request.path() == "/token" {
        return shared.access.token(request, &body);
    }
    let Some(route) = route(request.path()) else {
        return Response::error(404, "UNSUPPORTED", "page not found");
    };
    let scheme = if shared.tls.is_some() {
        "https"
    } else {
        "http"
    };
    if let Some(refusal) = shared
        .access
        .check(request, route.repo(), shared.port, scheme)
    {
        return refusal;
    }
    match (request.method.as_str(), route) {
        ("GET" | "HEAD", Route::Ping) => {
            Response::new(200).content("application/json", b"{}".to_vec())
        }
        ("GET" | "HEAD", Route::Manifest(repo, name)) => get_manifest(shared, repo, name),
        ("PUT", Route::Manifest(repo, name)) => put_manifest(request, body, shared, repo, name),
        ("GET" | "HEAD", Route::Blob(repo, digest)) => {
            get_blob(request, shared, repo, digest, fault)
        }
        ("POST", Route::Uploads(repo)) => start_upload(request, body, shared, repo, fault),
        ("PATCH", Route::Upload(repo, id)) => patch_upload(request, &body, shared, repo, id),
        ("PUT", Route::Upload(repo, id)) => put_upload(request, &body, shared, repo, id),
        ("DELETE", Route::Upload(_, id)) => {
            let ended = id
                .parse()
                .ok()
                .and_then(|id| lock(&shared.store).end_upload(id));
            if ended.is_some() {
                Response::new(204)
            } else {
                unknown_upload()
            }
        }
        ("GET", Route::Tags(repo)) => {
            let body = serde_json::json!({"name": repo, "tags": lock(&shared.store).tags(repo)});
            Response::new(200).content("application/json", body.to_string().into_bytes())
        }
        _ => Response::error(405, "UNSUPPORTED", "method not allowed"),
    }
}

fn get_manifest(shared: &Shared, repo: &str, name: &str) -> Response {
    match lock(&shared.store).manifest(repo, name) {
        Some(stored) => Response::new(200)
            .content(&stored.media_type, stored.bytes)
            .header("Docker-Content-Digest", stored.digest),
        None => Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

fn put_manifest(
    request: &Request,
    body: Vec<u8>,
    shared: &Shared,
    repo: &str,
    name: &str,
) -> Response {
    let mut store = lock(&shared.store);
    let parsed: serde_json::Value = match serde_json::from_slice(&body) {
        Ok(parsed) => parsed,
        Err(_) => return Response::error(400, "MANIFEST_INVALID", "manifest invalid"),
    };
    // Like the reference implementation: what a manifest names has to be there, foreign layers aside.
    let layers = parsed["layers"].as_array().into_iter().flatten();
    let named = layers
        .chain(std::iter::once(&parsed["config"]))
        .filter(|item| item["urls"].is_null());
    for item in named {
        let digest = item["digest"]
            .as_str()
            .and_then(|text| text.parse::<Digest>().ok());
        if digest.is_some_and(|digest| store.blob(repo, &digest).is_none()) {
            return Response::error(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
        }
    }
    for item in parsed["manifests"].as_array().into_iter().flatten() {
        if item["digest"]
            .as_str()
            .is_some_and(|digest| store.manifest(repo, digest).is_none())
        {
            return Response::error(404, "MANIFEST_BLOB_UNKNOWN", "manifest unknown to registry");
        }
    }
    let digest = Digest::of(&body);
    let tag = match name.parse::<Digest>() {
        Ok(named) if named != digest => {
            return Response::error(400, "DIGEST_INVALID", "digest invalid");
        }
        Ok(_) => None,
        Err(_) => Some(name),
    };
    if shared.immutable_tags && tag.is_some_and(|tag| store.manifest(repo, tag).is_some()) {
        let text = format!(
            "The image tag '{name}' already exists in the '{repo}' repository and cannot be overwritten because the tag is immutable."
        );
        return Response::error(400, "TAG_INVALID", &text);
    }
    let kind = request.header("content-type").unwrap_or_default();
    let digest = store.put_manifest(repo, tag, kind, body);
    Response::new(201)
        .header("Location", format!("/v2/{repo}/manifests/{digest}"))
        .header("Docker-Content-Digest", digest)
}

fn get_blob(
    request: &Request,
    shared: &Shared,
    repo: &str,
    digest: &str,
    fault: Option<&Fault>,
) -> Response {
    let blob = digest
        .parse()
        .ok()
        .and_then(|digest| lock(&shared.store).blob(repo, &digest));
    let Some(blob) = blob else {
        return Response::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let range = request
        .header("range")
        .filter(|_| !matches!(fault, Some(Fault::NoRange)));
    let start = range.and_then(|text| {
        text.strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    let answer = |status, body: &[u8]| {
        Response::new(status)
            .content("application/octet-stream", body.to_vec())
            .header("Docker-Content-Digest", digest)
    };
    match start {
        None => answer(200, &blob),
        Some(start) if start < blob.len() => answer(206, &blob[start..]).header(
            "Content-Range",
            format!("bytes {start}-{}/{}", blob.len() - 1, blob.len()),
        ),
        Some(_) => Response::error(416, "RANGE_INVALID", "nothing there"),
    }
}

fn start_upload(
    request: &Request,
    body: Vec<u8>,
    shared: &Shared,
    repo: &str,
    fault: Option<&Fault>,
) -> Response {
    let mut store = lock(&shared.store);
    let mount = request
        .query("mount")
        .filter(|_| !matches!(fault, Some(Fault::RefuseMount)));
    if let (Some(digest), Some(from)) = (mount, request.query("from"))
        && digest
            .parse()
            .is_ok_and(|digest| store.mount(repo, &digest, &from))
    {
        return created(repo, &digest);
    }
    if let Some(digest) = request.query("digest") {
        return complete(&mut store, repo, body, &digest);
    }
    let id = store.start_upload();
    let response = Response::new(202)
        .header(
            "Location",
            format!("/v2/{repo}/blobs/uploads/{id}?_state={STATE_ENCODED}"),
        )
        .header("Range", "0-0");
    match shared.chunk_min {
        Some(least) => response.header("OCI-Chunk-Min-Length", least.to_string()),
        None => response,
    }
}

fn patch_upload(request: &Request, body: &[u8], shared: &Shared, repo: &str, id: &str) -> Response {
    let mut store = lock(&shared.store);
    let Some((number, upload)) = find(request, &mut store, id) else {
        return unknown_upload();
    };
    let start = request
        .header("content-range")
        .and_then(|range| range.split('-').next()?.parse::<usize>().ok());
    if start.is_some_and(|start| start != upload.len()) {
        return Response::error(416, "RANGE_INVALID", "out of order");
    }
    upload.extend_from_slice(body);
    Response::new(202)
        .header(
            "Location",
            format!("/v2/{repo}/blobs/uploads/{number}?_state={STATE_ENCODED}"),
        )
        .header("Range", format!("0-{}", upload.len().saturating_sub(1)))
}

fn put_upload(request: &Request, body: &[u8], shared: &Shared, repo: &str, id: &str) -> Response {
    let mut store = lock(&shared.store);
    let Some((number, upload)) = find(request, &mut store, id) else {
        return unknown_upload();
    };
    upload.extend_from_slice(body);
    let blob = store.end_upload(number).unwrap_or_default();
    complete(
        &mut store,
        repo,
        blob,
        &request.query("digest").unwrap_or_default(),
    )
}

/// The upload a request is about, if it brought back the state.
fn find<'a>(
    request: &Request,
    store: &'a mut super::store::Store,
    id: &str,
) -> Option<(u64, &'a mut Vec<u8>)> {
    let number = id
        .parse()
        .ok()
        .filter(|_| request.query("_state").as_deref() == Some(STATE))?;
    Some((number, store.upload(number)?))
}

fn complete(store: &mut super::store::Store, repo: &str, blob: Vec<u8>, digest: &str) -> Response {
    if digest.parse() != Ok(Digest::of(&blob)) {
        return Response::error(
            400,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        );
    }
    store.put_blob(repo, blob);
    created(repo, digest)
}

fn created(repo: &str, digest: &str) -> Response {
    Response::new(201)
        .header("Location", format!("/v2/{repo}/blobs/{digest}"))
        .header("Docker-Content-Digest", digest)
}

fn unknown_upload() -> Response {
    Response::error(
        404,
        "BLOB_UPLOAD_UNKNOWN",
        "blob upload unknown to registry",
    )
}
