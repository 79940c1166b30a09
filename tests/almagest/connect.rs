//! `almagest --connect`: the command as a client of a server in this process.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use almagest::flight::{Entrance, FlightLimits, Served, Users};
use almagest_tests::processes::command;
use almagest_tests::served::{
    ENDLESS, Running, open_to_all, running, start, started, until, writable,
};

fn connected(server: &Running) -> Command {
    let mut command = Command::new(command());
    command.args(["--connect", &format!("grpc://{}", server.address)]);
    command.env_remove("ALMAGEST_PASSWORD").stdin(Stdio::null());
    command
}

async fn ran(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Starts a statement that ends only when it is ended, and waits until the server works at it.
async fn endless(server: &Running) -> Child {
    let mut command = connected(server);
    command.args(["-c", ENDLESS]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    until("it does not begin", || running(server)).await;
    child
}

async fn ended(child: Child) -> Output {
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

fn signalled(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_answer_as_they_do_here() {
    let folder = tempfile::tempdir().unwrap();
    let data = vec!["data".into()];
    let served = Served { data, ..writable(folder.path()) };
    let server = start(served, FlightLimits::default(), open_to_all()).await;
    let sql = "SELECT max(value), count(*) FROM 'data/image.h5'; \
               SELECT * FROM stars ORDER BY 1 LIMIT 3; SELECT 1 AS one WHERE false; \
               SELECT gaussian_filter(value, 1.5) AS g FROM 'data/image.h5' LIMIT 2";
    let mut there = connected(&server);
    there.args(["-q", "--format", "csv", "-c", sql]);
    let there = ran(there).await;
    assert!(there.status.success(), "{}", stderr(&there));
    let mut here = Command::new(command());
    here.args(["-q", "--format", "csv", "-c", &sql.replace("FROM stars", "FROM 'data/stars.csv'")]);
    let here = ran(here).await;
    assert!(here.status.success(), "{}", stderr(&here));
    assert_eq!(stdout(&there), stdout(&here));
    assert!(stdout(&there).lines().count() > 6, "{}", stdout(&there));

    // what one statement does, the next one sees: they have one session
    let mut several = connected(&server);
    several.args(["--format", "csv", "-q", "-c"]);
    several.arg(
        "CREATE VIEW v AS SELECT 41 AS x; SET datafusion.execution.batch_size = 17; \
         CREATE TABLE t AS SELECT x + 1 AS y FROM v; SELECT y FROM t; \
         SHOW datafusion.execution.batch_size",
    );
    let several = ran(several).await;
    assert_eq!(
        stdout(&several),
        "y\n42\nname,value\ndatafusion.execution.batch_size,17\n",
        "{}",
        stderr(&several)
    );
    // and another client does not
    let mut other = connected(&server);
    other.args(["-q", "--format", "csv", "-c", "SELECT y FROM t; SELECT x FROM v"]);
    let other = ran(other).await;
    assert_eq!((other.status.code(), stdout(&other)), (Some(1), "y\n42\n"));
    assert!(stderr(&other).contains("table 'v'"), "{}", stderr(&other));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_point_at_the_place_and_offer_names_of_the_server() {
    let served = Served { data: vec!["data".into()], ..Served::default() };
    let server = started(served).await;
    for (sql, parts) in [
        ("SELEC 1", &["error: syntax error", "SELEC 1\n", "^"][..]),
        ("SELECT * FROM starz", &["not found: table 'starz'", "did you mean", "stars"]),
        ("SELECT medain(1)", &["medain", "did you mean", "median"]),
        ("SET datafusion.runtime.memory_limit = '1G'", &["not a session's to set"]),
    ] {
        let mut command = connected(&server);
        command.args(["-c", sql]);
        let output = ran(command).await;
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        parts.iter().for_each(|part| assert!(told.contains(part), "{sql}: no {part:?} in\n{told}"));
        assert!(!told.contains("Status") && !told.contains("grpc"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_statement_on_the_server() {
    let server = started(Served::default()).await;
    let child = endless(&server).await;
    signalled(&child, "-INT");
    let output = ended(child).await;
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    until("it still runs", || !running(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_killed_ends_the_statement_on_the_server() {
    let server = started(Served::default()).await;
    let child = endless(&server).await;
    signalled(&child, "-KILL");
    ended(child).await;
    until("it still runs", || !running(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_changes_something_ends_with_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut command = connected(&server);
    let sql = format!("CREATE TABLE t AS {ENDLESS}");
    command.args(["-c", &sql]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let begun = || folder.path().read_dir().unwrap().next().is_some();
    until("it does not begin", begun).await;
    signalled(&child, "-INT");
    assert_eq!(ended(child).await.status.code(), Some(130));
    // what was half written is gone, and nothing goes on
    until("it is still there", || !begun()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_part_that_is_done_comes_from_the_server() {
    let server = started(Served::default()).await;
    let mut command = connected(&server);
    let sql = "SELECT count(value) AS n FROM random_normal([9000, 9000], seed => 1)";
    command.args(["--progress", "always", "--format", "csv", "-c", sql]);
    let output = ran(command).await;
    assert_eq!(stdout(&output), "n\n81000000\n");
    let parts: Vec<u32> = stderr(&output)
        .lines()
        .filter_map(|line| line.strip_prefix("progress: ")?.split_once(" %")?.0.parse().ok())
        .collect();
    assert!(!parts.is_empty() && parts.is_sorted(), "{}", stderr(&output));
    assert!(parts.iter().any(|part| (1..99).contains(part)), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_logs_in_with_a_password_or_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let (entry, token) = almagest::flight::new_user("hypatia", "conics").unwrap();
    let (file, token_file) = (folder.path().join("users.toml"), folder.path().join("token"));
    std::fs::write(&file, entry).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&token_file, format!("{token}\n")).unwrap();
    let users = Some(Users::read(&file).unwrap());
    let entrance = Entrance { users, anonymous: false };
    let server = start(Served::default(), FlightLimits::default(), entrance).await;
    let with = |words: &[&str], password: Option<&str>| {
        let mut command = connected(&server);
        command.args(["-q", "--format", "csv", "-c", "SELECT 1 AS one"]).args(words);
        password.iter().for_each(|password| {
            command.env("ALMAGEST_PASSWORD", password);
        });
        ran(command)
    };
    let right = with(&["--user", "hypatia"], Some("conics")).await;
    assert_eq!(stdout(&right), "one\n1\n", "{}", stderr(&right));
    let right = with(&["--token-file", &token_file.display().to_string()], None).await;
    assert_eq!(stdout(&right), "one\n1\n", "{}", stderr(&right));
    for (words, password, told) in [
        (&["--user", "hypatia"][..], Some("cubes"), "password or token is wrong"),
        (&["--user", "euclid"], Some("conics"), "password or token is wrong"),
        (&["--user", "hypatia"], None, "the password is empty"),
        (&[], None, "log in with user and password"),
        (&["--token-file", "/nothing"], None, "cannot be read"),
    ] {
        let wrong = with(words, password).await;
        assert_eq!(wrong.status.code(), Some(1), "{words:?}");
        assert!(stderr(&wrong).contains(told), "{words:?}: {}", stderr(&wrong));
        assert_eq!(stdout(&wrong), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_forgotten_is_begun_anew() {
    let idle_max = Duration::from_millis(800);
    let limits = FlightLimits { idle_max, ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let mut command = connected(&server);
    command.args(["--format", "csv"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        writeln!(input, "SELECT 1 AS one;").unwrap();
        std::thread::sleep(idle_max * 3);
        writeln!(input, "SELECT 2 AS two;").unwrap();
        drop(input);
        assert!(began.elapsed() > idle_max);
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert_eq!(stdout(&output), "one\n1\ntwo\n2\n", "{}", stderr(&output));
    assert!(stderr(&output).contains("a new one has begun"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_of() {
    for (url, told) in [
        ("grpc://127.0.0.1:1", "unreachable: no answer"),
        ("127.0.0.1:32010", "it has no scheme"),
        ("ftp://127.0.0.1:32010", "'ftp' is no scheme of Flight SQL"),
    ] {
        let mut command = Command::new(command());
        command.args(["--connect", url, "-c", "SELECT 1"]).stdin(Stdio::null());
        let output = ran(command).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
}
