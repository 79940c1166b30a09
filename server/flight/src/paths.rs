//! Paths and URLs, compared so that nothing leads out of what was named.

use std::path::{Component, Path, PathBuf};

use almagest_engine::{Error, Result};
use url::Url;

/// The file of a URL that says its path without anything that would have to be decoded or resolved.
///
/// # Errors
/// `Denied` for any other.
pub fn plain_path(place: &str, url: &Url) -> Result<PathBuf> {
    let path = url.to_file_path().ok();
    let path = path.filter(|path| {
        path.to_str().is_some_and(|text| place.strip_prefix("file://") == Some(text))
    });
    path.ok_or_else(|| {
        Error::denied(format!(
            "'{place}' does not say the path of a file as it is; write it without a host, '..', '?', \
             '#' and without % for a character, such as file:///folder/file or /folder/file"
        ))
    })
}

/// Whether a URL is at or below an allowed one.
pub fn reaches(allowed: &Url, url: &Url) -> bool {
    is_same_host(allowed, url) && is_below(url.path(), allowed.path())
}

/// Whether two URLs are of one server or bucket.
pub fn is_same_host(allowed: &Url, url: &Url) -> bool {
    allowed.scheme() == url.scheme()
        && allowed.host_str() == url.host_str()
        && allowed.port_or_known_default() == url.port_or_known_default()
}

/// Whether a path lies at or below another, by whole names.
fn is_below(path: &str, above: &str) -> bool {
    let above = above.trim_end_matches('/');
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path without symbolic links, as far as it exists; what does not exist yet is appended.
pub fn followed(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut missing = vec![];
    let mut existing = absolute.as_path();
    loop {
        if let Ok(whole) = std::fs::canonicalize(existing) {
            let rest = missing.iter().rev();
            return rest.fold(whole, |path, name| match name {
                // of a folder that does not exist
                Component::ParentDir => path.parent().map_or_else(PathBuf::new, Path::to_path_buf),
                name => path.join(name),
            });
        }
        let mut components = existing.components();
        match components.next_back() {
            Some(name) if !components.as_path().as_os_str().is_empty() => {
                missing.push(name);
                existing = components.as_path();
            }
            _ => return absolute,
        }
    }
}
