//! `almagest serve`: the command line of the Flight SQL endpoint.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use almagest::cluster::Limits;
use almagest::flight::{
    Entrance, FlightLimits, FlightOptions, FlightServer, Served, TlsFiles, Users, new_user, open,
};
use almagest::{Error, Result, SessionOptions};
use clap::Args;

use crate::cli::{MessageArguments, PlaceArguments, SessionArguments, parse_bytes};

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

/// The words of the command line with those of the file that `serve --config FILE` names.
///
/// # Errors
/// What is wrong with the file.
pub fn with_config(words: Vec<OsString>) -> Result<Vec<OsString>> {
    let Some(command) = words.iter().position(|word| word == "serve") else { return Ok(words) };
    let after = &words[command + 1..];
    let path = after.iter().enumerate().find_map(|(position, word)| {
        let text = word.to_str()?;
        match text.strip_prefix("--config=") {
            Some(path) => Some(PathBuf::from(path)),
            None if text == "--config" => after.get(position + 1).map(PathBuf::from),
            None => None,
        }
    });
    let Some(path) = path else { return Ok(words) };
    let text = fs::read_to_string(&path).map_err(|cause| {
        Error::not_found(format!("cannot read the file of options: {cause}"))
            .with("file", path.display())
    })?;
    let options: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
        Error::plan(format!("the options are not TOML: {}", cause.message()))
            .with("file", path.display())
    })?;
    let mut all = words[..=command].to_vec();
    for (name, value) in options {
        all.extend(words_of(&name, value).map_err(|error| error.with("file", path.display()))?);
    }
    all.extend(after.iter().cloned());
    Ok(all)
}

/// An option of the file as words.
fn words_of(name: &str, value: toml::Value) -> Result<Vec<OsString>> {
    let option = OsString::from(format!("--{}", name.replace('_', "-")));
    let one = |value: toml::Value| match value {
        toml::Value::String(text) => Ok(text.into()),
        toml::Value::Integer(number) => Ok(number.to_string().into()),
        other => Err(Error::plan(format!(
            "option {name} is a {}; write a text, a number, true, or a list of texts",
            other.type_str()
        ))),
    };
    match value {
        toml::Value::Boolean(true) => Ok(vec![option]),
        toml::Value::Boolean(false) => Ok(vec![]),
        toml::Value::Array(values) => {
            let words = values.into_iter().map(|value| Ok([option.clone(), one(value)?]));
            Ok(words.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        }
        value => Ok(vec![option, one(value)?]),
    }
}

/// Serves until the process is asked to end.
///
/// # Errors
/// What is wrong with the options, and what cannot be opened.
pub async fn serve(
    arguments: ServeArguments,
    session: &SessionArguments,
    messages: MessageArguments,
) -> Result<()> {
    if let Some(name) = &arguments.make_user {
        return make_user(name);
    }
    check_safe(&arguments)?;
    let entrance = Entrance {
        users: arguments.users.as_deref().map(Users::read).transpose().map_err(Error::plan)?,
        anonymous: arguments.anonymous,
    };
    let served = Served {
        data: whole(&arguments.data)?,
        writable: arguments.writable.as_deref().map(made).transpose()?,
        urls: arguments.allow_url.clone(),
        init: arguments.init.as_deref().map(statements).transpose()?,
    };
    let options = FlightOptions {
        bind: arguments.flight,
        http: arguments.http,
        tls: tls(&arguments),
        grace: Duration::from_secs(arguments.grace),
    };
    let port_file = arguments.port_file.as_deref().map(std::path::absolute).transpose();
    let port_file = port_file.map_err(|cause| Error::plan(format!("no such path: {cause}")))?;
    let place = arguments.place.settings()?;
    let session = session_options(session)?;
    if let Some(folder) = served.data.first() {
        // relative paths in statements begin where the data are
        std::env::set_current_dir(folder).map_err(|cause| {
            Error::not_found(format!("cannot enter the folder of data: {cause}"))
                .with("folder", folder.display())
        })?;
    }
    let shared = open(&session, place, &served, limits(&arguments)).await?;
    for problem in shared.unopened_tables() {
        eprintln!("{problem}");
    }
    let server = FlightServer::bind(&options, shared, entrance).await?;
    let address = server.address()?;
    let scheme = if options.tls.is_some() { "grpc+tls" } else { "grpc" };
    println!("{scheme}://{address}");
    if !messages.quiet {
        if let Some(http) = server.http_address()? {
            eprintln!("health and metrics: http://{http}/metrics");
        }
        eprintln!("the server listens; Ctrl-C ends it");
    }
    if let Some(path) = port_file {
        fs::write(&path, address.to_string()).map_err(|cause| {
            Error::unreachable(format!("cannot write the port: {cause}"))
                .with("file", path.display())
        })?;
    }
    server.run(Box::pin(asked_to_end()?)).await
}

/// What sessions may use. The folder to spill to is where it was said to be, though another is entered
/// before it is made.
fn session_options(session: &SessionArguments) -> Result<SessionOptions> {
    let mut options = session.options();
    let folder = options.spill_dir.as_deref().map(std::path::absolute).transpose();
    options.spill_dir =
        folder.map_err(|cause| Error::plan(format!("no such folder to spill to: {cause}")))?;
    Ok(options)
}

fn limits(arguments: &ServeArguments) -> FlightLimits {
    let three_quarters = arguments.max_queries.get().saturating_mul(3).div_ceil(4);
    FlightLimits {
        queries: Limits {
            running_max: arguments.max_queries.get(),
            waiting_max: arguments.max_queued,
            session_max: arguments.max_per_user.map_or(three_quarters, NonZeroUsize::get),
            time_max: None,
        },
        time_max: arguments.time_limit.map(Duration::from_secs),
        query_bytes_max: arguments.query_memory,
        query_spill_max: arguments.query_spill.map(|bytes| bytes as u64),
        rows_max: arguments.max_rows,
        bytes_max: arguments.max_bytes.map(|bytes| bytes as u64),
        statement_bytes_max: arguments.max_statement,
        query_life: Duration::from_secs(arguments.fetch_timeout),
        idle_max: Duration::from_secs(arguments.idle_timeout),
        sessions_max: arguments.max_sessions,
        client_sessions_max: arguments.max_sessions_per_user.get(),
        first_request: Duration::from_secs(arguments.first_request_timeout),
        kept_session_max: arguments.session_statements,
        kept_max: arguments.all_statements,
    }
}

fn tls(arguments: &ServeArguments) -> Option<TlsFiles> {
    let (certificate, key) = (arguments.tls_cert.clone()?, arguments.tls_key.clone()?);
    let client_ca = arguments.tls_client_ca.clone();
    // as the folder changes before they are read
    let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    Some(TlsFiles {
        certificate: whole(certificate),
        key: whole(key),
        client_ca: client_ca.map(whole),
    })
}

/// Refuses to be open to all by oversight.
fn check_safe(arguments: &ServeArguments) -> Result<()> {
    if arguments.users.is_none() && !arguments.anonymous {
        return Err(Error::plan(
            "nobody could log in; name a file of users with --users (--make-user NAME prints an \
             entry), or let in anyone with --anonymous",
        ));
    }
    let is_near = arguments.flight.ip().is_loopback();
    if is_near || arguments.insecure {
        return Ok(());
    }
    if arguments.tls_cert.is_none() {
        return Err(Error::plan(format!(
            "{} can be reached from other machines, and without TLS anyone on the way reads \
             passwords and data; give --tls-cert and --tls-key, or say --insecure",
            arguments.flight
        )));
    }
    if arguments.anonymous {
        return Err(Error::plan(format!(
            "{} can be reached from other machines, and --anonymous lets all of them in; give \
             --users, or say --insecure",
            arguments.flight
        )));
    }
    Ok(())
}

fn whole(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let whole = folders.iter().map(|folder| {
        fs::canonicalize(folder).map_err(|cause| {
            Error::not_found(format!("the folder of data cannot be opened: {cause}"))
                .with("folder", folder.display())
        })
    });
    whole.collect()
}

fn made(folder: &Path) -> Result<PathBuf> {
    let made = fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
    made.map_err(|cause| {
        Error::unreachable(format!("the folder to write in cannot be made: {cause}"))
            .with("folder", folder.display())
    })
}

fn statements(path: &Path) -> Result<String> {
    // a shell's `<(…)` is a pipe too, but one that somebody writes into
    let is_of_shell = ["/dev/", "/proc/"].iter().any(|folder| path.starts_with(folder));
    if !is_of_shell && path.exists() && !path.is_file() {
        return Err(Error::plan("the statements are to be in a file, and this is none")
            .with("file", path.display()));
    }
    fs::read_to_string(path).map_err(|cause| {
        Error::not_found(format!("cannot read the file of statements: {cause}"))
            .with("file", path.display())
    })
}

fn make_user(name: &str) -> Result<()> {
    let (entry, token) = new_user(name, &crate::password::ask(name)?).map_err(Error::plan)?;
    println!("{entry}");
    eprintln!("append this to the file of users, and keep it from others: chmod 600");
    eprintln!("a token for programs, which is nowhere else: {token}");
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
fn asked_to_end() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind)
            .map_err(|cause| Error::unreachable(format!("cannot listen for signals: {cause}")))
    };
    let (mut first, mut second) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = first.recv() => {}
            _ = second.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_folder_to_spill_to_does_not_depend_on_the_folder_of_data() {
        let session = SessionArguments {
            memory_limit: None,
            threads: None,
            spill_dir: Some("spilled".into()),
            spill_limit: None,
        };
        let here = std::env::current_dir().unwrap();
        let options = session_options(&session).unwrap();
        assert_eq!(options.spill_dir, Some(here.join("spilled")));
    }

    #[test]
    fn a_file_of_options_comes_before_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.toml");
        fs::write(&path, "data = [\"a\", \"b\"]\nanonymous = true\ninsecure = false\ngrace = 3\n")
            .unwrap();
        let given = words(&format!("almagest serve --config {} --grace 4", path.display()));
        let all = with_config(given.clone()).unwrap();
        let expected = format!(
            "almagest serve --anonymous --data a --data b --grace 3 --config {} --grace 4",
            path.display()
        );
        assert_eq!(all, words(&expected));
        fs::write(&path, "grace = 1.5\n").unwrap();
        let error = with_config(given).unwrap_err();
        assert!(error.message().contains("grace"), "{error}");
        assert_eq!(with_config(words("almagest -c x")).unwrap(), words("almagest -c x"));
    }
}
