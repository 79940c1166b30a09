//! Object stores by URL: `s3://`, `gs://`, `az://`, `abfs://`, `http(s)://`, and local files.
//!
//! In: the URL of a file. Out: the store it lies on, made at first use from the usual environment
//! variables (`AWS_…`, `GOOGLE_…`, `AZURE_…`) or from the options of `CREATE EXTERNAL TABLE`
//! (`'aws.region' 'eu-west-1'`). This is the one place that decides what queries can reach.
//!
//! Requests and retries are bounded in time. Values of options are never part of a message.

use std::sync::Arc;
use std::time::Duration;

use almagest_engine::formats::TableOptions;
use almagest_engine::registry::Stores;
use almagest_engine::{Error, Result};
use datafusion::error::Result as DfResult;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::{ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use url::{Position, Url};

use crate::regular_files::RegularFiles;

const RETRIES_MAX: usize = 4;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How the names of options for stores begin.
const PREFIXES: &[&str] = &["aws.", "gcp.", "google.", "azure.", "http."];

/// The stores of a session.
#[derive(Debug)]
pub struct RemoteStores {
    made: DefaultObjectStoreRegistry,
    local: Arc<dyn ObjectStore>,
}

impl Default for RemoteStores {
    fn default() -> Self {
        let local = Arc::new(RegularFiles::new(Arc::new(LocalFileSystem::new())));
        Self { made: DefaultObjectStoreRegistry::default(), local }
    }
}

impl ObjectStoreRegistry for RemoteStores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.made.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        self.made.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        if url.scheme() == "file" {
            return Ok(Arc::clone(&self.local));
        }
        if let Ok(store) = self.made.get_store(url) {
            return Ok(store);
        }
        let store = make(url, &TableOptions::new())?;
        self.made.register_store(url, Arc::clone(&store));
        Ok(store)
    }
}

impl Stores for RemoteStores {
    fn option_prefixes(&self) -> &'static [&'static str] {
        PREFIXES
    }

    fn configure(&self, url: &Url, options: &TableOptions) -> Result<()> {
        let store = make(url, options)?;
        self.made.register_store(url, store);
        Ok(())
    }
}

/// The URL's scheme and host, without user and password.
fn place(url: &Url) -> String {
    format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPort])
}

fn make(url: &Url, options: &TableOptions) -> Result<Arc<dyn ObjectStore>> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    if host.is_empty() {
        return Err(Error::plan(format!(
            "'{}://' names no bucket or server; write {0}://name/path",
            url.scheme()
        )));
    }
    let retry = RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    let made: Result<Arc<dyn ObjectStore>, object_store::Error> = match url.scheme() {
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(host).with_retry(retry);
            for (key, value) in timeouts() {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
            }
            for (name, value) in options {
                let key = option_key(name, &["aws."], "aws_")?;
                builder = builder.with_config(key, value);
            }
            builder.build().map(|store| Arc::new(store) as _)
        }
        "gs" | "gcs" => {
            let mut builder =
                GoogleCloudStorageBuilder::from_env().with_bucket_name(host).with_retry(retry);
            for (key, value) in timeouts() {
                builder = builder.with_config(GoogleConfigKey::Client(key), value);
            }
            for (name, value) in options {
                let key = option_key(name, &["gcp.", "google."], "google_")?;
                builder = builder.with_config(key, value);
            }
            builder.build().map(|store| Arc::new(store) as _)
        }
        "az" | "azure" | "adl" | "abfs" | "abfss" => {
            let mut builder =
                MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            for (key, value) in timeouts() {
                builder = builder.with_config(AzureConfigKey::Client(key), value);
            }
            for (name, value) in options {
                let key = option_key(name, &["azure."], "azure_")?;
                builder = builder.with_config(key, value);
            }
            builder.build().map(|store| Arc::new(store) as _)
        }
        "http" | "https" => {
            let mut client = ClientOptions::new();
            for (key, value) in timeouts() {
                client = client.with_config(key, value);
            }
            client = client.with_allow_http(true);
            for (name, value) in options {
                client = client.with_config(option_key(name, &["http."], "")?, value);
            }
            let base = &url[..Position::BeforePath];
            let builder = HttpBuilder::new().with_url(base).with_retry(retry);
            builder.with_client_options(client).build().map(|store| Arc::new(store) as _)
        }
        other => {
            return Err(Error::unsupported(format!(
                "no store for '{other}://'; use a local path, s3://, gs://, az://, abfs://, \
                 http:// or https://"
            )));
        }
    };
    // the cause may quote the value of a variable, so only its kind is told
    made.map_err(|cause| {
        let reason = match cause {
            object_store::Error::UnknownConfigurationKey { key, .. } => format!("unknown '{key}'"),
            object_store::Error::Generic { store, .. } => {
                format!("the settings for {store} are incomplete or wrong")
            }
            _ => "its settings are wrong".to_string(),
        };
        Error::plan(format!(
            "cannot reach {}: {reason}; look at the environment variables and OPTIONS for it",
            place(url)
        ))
    })
}

fn timeouts() -> [(ClientConfigKey, String); 2] {
    [
        (ClientConfigKey::ConnectTimeout, format!("{} seconds", CONNECT_TIMEOUT.as_secs())),
        (ClientConfigKey::Timeout, format!("{} seconds", REQUEST_TIMEOUT.as_secs())),
    ]
}

/// The key that an option such as `aws.region` names, as the variable `AWS_REGION` would.
fn option_key<Key: std::str::FromStr>(
    name: &str,
    prefixes: &[&str],
    variable_prefix: &str,
) -> Result<Key> {
    let short = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    let Some(short) = short else {
        return Err(Error::plan(format!(
            "option '{name}' does not fit the location; its options begin with {}",
            prefixes.join(" or ")
        )));
    };
    let key = format!("{variable_prefix}{short}").parse().or_else(|_| short.parse());
    key.map_err(|_| {
        Error::plan(format!(
            "no option '{name}'; such options are named like the environment variables, in lower \
             case: 'aws.access_key_id', 'aws.secret_access_key', 'aws.region', 'aws.endpoint', \
             'aws.allow_http', 'aws.skip_signature', 'gcp.service_account_path', \
             'azure.account_name', 'azure.account_key', 'http.timeout'"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> TableOptions {
        pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect()
    }

    #[test]
    fn every_scheme_has_a_store_without_asking_the_network() {
        let stores = RemoteStores::default();
        for (url, given) in [
            (
                "s3://bucket/a",
                options(&[("aws.region", "eu-west-1"), ("aws.skip_signature", "true")]),
            ),
            ("gs://bucket/a", options(&[("google.skip_signature", "true")])),
            (
                "az://box/a",
                options(&[("azure.account_name", "me"), ("azure.skip_signature", "true")]),
            ),
            ("https://example.com/a", options(&[("http.timeout", "5 seconds")])),
        ] {
            let url = Url::parse(url).unwrap();
            stores.configure(&url, &given).unwrap();
            stores.get_store(&url).unwrap();
        }
        assert!(stores.get_store(&Url::parse("file:///tmp/a").unwrap()).is_ok());
    }

    #[test]
    fn wrong_options_are_refused_without_their_values() {
        let stores = RemoteStores::default();
        for (url, name, expected) in [
            ("s3://bucket", "aws.secret_acess_key", "no option 'aws.secret_acess_key'"),
            ("s3://bucket", "azure.account_key", "does not fit the location"),
            ("ftp://host", "http.timeout", "no store for 'ftp://'"),
        ] {
            let url = Url::parse(url).unwrap();
            let error = stores.configure(&url, &options(&[(name, "hidden")])).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
        }
    }
}
