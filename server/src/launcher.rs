//! `almagest cluster`: a scheduler in this process, and executors as jobs of a batch queue.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use almagest::cluster::{Scheduler, SchedulerOptions, Watcher};
use almagest::{Error, Result};
use async_trait::async_trait;

use crate::cli::MessageArguments;
use crate::launch::{
    self, Action, ClusterArguments, ExecutorCommand, Member, Members, Place, Settings,
};
use crate::roles::check_bind;

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
            let command = command(format!("http://{address}:{port}"))?;
            print(&launch::dry_run(&settings, command, &place)?)
        }
        Action::Start { settings, dry_run: false } => start(&settings, &place).await,
        Action::Ask(name, request) => print(&launch::request(&name, request, &place).await?),
        Action::List => print(&launch::list(&place)?),
    }
}

async fn start(settings: &Settings, place: &Place) -> Result<()> {
    let address = launch::address(settings, &place.commands).await?.to_string();
    let bind: IpAddr = address.parse().map_err(|_| {
        Error::plan(format!("'{address}' is no address that a scheduler can listen at"))
    })?;
    check_bind(bind, settings.insecure)?;
    let options = SchedulerOptions { bind, port: settings.port, ..SchedulerOptions::default() };
    let scheduler = Scheduler::bind(&options).await?;
    let url = scheduler.address().url();
    let members = Arc::new(Joined(scheduler.watcher()));
    tokio::spawn(scheduler.run());
    println!("{url}");
    launch::run(settings, command(url)?, members, place).await
}

fn command(scheduler_url: String) -> Result<ExecutorCommand> {
    let program = std::env::current_exe().map_err(|cause| {
        Error::unreachable(format!("cannot tell where the command almagest is: {cause}"))
    })?;
    Ok(ExecutorCommand { program, scheduler_url, extra: vec![] })
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
