//! Real files, whose figures h5py and NumPy give.
//!
//! `ALMAGEST_REAL_DATA` names the folder that holds `cubes/` and `images/`.

use std::path::PathBuf;

use almagest::{Session, SessionOptions};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

/// Runs a query of one row of numbers.
async fn figures(session: &Session, sql: &str) -> Vec<f64> {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
    let number = |column: &arrow::array::ArrayRef| {
        let column = cast(column, &DataType::Float64).unwrap();
        column.as_primitive::<Float64Type>().value(0)
    };
    batch.columns().iter().map(number).collect()
}

/// Of `images/hst_acs_47tuc.h5`, in the order of the query below.
const HST_FIGURES: [f64; 6] = [
    1048576.0,
    1263.7245873399743,
    26.609111929619758,
    10.134849548339844,
    916.5051588798102,
    297.27846890939986,
];

async fn check(path: &str, columns: &str, rest: &str, expected: &[f64]) {
    let folder = std::env::var_os("ALMAGEST_REAL_DATA").expect("ALMAGEST_REAL_DATA");
    let path = PathBuf::from(folder).join(path);
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let sql = format!("SELECT {columns} FROM '{}' {rest}", path.display());
    same(&sql, &figures(&session, &sql).await, expected);
}

fn same(sql: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{sql}");
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs() / expected.abs().max(1e-300);
        assert!(error < 1e-9, "{sql}: {found} for {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants the folder ALMAGEST_REAL_DATA"]
async fn air_temperature_has_the_mean_that_numpy_finds() {
    let columns = "count(value), avg(value), min(value), max(value), stddev_pop(value)";
    check(
        "cubes/E1_north_america.nc",
        columns,
        "",
        &[435120.0, 286.0357961101641, 257.3188171386719, 303.84368896484375, 10.662849296492118],
    )
    .await;
    let slice = "WHERE \"time\" >= 100 AND \"time\" < 110 AND latitude = 7 AND longitude > 40";
    check(
        "cubes/E1_north_america.nc",
        "count(value), avg(value)",
        slice,
        &[80.0, 296.6256435394287],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants the folder ALMAGEST_REAL_DATA"]
async fn sea_temperature_leaves_missing_values_to_the_query() {
    let columns = "count(value), count(*) FILTER (WHERE value < 1e19), \
                   avg(value) FILTER (WHERE value < 1e19)";
    check("cubes/ostia_monthly.nc", columns, "", &[419904.0, 308934.0, 300.808438158795]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants the folder ALMAGEST_REAL_DATA"]
async fn potential_temperature_lies_over_its_levels() {
    let columns = "count(value), avg(value)";
    check("cubes/hybrid_height.nc", columns, "", &[150000.0, 287.915739590861]).await;
    let level = "WHERE model_level_number = 3 AND grid_latitude < 10";
    check("cubes/hybrid_height.nc", columns, level, &[1000.0, 287.95666912841796]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants the folder ALMAGEST_REAL_DATA"]
async fn three_planes_of_an_image_are_one_table() {
    let folder = std::env::var_os("ALMAGEST_REAL_DATA").expect("ALMAGEST_REAL_DATA");
    let path = PathBuf::from(folder).join("images/hst_acs_47tuc.h5");
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE hst STORED AS HDF5 LOCATION '{}' OPTIONS ('dataset' '/')",
        path.display()
    );
    session.sql(&sql).await.unwrap();
    let sql = "SELECT count(*), avg(sci), avg(err), avg(dq), avg(sci) FILTER (WHERE dq = 0), \
               avg(sci) FILTER (WHERE y BETWEEN 300 AND 399 AND x < 70) FROM hst";
    same(sql, &figures(&session, sql).await, &HST_FIGURES);
}
