//! Scripts, compared with files and run.

use std::path::Path;
use std::process::{Command, Output};

use super::*;
use crate::amounts::{Bytes, Walltime};
use crate::queue::ExecutorCommand;

/// A plan that sets everything, with values that a careless script would run.
pub fn plan() -> Plan {
    Plan {
        cluster: "survey".into(),
        command: ExecutorCommand {
            program: "/opt/almagest 1/bin/almagest".into(),
            scheduler_url: "http://10.1.2.3:50050".into(),
            extra: vec!["--heartbeat".into(), "5".into(), "it's $(reboot)".into()],
        },
        cores: 8,
        memory: Some(Bytes(32_000_000_000)),
        walltime: Walltime(4 * 3600),
        queue: Some("long".into()),
        account: Some("sky-2026".into()),
        extra: vec![],
        prologue: vec!["module load almagest".into(), "export A=\"$HOME/x\"".into()],
        interface: Some("ib0".into()),
        scratch: Some("/local/my scratch".into()),
        parallel_environment: "smp".into(),
        memory_resource: None,
        torque: false,
        insecure: true,
        logs: "/home/astro/.local/state/almagest/clusters/survey/logs".into(),
    }
}

/// A plan that sets as little as can be.
pub fn small_plan() -> Plan {
    Plan {
        command: ExecutorCommand {
            extra: vec![],
            program: "/opt/almagest".into(),
            ..plan().command
        },
        cores: 1,
        memory: None,
        walltime: Walltime(0),
        queue: None,
        account: None,
        prologue: vec![],
        interface: None,
        scratch: None,
        insecure: false,
        ..plan()
    }
}

/// Compares with a file of `tests/data`; writes it if `ALMAGEST_GOLDEN=write`.
pub fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("ALMAGEST_GOLDEN").is_ok_and(|what| what == "write") {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{path} differs; read the change, then ALMAGEST_GOLDEN=write");
    if name.ends_with(".sh") {
        let checked = Command::new("bash").arg("-n").arg(&path).status();
        assert!(checked.unwrap().success(), "{name} is no shell script");
    }
}

#[test]
fn quoted_values_are_one_word_of_a_shell() {
    for value in ["", "a b", "it's", "$(reboot)", "`x`", "a\nb", "\\", "--x=1", "*"] {
        let script = format!("printf %s {}", quote(value));
        let said = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), value);
    }
}

#[test]
fn directives_take_plain_words_only() {
    assert_eq!(plain("--queue", "long@pbs.example").unwrap(), "long@pbs.example");
    for wrong in ["", "a b", "x\n#SBATCH --uid=0", "-x", "$(reboot)", "a;b", "a%b"] {
        assert!(plain("--queue", wrong).is_err(), "{wrong}");
    }
    let lines = directives("#SBATCH ", &["-J x".into()], &["#SBATCH --gres=a".into()]);
    assert_eq!(lines.unwrap(), "#SBATCH -J x\n#SBATCH --gres=a\n");
    assert!(directives("#$ ", &[], &["a\nrm -rf /".into()]).is_err());
}

#[test]
fn the_host_of_a_scheduler_is_found() {
    assert_eq!(host_of("http://head:50050"), "head");
    assert_eq!(host_of("http://[::1]:50050/"), "::1");
    assert_eq!(host_of("head"), "head");
}

/// Runs the script of a local job whose executor says its words, with an `ip` of its own.
fn run(folder: &Path, change: impl FnOnce(&mut Plan)) -> Output {
    let executable = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    };
    let address = "2: ib0    inet 10.1.2.9/16 brd 10.1.255.255 scope global ib0";
    executable("ip", &format!("case \"$*\" in *ib7*) exit 1 ;; *) echo '{address}' ;; esac"));
    let program = executable("the executor", "printf '<%s>\\n' \"$@\"; exit 7");
    let mut plan = plan();
    plan.command.program = program;
    plan.prologue = vec![format!("PATH={}:$PATH", quote(&folder.display().to_string()))];
    plan.scratch = Some(folder.join("my scratch"));
    change(&mut plan);
    let script = body(&plan, QueueKind::Local, "$", false);
    let mut command = Command::new("bash");
    // signals to the group are for the job alone
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.args(["-c", &script]).output().unwrap()
}

#[test]
fn an_executor_gets_its_words_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let done = run(folder.path(), |_| {});
    let said = String::from_utf8(done.stdout).unwrap();
    let words: Vec<&str> = said.lines().collect();
    let scratch = folder.path().join("my scratch").display().to_string();
    assert_eq!(words[..3], ["<executor>", "<--scheduler>", "<http://10.1.2.3:50050>"]);
    assert!(words[4].starts_with("<local-"), "{said}");
    assert_eq!(
        words[5..11].join(" "),
        "<--bind> <10.1.2.9> <--cores> <8> <--memory-limit> <25600000000>"
    );
    assert!(words[12].starts_with(&format!("<{scratch}/almagest-local-")), "{said}");
    assert_eq!(words[words.len() - 3..], ["<--heartbeat>", "<5>", "<it's $(reboot)>"]);
    assert_eq!(done.status.code(), Some(7));
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0, "its folder stays");
}

#[test]
fn a_machine_that_lacks_something_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |change: fn(&mut Plan)| {
        let done = run(folder.path(), change);
        assert_eq!(done.status.code(), Some(1));
        assert_eq!(String::from_utf8(done.stdout).unwrap(), "");
        String::from_utf8(done.stderr).unwrap()
    };
    let said = fails(|plan| plan.interface = Some("ib7".into()));
    assert!(said.contains("no IPv4 address at the interface 'ib7'"), "{said}");
    assert!(said.contains("ib0 10.1.2.9/16") && said.contains("--interface"), "{said}");
    let said = fails(|plan| plan.command.program = "/nowhere/almagest".into());
    assert!(said.contains("has no /nowhere/almagest; install it"), "{said}");
    let said = fails(|plan| plan.scratch = Some("/proc/none".into()));
    assert!(said.contains("cannot make a folder in /proc/none; name another one"), "{said}");
}

#[test]
fn a_script_that_is_no_job_says_so() {
    let script = body(&plan(), QueueKind::Slurm, "NO_SUCH_JOB_ID", false);
    let done = Command::new("bash").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success() && said.contains("is a job of slurm"), "{said}");
}

/// What a queue does to the processes of a job that is cancelled, by the signals that it sends.
#[test]
fn an_executor_is_told_to_end_and_its_folder_goes() {
    for signal in ["TERM", "USR2"] {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let waits = format!(
            "trap 'touch {}; exit 0' TERM; touch here; while :; do sleep 0.02; done",
            told.display()
        );
        // sends the signal to the script and to the executor, once the latter runs
        let sends = format!(
            "cd {0}; (for i in {{1..500}}; do [ -e here ] && break; sleep 0.02; done; kill -{signal} 0) &",
            folder.path().display()
        );
        let done = run(folder.path(), |plan| {
            std::fs::write(&plan.command.program, format!("#!/bin/bash\n{waits}\n")).unwrap();
            plan.prologue.push(sends);
        });
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(told.exists(), "{signal}: {said}");
        assert_eq!(std::fs::read_dir(folder.path().join("my scratch")).unwrap().count(), 0);
    }
}
