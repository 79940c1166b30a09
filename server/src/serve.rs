//! `almagest serve`: the Flight SQL endpoint of the command.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use almagest::cluster::Limits;
use almagest::flight::{
    Entrance, FlightLimits, FlightOptions, FlightServer, Served, TlsFiles, Users, new_user, open,
};
use almagest::{Error, Result, SessionOptions};

use crate::arguments::{MessageArguments, ServeArguments, SessionArguments};

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
    arguments.check_safe()?;
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
}
