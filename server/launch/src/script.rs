//! The shell of a job: what is the same for every queue.
//!
//! In: a [`Plan`], and how a job learns its id. Out: the lines beneath a queue's directives. The
//! lines of `--prologue` stand as they are; every other value is quoted. Not here: directives.

use super::queue::{Plan, QueueKind};
use almagest_engine::{Error, Result};

/// How long an executor looks for its scheduler. Jobs often start in the same second.
const CONNECT_SECONDS: u16 = 120;

/// How many parts in ten of a job's memory queries may hold; the rest is for what nobody counts.
const TENTHS_FOR_QUERIES: u64 = 8;

const BIND: &str = r#"address=$(ip -4 -o addr show dev "$interface" 2>/dev/null | awk '{ sub("/.*", "", $4); print $4; exit }')
if [ -z "$address" ]; then
    echo "almagest: $(hostname) has no IPv4 address at the interface '$interface'; it has these:" >&2
    ip -4 -o addr show 2>&1 | awk '{ print "    " $2, $4 }' >&2
    echo "almagest: name one of them with --interface" >&2
    exit 1
fi
"#;

const ROUTE: &str = r#"scheduler=$(getent ahostsv4 "$host" | awk '{ print $1; exit }')
address=$(ip -4 -o route get "${scheduler:-none}" 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
[ -n "$address" ] || address=$(hostname -I 2>/dev/null | awk '{ print $1 }')
if [ -z "$address" ]; then
    echo "almagest: $(hostname) finds no address of its own on the way to $host; name its network with --interface" >&2
    exit 1
fi
"#;

const CHECK: &str = r#"if ! command -v "$program" >/dev/null; then
    echo "almagest: $(hostname) has no $program; install it where every machine sees it" >&2
    exit 1
fi
if ! mkdir -p -- "$scratch" || ! work_dir=$(mktemp -d -- "$scratch/almagest-$name-XXXXXXXX"); then
    echo "almagest: $(hostname) cannot make a folder in $scratch; name another one with --scratch" >&2
    exit 1
fi
"#;

/// Grid Engine gives notice by USR1 and USR2, which are for this shell, not for the executor.
const RUN: &str = r#"trap '' USR1
(
    trap '' USR2
    exec "${command[@]}"
) &
executor=$!
trap 'kill -TERM "$executor" 2>/dev/null' TERM INT USR2
wait "$executor"
status=$?
while kill -0 "$executor" 2>/dev/null; do
    wait "$executor"
    status=$?
done
rm -rf -- "$work_dir"
exit "$status"
"#;

/// The lines beneath the directives. `id` is the shell's variable that holds the job's id; `own_log` is
/// for queues that name no log file by a job's id.
pub fn body(plan: &Plan, kind: QueueKind, id: &str, own_log: bool) -> String {
    let mut lines = String::from("\n");
    let mut line = |text: &str| {
        lines.push_str(text);
        lines.push('\n');
    };
    let missing = format!("is not set: this script is a job of {}", kind.name());
    line(&format!("almagest_job=${{{id}:?{missing}}}\nalmagest_job=${{almagest_job%%.*}}"));
    if own_log {
        line(&format!(
            "exec >{}/\"$almagest_job.log\" 2>&1",
            quote(&plan.logs.display().to_string())
        ));
    }
    line("PATH=$PATH:/usr/sbin:/sbin");
    if !plan.prologue.is_empty() {
        line("\n# --prologue");
        plan.prologue.iter().for_each(|text| line(text));
    }
    let scratch = plan.scratch.as_ref().map(|path| quote(&path.display().to_string()));
    let scratch = scratch.as_deref().unwrap_or("\"${TMPDIR:-/tmp}\"");
    line("\n# what this machine must have");
    line(&format!("name={}-$almagest_job", kind.name()));
    line(&format!("scratch={scratch}"));
    line(&format!("program={}", quote(&plan.command.program.display().to_string())));
    line(CHECK.trim_end());
    line("\n# where others find this executor");
    match &plan.interface {
        Some(interface) => line(&format!("interface={}\n{}", quote(interface), BIND.trim_end())),
        None => {
            let host = quote(host_of(&plan.command.scheduler_url));
            line(&format!("host={host}\n{}", ROUTE.trim_end()));
        }
    }
    line(&format!("\ncommand=(\"$program\" executor{})", arguments(plan)));
    line(RUN.trim_end());
    lines
}

/// The words behind `almagest executor`, each on a line of its own.
fn arguments(plan: &Plan) -> String {
    let mut words = vec![
        format!("--scheduler {}", quote(&plan.command.scheduler_url)),
        "--name \"$name\"".into(),
        "--bind \"$address\"".into(),
        format!("--cores {}", plan.cores),
    ];
    if let Some(memory) = plan.memory {
        let bytes = memory.0 / 10 * TENTHS_FOR_QUERIES;
        words.push(format!("--memory-limit {bytes}"));
    }
    words.push("--work-dir \"$work_dir\"".into());
    if let Some(seconds) = plan.walltime.drain_after_seconds() {
        words.push(format!("--drain-after {seconds}"));
    }
    words.push(format!("--connect-timeout {CONNECT_SECONDS}"));
    if plan.insecure {
        words.push("--insecure".into());
    }
    words.extend(plan.command.extra.iter().map(|word| quote(word)));
    words.iter().map(|word| format!(" \\\n    {word}")).collect()
}

/// The host of `http://host:port`.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.trim_end_matches('/');
    rest.rsplit_once(':').map_or(rest, |(host, _)| host).trim_matches(['[', ']'])
}

/// A value as one word of a shell.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A value of a directive. Queues read directives by rules of their own, so only plain words pass.
///
/// # Errors
/// `Plan` if the value holds anything else.
pub fn plain<'a>(what: &str, value: &'a str) -> Result<&'a str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-./:=@+,".contains(c);
    if !value.is_empty() && value.chars().all(fits) && !value.starts_with('-') {
        return Ok(value);
    }
    Err(Error::plan(format!(
        "{what} '{value}' holds characters that job scripts cannot; use letters, digits and _ - . / : @ + ,"
    )))
}

/// The directives of a script, and after them those of `--extra`.
///
/// # Errors
/// `Plan` if one is more than a line.
pub fn directives(prefix: &str, own: &[String], extra: &[String]) -> Result<String> {
    let mut lines = String::new();
    for text in own.iter().chain(extra) {
        if text.contains(['\n', '\r']) {
            return Err(Error::plan("a directive of --extra is one line; give --extra again"));
        }
        // as it may be copied from a script
        let text = text.trim().strip_prefix(prefix.trim()).unwrap_or(text).trim();
        lines.push_str(&format!("{prefix}{text}\n"));
    }
    Ok(lines)
}

#[cfg(test)]
pub mod tests;
