//! The table of `almagest cluster status`.

use super::members::Member;
use super::queue::{Job, JobState, QueueKind};

const HEAD: [&str; 6] = ["JOB", "STATE", "NODE", "WORKER", "TASKS", "REASON"];

/// One line a job: its id, the queue's word for its state, its machine, whether its executor
/// joined, the tasks it runs, and why it waits, in the queue's own words.
///
/// `ids` are all jobs; `listed` are those that the queue knows; `members` are absent if there is no
/// scheduler.
pub fn table(
    kind: QueueKind,
    ids: &[String],
    listed: &[Job],
    members: Option<&[Member]>,
) -> String {
    let mut rows = vec![HEAD.map(str::to_string)];
    for id in ids {
        let job = listed.iter().find(|job| job.id == *id);
        let name = kind.executor_name(id);
        let member = members.map(|members| members.iter().find(|member| member.name == name));
        rows.push(row(id, job, member));
    }
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn row(id: &str, job: Option<&Job>, member: Option<Option<&Member>>) -> [String; 6] {
    let text = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".into());
    let state = job.map_or_else(|| "not listed".into(), |job| job.word.clone());
    let worker = match (member, job.map(|job| job.state)) {
        (Some(Some(_)), _) => "joined",
        (Some(None), Some(JobState::Running)) => "starting",
        (None, _) => "no scheduler",
        _ => "-",
    };
    let tasks = member.flatten().map(|member| match member.holds_needed_data {
        true => format!("{} of {} + data", member.running_tasks, member.cores),
        false => format!("{} of {}", member.running_tasks, member.cores),
    });
    // the one column that may be long; a line stays a line
    let reason = text(job.and_then(|job| job.reason.as_ref())).replace(['\n', '\r', '\t'], " ");
    let node = text(job.and_then(|job| job.node.as_ref()));
    [id.into(), state, node, worker.into(), text(tasks.as_ref()), reason]
}

fn line(row: &[String; 6], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    let text = cells.collect::<Vec<_>>().join("  ");
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_job() {
        let job = |id: &str, state, word: &str, reason: Option<&str>, node: Option<&str>| Job {
            id: id.into(),
            state,
            word: word.into(),
            reason: reason.map(str::to_string),
            node: node.map(str::to_string),
        };
        let listed = [
            job("7", JobState::Running, "RUNNING", None, Some("c1")),
            job("8", JobState::Queued, "PENDING", Some("Resources\nx"), None),
            job("9", JobState::Running, "RUNNING", None, Some("c2")),
        ];
        let name = "slurm-7".into();
        let member = Member { name, cores: 4, running_tasks: 3, holds_needed_data: true };
        let ids = ["7", "8", "9", "10"].map(str::to_string);
        let expected = "\
JOB  STATE       NODE  WORKER    TASKS          REASON
7    RUNNING     c1    joined    3 of 4 + data  -
8    PENDING     -     -         -              Resources x
9    RUNNING     c2    starting  -              -
10   not listed  -     -         -              -
";
        assert_eq!(table(QueueKind::Slurm, &ids, &listed, Some(&[member])), expected);
    }
}
