//! The `almagest` command: a shell for people, and statements from `-c`, `-f` or a pipe.
//!
//! Answers go to stdout, everything else to stderr. Exit status: 0, 1 after a failed statement
//! (nothing after it runs, unless --keep-going), 2 for wrong usage, 130 after SIGINT.

mod arguments;
mod database;
mod demo;
mod diagnostics;
mod interrupt;
#[cfg(feature = "cluster")]
mod launcher;
mod names;
mod output;
#[cfg(feature = "flight")]
mod password;
mod progress;
#[cfg(feature = "flight")]
mod remote;
#[cfg(feature = "cluster")]
mod roles;
mod rows;
mod run;
#[cfg(feature = "flight")]
mod serve;
mod shell;
mod statements;

use std::fs::File;
use std::io::{BufReader, IsTerminal};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use almagest::{Error, ErrorKind, Result};
use arguments::{Arguments, Command, RunArguments, SessionArguments};
use database::Database;
use interrupt::Interrupt;
use output::Output;
#[cfg(feature = "flight")]
use remote::Remote;
use run::{Runner, told};
use shell::Shell;

/// How long a stopped statement may take to clean up.
const CLEANING_UP: Duration = Duration::from_millis(500);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::from_command_line() {
        Ok(arguments) => arguments,
        Err(error) => {
            told(error);
            return ExitCode::from(2);
        }
    };
    log_to_stderr();
    almagest_engine::files::quiet_in_files();
    let runtime = match runtime(&arguments.session) {
        Ok(runtime) => runtime,
        Err(cause) => {
            told(Error::exhausted(format!("cannot start threads: {cause}")));
            return ExitCode::from(1);
        }
    };
    let outcome = runtime.block_on(start(arguments));
    let cancelled = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled);
    if outcome.is_err() {
        // Statements that failed or were stopped remove their unfinished files.
        runtime.shutdown_timeout(CLEANING_UP);
    } else {
        // What still computes is of no use to anyone.
        runtime.shutdown_background();
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if cancelled => ExitCode::from(interrupt::INTERRUPTED as u8),
        Err(_) => ExitCode::from(1),
    }
}

/// What libraries log, if RUST_LOG asks for it: RUST_LOG=info, RUST_LOG=ballista_scheduler=debug.
fn log_to_stderr() {
    let environment = env_logger::Env::default().default_filter_or("off");
    env_logger::Builder::from_env(environment).target(env_logger::Target::Stderr).init();
}

fn runtime(session: &SessionArguments) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.thread_stack_size(almagest_engine::stacks::STACK_BYTES_RUNNING);
    if let Some(threads) = session.threads {
        builder.worker_threads(threads.get());
    }
    builder.enable_all().build()
}

/// Does what the arguments ask. Errors are told on stderr before they are given back.
async fn start(arguments: Arguments) -> Result<()> {
    if let Some(command) = arguments.command {
        return match command {
            Command::Demo(demo) => demo::run(demo, &arguments.session, arguments.messages).await,
            #[cfg(feature = "cluster")]
            Command::Scheduler(scheduler) => {
                roles::scheduler(&scheduler, arguments.messages).await.map_err(told)
            }
            #[cfg(feature = "cluster")]
            Command::Cluster(cluster) => {
                launcher::run(*cluster, arguments.messages).await.map_err(told)
            }
            #[cfg(feature = "flight")]
            Command::Serve(serve) => {
                serve::serve(*serve, &arguments.session, arguments.messages).await.map_err(told)
            }
            #[cfg(feature = "cluster")]
            Command::Executor(executor) => {
                roles::executor(&executor, &arguments.session, arguments.messages)
                    .await
                    .map_err(told)
            }
        };
    }
    let format = arguments.format();
    let database = database(&arguments).await.map_err(told)?;
    let output = match &arguments.run.output {
        Some(path) => Output::to_file(format, path).map_err(told)?,
        None => Output::to_stdout(format),
    };
    let interrupt = Interrupt::watch();
    let mut runner = Runner {
        database,
        output,
        messages: arguments.messages,
        timing: true,
        interrupt,
        keep_going: arguments.run.keep_going,
        failed: None,
    };
    let no_sources = arguments.run.sql.is_empty() && arguments.run.file.is_empty();
    if no_sources && std::io::stdin().is_terminal() {
        // what the file makes is made of files of this machine
        let init = runner.database.is_here() && !arguments.run.no_init;
        Shell::try_new(&mut runner).map_err(told)?.run(init).await?;
    } else {
        run_sources(&mut runner, &arguments.run).await?;
    }
    runner.database.close().await;
    runner.output.close().map_err(told)?;
    runner.failed.map_or(Ok(()), Err)
}

/// Where statements run: on a server, on a cluster, or here.
async fn database(arguments: &Arguments) -> Result<Database> {
    let options = arguments.session.options();
    #[cfg(feature = "flight")]
    if arguments.connect.connect.is_some() {
        let own = almagest::session(&options)?;
        return Ok(Database::There(Remote::connect(&arguments.connect, own).await?));
    }
    #[cfg(feature = "cluster")]
    if let Some(own) = arguments.run.place.settings()? {
        let options = almagest::SessionOptions { own, ..options };
        return Ok(Database::Here(almagest::cluster::session(&options)?));
    }
    Ok(Database::Here(almagest::session(&options)?))
}

/// Runs the statements of `-c`, of `-f`, or else of stdin.
async fn run_sources(runner: &mut Runner, arguments: &RunArguments) -> Result<()> {
    for sql in &arguments.sql {
        if runner.run_all(&mut sql.as_bytes(), "").await? == ControlFlow::Break(()) {
            return Ok(());
        }
    }
    for path in &arguments.file {
        let flow = if path.as_os_str() == "-" {
            runner.run_all(&mut BufReader::new(std::io::stdin()), "").await?
        } else {
            let file = File::open(path).map_err(|cause| {
                let message = format!("cannot read the file of statements: {cause}");
                told(Error::not_found(message).with("file", path.display()))
            })?;
            runner.run_all(&mut BufReader::new(file), &path.display().to_string()).await?
        };
        if flow == ControlFlow::Break(()) {
            return Ok(());
        }
    }
    if arguments.sql.is_empty() && arguments.file.is_empty() {
        let _ = runner.run_all(&mut BufReader::new(std::io::stdin()), "").await?;
    }
    Ok(())
}
