//! Truncated and bit-flipped HDF5 files give an answer or an error, never a panic.

use almagest::{ErrorKind, SessionOptions};

async fn sum(path: &std::path::Path) -> almagest::Result<()> {
    let session = almagest::session(&SessionOptions::default())?;
    let sql = format!("SELECT sum(value), count(value) FROM '{}'", path.display());
    session.sql(&sql).await?.collect().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_invalid_data_that_names_the_file() {
    let whole = std::fs::read("data/image.h5").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.h5");
    for length in [0, 7, 100, 600, 1500, 3000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = sum(&path).await.expect_err("a truncated file was read");
        assert_eq!(error.kind(), ErrorKind::DataInvalid, "cut to {length}: {error}");
        assert!(error.to_string().contains("cut.h5"), "cut to {length}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_never_panic() {
    let whole = std::fs::read("data/image.h5").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flipped.h5");
    for position in (0..whole.len()).step_by(41) {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        std::fs::write(&path, &bytes).unwrap();
        if let Err(error) = sum(&path).await {
            assert_ne!(error.kind(), ErrorKind::Bug, "bit flipped at {position}: {error}");
        }
    }
}
