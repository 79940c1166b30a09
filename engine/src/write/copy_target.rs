//! Refuses a COPY that would do something else than it says.
//!
//! In: a planned statement. Out: an error for options that DataFusion takes and leaves out, for
//! columns that are not there, and for a target that is a symbolic link, which a file would
//! replace. Not here: options that no format has, which DataFusion refuses.

use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::dml::CopyTo;

use super::guarded_sink::local;
use crate::files::{refuse_arrow, refuse_encryption};
use crate::{Error, Result};

/// How DataFusion's names of options begin.
const PREFIX: &str = "format.";

/// Options of text files that only reading heeds, and what to do instead.
const FOR_READING: &[(&str, &str, &str)] = &[
    ("csv", "terminator", "lines end with a line feed"),
    ("csv", "null_regex", "null_value says what is written for NULL"),
    ("csv", "comment", "leave it out"),
    ("csv", "truncated_rows", "leave it out"),
    ("csv", "newlines_in_values", "texts with line ends are quoted without it"),
    ("csv", "schema_infer_max_rec", "leave it out"),
    ("json", "newline_delimited", "each row is a line"),
    ("json", "schema_infer_max_rec", "leave it out"),
];

/// Refuses such a COPY.
///
/// # Errors
/// `Unsupported` for options without an effect and for links, `Plan` for unknown columns.
pub fn check(plan: &LogicalPlan) -> Result<()> {
    let LogicalPlan::Copy(copy) = plan else { return Ok(()) };
    let format = copy.file_type.get_ext();
    let mut options: Vec<&String> = copy.options.keys().collect();
    options.sort();
    for option in options {
        check_option(copy, &format, option)?;
    }
    let fields = copy.input.schema().fields();
    let twice = fields.iter().enumerate().find(|(place, field)| {
        fields.iter().take(*place).any(|other| other.name() == field.name())
    });
    if let Some((_, field)) = twice {
        return Err(Error::plan(format!(
            "the column {name} stands twice among those written, and readers of files would find one; \
             give each a name of its own, such as a.{name} AS {name}_a",
            name = field.name()
        )));
    }
    let target = local(&copy.output_url);
    let link = target.filter(|path| path.is_symlink() && !path.is_dir());
    if let Some(link) = link {
        return Err(Error::unsupported(
            "the target is a symbolic link, which the file would replace; COPY to the path that it leads to",
        )
        .with("file", link.display()));
    }
    Ok(())
}

fn check_option(copy: &CopyTo, format: &str, option: &str) -> Result<()> {
    let Some(name) = option.strip_prefix(PREFIX) else { return Ok(()) };
    refuse_encryption(name)?;
    refuse_arrow(format, name)?;
    let kind = match format {
        "tsv" => "csv",
        "ndjson" | "jsonl" => "json",
        other => other,
    };
    let reading = FOR_READING.iter().find(|(of, known, _)| *of == kind && *known == name);
    if let Some((_, _, instead)) = reading {
        return Err(Error::unsupported(format!(
            "COPY to {} with {name}, which is for reading; {instead}",
            format.to_uppercase()
        )));
    }
    if let Some((name, column)) = name.split_once("::")
        && format == "parquet"
        && name != "metadata"
    {
        let fields = copy.input.schema().fields();
        let first = column.split('.').next().unwrap_or(column);
        if !fields.iter().any(|field| field.name() == column || field.name() == first) {
            return Err(Error::plan(format!(
                "{name} is set for the column {column}, which is not among those written"
            )));
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use crate::registry::Registry;
    use crate::{Session, SessionOptions};

    #[tokio::test]
    async fn a_link_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.csv"), folder.path().join("link.csv"));
        std::fs::write(&file, "x\n1\n").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let session = Session::try_new(&Registry::default(), &SessionOptions::default()).unwrap();
        let copy = |to: &std::path::Path| format!("COPY (SELECT 2 AS x) TO '{}'", to.display());
        let error = session.sql(&copy(&link)).await.unwrap_err().to_string();
        assert!(error.contains("the target is a symbolic link"), "{error}");
        assert!(link.is_symlink());
        session.sql(&copy(&file)).await.unwrap().collect().await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\n2\n");
    }
}
