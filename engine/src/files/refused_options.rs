//! Options of files that are refused, for reading and writing alike: DataFusion takes them and heeds them not.
//!
//! Not here: options that only one of the two heeds (`write/copy_target.rs`), or that no format has.

use crate::{Error, Result};

/// This build encrypts and decrypts nothing, and DataFusion would take the keys and write plain text.
///
/// # Errors
/// `Unsupported` if an option asks for it.
pub fn refuse_encryption(option: &str) -> Result<()> {
    let option = option.strip_prefix("format.").unwrap_or(option);
    match option == "crypto" || option.starts_with("crypto.") {
        true => Err(Error::unsupported(
            "encrypted Parquet: files are written and read in plain text; leave out the crypto options, \
             and encrypt the disk or the store",
        )),
        false => Ok(()),
    }
}

/// Arrow files have no options, and DataFusion takes any.
///
/// # Errors
/// `Unsupported` for an option of such a file.
pub fn refuse_arrow(format: &str, option: &str) -> Result<()> {
    match format.eq_ignore_ascii_case("arrow") {
        true => Err(Error::unsupported(format!(
            "the option {option}: Arrow files have none; leave it out, or use Parquet"
        ))),
        false => Ok(()),
    }
}
