//! OpenPBS, PBS Pro and Torque: `qsub`, `qstat`, `qdel`.
//!
//! PBS brings a job's output home when the job ends, in a file of its own choice: so the script
//! writes its log file itself. Listings are read from `qstat -f`, which all three have.

use std::path::Path;

use async_trait::async_trait;

use super::commands::{Commands, Line};
use super::queue::{
    Job, JobFile, JobState, LIST_ADVICE, Plan, Queue, QueueKind, SUBMIT_ADVICE, id_in, no_id,
};
use super::script::{body, directives, plain};
use almagest_engine::Result;

const SCRIPT: &str = "executor.sh";
/// Torque takes no longer names of jobs.
const NAME_LENGTH_MAX: usize = 15;

/// PBS.
#[derive(Debug)]
pub struct Pbs(pub Commands);

#[async_trait]
impl Queue for Pbs {
    fn kind(&self) -> QueueKind {
        QueueKind::Pbs
    }

    fn files(&self, plan: &Plan) -> Result<Vec<JobFile>> {
        let logs = plan.logs.display().to_string();
        let name: String =
            format!("almagest-{}", plan.cluster).chars().take(NAME_LENGTH_MAX).collect();
        let mut own = vec![
            format!("-N {name}"),
            "-S /bin/bash".into(),
            "-j oe".into(),
            format!("-o {}/", plain("the state folder", &logs)?),
            // a job that ends is replaced by another one
            "-r n".into(),
        ];
        let memory = plan.memory.map(|memory| format!("mem={}mb", memory.mebibytes()));
        if plan.torque {
            own.push(format!("-l nodes=1:ppn={}", plan.cores));
            own.extend(memory.map(|memory| format!("-l {memory}")));
        } else {
            let memory = memory.map(|memory| format!(":{memory}")).unwrap_or_default();
            own.push(format!("-l select=1:ncpus={}{memory}", plan.cores));
        }
        if plan.walltime.0 > 0 {
            own.push(format!("-l walltime={}", plan.walltime));
        }
        if let Some(queue) = &plan.queue {
            own.push(format!("-q {}", plain("--queue", queue)?));
        }
        if let Some(account) = &plan.account {
            own.push(format!("-A {}", plain("--account", account)?));
        }
        let directives = directives("#PBS ", &own, &plan.extra)?;
        let body = body(plan, self.kind(), "PBS_JOBID", true);
        Ok(vec![JobFile { name: SCRIPT, text: format!("#!/bin/bash\n{directives}{body}") }])
    }

    fn submit_line(&self, folder: &Path) -> Line {
        Line::new("qsub", [folder.join(SCRIPT).display().to_string()])
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
        let words = std::iter::once("-f").chain(ids.iter().map(String::as_str));
        let line = Line::new("qstat", words);
        let answer = self.0.run(&line).await?;
        let gone = |line: &str| line.contains("Unknown Job Id") || line.contains("has finished");
        if !answer.success && !answer.messages.lines().any(gone) {
            return Err(answer.error(&line, LIST_ADVICE));
        }
        Ok(jobs(&answer.output))
    }

    async fn cancel(&self, ids: &[String]) -> Result<()> {
        let harmless = ["Unknown Job Id", "has finished", "invalid state for job"];
        self.0.cancel(&Line::new("qdel", ids), &harmless).await
    }
}

/// The jobs of `qstat -f`.
fn jobs(text: &str) -> Vec<Job> {
    // a line that begins with a tab goes on where the one above it broke
    let text = text.replace("\r\n", "\n").replace("\n\t", "");
    let entries = text.split("Job Id:").skip(1);
    let job = |entry: &str| {
        let id = entry.lines().next()?.trim();
        let value = |key: &str| {
            let pairs = entry.lines().filter_map(|line| line.trim_start().split_once(" = "));
            let found = pairs.into_iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| value.trim().to_string())
        };
        let word = value("job_state")?;
        let state = match word.as_str() {
            "Q" | "H" | "W" | "T" | "M" => JobState::Queued,
            "E" => JobState::Ending,
            "F" | "X" | "C" => JobState::Ended,
            _ => JobState::Running,
        };
        let reason = value("comment").filter(|_| state == JobState::Queued);
        let node = value("exec_host").and_then(|host| {
            host.split('/').next().filter(|host| !host.is_empty()).map(str::to_string)
        });
        (!id.is_empty()).then(|| Job { id: id.into(), state, word, reason, node })
    };
    entries.filter_map(job).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::tests::{golden, plan, small_plan};

    #[test]
    fn scripts() {
        let pbs = Pbs(Commands::default());
        let files = pbs.files(&Plan { extra: vec!["-m n".into()], ..plan() }).unwrap();
        golden("pbs.sh", &files[0].text);
        golden("pbs_small.sh", &pbs.files(&small_plan()).unwrap()[0].text);
        let torque = pbs.files(&Plan { torque: true, ..plan() }).unwrap();
        assert!(torque[0].text.contains("#PBS -l nodes=1:ppn=8\n#PBS -l mem=30518mb\n"));
    }

    /// After the format of OpenPBS 23.06 (`qstat -f`); written by hand, not captured.
    const QSTAT: &str = "\
Job Id: 101.head
    Job_Name = almagest-survey
    Job_Owner = astro@head
    job_state = R
    exec_host = node07/0*8
    exec_vnode = (node07:ncpus=8:mem=31250000kb)
    comment = Job run at Thu Nov 26 at 02:30 on (node07:ncpus=8)

Job Id: 102.head
    Job_Name = almagest-survey
    job_state = Q
    comment = Not Running: Insufficient amount of resource: ncpus (R: 8 A: 0 T
\t: 16)
    Variable_List = PBS_O_HOME=/home/astro,A = b

Job Id: 103.head
    job_state = F
";

    #[test]
    fn listings_are_read() {
        let jobs = jobs(QSTAT);
        assert_eq!(jobs.len(), 3);
        assert_eq!((jobs[0].id.as_str(), jobs[0].state), ("101.head", JobState::Running));
        assert_eq!((jobs[0].node.as_deref(), jobs[0].reason.as_deref()), (Some("node07"), None));
        assert_eq!(
            jobs[1].reason.as_deref(),
            Some("Not Running: Insufficient amount of resource: ncpus (R: 8 A: 0 T: 16)")
        );
        assert_eq!(jobs[2].state, JobState::Ended);
        for odd in ["", "Job Id:", "Job Id: 7", "Job Id:\n job_state = R", "job_state = R"] {
            assert_eq!(super::jobs(odd), [], "{odd}");
        }
    }
}
