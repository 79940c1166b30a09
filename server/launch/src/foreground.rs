//! A cluster from its start to its end, in this process.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::adaptive::Adaptive;
use super::commands::Commands;
use super::control;
use super::keeper::{Keeper, Kept, Say};
use super::members::Members;
use super::pacing::Pace;
use super::queue::{ExecutorCommand, JobFile, Queue};
use super::remote::clear_leftovers;
use super::settings::Settings;
use super::state::{Folder, LOCK_PATIENCE, State, base};
use almagest_engine::{Error, Result};
use futures::future::BoxFuture;

/// Where a cluster lives, and how it behaves.
#[derive(Clone)]
pub struct Place {
    /// The folder of all clusters.
    pub base: PathBuf,
    /// The queue's commands.
    pub commands: Commands,
    /// Times and limits.
    pub pace: Pace,
    /// Where it says what happens.
    pub say: Say,
}

impl Place {
    /// The user's folder, the commands of the PATH; what happens is said on standard error.
    ///
    /// # Errors
    /// `NotFound` if there is no home.
    pub fn standard(quiet: bool) -> Result<Self> {
        let say = move |text: &str| {
            if !quiet {
                eprintln!("{text}");
            }
        };
        let (commands, pace) = (Commands::default(), Pace::default());
        Ok(Self { base: base()?, commands, pace, say: Arc::new(say) })
    }
}

/// The job script of a cluster, and the command that would submit it. Nothing is done.
///
/// # Errors
/// `Plan` if the queue cannot do what is asked for.
pub fn dry_run(settings: &Settings, command: ExecutorCommand, place: &Place) -> Result<String> {
    let folder = Folder::of(&place.base, &settings.name)?;
    let (queue, files) = prepare(settings, command, place, &folder)?;
    let mut text = String::new();
    for file in files {
        let path = folder.path().join(file.name);
        text.push_str(&format!("# {}\n{}\n", path.display(), file.text));
    }
    text.push_str(&format!("# submitted {} times by\n", settings.workers));
    text.push_str(&format!("{}\n", queue.submit_line(folder.path())));
    Ok(text)
}

/// Keeps a cluster until Ctrl-C, SIGTERM, SIGHUP or `almagest cluster stop`; then cancels its jobs.
///
/// # Errors
/// `Plan` if another process keeps a cluster of this name or the queue cannot do what is asked
/// for; `NotFound` or `Unreachable` if the queue's commands are missing or refuse, or jobs end at
/// once again and again.
pub fn run<'a>(
    settings: &'a Settings,
    command: ExecutorCommand,
    members: Arc<dyn Members>,
    place: &'a Place,
) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let end = signals()?;
        run_until(settings, command, members, place, end).await
    })
}

/// As [`run`], until `end`.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    settings: &Settings,
    command: ExecutorCommand,
    members: Arc<dyn Members>,
    place: &Place,
    end: impl Future<Output = ()>,
) -> Result<()> {
    let folder = Folder::of(&place.base, &settings.name)?;
    let url = command.scheduler_url.clone();
    let (queue, files) = prepare(settings, command, place, &folder)?;
    folder.create()?;
    let _lock = folder.lock(LOCK_PATIENCE).await?;
    clear_leftovers(&folder, &place.commands, &place.say).await?;
    folder.write_files(&files)?;
    let state = State::of_this_process(settings.kind.name(), &url);
    folder.keep(&state)?;
    let requests = control::listen(&folder.socket())?;
    let keeper = Keeper::new(Kept {
        queue,
        members,
        folder: folder.clone(),
        state,
        cores: settings.cores,
        wanted: settings.workers,
        adaptive: settings.limits.map(|limits| Adaptive::new(limits, place.pace.quiet)),
        pace: place.pace,
        say: Arc::clone(&place.say),
    });
    let ended = keeper.run(requests, end).await;
    // jobs that could not be cancelled stay known
    let left = folder.state()?.map(|state| state.jobs).unwrap_or_default();
    if left.is_empty() {
        folder.forget();
    } else {
        let name = &settings.name;
        (place.say)(&format!(
            "jobs {} are left over; `almagest cluster stop --name {name}` tries again",
            left.join(", ")
        ));
    }
    ended
}

/// The queue, and the files of a job.
fn prepare(
    settings: &Settings,
    command: ExecutorCommand,
    place: &Place,
    folder: &Folder,
) -> Result<(Arc<dyn Queue>, Vec<JobFile>)> {
    let queue = settings.kind.open(place.commands.clone())?;
    let files = queue.files(&settings.plan(command, folder.logs()))?;
    Ok((queue, files))
}

/// Ends with the first signal that asks for an end. Such signals no longer kill the process.
fn signals() -> Result<impl Future<Output = ()>> {
    let watch = |kind| {
        signal(kind).map_err(|cause| Error::unreachable(format!("cannot watch signals: {cause}")))
    };
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut terminate = watch(SignalKind::terminate())?;
    let mut hangup = watch(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
