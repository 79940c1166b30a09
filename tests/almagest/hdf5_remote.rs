//! HDF5 files on object stores: the same answers, and only the bytes that are needed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use almagest::{ErrorKind, Session, SessionOptions};
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A store in memory that counts what is asked of it.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, bytes, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(GetRange::Bounded(Range { start, end })) = options.range {
            self.bytes.fetch_add(end - start, Ordering::Relaxed);
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        places: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(places)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn session_over(files: &[(&str, Vec<u8>)]) -> (Session, Arc<Counting>) {
    let store = Arc::new(Counting::default());
    for (name, bytes) in files {
        store.put(&Path::from(*name), bytes.clone().into()).await.unwrap();
    }
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let url = url::Url::parse("mem://bucket").unwrap();
    session.context().register_object_store(&url, Arc::clone(&store) as Arc<dyn ObjectStore>);
    (session, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_reads_the_same_from_a_store() {
    let names = ["image.h5", "kinds.h5", "latest.h5", "cube.nc"];
    let files: Vec<_> =
        names.map(|name| (name, std::fs::read(format!("data/{name}")).unwrap())).into();
    let (session, _) = session_over(&files).await;
    let datasets = [
        ("image.h5", "image"),
        ("kinds.h5", "compact"),
        ("kinds.h5", "half"),
        ("kinds.h5", "blosc"),
        ("kinds.h5", "mask"),
        ("kinds.h5", "planes/dq"),
        ("latest.h5", "tree"),
        ("latest.h5", "edges"),
        ("latest.h5", "growing_x"),
        ("cube.nc", "temperature"),
    ];
    for (number, (file, dataset)) in datasets.into_iter().enumerate() {
        for (table, place) in [("local", "data"), ("remote", "mem://bucket")] {
            let sql = format!(
                "CREATE EXTERNAL TABLE {table}{number} STORED AS HDF5 LOCATION '{place}/{file}' \
                 OPTIONS ('dataset' '{dataset}')"
            );
            session.sql(&sql).await.unwrap();
        }
        let sql = format!(
            "SELECT count(*) FROM (SELECT * FROM local{number} EXCEPT SELECT * FROM remote{number})
             UNION ALL SELECT count(*) - (SELECT count(value) FROM local{number}) FROM remote{number}"
        );
        let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
        for batch in batches {
            for count in batch.column(0).as_primitive::<Int64Type>().values() {
                assert_eq!(*count, 0, "{file}:{dataset}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_takes_few_bytes_of_a_large_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.h5");
    let file = rust_hdf5::H5File::create(&path).unwrap();
    let data: Vec<f32> =
        (0..2048_u32 * 2048).map(|index| index.wrapping_mul(2_654_435_761) as f32).collect();
    let plain = file.new_dataset::<f32>().shape([2048, 2048]).create("plain").unwrap();
    plain.write_raw(&data).unwrap();
    let packed = file.new_dataset::<f32>().shape([2048, 2048]).chunk(&[256, 256]);
    packed.shuffle_deflate(1).create("packed").unwrap().write_raw(&data).unwrap();
    file.close().unwrap();
    let expected: f64 = (700..800)
        .flat_map(|y| (500..600).map(move |x| y * 2048 + x))
        .map(|index| f64::from(data[index]))
        .sum();
    let bytes = std::fs::read(&path).unwrap();
    let whole_bytes = bytes.len() as u64;
    let (session, store) = session_over(&[("large.h5", bytes)]).await;
    for dataset in ["plain", "packed"] {
        let sql = format!(
            "CREATE EXTERNAL TABLE {dataset} STORED AS HDF5 LOCATION 'mem://bucket/large.h5' \
             OPTIONS ('dataset' '{dataset}')"
        );
        session.sql(&sql).await.unwrap();
        let opened_bytes = store.bytes.swap(0, Ordering::Relaxed);
        assert!(opened_bytes < 600_000, "opening {dataset} took {opened_bytes} bytes");
        store.requests.store(0, Ordering::Relaxed);
        let sql = format!(
            "SELECT sum(value) FROM {dataset} \
             WHERE y BETWEEN 700 AND 799 AND x BETWEEN 500 AND 599"
        );
        let rows = session.sql(&sql).await.unwrap().collect().await.unwrap();
        let found = rows[0].column(0).as_primitive::<Float64Type>().value(0);
        assert!((found / expected - 1.0).abs() < 1e-12, "{dataset}: {found} for {expected}");
        let read_bytes = store.bytes.swap(0, Ordering::Relaxed);
        let requests = store.requests.swap(0, Ordering::Relaxed);
        assert!(read_bytes < whole_bytes / 10, "{dataset}: {read_bytes} of {whole_bytes} bytes");
        assert!(requests <= 8, "{dataset}: {requests} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_of_remote_files_reads_those_that_a_slice_touches() {
    let files = ["night_1.h5", "night_2.h5", "night_3.h5"]
        .map(|name| (name, std::fs::read(format!("data/nights/{name}")).unwrap()));
    let (session, store) = session_over(&files).await;
    let sql = "CREATE EXTERNAL TABLE nights STORED AS HDF5 LOCATION 'mem://bucket/night_*.h5' \
               OPTIONS ('stack' 'night')";
    session.sql(sql).await.unwrap();
    let mut bytes = vec![];
    for (condition, expected) in [("night = 1", 132.0), ("true", 396.0)] {
        store.bytes.store(0, Ordering::Relaxed);
        let sql = format!("SELECT sum(value) FROM nights WHERE {condition}");
        let rows = session.sql(&sql).await.unwrap().collect().await.unwrap();
        assert_eq!(rows[0].column(0).as_primitive::<Float64Type>().value(0), expected, "{sql}");
        bytes.push(store.bytes.swap(0, Ordering::Relaxed));
    }
    assert!(bytes[0] > 0 && bytes[0] * 2 < bytes[1], "{bytes:?} bytes for one night and for all");
}

#[tokio::test]
async fn a_file_that_a_store_does_not_have_is_not_found() {
    let (session, _) = session_over(&[("short.h5", vec![1; 100])]).await;
    let missing = session.sql("SELECT * FROM 'mem://bucket/none.h5'").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    assert!(missing.to_string().contains("none.h5"), "{missing}");
    let damaged = session.sql("SELECT * FROM 'mem://bucket/short.h5'").await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::DataInvalid, "{damaged}");
}
