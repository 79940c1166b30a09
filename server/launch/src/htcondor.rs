//! HTCondor: `condor_submit`, `condor_q`, `condor_rm`.
//!
//! A job is two files: a script, and a description that says what the script needs. The lines of
//! `--extra` belong to the description (`requirements = …`).

use std::path::Path;

use async_trait::async_trait;
use serde_json::Value;

use super::commands::{Commands, Line};
use super::queue::{
    Job, JobFile, JobState, LIST_ADVICE, Plan, Queue, QueueKind, SUBMIT_ADVICE, id_in, job_number,
    no_id,
};
use super::script::{body, directives, plain};
use almagest_engine::{Error, Result};

const SCRIPT: &str = "executor.sh";
const DESCRIPTION: &str = "executor.sub";

/// HTCondor.
#[derive(Debug)]
pub struct Htcondor(pub Commands);

#[async_trait]
impl Queue for Htcondor {
    fn kind(&self) -> QueueKind {
        QueueKind::Htcondor
    }

    fn files(&self, plan: &Plan) -> Result<Vec<JobFile>> {
        if plan.queue.is_some() {
            return Err(Error::plan(
                "HTCondor has no queues to choose from; leave --queue out, or say what a machine \
                 must have: --extra 'requirements = …'",
            ));
        }
        let logs = plan.logs.display().to_string();
        let logs = plain("the state folder", &logs)?;
        let folder = plan.logs.parent().unwrap_or(&plan.logs).display();
        let mut own = vec![
            "universe = vanilla".into(),
            format!("batch_name = almagest-{}", plan.cluster),
            "executable = /bin/bash".into(),
            format!("arguments = {folder}/{SCRIPT}"),
            "transfer_executable = false".into(),
            "environment = \"ALMAGEST_JOB=$(ClusterId)\"".into(),
            format!("output = {logs}/$(ClusterId).log"),
            format!("log = {logs}/htcondor.events"),
            "stream_output = true".into(),
            // what an executor leaves behind stays there
            "transfer_output_files = \"\"".into(),
            "notification = never".into(),
            format!("request_cpus = {}", plan.cores),
        ];
        if let Some(memory) = plan.memory {
            own.push(format!("request_memory = {}", memory.mebibytes()));
        }
        if plan.walltime.0 > 0 {
            let seconds = plan.walltime.0;
            own.push(format!(
                "periodic_remove = JobStatus == 2 && time() - EnteredCurrentStatus > {seconds}"
            ));
        }
        if let Some(account) = &plan.account {
            own.push(format!("accounting_group = {}", plain("--account", account)?));
        }
        let description = directives("", &own, &plan.extra)?;
        let body = body(plan, self.kind(), "ALMAGEST_JOB", false);
        Ok(vec![
            JobFile { name: SCRIPT, text: format!("#!/bin/bash\nexec 2>&1\n{body}") },
            JobFile { name: DESCRIPTION, text: format!("{description}queue\n") },
        ])
    }

    fn submit_line(&self, folder: &Path) -> Line {
        let description = folder.join(DESCRIPTION).display().to_string();
        Line::new("condor_submit", ["-terse".into(), description])
    }

    async fn submit(&self, folder: &Path) -> Result<String> {
        let line = self.submit_line(folder);
        let output = self.0.output(&line, SUBMIT_ADVICE).await?;
        let id = id_in(&output).ok_or_else(|| no_id(&line, &output))?;
        Ok(job_number(&id).to_string())
    }

    async fn list(&self, ids: &[String]) -> Result<Vec<Job>> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let words = ["-json", "-attributes", "ClusterId,JobStatus,HoldReason,RemoteHost"];
        let words = ids.iter().map(String::as_str).chain(words);
        let line = Line::new("condor_q", words);
        let output = self.0.output(&line, LIST_ADVICE).await?;
        if output.trim().is_empty() {
            return Ok(vec![]);
        }
        let listed: Value = serde_json::from_str(&output).map_err(|cause| {
            Error::unreachable(format!("`{line}` gave no JSON: {cause}; {LIST_ADVICE}"))
        })?;
        Ok(listed.as_array().into_iter().flatten().filter_map(job).collect())
    }

    async fn cancel(&self, ids: &[String]) -> Result<()> {
        let harmless = ["not found", "Couldn't find", "marked for removal", "have been marked"];
        self.0.cancel(&Line::new("condor_rm", ids), &harmless).await
    }
}

/// One entry of `condor_q -json`.
fn job(entry: &Value) -> Option<Job> {
    let id = entry.get("ClusterId")?.as_u64()?.to_string();
    let (state, word) = match entry.get("JobStatus")?.as_u64()? {
        1 => (JobState::Queued, "Idle"),
        2 => (JobState::Running, "Running"),
        3 => (JobState::Ended, "Removed"),
        4 => (JobState::Ended, "Completed"),
        5 => (JobState::Queued, "Held"),
        6 => (JobState::Ending, "Transferring"),
        7 => (JobState::Running, "Suspended"),
        _ => (JobState::Running, "?"),
    };
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_string);
    let reason = match word {
        "Held" => text("HoldReason"),
        "Idle" => Some("waits for a machine; condor_q -better-analyze tells more".into()),
        _ => None,
    };
    // `slot1_2@node07`
    let node = text("RemoteHost").map(|host| host.rsplit('@').next().unwrap_or(&host).to_string());
    Some(Job { id, state, word: word.into(), reason, node })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::tests::{golden, plan, small_plan};

    #[test]
    fn scripts() {
        let queue = Htcondor(Commands::default());
        let extra = vec!["requirements = OpSysMajorVer == 9".into()];
        let files = queue.files(&Plan { queue: None, extra, ..plan() }).unwrap();
        golden("htcondor.sh", &files[0].text);
        golden("htcondor.sub", &files[1].text);
        let files = queue.files(&small_plan()).unwrap();
        golden("htcondor_small.sh", &files[0].text);
        golden("htcondor_small.sub", &files[1].text);
        let line = queue.submit_line("/s".as_ref()).to_string();
        assert_eq!(line, "condor_submit -terse /s/executor.sub");
        assert!(queue.files(&plan()).unwrap_err().message().contains("requirements"));
    }

    /// After the documentation of HTCondor 23 (`condor_q -json`); written by hand, not captured.
    #[test]
    fn listings_are_read() {
        let entries: Value = serde_json::from_str(
            r#"[{"ClusterId":7,"JobStatus":2,"RemoteHost":"slot1_2@node07"},
                {"ClusterId":8,"JobStatus":5,"HoldReason":"Error: no such file"},
                {"ClusterId":9,"JobStatus":1},
                {"ClusterId":"x","JobStatus":1}, {"JobStatus":2}, 5, {"ClusterId":3}]"#,
        )
        .unwrap();
        let jobs: Vec<Job> = entries.as_array().unwrap().iter().filter_map(job).collect();
        assert_eq!(jobs.len(), 3);
        assert_eq!((jobs[0].state, jobs[0].node.as_deref()), (JobState::Running, Some("node07")));
        assert_eq!(jobs[1].reason.as_deref(), Some("Error: no such file"));
        assert_eq!((jobs[1].word.as_str(), jobs[2].word.as_str()), ("Held", "Idle"));
    }
}
