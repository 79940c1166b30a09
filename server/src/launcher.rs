//! `almagest cluster`: a scheduler in this process, and executors as jobs of a batch queue.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use almagest::cluster::{ClusterKey, Scheduler, SchedulerOptions, Watcher};
use almagest::{Error, Result};
use almagest_launch::{
    self as launch, Action, ClusterArguments, ExecutorCommand, Member, Members, Place, QueueKind,
    Settings,
};
use async_trait::async_trait;

use crate::arguments::MessageArguments;
use crate::roles::check_bind;

/// The cluster's own key, in its folder.
const KEY_FILE: &str = "cluster.key";

/// Does what the words after `almagest cluster` ask.
///
/// # Errors
/// `Plan` for wrong flags, `Unreachable` if the queue refuses.
pub async fn run(arguments: ClusterArguments, messages: MessageArguments) -> Result<()> {
    let place = Place::standard(messages.quiet)?;
    match arguments.action()? {
        Action::Start { settings, dry_run: true } => {
            let address = launch::address(&settings, &place.commands).await?;
            let port = if settings.port == 0 { "PORT".into() } else { settings.port.to_string() };
            let key = key_file(&settings, &place)?;
            let command = command(format!("http://{address}:{port}"), key.as_deref())?;
            print(&launch::dry_run(&settings, command, &place)?)
        }
        Action::Start { settings, dry_run: false } => start(&settings, &place).await,
        Action::Ask(name, request) => print(&launch::request(&name, request, &place).await?),
        Action::List => print(&launch::list(&place)?),
        Action::MakeKey(file) => {
            ClusterKey::create(&file)?;
            (place.say)(
                "give it as --cluster-key to scheduler, executors and clients, and to nobody else",
            );
            Ok(())
        }
    }
}

async fn start(settings: &Settings, place: &Place) -> Result<()> {
    let address = launch::address(settings, &place.commands).await?.to_string();
    let bind: IpAddr = address.parse().map_err(|_| {
        Error::plan(format!("'{address}' is no address that a scheduler can listen at"))
    })?;
    let key_file = key_file(settings, place)?;
    let key = key_file.as_deref().map(|path| key_at(path, settings, place)).transpose()?;
    check_bind(bind, key.is_some() || settings.insecure)?;
    let options =
        SchedulerOptions { bind, port: settings.port, key, ..SchedulerOptions::default() };
    let scheduler = Scheduler::bind(&almagest::registry()?, &options).await?;
    let url = scheduler.address().url();
    let members = Arc::new(Joined(scheduler.watcher()));
    tokio::spawn(scheduler.run());
    println!("{url}");
    if let Some(path) = &key_file {
        (place.say)(&format!("clients need --cluster {url} --cluster-key {}", path.display()));
    }
    launch::run(settings, command(url, key_file.as_deref())?, members, place).await
}

/// The file of the cluster's key: the one that is given, or else its own. None on this machine, and
/// where no key is wanted.
fn key_file(settings: &Settings, place: &Place) -> Result<Option<PathBuf>> {
    if let Some(path) = &settings.cluster_key {
        let path = std::path::absolute(path);
        return path.map(Some).map_err(|cause| Error::plan(format!("no such path: {cause}")));
    }
    if settings.insecure || settings.kind == QueueKind::Local {
        return Ok(None);
    }
    let folder = launch::Folder::of(&place.base, &settings.name)?;
    Ok(Some(folder.path().join(KEY_FILE)))
}

/// The key in a file; the cluster's own is made for its first start.
fn key_at(path: &Path, settings: &Settings, place: &Place) -> Result<ClusterKey> {
    if settings.cluster_key.is_none() && !path.exists() {
        launch::Folder::of(&place.base, &settings.name)?.create()?;
        ClusterKey::create(path)?;
    }
    ClusterKey::read(path)
}

fn command(scheduler_url: String, key: Option<&Path>) -> Result<ExecutorCommand> {
    let program = std::env::current_exe().map_err(|cause| {
        Error::unreachable(format!("cannot tell where the command almagest is: {cause}"))
    })?;
    let key = key.map(|path| ["--cluster-key".into(), path.display().to_string()]);
    let extra = key.into_iter().flatten().collect();
    Ok(ExecutorCommand { program, scheduler_url, extra })
}

fn print(text: &str) -> Result<()> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|cause| Error::unreachable(format!("cannot write the answer: {cause}")))
}

/// The executors of the scheduler in this process.
struct Joined(Watcher);

#[async_trait]
impl Members for Joined {
    async fn executors(&self) -> Vec<Member> {
        let executors = self.0.working_executors().await.into_iter();
        let executors = executors.map(|executor| Member {
            name: executor.name,
            cores: executor.cores,
            running_tasks: executor.running_tasks,
            holds_needed_data: executor.holds_needed_data,
        });
        executors.collect()
    }

    async fn pending_tasks(&self) -> usize {
        self.0.pending_tasks().await
    }
}
