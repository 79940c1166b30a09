//! What the `almagest` command promises: exit codes, what goes to stdout and stderr, formats, files.

#![allow(clippy::unwrap_used, clippy::panic)] // every function here is part of a test

#[path = "cli/demo.rs"]
mod demo;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const MIXED: &str = "SELECT * FROM (VALUES (1, 'a|b', 0.5), (2, NULL, 'NaN'::double), \
                     (-3, 'say \"hi\", é', NULL)) AS t(n, text, \"D\")";

fn almagest() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almagest"));
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("XDG_STATE_HOME", "/nonexistent");
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    almagest().args(arguments).output().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn piped(arguments: &[&str], input: &str) -> Output {
    let mut child = almagest()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The child's exit code, or a panic after half a minute.
fn wait(child: &mut Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if started.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            panic!("the command did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn formatted(format: &str) -> String {
    let output = run(&["-c", MIXED, "--format", format, "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(err(&output), "");
    out(&output).to_string()
}

#[test]
fn a_table_is_for_people() {
    let expected = "\
+----+-------------+------+
| n  | text        | D    |
+----+-------------+------+
|  1 | a|b         |  0.5 |
|  2 | NULL        |  NaN |
| -3 | say \"hi\", é | NULL |
+----+-------------+------+
";
    assert_eq!(formatted("table"), expected);
}

#[test]
fn csv_and_tsv_quote_what_they_must() {
    assert_eq!(formatted("csv"), "n,text,D\n1,a|b,0.5\n2,,NaN\n-3,\"say \"\"hi\"\", é\",\n");
    let tsv = "n\ttext\tD\n1\ta|b\t0.5\n2\t\tNaN\n-3\t\"say \"\"hi\"\", é\"\t\n";
    assert_eq!(formatted("tsv"), tsv);
}

#[test]
fn json_has_every_column_of_every_row() {
    let rows = [
        "{\"n\":1,\"text\":\"a|b\",\"D\":0.5}",
        "{\"n\":2,\"text\":null,\"D\":null}",
        "{\"n\":-3,\"text\":\"say \\\"hi\\\", é\",\"D\":null}",
    ];
    assert_eq!(formatted("json"), format!("[{}]\n", rows.join(",")));
    assert_eq!(formatted("ndjson"), format!("{}\n", rows.join("\n")));
}

#[test]
fn markdown_and_vertical() {
    let markdown = "\
| n | text | D |
|---:|---|---:|
| 1 | a\\|b | 0.5 |
| 2 | NULL | NaN |
| -3 | say \"hi\", é | NULL |
";
    assert_eq!(formatted("markdown"), markdown);
    let vertical = "\
-[ row 1 ]----
n    | 1
text | a|b
D    | 0.5
-[ row 2 ]----
n    | 2
text | NULL
D    | NaN
-[ row 3 ]----
n    | -3
text | say \"hi\", é
D    | NULL
";
    assert_eq!(formatted("vertical"), vertical);
}

#[test]
fn an_empty_answer_keeps_its_header() {
    let empty = |format| {
        let sql = "SELECT 1 AS a, 'x' AS b WHERE false";
        out(&run(&["-qc", sql, "--format", format])).to_string()
    };
    assert_eq!(empty("csv"), "a,b\n");
    assert_eq!(empty("json"), "[]\n");
    assert_eq!(empty("ndjson"), "");
    assert_eq!(empty("markdown"), "| a | b |\n|---:|---|\n");
    assert_eq!(empty("table"), "+---+---+\n| a | b |\n+---+---+\n+---+---+\n");
}

#[test]
fn lists_fit_into_csv_and_equal_names_into_json() {
    let output = run(&["-qc", "SELECT [1, 2] AS l, {a: 1} AS s", "--format", "csv"]);
    assert_eq!(out(&output), "l,s\n\"[1, 2]\",{a: 1}\n");
    let sql = "SELECT * FROM (VALUES (1)) AS a(id) JOIN (VALUES (1)) AS b(id) ON a.id = b.id";
    let output = run(&["-qc", sql, "--format", "ndjson"]);
    assert_eq!(out(&output), "{\"id\":1,\"id_2\":1}\n");
}

#[test]
fn answers_go_to_stdout_and_the_rest_to_stderr() {
    let output =
        run(&["-c", "CREATE VIEW v AS SELECT 7 AS seven; SELECT * FROM v", "--format", "csv"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(out(&output), "seven\n7\n");
    let messages: Vec<&str> = err(&output).lines().collect();
    assert!(messages[0].starts_with("done in ") && messages[1].starts_with("1 row in "));
    assert_eq!(messages.len(), 2);
}

#[test]
fn every_row_of_a_long_table_is_printed() {
    let output = run(&["-qc", "SELECT * FROM generate_series(1, 30000)"]);
    let rows = out(&output).lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(rows, 30_000 + 1);
}

#[test]
fn values_and_names_of_any_width_are_printed() {
    let name = "n".repeat(70_000);
    let sql = format!("SELECT repeat('x', 100000) AS x, 1 AS {name}");
    for format in ["table", "vertical", "markdown"] {
        let output = run(&["-qc", &sql, "--format", format]);
        assert_eq!(output.status.code(), Some(0), "{format}: {}", err(&output));
        assert!(out(&output).contains(&"x".repeat(100_000)), "{format}");
        assert!(out(&output).contains(&name), "{format}");
    }
}

#[test]
fn the_first_failing_statement_ends_the_run() {
    for run in [
        run(&["--format", "csv", "-c", "SELECT 1 AS a; SELECT * FROM nowhere; SELECT 2 AS b"]),
        run(&["--format", "csv", "-c", "SELECT 1 AS a; SELEC 1; SELECT 2 AS b"]),
        run(&["--format", "csv", "-c", "SELECT 1 AS a", "-c", "SELECT 1/0", "-c", "SELECT 2 AS b"]),
        piped(&["--format", "csv"], "SELECT 1 AS a; SELECT nothing; SELECT 2 AS b;"),
    ] {
        assert_eq!(run.status.code(), Some(1));
        assert_eq!(out(&run), "a\n1\n");
        assert!(err(&run).contains("error: "), "{}", err(&run));
    }
}

#[test]
fn what_follows_a_failed_statement_runs_if_told_to() {
    let sql = "SELECT 1 AS a; SELECT nothing; SELEC 1; SELECT 2 AS b;";
    for run in [
        run(&["--keep-going", "--format", "csv", "-c", sql]),
        piped(&["--keep-going", "--format", "csv"], sql),
    ] {
        assert_eq!(run.status.code(), Some(1));
        assert_eq!(out(&run), "a\n1\nb\n2\n");
        // each statement's messages end with one line, which programs can wait for
        let ends = err(&run).lines().map(|line| line.split(" in ").next().unwrap_or_default());
        let ends: Vec<_> = ends.filter(|end| matches!(*end, "1 row" | "failed")).collect();
        assert_eq!(ends, ["1 row", "failed", "failed", "1 row"]);
    }
    let fine = run(&["--keep-going", "-qc", "SELECT 1"]);
    assert_eq!(fine.status.code(), Some(0));
}

#[test]
fn a_statement_sees_what_the_one_before_it_made() {
    let sql =
        "CREATE TABLE t AS SELECT 1 AS a; INSERT INTO t VALUES (2); SELECT sum(a) AS s FROM t";
    let output = run(&["-qc", sql, "--format", "csv"]);
    assert_eq!(out(&output), "count\n1\ns\n3\n");
}

#[test]
fn semicolons_in_texts_and_comments_do_not_end_statements() {
    let output =
        run(&["-q", "--format", "csv", "-c", "SELECT 'a;b' AS x -- c;d\n; /* ; */ SELECT 2 AS y"]);
    assert_eq!(out(&output), "x\na;b\ny\n2\n");
}

#[test]
fn wrong_usage_is_two() {
    for arguments in [
        &["--no-such-option"][..],
        &["--format", "xml"],
        &["-c", "SELECT 1", "-f", "a.sql"],
        &["--memory-limit", "4 parsecs"],
        &["--memory-limit", "0"],
        &["--threads", "0"],
        &["--output", "answer.dat"],
        &["query.sql"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(out(&output).is_empty());
        assert!(err(&output).starts_with("error: "), "{}", err(&output));
    }
    assert!(err(&run(&["query.sql"])).contains("almagest -f query.sql"));
}

#[test]
fn help_and_version_are_answers() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(out(&help).contains("Examples:") && out(&help).contains("--memory-limit"));
    let version = run(&["--version"]);
    assert_eq!(out(&version), format!("almagest {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_file_of_statements_and_its_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.sql");
    std::fs::write(
        &path,
        "-- numbers\nSELECT 1 AS a;\nSELECT a,\n  vlue\nFROM (SELECT 1 AS a, 2 AS value);\n",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let output = run(&["--format", "csv", "-qf", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "a\n1\n");
    let expected = format!(
        "error: not found: column 'vlue'\n --> {path}:4:3\n  |\n4 |   vlue\n  |   ^^^^\n\
         help: did you mean value?\n"
    );
    assert_eq!(err(&output), expected);
    let missing = run(&["-f", "no-such-file.sql"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(err(&missing).contains("no-such-file.sql"));
    let binary = dir.path().join("binary.sql");
    std::fs::write(&binary, [0x89, b'H', 0xff, 0xfe, b'\n']).unwrap();
    let output = run(&["-f", binary.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("not UTF-8"), "{}", err(&output));
}

#[test]
fn errors_offer_what_was_perhaps_meant() {
    for (sql, message, help) in [
        ("SELCT 1", "syntax error: expected an SQL statement, found SELCT", "did you mean SELECT"),
        ("SELECT 1 +", "syntax error: expected an expression, found the end", ""),
        ("SELECT 'a", "syntax error: Unterminated string literal", ""),
        (
            "CREATE VIEW catalog AS SELECT 1; SELECT * FROM catalgo",
            "table 'catalgo'",
            "mean catalog?",
        ),
        ("SELECT a FROM (SELECT 1 AS \"A\")", "column 'a'", "write \"A\""),
        ("SELECT stdev(1)", "function 'stdev'", "did you mean stddev"),
        ("SET datafusion.execution.batch_sze = 1", "batch_sze", "execution.batch_size"),
        ("SELECT * FROM 'Cargo.tml'", "'Cargo.tml'", "'Cargo.toml'"),
        ("SELECT * FROM 'tests/cli.parquet'", "'tests/cli.parquet'", "near it: cli.rs"),
        ("SELECT avg('a')", "avg does not take Utf8", "avg(Float64)"),
        ("DROP TABLE nowhere", "table 'nowhere'", "no tables yet"),
        ("CREATE EXTERNAL TABLE t STORED AS PARQET LOCATION 'x'", "format 'PARQET'", "PARQUET"),
    ] {
        let output = run(&["-qc", sql]);
        assert_eq!(output.status.code(), Some(1), "{sql}");
        let (told, _) = err(&output).split_once('\n').unwrap();
        assert!(told.starts_with("error: ") && told.contains(message), "{sql}: {told}");
        assert!(err(&output).contains(help), "{sql}: {}", err(&output));
        assert!(err(&output).contains('^'), "{sql}: {}", err(&output));
        assert!(!err(&output).contains("DataFusion"), "{sql}: {}", err(&output));
    }
}

#[test]
fn no_colour_without_a_terminal() {
    let output = run(&["-c", "SELCT 1"]);
    assert!(!err(&output).contains('\x1b'));
}

#[test]
fn output_files_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let write = |name: &str, sql: &str| {
        let output = run(&["-qc", sql, "--output", &file(name)]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert_eq!(out(&output), "");
    };
    let sql = "SELECT value AS n, value % 7 AS r FROM generate_series(1, 100000)";
    let check = |batches: Vec<RecordBatch>| {
        let sum = |batch: &RecordBatch| {
            batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>()
        };
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100_000);
        assert_eq!(batches.iter().map(sum).sum::<i64>(), 100_000 * 100_001 / 2);
    };
    write("a.parquet", sql);
    let opened = std::fs::File::open(file("a.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(opened).unwrap().build().unwrap();
    check(reader.collect::<Result<_, _>>().unwrap());
    write("a.arrow", sql);
    let opened = std::fs::File::open(file("a.arrow")).unwrap();
    let reader = arrow::ipc::reader::FileReader::try_new(opened, None).unwrap();
    check(reader.collect::<Result<_, _>>().unwrap());
    write("a.csv", "SELECT 1 AS a; SELECT 2 AS b");
    assert_eq!(std::fs::read_to_string(file("a.csv")).unwrap(), "a\n1\nb\n2\n");
    write("a.md", "SELECT 1 AS a");
    assert_eq!(std::fs::read_to_string(file("a.md")).unwrap(), "| a |\n|---:|\n| 1 |\n");
}

#[test]
fn a_failing_run_leaves_the_file_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(&path, "before\n").unwrap();
    let output = run(&["-c", "SELECT 1 AS a; SELECT 1/0", "--output", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a partial file is left");
    let two = dir.path().join("two.parquet");
    let output = run(&["-c", "SELECT 1 AS a; SELECT 2 AS b", "--output", two.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("one answer") && !two.exists());
}

#[test]
fn an_output_that_cannot_be_written_says_which() {
    let output = run(&["-c", "SELECT 1", "--output", "no/such/directory/a.csv"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no/such/directory/a.csv"), "{}", err(&output));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    for format in ["csv", "table", "ndjson", "json", "vertical", "parquet"] {
        let mut child = almagest()
            .args([
                "-qc",
                "SELECT * FROM generate_series(1, 20000000); SELECT 1/0",
                "--format",
                format,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 4];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(wait(&mut child), Some(0), "{format}");
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!(told, "", "{format}");
    }
}

#[test]
fn a_pipe_without_end_is_answered_as_it_comes() {
    let mut child = almagest()
        .args(["--format", "csv", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 0..3 {
        // The answer must come while the pipe stays open.
        writeln!(input, "SELECT {number} AS\n n;").unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), "n");
        assert_eq!(answers.next().unwrap().unwrap(), number.to_string());
    }
    drop(input);
    assert_eq!(wait(&mut child), Some(0));
}

#[cfg(unix)]
#[test]
fn sigint_ends_with_130() {
    let long = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    let mut running =
        almagest().args(["-qc", long, "-c", "SELECT 1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut idle = almagest().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    for child in [&mut running, &mut idle] {
        let sent = Instant::now();
        let kill = format!("kill -INT {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert_eq!(wait(child), Some(130));
        assert!(sent.elapsed() < Duration::from_secs(4));
        let mut told = String::new();
        child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!(told, "");
    }
}

#[test]
fn session_options_reach_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let spill = dir.path().join("spill");
    let sql = "SELECT value FROM information_schema.df_settings \
               WHERE name = 'datafusion.execution.target_partitions'";
    assert_eq!(out(&run(&["-qc", sql, "--threads", "3", "--format", "csv"])), "value\n3\n");
    let sql = "SELECT count(*) AS n FROM (SELECT value, sum(value) FROM generate_series(1, 400000) \
               GROUP BY value)";
    let small = ["-qc", sql, "--memory-limit", "1MB", "--threads", "1", "--format", "csv"];
    let spilling = [&small[..], &["--spill-dir", spill.to_str().unwrap()]].concat();
    let output = run(&spilling);
    assert_eq!((out(&output), output.status.code()), ("n\n400000\n", Some(0)), "{}", err(&output));
    assert!(spill.is_dir(), "the spill directory was not used");
}

#[test]
fn progress_is_told_only_when_asked_without_a_terminal() {
    let sql = "SELECT count(*) FROM generate_series(1, 30000000)";
    assert!(!err(&run(&["-c", sql])).contains("progress"));
    let output = run(&["-c", sql, "--progress", "always"]);
    assert!(err(&output).contains("progress: "), "{}", err(&output));
    assert_eq!(output.status.code(), Some(0));
    assert!(!out(&output).contains("progress"));
}

#[test]
fn a_session_starts_quickly() {
    // Far above the promise of 100 ms, which is for a release build on a quiet machine.
    let started = Instant::now();
    assert_eq!(run(&["-qc", "SELECT 1"]).status.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// What newcomers type.
#[test]
fn mistakes_are_told_with_what_to_do() {
    let output = run(&["-c", "-- note\nSELECT 1 AS a", "--format", "csv"]);
    assert_eq!((output.status.code(), out(&output)), (Some(0), "a\n1\n"));
    let output = run(&["--threads", "100000", "-c", "SELECT 1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("1 to 4096"), "{}", err(&output));
    let output = piped(&[], "\\d\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("are the interactive shell's"), "{}", err(&output));
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy("../tests/data/image.h5", folder.path().join("im.h5")).unwrap();
    for (sql, help) in [
        ("SELECT * FROM im.h5", "a file's name stands in single quotes: FROM 'im.h5'"),
        ("COPY (SELECT 1) TO 'o.fits'", "use STORED AS"),
        ("SELECT 1 FROM 'im.h5' TABLESAMPLE (1 PERCENT)", "random() < 0.01"),
    ] {
        let output = almagest().current_dir(&folder).args(["-c", sql]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{sql}");
        assert!(err(&output).contains(help), "{sql}: {}", err(&output));
    }
}

/// A query that fails as memory ends leaves no spilled file.
#[test]
fn a_failed_query_leaves_no_file_in_the_folder_for_spilling() {
    let folder = tempfile::tempdir().unwrap();
    let spill = folder.path().join("spill");
    // the sort spills, and then the text finds no room
    let sql = "SELECT length(string_agg(s, ',')) FROM (SELECT s, row_number() OVER (ORDER BY s) AS n FROM \
               (SELECT md5(value::VARCHAR) AS s FROM generate_series(1, 1000000))) WHERE n > 0";
    for _ in 0..3 {
        let mut command = almagest();
        command.args(["--memory-limit", "30MB", "-c", sql, "--spill-dir"]).arg(&spill);
        assert_eq!(command.output().unwrap().status.code(), Some(1));
        let files = std::fs::read_dir(&spill).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files
            .flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()))
            .collect();
        assert_eq!(files, Vec::<std::path::PathBuf>::new());
    }
}
