//! What clients learn of the server's folders: the names of files from a folder of data on, and nothing above.

use almagest::SessionOptions;
use almagest::flight::Served;
use almagest_tests::served::{asked, client, started, text};

#[tokio::test(flavor = "multi_thread")]
async fn clients_learn_no_path_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    let (above, elsewhere) = (whole.join("above it"), whole.join("elsewhere"));
    let data = above.join("open data");
    std::fs::create_dir_all(data.join("many")).unwrap();
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(data.join("a.csv"), "a\n7\n").unwrap();
    std::fs::write(data.join("bad.csv"), "a\n7\nx\n").unwrap();
    std::fs::write(data.join("damaged.parquet"), "PAR1 it is not PAR1").unwrap();
    std::fs::write(data.join("damaged_too.h5"), "no HDF5").unwrap();
    std::fs::write(data.join("many/b.csv"), "a\n8\n").unwrap();
    std::fs::write(elsewhere.join("c.csv"), "a\n9\n").unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    for target in [data.join("x.parquet"), data.join("z.h5"), elsewhere.join("y.h5")] {
        let copy = format!("COPY (SELECT * FROM zeros([4])) TO '{}'", target.display());
        session.sql(&copy).await.unwrap().collect().await.unwrap();
    }
    for (target, link) in [("c.csv", "link.csv"), ("y.h5", "link.h5")] {
        std::os::unix::fs::symlink(elsewhere.join(target), data.join(link)).unwrap();
    }
    std::os::unix::fs::symlink(&elsewhere, data.join("link")).unwrap();
    let init = format!(
        "CREATE EXTERNAL TABLE shown STORED AS CSV LOCATION '{0}/a.csv'; \
         CREATE VIEW v AS SELECT *, input_file_name() AS f FROM '{0}/many/b.csv'",
        data.display()
    );
    let served = Served { data: vec![data.clone()], init: Some(init), ..Served::default() };
    let server = started(served).await;
    let mut client = client(&server).await;
    // where a row is from, in whatever it stands
    for (sql, expected) in [
        ("SELECT input_file_name() FROM a", "a.csv"),
        ("SELECT upper(input_file_name()) AS f FROM many", "MANY/B.CSV"),
        ("SELECT f FROM v", "many/b.csv"),
        ("SELECT count(*) FROM a WHERE input_file_name() = 'a.csv'", "1"),
        ("SELECT max(input_file_name()) FROM x", "x.parquet"),
    ] {
        assert_eq!(text(&mut client, sql).await, expected, "{sql}");
    }
    let place = data.display();
    let headers = format!("headers('{place}/z.h5')");
    for (sql, expected) in [
        (format!("SELECT file FROM {headers}"), "z.h5"),
        (format!("SELECT upper(file) AS f FROM {headers}"), "Z.H5"),
        (format!("SELECT count(*) FROM {headers} WHERE file = 'z.h5'"), "1"),
        (format!("SELECT [file] AS f FROM {headers}"), "[z.h5]"),
    ] {
        assert_eq!(text(&mut client, &sql).await, expected, "{sql}");
    }
    let mut statements: Vec<String> = vec![];
    for table in ["a", "x", "v", "many", "bad"] {
        statements.extend(
            [
                "",
                "VERBOSE ",
                "ANALYZE ",
                "ANALYZE VERBOSE ",
                "FORMAT TREE ",
                "FORMAT PGJSON ",
                "FORMAT GRAPHVIZ ",
            ]
            .map(|how| format!("EXPLAIN {how}SELECT * FROM {table}")),
        );
        statements.push(format!("SHOW CREATE TABLE {table}"));
        statements.push(format!("DESCRIBE {table}"));
    }
    statements.extend(
        [
            "SELECT * FROM bad",
            "SELECT * FROM damaged",
            "SELECT * FROM 'damaged.parquet'",
            "SHOW ALL",
            "SHOW TABLES",
            "SHOW CREATE TABLE shown",
            "SELECT * FROM information_schema.views",
            "SELECT * FROM information_schema.df_settings",
            "SELECT array_info('z.h5')",
            "SELECT * FROM array_info('z')",
            "SELECT substr(array, 2) FROM array_info('z')",
            &format!("SELECT * FROM attributes('{place}/z.h5')"),
            &format!("SELECT * FROM headers('{place}/*.h5')"),
            &format!("SELECT * FROM headers('{place}/damaged_too.h5')"),
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'none'",
            "COPY (SELECT 1) TO 'x.csv'",
            "CREATE VIEW mine AS SELECT * FROM information_schema.views",
            "SELECT [definition] FROM mine",
            "SELECT [value] FROM information_schema.df_settings",
            "SELECT arrow_cast(definition, 'Dictionary(Int32, Utf8)') FROM information_schema.views",
            "SELECT arrow_cast(definition, 'Binary')::VARCHAR FROM information_schema.views",
            "SELECT substr(definition, strpos(definition, '/') + 1) FROM information_schema.views",
            "SET datafusion.catalog.default_schema = 'information_schema'",
            "SELECT * FROM views",
            "SELECT [definition] FROM views",
            "RESET datafusion.catalog.default_schema",
        ]
        .map(String::from),
    );
    // nor by comparing
    let found = format!(
        "SELECT count(*) FROM information_schema.views WHERE definition LIKE '%{}%'",
        above.display()
    );
    assert_eq!(text(&mut client, &found).await, "0");
    let names = [
        "none.csv",
        "nonf.parquet",
        "damaged.parquet",
        "damaged_too.h5",
        "link.csv",
        "link.h5",
        "link/c.csv",
        "link/",
        "link/*.csv",
        "../x.csv",
        "../../z.h5",
        "..",
        "../",
        "../*",
        "../../*.csv",
        "*/../../x.csv",
        "many/../../x.csv",
        "../open data/none.csv",
        "../elsewhere/c.csv",
        "../../elsewhere/y.h5",
        "%2e%2e/x.csv",
    ];
    for name in names {
        statements.push(format!("SELECT * FROM '{place}/{name}'"));
        statements.push(format!("SELECT * FROM 'file://{place}/{name}'"));
        statements.push(format!("SELECT * FROM read_csv('{place}/{name}')"));
        statements.push(format!("SELECT * FROM read_hdf5('{place}/{name}')"));
        statements.push(format!("SELECT * FROM array_info('{place}/{name}')"));
    }
    for sql in &statements {
        let told = match asked(&mut client, sql).await {
            Ok(rows) => format!("{rows:?}"),
            Err(error) => error,
        };
        let whole = whole.display().to_string();
        let bare = whole.trim_start_matches('/');
        // what the client wrote it may be told
        for hidden in [bare, "above it", "above%20it", "y.h5"] {
            let known = sql.replace(&place.to_string(), "").contains(hidden);
            assert!(known || !told.contains(hidden), "{sql}: {hidden} in {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_files_are_shortened_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().canonicalize().unwrap().join("open <data>");
    let bare = data.strip_prefix("/").unwrap().to_path_buf();
    std::fs::create_dir_all(data.join(&bare)).unwrap();
    std::fs::write(data.join("a.csv"), "a\n7\n").unwrap();
    std::fs::write(data.join(&bare).join("b.csv"), "a\n8\n").unwrap();
    let server = started(Served { data: vec![data.clone()], ..Served::default() }).await;
    let mut client = client(&server).await;
    for (place, expected) in
        [(data.join("a.csv"), "a.csv".into()), (data.join(&bare).join("b.csv"), bare.join("b.csv"))]
    {
        let reads = format!("SELECT input_file_name() AS f FROM '{}'", place.display());
        assert_eq!(text(&mut client, &reads).await, expected.display().to_string());
        asked(&mut client, &format!("CREATE OR REPLACE VIEW v AS {reads}")).await.unwrap();
        asked(&mut client, "CREATE OR REPLACE VIEW w AS SELECT f FROM v").await.unwrap();
        assert_eq!(text(&mut client, "SELECT f FROM w").await, expected.display().to_string());
    }
}
