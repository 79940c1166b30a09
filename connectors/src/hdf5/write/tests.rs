//! Every file is read back by the reader of this crate, whose own code this one shares nothing with.

use almagest_engine::ErrorKind;
use almagest_engine::array::{ReadContext, Region};
use almagest_engine::formats::Format;
use arrow::array::ArrayRef;
use arrow::compute::cast;
use datafusion::prelude::SessionContext;

use super::*;
use crate::hdf5::Hdf5;

fn dataset(name: &str, data_type: DataType, shape: &[u64], chunk_shape: &[u64]) -> NewDataset {
    NewDataset {
        name: name.into(),
        dims: vec![],
        data_type,
        shape: shape.into(),
        chunk_shape: chunk_shape.into(),
        shuffle: true,
        gzip_level: Some(4),
        fill: None,
    }
}

/// Whole arrays, as `Float64`, by name.
async fn read(path: &Path) -> Vec<(String, Vec<f64>)> {
    let state = SessionContext::new().state();
    let arrays = Hdf5.arrays(state.runtime_env(), path.to_str().unwrap()).await.unwrap();
    let values = arrays.into_iter().map(|(name, array)| {
        let array = array.unwrap();
        let whole = Region::whole(&array.meta().shape);
        let block = array.decode(&whole, Default::default(), &ReadContext::default()).unwrap();
        (name.trim_start_matches('/').to_string(), floats(block.values()))
    });
    values.collect()
}

fn floats(values: &ArrayRef) -> Vec<f64> {
    let values = cast(values, &DataType::Float64).unwrap();
    values.to_data().buffers()[0].typed_data::<f64>().to_vec()
}

#[tokio::test]
async fn every_type_is_read_back_and_edges_are_cut() {
    let folder = std::env::temp_dir().join(format!("almagest-write-types-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("types.h5");
    // 5 x 3 elements in chunks of 2 x 2; the value at (y, x) is 10 y + x, beyond the edge 99.
    let element = |y: u64, x: u64| if y < 5 && x < 3 { (10 * y + x) as u8 } else { 99 };
    type Encode = fn(u8) -> Vec<u8>;
    let types: [(DataType, Encode); 11] = [
        (DataType::Int8, |v| (v as i8).to_le_bytes().into()),
        (DataType::Int16, |v| i16::from(v).to_le_bytes().into()),
        (DataType::Int32, |v| i32::from(v).to_le_bytes().into()),
        (DataType::Int64, |v| i64::from(v).to_le_bytes().into()),
        (DataType::UInt8, |v| v.to_le_bytes().into()),
        (DataType::UInt16, |v| u16::from(v).to_le_bytes().into()),
        (DataType::UInt32, |v| u32::from(v).to_le_bytes().into()),
        (DataType::UInt64, |v| u64::from(v).to_le_bytes().into()),
        (DataType::Float16, |v| half::f16::from(v).to_le_bytes().into()),
        (DataType::Float32, |v| f32::from(v).to_le_bytes().into()),
        (DataType::Float64, |v| f64::from(v).to_le_bytes().into()),
    ];
    // Eleven names in one group: more than a symbol table holds unless it is made larger.
    let new = types.iter().map(|(data_type, _)| {
        let name = format!("{data_type}").to_lowercase();
        let mut new = dataset(&name, data_type.clone(), &[5, 3], &[2, 2]);
        new.shuffle = name.len() % 2 == 0;
        new.gzip_level = (name.len() % 3 != 0).then_some(9);
        new
    });
    let writer = FileWriter::create(&path, new.collect()).unwrap();
    for (data_type, encode) in &types {
        let mut chunks = writer.chunks(&format!("{data_type}").to_lowercase()).unwrap();
        for (y, x) in [(4, 2), (0, 0), (2, 0), (4, 0), (0, 2), (2, 2)] {
            let bytes: Vec<u8> = [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)]
                .iter()
                .flat_map(|(y, x)| encode(element(*y, *x)))
                .collect();
            chunks.write(&[y, x], &bytes).unwrap();
        }
    }
    assert!(!path.exists(), "the file has its name before it is whole");
    let bytes = writer.finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
    let expected: Vec<f64> =
        (0..15).map(|index| f64::from(element(index / 3, index % 3))).collect();
    let arrays = read(&path).await;
    assert_eq!(arrays.len(), types.len());
    for (name, values) in arrays {
        assert_eq!(values, expected, "{name}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn an_index_of_three_levels_written_by_many_threads_with_holes() {
    let path = std::env::temp_dir().join(format!("almagest-write-{}.h5", std::process::id()));
    let count = 9000_u64; // 141 leaves, 3 nodes, a root
    let new = dataset("a", DataType::UInt16, &[count], &[1]);
    let writer = FileWriter::create(&path, vec![new]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let mut chunks = writer.chunks("a").unwrap();
            scope.spawn(move || {
                // One byte pair does not shrink: every chunk skips gzip by its mask.
                for index in (thread..count).step_by(3).filter(|index| index % 7 != 0) {
                    chunks.write(&[index], &(index as u16).to_le_bytes()).unwrap();
                }
            });
        }
    });
    writer.finish().unwrap();
    let expected: Vec<f64> =
        (0..count).map(|index| if index % 7 == 0 { 0.0 } else { index as f64 }).collect();
    assert_eq!(read(&path).await, [("a".to_string(), expected)]);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_unfinished_file_leaves_nothing_behind() {
    let folder = std::env::temp_dir().join(format!("almagest-unfinished-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let new = dataset("a", DataType::Int8, &[4], &[2]);
    let writer = FileWriter::create(&folder.join("a.h5"), vec![new]).unwrap();
    writer.chunks("a").unwrap().write(&[2], &[1, 2]).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    drop(writer);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_hdf5_cannot_hold_is_refused_before_a_file_exists() {
    let path = std::env::temp_dir().join(format!("almagest-refused-{}.h5", std::process::id()));
    let kind = |new: NewDataset| match FileWriter::create(&path, vec![new]) {
        Ok(_) => panic!("the dataset was accepted"),
        Err(error) => error.kind(),
    };
    let good = dataset("a", DataType::Int8, &[4, 4], &[2, 2]);
    for name in ["", ".", "/a", "a//b", "a/../b", "a\0"] {
        assert_eq!(kind(NewDataset { name: name.into(), ..good.clone() }), ErrorKind::Plan);
    }
    assert_eq!(kind(NewDataset { chunk_shape: vec![2], ..good.clone() }), ErrorKind::Plan);
    assert_eq!(kind(NewDataset { chunk_shape: vec![2, 0], ..good.clone() }), ErrorKind::Plan);
    let huge = vec![1 << 20, 1 << 20];
    assert_eq!(kind(NewDataset { chunk_shape: huge, ..good.clone() }), ErrorKind::Plan);
    assert_eq!(kind(NewDataset { gzip_level: Some(13), ..good.clone() }), ErrorKind::Plan);
    let text = NewDataset { data_type: DataType::Utf8, ..good.clone() };
    assert_eq!(kind(text), ErrorKind::Unsupported);
    let writer = FileWriter::create(&path, vec![good]).unwrap();
    let mut chunks = writer.chunks("a").unwrap();
    assert_eq!(chunks.write(&[1, 0], &[0; 4]).unwrap_err().kind(), ErrorKind::Plan);
    assert_eq!(chunks.write(&[4, 0], &[0; 4]).unwrap_err().kind(), ErrorKind::Plan);
    assert_eq!(chunks.write(&[2, 0], &[0; 3]).unwrap_err().kind(), ErrorKind::Plan);
}
