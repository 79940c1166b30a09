//! What `almagest demo` takes.

use std::path::PathBuf;

use clap::Args;

const AFTER_HELP: &str = "\
Writes DIR/sky.h5, an image of N x N 'f4' pixels in chunks of 512 x 512 with shuffle and gzip, and
DIR/toi/part-0.parquet to part-7.parquet, a catalog of planet candidates; both are simulated and the
same on every run. Then runs the statements of examples/quickstart.sql, and prints each with its
answer and its time. A sample that is already there is used again. Files that the demo has not
written are never touched without --force.";

/// Write a sample image and catalog, and run a tour of statements over them.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct DemoArguments {
    /// Pixels along each side of the image.
    #[arg(long, value_name = "N", default_value_t = 8192,
          value_parser = clap::value_parser!(u64).range(1..=1 << 17))]
    pub size: u64,
    /// Rows of the catalog.
    #[arg(long, value_name = "N", default_value_t = 2_000_000,
          value_parser = clap::value_parser!(u64).range(8..=1_000_000_000))]
    pub rows: u64,
    /// Folder for the sample; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "demo")]
    pub dir: PathBuf,
    /// Write the sample anew, over whatever stands under its names.
    #[arg(long)]
    pub force: bool,
}
