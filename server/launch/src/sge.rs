//! Grid Engine (SGE, Univa, Altair, Son of Grid Engine): `qsub`, `qstat`, `qdel`.

use std::collections::HashMap;
use std::path::Path;

use async_trait::async_trait;

use super::commands::{Commands, Line};
use super::queue::{
    Job, JobFile, JobState, LIST_ADVICE, Plan, Queue, QueueKind, SUBMIT_ADVICE, id_in, no_id,
};
use super::script::{body, directives, plain};
use almagest_engine::Result;

const SCRIPT: &str = "executor.sh";

/// What stands for the reason where the queue keeps none.
const NO_REASON: &str = "not told: the queue's administrator can set schedd_job_info to true";

/// Grid Engine.
#[derive(Debug)]
pub struct Sge(pub Commands);

#[async_trait]
impl Queue for Sge {
    fn kind(&self) -> QueueKind {
        QueueKind::Sge
    }

    fn files(&self, plan: &Plan) -> Result<Vec<JobFile>> {
        let logs = plan.logs.display().to_string();
        let mut own = vec![
            "-S /bin/bash".into(),
            format!("-N almagest-{}", plan.cluster),
            format!("-o {}/$JOB_ID.log", plain("the state folder", &logs)?),
            "-j y".into(),
            // a job that ends is replaced by another one
            "-r n".into(),
            // USR2 comes before KILL, so that the executor can end by itself
            "-notify".into(),
        ];
        if plan.cores > 1 {
            let environment = plain("--pe", &plan.parallel_environment)?;
            own.push(format!("-pe {environment} {}", plan.cores));
        }
        if let (Some(memory), Some(resource)) = (plan.memory, &plan.memory_resource) {
            // Grid Engine multiplies what is asked for by the slots
            let share = memory.mebibytes().div_ceil(plan.cores.max(1) as u64);
            own.push(format!("-l {}={share}M", plain("--memory-resource", resource)?));
        }
        if plan.walltime.0 > 0 {
            own.push(format!("-l h_rt={}", plan.walltime));
        }
        if let Some(queue) = &plan.queue {
            own.push(format!("-q {}", plain("--queue", queue)?));
        }
        if let Some(account) = &plan.account {
            own.push(format!("-P {}", plain("--account", account)?));
        }
        let directives = directives("#$ ", &own, &plan.extra)?;
        let body = body(plan, self.kind(), "JOB_ID", false);
        Ok(vec![JobFile { name: SCRIPT, text: format!("#!/bin/bash\n{directives}{body}") }])
    }

    fn submit_line(&self, folder: &Path) -> Line {
        Line::new("qsub", ["-terse".into(), folder.join(SCRIPT).display().to_string()])
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
        let line = Line::new("qstat", ["-xml", "-s", "prs"]);
        let output = self.0.output(&line, LIST_ADVICE).await?;
        let mut jobs = jobs(&output);
        jobs.retain(|job| ids.contains(&job.id));
        let waiting = jobs.iter().filter(|job| job.state == JobState::Queued);
        let waiting: Vec<&str> = waiting.map(|job| job.id.as_str()).collect();
        if waiting.is_empty() {
            return Ok(jobs);
        }
        // fails if one of them is gone by now: no reasons then, for once
        let line = Line::new("qstat", ["-j", &waiting.join(",")]);
        let told = reasons(&self.0.run(&line).await?.output);
        for job in jobs.iter_mut().filter(|job| job.state == JobState::Queued) {
            job.reason = Some(reason(&job.word, told.get(&job.id)));
        }
        Ok(jobs)
    }

    async fn cancel(&self, ids: &[String]) -> Result<()> {
        let line = Line::new("qdel", [ids.join(",")]);
        let harmless =
            ["does not exist", "has deleted job", "has registered the job", "already in"];
        self.0.cancel(&line, &harmless).await
    }
}

/// The jobs of `qstat -xml`.
fn jobs(xml: &str) -> Vec<Job> {
    let entries = xml.split("<job_list").skip(1);
    let entries = entries.filter_map(|entry| entry.split("</job_list>").next());
    let job = |entry: &str| {
        let id = element(entry, "JB_job_number")?;
        let word = element(entry, "state")?;
        let state = match word.as_str() {
            word if word.contains('d') => JobState::Ending,
            word if word.contains('w') => JobState::Queued,
            _ => JobState::Running,
        };
        let queue = element(entry, "queue_name");
        let node = queue.and_then(|queue| Some(queue.split_once('@')?.1.to_string()));
        Some(Job { id, state, word, reason: None, node })
    };
    entries.filter_map(job).collect()
}

/// The text of an element without elements in it.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once("</")?;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    (!text.is_empty()).then_some(text)
}

/// Why a job waits, by its state and what the scheduler tells.
fn reason(word: &str, told: Option<&String>) -> String {
    match told {
        _ if word.contains('h') => "held; qrls releases it".into(),
        Some(told) if word.contains('E') => format!("{told}; qmod -cj clears it"),
        None if word.contains('E') => "error; qstat -j tells which, qmod -cj clears it".into(),
        Some(told) if !told.contains("is turned off") => told.clone(),
        _ => NO_REASON.into(),
    }
}

/// `error reason` and `scheduling info` of each job of `qstat -j`.
fn reasons(text: &str) -> HashMap<String, String> {
    let mut found: HashMap<String, String> = HashMap::new();
    let (mut id, mut within) = (String::new(), false);
    for line in text.lines() {
        let goes_on = line.starts_with(' ');
        let (key, value) = match line.split_once(':') {
            Some((key, value)) if !goes_on => (key.trim(), value.trim()),
            _ => ("", line.trim()),
        };
        let is_error = key.starts_with("error reason");
        // behind the time and the process
        let value =
            if is_error { value.split_once("]: ").map_or(value, |(_, why)| why) } else { value };
        within = key == "scheduling info" || is_error || (within && goes_on);
        if key == "job_number" {
            id = value.to_string();
        }
        if within && !value.is_empty() && !id.is_empty() {
            let told = found.entry(id.clone()).or_default();
            told.push_str(if told.is_empty() { "" } else { "; " });
            told.push_str(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::tests::{golden, plan, small_plan};

    #[test]
    fn scripts() {
        let sge = Sge(Commands::default());
        let memory_resource = Some("h_vmem".into());
        let files = sge.files(&Plan { memory_resource, extra: vec!["-l gpu=0".into()], ..plan() });
        golden("sge.sh", &files.unwrap()[0].text);
        golden("sge_small.sh", &sge.files(&small_plan()).unwrap()[0].text);
        assert_eq!(sge.submit_line("/s".as_ref()).to_string(), "qsub -terse /s/executor.sh");
    }

    /// Captured from Grid Engine 8.1.9: `qstat -xml` (shortened) and `qstat -j 6,7,8` (shortened).
    const QSTAT: &str = include_str!("../tests/data/sge_qstat.xml");
    const QSTAT_J: &str = include_str!("../tests/data/sge_qstat_j.txt");

    #[test]
    fn listings_are_read() {
        let jobs = jobs(QSTAT);
        let seen: Vec<_> = jobs.iter().map(|job| (job.id.as_str(), job.state)).collect();
        let (queued, running) = (JobState::Queued, JobState::Running);
        assert_eq!(seen, [("6", running), ("8", queued), ("7", queued)]);
        assert_eq!((jobs[0].node.as_deref(), jobs[1].node.as_deref()), (Some("vm"), None));
        assert_eq!(jobs[1].word, "hqw");
        for odd in ["", "<job_list", "<job_list><state>r</state>", "<job_list><JB_job_number>"] {
            assert_eq!(super::jobs(odd), [], "{odd}");
        }
    }

    #[test]
    fn states_tell_reasons_too() {
        let told = "full".to_string();
        assert_eq!(reason("qw", Some(&told)), "full");
        assert!(reason("hqw", Some(&told)).contains("qrls"));
        assert!(reason("Eqw", None).contains("qmod -cj"));
        // Grid Engine 8.1.9 with schedd_job_info false
        let off = "(Collecting of scheduler job information is turned off)".to_string();
        assert!(reason("qw", Some(&off)).contains("set schedd_job_info to true"));
        assert!(reason("qw", None).contains("set schedd_job_info to true"));
    }

    #[test]
    fn reasons_are_read() {
        let told = reasons(QSTAT_J);
        assert_eq!(told.get("6"), None);
        assert_eq!(
            told.get("7").map(String::as_str),
            Some("cannot run in PE \"smp\" because it only offers 0 slots")
        );
        assert_eq!(
            told["19"],
            "queue instance \"all.q@vm\" dropped because it is full; All queues dropped because \
             of overload or full"
        );
        let odd = "scheduling info: for nobody\njob_number:  9\nscheduling info:\n  : at host b\n";
        assert_eq!(reasons(odd)["9"], ": at host b");
        // captured from Grid Engine 8.1.9, of a user without a home
        let error = "job_number:                 114\n\
            error reason          1:      11/26/2026 17:01:27 [65534:2032]: error: can't chdir to \
            /nonexistent: No such file or directory\n\
            scheduling info:            Job is in error state\n";
        let told = reasons(error);
        assert_eq!(
            reason("Eqw", told.get("114")),
            "error: can't chdir to /nonexistent: No such file or directory; Job is in error state; \
             qmod -cj clears it"
        );
        assert!(reasons("Following jobs do not exist: \n99").is_empty());
        assert!(reasons("scheduling info: There are no messages available").is_empty());
    }
}
