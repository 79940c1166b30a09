//! `scale`, `status`, `stop` and `list`: what other commands ask of a cluster, and what they do
//! about one whose process was killed.

use std::time::Duration;

use super::commands::Commands;
use super::control::{Request, ask};
use super::foreground::Place;
use super::keeper::{Say, count_of};
use super::queue::{Job, JobState, QueueKind};
use super::state::{Folder, LOCK_PATIENCE, State, names};
use super::status::table;
use almagest_engine::{Error, Result};
use futures::future::BoxFuture;

/// How long a process may take to end after it has cancelled its jobs.
const END_LONGEST: Duration = Duration::from_secs(5);

/// Asks the cluster of this name; gives back what to print.
///
/// # Errors
/// `NotFound` if there is no such cluster, `Unreachable` if it does not answer.
pub fn request<'a>(
    name: &'a str,
    request: Request,
    place: &'a Place,
) -> BoxFuture<'a, Result<String>> {
    Box::pin(async move {
        let folder = Folder::of(&place.base, name)?;
        let Some(state) = folder.state()? else { return Err(no_cluster(name, place)) };
        if state.is_elsewhere() {
            return Err(Error::unreachable(format!(
            "the process that keeps this cluster is on {}; ask there, or, if that machine is no \
             more, cancel the jobs {} by hand and delete {}",
            state.host,
            state.jobs.join(", "),
            folder.path().display()
        ))
        .with("cluster", name));
        }
        if state.is_kept() {
            let answer = ask(&folder.socket(), request).await?;
            if request == Request::Stop {
                // so that the name is free when this command ends; if not, the next one says so
                let _ = folder.lock(END_LONGEST).await;
            }
            return Ok(answer);
        }
        match request {
            Request::Status => leftovers(name, &state, &place.commands).await,
            Request::Stop => {
                let _lock = folder.lock(LOCK_PATIENCE).await?;
                clear_leftovers(&folder, &place.commands, &place.say).await?;
                Ok(format!("the cluster {name} is gone\n"))
            }
            Request::Scale(_) => Err(Error::unreachable(format!(
                "the process that kept this cluster was killed; start the cluster again, or cancel \
             what it left over: almagest cluster stop --name {name}"
            ))),
        }
    })
}

/// The clusters: name, queue, number of jobs, scheduler.
///
/// # Errors
/// `DataInvalid` if a state is damaged.
pub fn list(place: &Place) -> Result<String> {
    let mut text = String::new();
    for name in names(&place.base) {
        let Some(state) = Folder::of(&place.base, &name)?.state()? else { continue };
        let State { queue, url, jobs, .. } = &state;
        let kept = if state.is_kept() { format!("runs at {url}") } else { "was killed".into() };
        text.push_str(&format!("{name}: {queue}, {} jobs, {kept}\n", jobs.len()));
    }
    Ok(if text.is_empty() { "no cluster\n".into() } else { text })
}

/// Cancels the jobs of a cluster whose process was killed, and forgets it. The caller has the lock.
///
/// # Errors
/// `Plan` if its process lives, `Unreachable` if jobs cannot be cancelled.
pub async fn clear_leftovers(folder: &Folder, commands: &Commands, say: &Say) -> Result<()> {
    let Some(state) = folder.state()? else { return Ok(()) };
    if state.is_kept() {
        return Err(Error::plan(format!(
            "process {} on {} keeps a cluster of this name; end it with `almagest cluster stop`, \
             or choose another --name",
            state.pid, state.host
        ))
        .with("folder", folder.path().display()));
    }
    if !state.jobs.is_empty() {
        let queue = QueueKind::named(&state.queue)?.open(commands.clone())?;
        queue.cancel(&state.jobs).await?;
        let count = count_of(&state.jobs);
        say(&format!("cancelled {count}, left over by a process that was killed"));
    }
    folder.forget();
    Ok(())
}

async fn leftovers(name: &str, state: &State, commands: &Commands) -> Result<String> {
    let kind = QueueKind::named(&state.queue)?;
    let jobs: Vec<Job> = kind.open(commands.clone())?.list(&state.jobs).await?;
    let live = jobs.iter().filter(|job| job.state != JobState::Ended).count();
    Ok(format!(
        "{}: the process that kept this cluster was killed, and left over {live} jobs; `almagest \
         cluster stop --name {name}` cancels them\n{}",
        kind.name(),
        table(kind, &state.jobs, &jobs, None)
    ))
}

fn no_cluster(name: &str, place: &Place) -> Error {
    let known = names(&place.base);
    let known = match known.is_empty() {
        true => "none runs; start one: almagest cluster slurm --workers 4".into(),
        false => format!("there are {}; see --name", known.join(", ")),
    };
    Error::not_found(format!("no cluster {name}; {known}")).with("folder", place.base.display())
}
