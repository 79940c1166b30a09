//! Arrays of a Rust program behind tables.

use almagest::SessionOptions;
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use ndarray::{ArrayD, IxDyn};

#[tokio::test]
async fn an_array_in_memory_is_a_table_in_its_own_axis_order() {
    let values: Vec<f64> = (0..12).map(f64::from).collect();
    let array = ArrayD::from_shape_vec(IxDyn(&[3, 4]), values).unwrap();
    let transposed = array.t().to_owned();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    session.register_array::<Float64Type>("a", &["y", "x"], array).unwrap();
    session.register_array::<Float64Type>("t", &["y", "x"], transposed).unwrap();
    let sql = "SELECT count(*) FROM a JOIN t ON a.y = t.x AND a.x = t.y AND a.value = t.value";
    let rows = session.sql(sql).await.unwrap().collect().await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 12);
    let sql = "SELECT value FROM a WHERE y = 2 AND x = 1";
    let rows = session.sql(sql).await.unwrap().collect().await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<Float64Type>().value(0), 9.0);
}

#[path = "../../server/examples/embed.rs"]
#[allow(dead_code)]
mod embed;

#[tokio::test]
async fn the_example_answers() {
    let session = embed::session().unwrap();
    let shown = embed::answer(&session, "SELECT max(value) AS m FROM sky WHERE y = 10").await;
    let shown = shown.unwrap();
    assert!(shown.contains("| 501.0 |"), "{shown}");
    let error = embed::answer(&session, "SELECT nix FROM sky").await.unwrap_err();
    assert!(error.to_string().contains("No field named nix"), "{error}");
}

/// A plain context, on a runtime of one thread: paths and positional arguments.
#[tokio::test]
async fn a_plain_context_gives_the_same_answers() {
    let session = almagest::session(&SessionOptions::default()).unwrap();
    for from in
        ["read_hdf5('data/arrays.h5', 'cube')", "read_hdf5('data/arrays.h5', '/cube', 'a,b,c')"]
    {
        let sql = format!("SELECT sum(value) FROM {from}");
        let plain = session.context().sql(&sql).await.unwrap().collect().await.unwrap();
        let ours = session.sql(&sql).await.unwrap().collect().await.unwrap();
        assert_eq!(plain[0].columns(), ours[0].columns(), "{from}");
        assert_eq!(plain[0].column(0).as_primitive::<Int64Type>().value(0), -390);
    }
    let sql = "SELECT count(*) FROM array_info('data/arrays.h5') WHERE unreadable IS NULL";
    let rows = session.context().sql(sql).await.unwrap().collect().await.unwrap();
    assert!(rows[0].column(0).as_primitive::<Int64Type>().value(0) >= 7);
    let sql = "SELECT count(*) FROM 'data/image.h5'";
    let rows = session.context().sql(sql).await.unwrap().collect().await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 3500);
    // The table functions of arrays take their tables in quotes there.
    for from in [
        "random_normal([30, 40], 7)",
        "downsample('data/image.h5', [8, 7], 'count')",
        "concat('data/image.h5', 'data/image.h5')",
    ] {
        let sql = format!("SELECT sum(value) FROM {from}");
        let plain = session.context().sql(&sql).await.unwrap().collect().await.unwrap();
        let ours = session.sql(&sql).await.unwrap().collect().await.unwrap();
        assert_eq!(plain[0].columns(), ours[0].columns(), "{from}");
    }
    let error = session.context().sql("SELECT * FROM concat(1)").await.unwrap_err();
    assert!(error.to_string().contains("Int64(1) is no table"), "{error}");
    let error = session.context().sql("SELECT * FROM read_hdf5('data/nix.h5')").await.unwrap_err();
    assert!(error.to_string().contains("nix.h5"), "{error}");
}
