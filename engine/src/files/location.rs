//! Where the files of a table lie: a file, a folder, a glob or a URL, and what is found there.

use std::path::Path as LocalPath;

use datafusion::common::TableReference;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::session_state::SessionState;
use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use url::Url;

use super::kind;
use crate::{Error, Result};

/// Names offered when a file is not found.
const NEAR_NAMES_MAX: usize = 5;

/// `*` and `?` stand for no slash, `**` for any folders.
const AS_A_SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// One location of a table.
#[derive(Clone, Debug)]
pub struct Location {
    /// What the user wrote.
    pub text: String,
    /// The same for DataFusion.
    pub url: ListingTableUrl,
}

/// Whether a table name is meant as a path: it has a slash, a `*`, or the ending of a data file.
pub fn looks_like_path(name: &str) -> bool {
    name.contains(['/', '*']) || kind::of_path(name).is_some()
}

/// The part behind the last slash.
pub fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

impl Location {
    /// The locations of the table `name`.
    ///
    /// # Errors
    /// `Plan` if there is none, one stands twice, or they lie on several object stores.
    pub fn all(texts: &[String], name: &TableReference) -> Result<Vec<Self>> {
        let mut locations: Vec<Self> = vec![];
        for text in texts {
            let url = parse(text)?.with_table_ref(name.clone());
            if locations.iter().any(|seen| seen.url == url) {
                return Err(Error::plan(format!("LOCATION '{text}' stands twice")));
            }
            if let Some(first) = locations.first()
                && first.url.object_store() != url.object_store()
            {
                return Err(Error::unsupported(format!(
                    "the locations of one table lie on one object store, not on {} and {}; make two \
                     tables and UNION ALL them",
                    first.url.object_store(),
                    url.object_store()
                )));
            }
            locations.push(Self { text: text.clone(), url });
        }
        if locations.is_empty() {
            return Err(Error::plan("a table over files needs a LOCATION"));
        }
        Ok(locations)
    }

    /// Whether any file below may belong to the table, rather than one file or a glob's matches.
    pub fn is_folder(&self) -> bool {
        self.url.is_collection() && self.url.get_glob().is_none()
    }

    /// The files there that are not empty, nor hidden (`_SUCCESS`, `.crc`), in order of their names.
    ///
    /// # Errors
    /// `NotFound` if the place does not exist, `Unreachable` if it cannot be listed.
    pub async fn files(&self, state: &SessionState) -> Result<Vec<ObjectMeta>> {
        let store = state.runtime_env().object_store(&self.url)?;
        let listed = self.url.list_all_files(state, store.as_ref(), "").await;
        let files: Result<Vec<ObjectMeta>> = match listed {
            Ok(files) => files.try_collect().await.map_err(Error::from),
            Err(cause) => Err(cause.into()),
        };
        let mut files = files.map_err(|error| error.with("location", &self.text))?;
        let hidden = |file: &ObjectMeta| file_name(file.location.as_ref()).starts_with(['_', '.']);
        files.retain(|file| !(self.url.is_collection() && (file.size == 0 || hidden(file))));
        files.sort_by(|left, right| left.location.cmp(&right.location));
        Ok(files)
    }

    /// The location as it is; or, for a glob that DataFusion would not match as a shell does, a location for
    /// each file that it names. Each with its files.
    ///
    /// DataFusion leaves out every folder and file with a `=` in its name before it matches, and looks only
    /// at the first of the others: so `*/*.parquet` would find nothing, and `*.parquet` no `Npix=1.parquet`.
    ///
    /// # Errors
    /// Those of [`Location::files`].
    pub async fn spread(self, state: &SessionState) -> Result<Vec<(Self, Vec<ObjectMeta>)>> {
        let named = match self.url.get_glob() {
            Some(glob) => self.named_by(state, glob).await?,
            None => None,
        };
        let Some(named) = named else {
            let files = self.files(state).await?;
            return Ok(vec![(self, files)]);
        };
        named.into_iter().map(|file| Ok((self.of_file(&file)?, vec![file]))).collect()
    }

    /// The files that a shell would find, if DataFusion finds others.
    async fn named_by(
        &self,
        state: &SessionState,
        glob: &Pattern,
    ) -> Result<Option<Vec<ObjectMeta>>> {
        let store = state.runtime_env().object_store(&self.url)?;
        let folder = self.url.prefix();
        let in_place = |error: object_store::Error| Error::from(error).with("location", &self.text);
        let (mut files, folders) = if glob.as_str().contains('/') {
            (store.list(Some(folder)).try_collect().await.map_err(in_place)?, vec![])
        } else {
            let listed = store.list_with_delimiter(Some(folder)).await.map_err(in_place)?;
            (listed.objects, listed.common_prefixes)
        };
        let rest = |path: &Path| -> String {
            let parts = path.prefix_match(folder);
            let parts = parts.map(|parts| parts.map(|part| part.as_ref().to_string()).collect());
            parts.map_or_else(String::new, |parts: Vec<_>| parts.join("/"))
        };
        files.retain(|file| {
            file.size > 0
                && !file_name(file.location.as_ref()).starts_with(['_', '.'])
                && glob.matches_with(&rest(&file.location), AS_A_SHELL)
        });
        let ignore = state.config_options().execution.listing_table_ignore_subdirectory;
        let same = files.iter().all(|file| self.url.contains(&file.location, ignore))
            && !folders.iter().any(|folder| {
                let name = rest(folder);
                name.contains('=') || glob.matches(&name)
            });
        files.sort_by(|left, right| left.location.cmp(&right.location));
        Ok((!same && !files.is_empty()).then_some(files))
    }

    /// The location of one of the files here.
    fn of_file(&self, file: &ObjectMeta) -> Result<Self> {
        let mut url = AsRef::<Url>::as_ref(&self.url).clone();
        // what looks encoded in a name is not
        url.set_path(&format!("/{}", file.location.as_ref().replace('%', "%25")));
        let mut url = ListingTableUrl::try_new(url, None)?;
        if let Some(name) = self.url.get_table_ref() {
            url = url.with_table_ref(name.clone());
        }
        Ok(Self { text: self.text.clone(), url })
    }

    /// How messages name a file at this location.
    pub fn name_of(&self, file: &ObjectMeta) -> String {
        match self.url.scheme() {
            "file" => format!("/{}", file.location),
            _ => format!("{}{}", self.url.object_store().as_str(), file.location),
        }
    }

    /// The error for a location where no file of the right type is.
    pub fn nothing_found(&self, file_type: Option<&str>) -> Error {
        let what = match file_type {
            Some(name) => format!("no {} file", name.to_uppercase()),
            None => "no file".to_string(),
        };
        let near = self.near_names();
        let hint = match near.as_slice() {
            [] => "; check the path".to_string(),
            names => format!("; near it: {}", names.join(", ")),
        };
        Error::not_found(format!("{what} at '{}'{hint}", self.text)).with("location", &self.text)
    }

    /// Names of what lies beside a local path that does not exist, the most alike first.
    fn near_names(&self) -> Vec<String> {
        if self.url.scheme() != "file" {
            return vec![];
        }
        let path = self.text.strip_prefix("file://").unwrap_or(&self.text);
        let (folder, wanted) = match path.trim_end_matches('/').rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((folder, name)) => (folder, name),
            None => (".", path.trim_end_matches('/')),
        };
        let folder = if self.is_folder() && LocalPath::new(path).is_dir() { path } else { folder };
        let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        let distance =
            |name: &String| datafusion::common::utils::datafusion_strsim::levenshtein(name, wanted);
        names.sort_by_key(|name| (distance(name), name.clone()));
        names.truncate(NEAR_NAMES_MAX);
        names
    }
}

/// Like DataFusion's parser, but globs also in URLs.
fn parse(text: &str) -> Result<ListingTableUrl> {
    let wrong = |cause: String| Error::plan(format!("'{text}' is no path or URL: {cause}"));
    if text.is_empty() {
        return Err(wrong("it is empty".into()));
    }
    let remote = text.split_once("://").filter(|(scheme, _)| *scheme != "file");
    if let Some((scheme, rest)) = remote
        && let Some(at) = rest.find(['*', '[', '?'])
        && !scheme.starts_with("http")
    {
        let folder = rest[..at].rfind('/').map_or(0, |slash| slash + 1);
        let url = Url::parse(&format!("{scheme}://{}", &rest[..folder]))
            .map_err(|cause| wrong(cause.to_string()))?;
        return Ok(ListingTableUrl::try_new(url, None)?.with_glob(&rest[folder..])?);
    }
    ListingTableUrl::parse(text).map_err(|cause| wrong(cause.strip_backtrace()))
}
