//! SLURM: `sbatch`, `squeue`, `scancel`.

use std::path::Path;

use async_trait::async_trait;

use super::commands::{Commands, Line};
use super::queue::{
    Job, JobFile, JobState, LIST_ADVICE, Plan, Queue, QueueKind, SUBMIT_ADVICE, id_in, no_id,
};
use super::script::{body, directives, plain};
use almagest_engine::Result;

const SCRIPT: &str = "executor.sh";

/// SLURM.
#[derive(Debug)]
pub struct Slurm(pub Commands);

#[async_trait]
impl Queue for Slurm {
    fn kind(&self) -> QueueKind {
        QueueKind::Slurm
    }

    fn files(&self, plan: &Plan) -> Result<Vec<JobFile>> {
        let logs = plan.logs.display().to_string();
        let mut own = vec![
            format!("--job-name=almagest-{}", plan.cluster),
            format!("--output={}/%j.log", plain("the state folder", &logs)?),
            "--nodes=1".into(),
            "--ntasks=1".into(),
            format!("--cpus-per-task={}", plan.cores),
            // a job that ends is replaced by another one
            "--no-requeue".into(),
        ];
        if let Some(memory) = plan.memory {
            own.push(format!("--mem={}M", memory.mebibytes()));
        }
        if plan.walltime.0 > 0 {
            own.push(format!("--time={}", plan.walltime));
        }
        if let Some(queue) = &plan.queue {
            own.push(format!("--partition={}", plain("--queue", queue)?));
        }
        if let Some(account) = &plan.account {
            own.push(format!("--account={}", plain("--account", account)?));
        }
        let directives = directives("#SBATCH ", &own, &plan.extra)?;
        let body = body(plan, self.kind(), "SLURM_JOB_ID", false);
        Ok(vec![JobFile { name: SCRIPT, text: format!("#!/bin/bash\n{directives}{body}") }])
    }

    fn submit_line(&self, folder: &Path) -> Line {
        Line::new("sbatch", ["--parsable".into(), folder.join(SCRIPT).display().to_string()])
    }

    async fn submit(&self, folder: &Path) -> Result<String> {
        let line = self.submit_line(folder);
        let output = self.0.output(&line, SUBMIT_ADVICE).await?;
        id_in(&output).ok_or_else(|| no_id(&line, &output))
    }

    async fn list(&self, ids: &[String]) -> Result<Vec<Job>> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let words = ["-h", "-t", "all", "-o", "%i|%T|%N|%r", "-j", &ids.join(",")];
        let line = Line::new("squeue", words);
        let answer = self.0.run(&line).await?;
        // said if the only job that is asked for is forgotten
        if !answer.success && !answer.messages.contains("Invalid job id") {
            return Err(answer.error(&line, LIST_ADVICE));
        }
        Ok(answer.output.lines().filter_map(job).collect())
    }

    async fn cancel(&self, ids: &[String]) -> Result<()> {
        self.0.cancel(&Line::new("scancel", ids), &["Invalid job id", "already completing"]).await
    }
}

/// A line of `squeue -o '%i|%T|%N|%r'`.
fn job(line: &str) -> Option<Job> {
    let mut fields = line.trim().splitn(4, '|');
    let (id, word) = (fields.next()?, fields.next()?);
    let (node, reason) = (fields.next()?, fields.next()?);
    let state = match word {
        "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED"
        | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => JobState::Queued,
        "RUNNING" | "SUSPENDED" | "STOPPED" | "RESIZING" | "SIGNALING" => JobState::Running,
        "COMPLETING" | "STAGE_OUT" => JobState::Ending,
        "BOOT_FAIL" | "CANCELLED" | "COMPLETED" | "DEADLINE" | "FAILED" | "NODE_FAIL"
        | "OUT_OF_MEMORY" | "PREEMPTED" | "REVOKED" | "TIMEOUT" => JobState::Ended,
        // one that this version does not know: the job is there
        _ => JobState::Running,
    };
    let text = |text: &str| (!text.is_empty() && text != "None").then(|| text.to_string());
    let (node, reason) = (text(node), text(reason));
    (!id.is_empty()).then(|| Job { id: id.into(), state, word: word.into(), reason, node })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::tests::{golden, plan, small_plan};

    #[test]
    fn scripts() {
        let slurm = Slurm(Commands::default());
        let extra = vec!["--constraint=icelake".into(), "#SBATCH --exclusive".into()];
        let files = slurm.files(&Plan { extra, ..plan() }).unwrap();
        golden("slurm.sh", &files[0].text);
        golden("slurm_small.sh", &slurm.files(&small_plan()).unwrap()[0].text);
        assert_eq!(
            slurm.submit_line("/s".as_ref()).to_string(),
            "sbatch --parsable /s/executor.sh"
        );
        let spaced = Plan { logs: "/home/a b/logs".into(), ..plan() };
        assert!(slurm.files(&spaced).unwrap_err().message().contains("state folder '/home/a b"));
    }

    /// Captured from SLURM 22.05.8, two nodes of 4 cores.
    const SQUEUE: &str = "\
3|PENDING||Resources
4|PENDING||PartitionConfig
5|PENDING||JobHeldUser
1|RUNNING|c1|None
2|CANCELLED|c2|None
6|COMPLETING|c1|None
";

    #[test]
    fn listings_are_read() {
        let jobs: Vec<Job> = SQUEUE.lines().filter_map(job).collect();
        assert_eq!(jobs.len(), 6);
        assert_eq!(
            (jobs[0].state, jobs[0].reason.as_deref()),
            (JobState::Queued, Some("Resources"))
        );
        assert_eq!(jobs[2].reason.as_deref(), Some("JobHeldUser"));
        assert_eq!((jobs[3].state, jobs[3].node.as_deref()), (JobState::Running, Some("c1")));
        assert_eq!((jobs[3].reason.as_deref(), jobs[4].state), (None, JobState::Ended));
        assert_eq!(jobs[5].state, JobState::Ending);
        for odd in ["", "|||", "7", "7|PENDING", "slurm_load_jobs error: x", "|RUNNING|c1|None"] {
            assert_eq!(job(odd), None, "{odd}");
        }
        let reason = job("8|PENDING||(a|b, c)").unwrap().reason;
        assert_eq!(reason.as_deref(), Some("(a|b, c)"));
    }
}
