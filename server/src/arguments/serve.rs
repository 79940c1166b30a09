//! What `almagest serve` takes, and what of it is refused.
//!
//! Not here: options from a file ([`super::options_file`]).

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use almagest::{Error, Result};
use clap::Args;

use super::{PlaceArguments, parse_bytes};

/// Serve folders of data by Arrow Flight SQL, to notebooks, BI tools and services.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ServeArguments {
    /// Options from a file: the long names of those here as keys of TOML. Those of the command line
    /// come before them.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,

    /// The address to listen at; port 0 is any that is free.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:32010")]
    pub flight: SocketAddr,
    /// The address for /healthz, /readyz and /metrics [default: none].
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,
    /// Write HOST:PORT to this file when the server listens.
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,

    /// A folder whose files and folders become tables and may be read; may be given several times.
    /// Relative paths in statements begin at the first.
    #[arg(long, value_name = "DIR", help_heading = "What is served")]
    pub data: Vec<PathBuf>,
    /// Statements to run at the start; the tables they make, and the files these read, are for all.
    #[arg(long, value_name = "FILE.sql", help_heading = "What is served")]
    pub init: Option<PathBuf>,
    /// The beginning of URLs that statements may read, such as s3://bucket/open/.
    #[arg(long, value_name = "URL", help_heading = "What is served")]
    pub allow_url: Vec<String>,
    /// The folder in which clients make tables and write files [default: none, and they cannot].
    #[arg(long, value_name = "DIR", help_heading = "What is served")]
    pub writable: Option<PathBuf>,
    /// Where queries run.
    #[command(flatten)]
    pub place: PlaceArguments,

    /// The file of users; --make-user NAME prints an entry.
    #[arg(long, value_name = "FILE.toml", help_heading = "Who may come")]
    pub users: Option<PathBuf>,
    /// Let in whoever comes without a name.
    #[arg(long, help_heading = "Who may come")]
    pub anonymous: bool,
    /// The certificate for TLS, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Who may come")]
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Who may come")]
    pub tls_key: Option<PathBuf>,
    /// Who signs the certificates that clients must show, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Who may come")]
    pub tls_client_ca: Option<PathBuf>,
    /// Listen where other machines can connect, though without TLS or to anyone.
    #[arg(long, help_heading = "Who may come")]
    pub insecure: bool,
    /// Read a password from standard input, print an entry for the file of users, and end.
    #[arg(long, value_name = "NAME", help_heading = "Who may come")]
    pub make_user: Option<String>,

    /// Queries that run at once; others wait.
    #[arg(long, value_name = "N", default_value = "16", help_heading = "Limits")]
    pub max_queries: NonZeroUsize,
    /// Queries that wait; more are refused.
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Limits")]
    pub max_queued: usize,
    /// Queries that run at once of one user, or of one address from which clients come without a name
    /// [default: three quarters of --max-queries].
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_per_user: Option<NonZeroUsize>,
    /// Sessions at once.
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Limits")]
    pub max_sessions: usize,
    /// Sessions at once of one user, or of one address from which clients come without a name; an address
    /// may have twice as many connections.
    #[arg(long, value_name = "N", default_value = "100", help_heading = "Limits")]
    pub max_sessions_per_user: NonZeroUsize,
    /// Size of the statements, views and values of parameters that one session keeps.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "64MiB", help_heading = "Limits")]
    pub session_statements: usize,
    /// The same of all sessions together, of which one user or address may have half.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "512MiB", help_heading = "Limits")]
    pub all_statements: usize,
    /// Seconds that a query may take, until its rows are fetched [default: no limit].
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    pub time_limit: Option<u64>,
    /// Memory that one query may hold [default: as all together, --memory-limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "Limits")]
    pub query_memory: Option<usize>,
    /// Size of what one query may spill to disk [default: as all together, --spill-limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "Limits")]
    pub query_spill: Option<usize>,
    /// Rows of an answer [default: no limit].
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_rows: Option<u64>,
    /// Size of an answer in memory [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "Limits")]
    pub max_bytes: Option<usize>,
    /// Size of a statement.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "1MiB", help_heading = "Limits")]
    pub max_statement: usize,
    /// Seconds for which an unused session or connection is kept.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, help_heading = "Limits")]
    pub idle_timeout: u64,
    /// Seconds for which a connection may wait with its first request.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, help_heading = "Limits")]
    pub first_request_timeout: u64,
    /// Seconds for which the rows of a query can be fetched after it was sent.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Limits")]
    pub fetch_timeout: u64,
    /// Seconds that running queries have when the server is asked to end.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, help_heading = "Limits")]
    pub grace: u64,
}

impl ServeArguments {
    /// Refuses to be open to all by oversight.
    ///
    /// # Errors
    /// `Plan`, which says what to add.
    pub fn check_safe(&self) -> Result<()> {
        if self.users.is_none() && !self.anonymous {
            return Err(Error::plan(
                "nobody could log in; name a file of users with --users (--make-user NAME prints an \
                 entry), or let in anyone with --anonymous",
            ));
        }
        let is_near = self.flight.ip().is_loopback();
        if is_near || self.insecure {
            return Ok(());
        }
        if self.tls_cert.is_none() {
            return Err(Error::plan(format!(
                "{} can be reached from other machines, and without TLS anyone on the way reads \
                 passwords and data; give --tls-cert and --tls-key, or say --insecure",
                self.flight
            )));
        }
        if self.anonymous {
            return Err(Error::plan(format!(
                "{} can be reached from other machines, and --anonymous lets all of them in; give \
                 --users, or say --insecure",
                self.flight
            )));
        }
        Ok(())
    }
}
