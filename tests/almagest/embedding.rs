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
