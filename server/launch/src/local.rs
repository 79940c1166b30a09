//! No queue at all: processes of this machine, so that everything else can be tried on a laptop.
//!
//! A job's id is `PID.START`: the process, and when it started. Its processes are a group, which
//! lives on when this process is killed, as the jobs of a queue do.

use std::path::Path;
use std::process::Stdio;

use async_trait::async_trait;
use tokio::process::Command;

use super::commands::{Commands, Line};
use super::processes::{is_alive, start_time};
use super::queue::{Job, JobFile, JobState, Plan, Queue, QueueKind};
use super::script::body;
use almagest_engine::{Error, Result};

const SCRIPT: &str = "executor.sh";

/// Processes of this machine.
#[derive(Debug)]
pub struct Local(pub Commands);

#[async_trait]
impl Queue for Local {
    fn kind(&self) -> QueueKind {
        QueueKind::Local
    }

    fn files(&self, plan: &Plan) -> Result<Vec<JobFile>> {
        if !plan.extra.is_empty() || plan.queue.is_some() || plan.account.is_some() {
            return Err(Error::plan(
                "processes of this machine have no queue, account or further directives; leave \
                 --queue, --account and --extra out",
            ));
        }
        // nobody ends a process when its time is up: it drains, and ends by itself
        let body = body(plan, self.kind(), "$", true);
        Ok(vec![JobFile { name: SCRIPT, text: format!("#!/bin/bash\n{body}") }])
    }

    fn submit_line(&self, folder: &Path) -> Line {
        Line::new("bash", [folder.join(SCRIPT).display().to_string()])
    }

    async fn submit(&self, folder: &Path) -> Result<String> {
        let mut command = Command::new("bash");
        command.arg(folder.join(SCRIPT));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in the terminal is for this process, which then ends the others
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command
            .spawn()
            .map_err(|cause| Error::unreachable(format!("cannot run bash: {cause}; install it")))?;
        let pid = child.id().unwrap_or_default();
        let started = start_time(pid);
        // a child that nobody waits for stays in the system's table
        tokio::spawn(async move { child.wait().await });
        Ok(format!("{pid}.{}", started.unwrap_or_default()))
    }

    async fn list(&self, ids: &[String]) -> Result<Vec<Job>> {
        let job = |id: &String| {
            let (pid, started) = process(id)?;
            let (state, word) = match is_alive(pid, started) {
                true => (JobState::Running, "running"),
                false => (JobState::Ended, "ended"),
            };
            let node = Some("localhost".into());
            Some(Job { id: id.clone(), state, word: word.into(), reason: None, node })
        };
        Ok(ids.iter().filter_map(job).collect())
    }

    async fn cancel(&self, ids: &[String]) -> Result<()> {
        let groups = ids.iter().filter_map(|id| process(id));
        let groups = groups.filter(|(pid, started)| is_alive(*pid, *started));
        let groups: Vec<String> = groups.map(|(pid, _)| format!("-{pid}")).collect();
        if groups.is_empty() {
            return Ok(());
        }
        let words = ["-TERM", "--"].into_iter().chain(groups.iter().map(String::as_str));
        self.0.cancel(&Line::new("kill", words), &["No such process"]).await
    }
}

/// The process of a job.
fn process(id: &str) -> Option<(u32, u64)> {
    let (pid, started) = id.split_once('.')?;
    let pid: u32 = pid.parse().ok()?;
    // 0 and 1 would mean every process to `kill`
    (pid > 1).then_some((pid, started.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::tests::{golden, plan, small_plan};

    #[test]
    fn scripts() {
        let local = Local(Commands::default());
        golden("local_small.sh", &local.files(&small_plan()).unwrap()[0].text);
        let advice = local.files(&plan()).unwrap_err();
        assert!(advice.message().contains("leave --queue"), "{advice}");
    }

    #[tokio::test]
    async fn only_processes_that_it_started_are_ended() {
        let local = Local(Commands::default());
        let own = std::process::id();
        let ids = ["0.0", "1.1", "x", "", "7", &format!("{own}.1")].map(str::to_string);
        local.cancel(&ids).await.unwrap();
        let listed = local.list(&ids).await.unwrap();
        assert_eq!(listed.iter().map(|job| job.state).collect::<Vec<_>>(), [JobState::Ended]);
    }
}
