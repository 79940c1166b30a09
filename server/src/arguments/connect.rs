//! What `--connect` takes: a server, and who asks.

use std::path::PathBuf;

use clap::Args;

/// The server and who asks.
#[derive(Clone, Debug, Default, Args)]
pub struct ConnectArguments {
    /// Run statements on a server: grpc+tls://HOST:PORT, or grpc://HOST:PORT without TLS.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["cluster", "memory_limit", "threads", "spill_dir", "spill_limit"]
    )]
    pub connect: Option<String>,
    /// Log in as this user; the password comes from ALMAGEST_PASSWORD, or is asked for.
    #[arg(long, value_name = "NAME", requires = "connect")]
    pub user: Option<String>,
    /// Log in with the token in this file.
    #[arg(long, value_name = "FILE", requires = "connect", conflicts_with = "user")]
    pub token_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file instead of the system's.
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub tls_ca: Option<PathBuf>,
    /// Show this certificate (PEM) to a server that asks for one.
    #[arg(long, value_name = "FILE", requires_all = ["connect", "tls_client_key"])]
    pub tls_client_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    #[arg(long, value_name = "FILE", requires = "tls_client_cert")]
    pub tls_client_key: Option<PathBuf>,
    /// Log in to another machine without TLS, where everyone on the way can read along.
    #[arg(long, requires = "connect")]
    pub insecure: bool,
}
