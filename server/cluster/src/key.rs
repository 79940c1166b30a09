//! The key of a cluster: whoever holds its file belongs to the cluster, and nobody else does.
//!
//! In: a file with a certificate and its private key, the same for scheduler, executors and clients.
//! Out: TLS at both ends of each connection, where either end shows this certificate and takes no
//! other. Names of machines play no part in it. Not here: who listens ([`super::Scheduler`],
//! [`super::run_executor`]).

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use almagest_engine::{Error, Result};
use ballista_core::extension::EndpointOverrideFn;
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

/// The name in the certificate, which clients ask for wherever a server is.
const NAME: &str = "almagest-cluster";
/// More than a certificate and a key, and little enough to be read of any file.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The key.
#[derive(Clone)]
pub struct ClusterKey {
    pem: Arc<str>,
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey")
    }
}

impl ClusterKey {
    /// Writes a new key to `path`, for nobody but its owner to read.
    ///
    /// # Errors
    /// `Unreachable` if there is a file of this name, or none can be written.
    pub fn create(path: &Path) -> Result<()> {
        let not_made = |cause: rcgen::Error| {
            Error::bug("a cluster's key cannot be made").caused_by(cause.to_string())
        };
        let key = KeyPair::generate().map_err(not_made)?;
        let mut wanted = CertificateParams::new(vec![NAME.into()]).map_err(not_made)?;
        wanted.distinguished_name.push(DnType::CommonName, NAME);
        wanted.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = wanted.self_signed(&key).map_err(not_made)?;
        let text = certificate.pem() + &key.serialize_pem();
        let mut file = OpenOptions::new();
        file.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        let written = file.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|cause| {
            let message = format!("cannot write the cluster's key: {cause}; name another file");
            Error::unreachable(message).with("file", path.display())
        })
    }

    /// The key in a file.
    ///
    /// # Errors
    /// `NotFound`, `Plan` if others may read the file, `DataInvalid` if it holds no key.
    pub fn read(path: &Path) -> Result<Self> {
        let of_file = |error: Error| error.with("file", path.display());
        let found = std::fs::metadata(path).map_err(|cause| {
            let message = format!(
                "cannot read the cluster's key: {cause}; almagest cluster key FILE makes one"
            );
            of_file(Error::not_found(message))
        })?;
        #[cfg(unix)]
        if std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o077 != 0 {
            return Err(of_file(Error::plan(
                "others may read the cluster's key, and who can read it can run anything; say chmod \
                 600 FILE",
            )));
        }
        let not_a_key = |cause: String| {
            let message = "holds no key of a cluster; almagest cluster key FILE makes one";
            of_file(Error::data_invalid(message).caused_by(cause))
        };
        if found.len() > FILE_BYTES_MAX {
            return Err(not_a_key(format!("it has {} bytes", found.len())));
        }
        let pem = std::fs::read_to_string(path).map_err(|cause| not_a_key(cause.to_string()))?;
        let key = Self { pem: pem.into() };
        key.secured(Endpoint::from_static("https://localhost"))
            .map_err(|cause| not_a_key(cause.to_string()))?;
        Ok(key)
    }

    /// What one who listens needs.
    pub fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem(&*self.pem, &*self.pem))
            .client_ca_root(Certificate::from_pem(&*self.pem))
    }

    /// The same place, reached by TLS, whatever its URL says.
    ///
    /// # Errors
    /// The transport's, if the key is none.
    pub fn secured(&self, endpoint: Endpoint) -> Result<Endpoint, SecuringError> {
        let tls = ClientTlsConfig::new()
            .domain_name(NAME)
            .ca_certificate(Certificate::from_pem(&*self.pem))
            .identity(Identity::from_pem(&*self.pem, &*self.pem));
        let uri = endpoint.uri().clone();
        if uri.scheme_str() == Some("https") {
            return Ok(endpoint.tls_config(tls)?);
        }
        // Ballista names schedulers and executors by http, and sets those connections up like this
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let url = format!("https://{authority}");
        let endpoint = create_grpc_client_endpoint(url, Some(&GrpcClientConfig::default()))?;
        Ok(endpoint.tls_config(tls)?)
    }

    /// [`ClusterKey::secured`], for all connections that Ballista makes.
    pub fn for_all(&self) -> EndpointOverrideFn {
        let key = self.clone();
        Arc::new(move |endpoint| key.secured(endpoint))
    }
}

/// Why a connection cannot be made safe.
pub type SecuringError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use almagest_engine::ErrorKind;

    use super::*;

    #[test]
    fn a_key_is_for_its_owner_and_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        ClusterKey::create(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let made = std::fs::read_to_string(&path).unwrap();
        let again = ClusterKey::create(&path).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Unreachable);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), made);
        let key = ClusterKey::read(&path).unwrap();
        assert!(!format!("{key:?}").contains("PRIVATE"));
        let safe = key.secured(Endpoint::from_static("http://head:7")).unwrap();
        assert_eq!(safe.uri().to_string(), "https://head:7/");
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let refused = || ClusterKey::read(&path).unwrap_err();
        assert_eq!(refused().kind(), ErrorKind::NotFound);
        ClusterKey::create(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(refused().message().contains("chmod 600"), "{}", refused());
        let private = PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let certificate_alone = &whole[..whole.find("-----BEGIN PRIVATE").unwrap()];
        for text in ["", "secret-words", certificate_alone, &"x".repeat(100_000)] {
            std::fs::write(&path, text).unwrap();
            let error = refused();
            assert_eq!(error.kind(), ErrorKind::DataInvalid, "{error}");
            assert!(!format!("{error:?}").contains("secret-words"));
        }
    }
}
