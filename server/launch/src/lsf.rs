//! IBM Spectrum LSF 10: `bsub`, `bjobs`, `bkill`.

use std::path::Path;

use async_trait::async_trait;

use super::commands::{Commands, Line};
use super::queue::{
    Job, JobFile, JobState, LIST_ADVICE, Plan, Queue, QueueKind, SUBMIT_ADVICE, no_id,
};
use super::script::{body, directives, plain};
use almagest_engine::Result;

const SCRIPT: &str = "executor.sh";

/// LSF.
#[derive(Debug)]
pub struct Lsf(pub Commands);

#[async_trait]
impl Queue for Lsf {
    fn kind(&self) -> QueueKind {
        QueueKind::Lsf
    }

    fn files(&self, plan: &Plan) -> Result<Vec<JobFile>> {
        let logs = plan.logs.display().to_string();
        let mut own = vec![
            format!("-J almagest-{}", plan.cluster),
            format!("-o {}/%J.log", plain("the state folder", &logs)?),
            // a job that ends is replaced by another one
            "-rn".into(),
            format!("-n {}", plan.cores),
            "-R \"span[hosts=1]\"".into(),
        ];
        if let Some(memory) = plan.memory {
            // with its unit, as a bare number is in the unit that the site chose
            own.push(format!("-R \"rusage[mem={}MB]\"", memory.mebibytes()));
        }
        if plan.walltime.0 > 0 {
            let minutes = plan.walltime.0.div_ceil(60);
            own.push(format!("-W {}:{:02}", minutes / 60, minutes % 60));
        }
        if let Some(queue) = &plan.queue {
            own.push(format!("-q {}", plain("--queue", queue)?));
        }
        if let Some(account) = &plan.account {
            own.push(format!("-P {}", plain("--account", account)?));
        }
        let directives = directives("#BSUB ", &own, &plan.extra)?;
        let body = body(plan, self.kind(), "LSB_JOBID", false);
        Ok(vec![JobFile { name: SCRIPT, text: format!("#!/bin/bash\n{directives}{body}") }])
    }

    /// LSF reads directives only in what it gets on its standard input.
    fn submit_line(&self, folder: &Path) -> Line {
        Line::new("bsub", Vec::<String>::new()).reading(folder.join(SCRIPT))
    }

    async fn submit(&self, folder: &Path) -> Result<String> {
        let line = self.submit_line(folder);
        let output = self.0.output(&line, SUBMIT_ADVICE).await?;
        submitted(&output).ok_or_else(|| no_id(&line, &output))
    }

    async fn list(&self, ids: &[String]) -> Result<Vec<Job>> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let format = "jobid stat exec_host pend_reason delimiter='|'";
        let words = ["-noheader", "-o", format].into_iter().chain(ids.iter().map(String::as_str));
        let line = Line::new("bjobs", words);
        let answer = self.0.run(&line).await?;
        let gone = |line: &str| line.contains("is not found") || line.contains("No matching job");
        if !answer.success && !answer.messages.lines().any(gone) {
            return Err(answer.error(&line, LIST_ADVICE));
        }
        Ok(answer.output.lines().filter_map(job).collect())
    }

    async fn cancel(&self, ids: &[String]) -> Result<()> {
        let harmless =
            ["is being terminated", "already finished", "is not found", "No matching job"];
        self.0.cancel(&Line::new("bkill", ids), &harmless).await
    }
}

/// The id in `Job <123> is submitted to queue <normal>.`
fn submitted(output: &str) -> Option<String> {
    let mut lines = output.lines().filter(|line| line.contains("is submitted"));
    let (id, _) = lines.next()?.split_once("Job <")?.1.split_once('>')?;
    let number = !id.is_empty() && id.chars().all(|c| c.is_ascii_digit());
    number.then(|| id.to_string())
}

/// A line of `bjobs -o "jobid stat exec_host pend_reason delimiter='|'"`.
fn job(line: &str) -> Option<Job> {
    let mut fields = line.trim().splitn(4, '|').map(str::trim);
    let (id, word) = (fields.next()?, fields.next()?);
    let host = fields.next().filter(|host| !host.is_empty() && *host != "-");
    let reason = fields.next().filter(|reason| !reason.is_empty() && *reason != "-");
    if !id.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let state = match word {
        "PEND" | "PSUSP" | "WAIT" | "PROV" => JobState::Queued,
        "DONE" | "EXIT" | "ZOMBI" => JobState::Ended,
        _ => JobState::Running,
    };
    // `8*node07`, or one name a core: `node07:node07`
    let node = host.and_then(|host| host.split(':').next()?.rsplit('*').next());
    Some(Job {
        id: id.into(),
        state,
        word: word.into(),
        reason: reason.filter(|_| state == JobState::Queued).map(str::to_string),
        node: node.map(str::to_string),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::tests::{golden, plan, small_plan};

    #[test]
    fn scripts() {
        let lsf = Lsf(Commands::default());
        let files = lsf.files(&Plan { extra: vec!["-x".into()], ..plan() }).unwrap();
        golden("lsf.sh", &files[0].text);
        golden("lsf_small.sh", &lsf.files(&small_plan()).unwrap()[0].text);
        assert_eq!(lsf.submit_line("/s".as_ref()).to_string(), "bsub < /s/executor.sh");
    }

    #[test]
    fn submissions_are_read() {
        let said = "Job <123> is submitted to default queue <normal>.\n";
        assert_eq!(submitted(said).as_deref(), Some("123"));
        assert_eq!(
            submitted("note: <x>\nJob <9> is submitted to queue <a>.").as_deref(),
            Some("9")
        );
        for odd in ["", "Job <> is submitted", "Job <12 is submitted", "Job not submitted", "Job <"]
        {
            assert_eq!(submitted(odd), None, "{odd}");
        }
    }

    /// After the documentation of LSF 10.1 (`bjobs -o`); written by hand, not captured.
    #[test]
    fn listings_are_read() {
        let running = job("7|RUN|8*node07|").unwrap();
        assert_eq!((running.state, running.node.as_deref()), (JobState::Running, Some("node07")));
        assert_eq!(job("7|RUN|node07:node07|-").unwrap().node.as_deref(), Some("node07"));
        let pending = job("8|PEND|-|Job slot limit reached: 3 hosts; a|b").unwrap();
        assert_eq!(pending.reason.as_deref(), Some("Job slot limit reached: 3 hosts; a|b"));
        assert_eq!((pending.state, pending.node), (JobState::Queued, None));
        assert_eq!(job("9|EXIT|node07").unwrap().state, JobState::Ended);
        for odd in ["", "|", "||||", "x|RUN|a|b", "Job <9> is not found"] {
            assert_eq!(job(odd), None, "{odd}");
        }
    }
}
