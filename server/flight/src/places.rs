//! How clients are told of files: by names that begin at a folder of data, and nothing of what lies above.
//!
//! The server's folders stand in errors, in plans that EXPLAIN shows, in what tables say of themselves,
//! and in what `input_file_name()` gives. In: such a text, rows or a plan. Out: the same with names as
//! from the folder that a file is in; and of what lies beside a folder, as whoever writes `../` has
//! written it. Not here: which files may be read ([`super::access`]).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use almagest_engine::walk::{Walk, WalkPlan};
use almagest_engine::{Error, Result};
use arrow::array::{
    ArrayRef, AsArray, LargeStringArray, RecordBatchOptions, StringArray, StringViewArray,
};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::functions::regex::regexp_replace;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use url::Url;

use super::access::Access;

/// The function that gives where a row is from.
const FILE_NAME: &str = "input_file_name";

/// The text without these folders and what is above them; the longest first, as one may lie in another.
pub fn hidden(text: &str, folders: &[String]) -> String {
    // most have none of them
    if !text.contains('/') {
        return text.to_string();
    }
    let mut hidden = text.to_string();
    for folder in folders.iter().flat_map(|folder| spelled(folder)) {
        // stores name files without the first slash
        let bare = folder.trim_start_matches('/');
        for name in [format!("file://{folder}").as_str(), folder.as_str(), bare] {
            hidden = without_name(&hidden, &format!("{name}/"), "", false);
        }
        hidden = without_name(&hidden, &folder, ".", true);
    }
    for (above, depth) in above_all(folders) {
        let up = [".."].repeat(depth).join("/");
        for above in spelled(above) {
            hidden = without_name(&hidden, &format!("file://{above}"), &up, true);
            hidden = without_name(&hidden, &above, &up, true);
            // stores name files without the first slash
            let bare = above.trim_start_matches('/');
            if bare.contains('/') {
                hidden = without_name(&hidden, bare, &up, true);
            }
        }
    }
    hidden
}

/// What lies above the folders, the longest first, and how many steps up it is from the nearest.
fn above_all(folders: &[String]) -> Vec<(&str, usize)> {
    let mut steps: BTreeMap<&Path, usize> = BTreeMap::new();
    for folder in folders {
        let above = Path::new(folder).ancestors().enumerate().skip(1);
        for (depth, above) in above.take_while(|(_, above)| above.parent().is_some()) {
            steps.entry(above).and_modify(|steps| *steps = depth.min(*steps)).or_insert(depth);
        }
    }
    let named = steps.into_iter().filter_map(|(above, depth)| Some((above.to_str()?, depth)));
    let mut all: Vec<_> = named.collect();
    all.sort_by_key(|(above, _)| std::cmp::Reverse(above.len()));
    all
}

/// A path as it is, and as URLs have it.
fn spelled(path: &str) -> Vec<String> {
    let url = Url::from_file_path(path).ok().map(|url| url.path().to_string());
    let mut spelled = vec![path.to_string()];
    spelled.extend(url.filter(|url| url != path));
    spelled
}

/// The text with another name wherever the path stands that is no part of a longer path, or, if it is
/// whole, of a longer name.
fn without_name(text: &str, path: &str, name: &str, is_whole: bool) -> String {
    let is_of_name = |c: char| c.is_alphanumeric() || "._-%~+@#".contains(c);
    let (mut changed, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(path) {
        let (before, after) = (&rest[..at], &rest[at + path.len()..]);
        let last = before.chars().next_back().or_else(|| changed.chars().next_back());
        let begins = !last.is_some_and(|c| is_of_name(c) || c == '/');
        // only a slash, or what is no name, goes on behind a whole name; a full stop ends sentences
        let ends = match after.strip_prefix('.') {
            Some(after) => after.is_empty() || after.starts_with(char::is_whitespace),
            None => !after.starts_with(is_of_name),
        };
        changed.push_str(before);
        changed.push_str(if begins && (ends || !is_whole) { name } else { path });
        rest = after;
    }
    changed.push_str(rest);
    changed
}

/// Whether the rows of a plan tell of plans or columns. What tells of tables and settings is hidden where
/// it is read ([`super::descriptions`]).
///
/// # Errors
/// `Bug` if a plan cannot be walked.
pub fn tells_of_places(plan: &LogicalPlan) -> Result<bool> {
    let mut tells = false;
    plan.walk_with_subqueries(&mut |node| {
        tells |= matches!(
            node,
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_)
        );
        Ok(if tells { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(tells)
}

/// The batch with its texts hidden.
///
/// # Errors
/// `Bug` if the texts are not as many as before.
pub fn hidden_rows(batch: &RecordBatch, access: &Access) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| hidden_column(column, access));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.collect();
    let hidden = RecordBatch::try_new_with_options(batch.schema(), columns, &options);
    hidden.map_err(|cause| Error::bug("hidden texts are no rows").caused_by(cause))
}

/// The column with its texts hidden.
pub fn hidden_column(column: &ArrayRef, access: &Access) -> ArrayRef {
    let hide = |text: Option<&str>| text.map(|text| access.hide(text));
    match column.data_type() {
        DataType::Utf8 => {
            Arc::new(column.as_string::<i32>().iter().map(hide).collect::<StringArray>())
        }
        DataType::LargeUtf8 => {
            Arc::new(column.as_string::<i64>().iter().map(hide).collect::<LargeStringArray>())
        }
        DataType::Utf8View => {
            Arc::new(column.as_string_view().iter().map(hide).collect::<StringViewArray>())
        }
        _ => Arc::clone(column),
    }
}

/// The plan, in which names of files begin at the folder they are in. A plan that is only shown stays as
/// it is: how names are shortened would be shown with it.
///
/// # Errors
/// `Bug` if a plan cannot be changed.
pub fn with_names_of_files(plan: LogicalPlan, access: &Access) -> Result<LogicalPlan> {
    if matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)) {
        return Ok(plan);
    }
    let mut asks = false;
    plan.walk_with_subqueries(&mut |node| {
        node.walk_expressions(&mut |expression| {
            asks |= expression.any(&mut |inner| Ok(is_file_name(inner)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if !asks {
        return Ok(plan);
    }
    let folders = access.folders();
    let folders = folders.iter().map(|folder| escaped(folder.trim_start_matches('/')));
    let pattern = format!("^(?:{})/", folders.collect::<Vec<_>>().join("|"));
    let changed = plan.change_up_with_subqueries(&mut |node| {
        let names = NamePreserver::new(&node);
        node.change_expressions(&mut |expression| {
            let name = names.save(&expression);
            let changed = expression.change_down(&mut |inner| named(inner, &pattern))?;
            Ok(changed.update_data(|expression| name.restore(expression)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    });
    Ok(changed.data()?)
}

fn is_file_name(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarFunction(call) if call.func.name() == FILE_NAME)
}

fn named(expression: Expr, pattern: &str) -> DfResult<Transformed<Expr>> {
    if is_named(&expression, pattern) {
        return Ok(Transformed::new(expression, false, TreeNodeRecursion::Jump));
    }
    if !is_file_name(&expression) {
        return Ok(Transformed::no(expression));
    }
    let arguments = vec![expression, lit(pattern), lit("")];
    let call = ScalarFunction::new_udf(regexp_replace(), arguments);
    Ok(Transformed::new(Expr::ScalarFunction(call), true, TreeNodeRecursion::Jump))
}

/// Whether this is a name that was shortened already, as in the plan that a view keeps. Done again, a
/// folder would be lost that has the same name below as above.
fn is_named(expression: &Expr, pattern: &str) -> bool {
    let Expr::ScalarFunction(call) = expression else { return false };
    let [name, shortened, ..] = &call.args[..] else { return false };
    let is_pattern = |value: &ScalarValue| value.try_as_str() == Some(Some(pattern));
    call.func.name() == regexp_replace().name()
        && is_file_name(name)
        && matches!(shortened, Expr::Literal(value, _) if is_pattern(value))
}

/// A regular expression that matches the text. Only what means something alone is escaped: `\<` and `\>`
/// mean something else than `<` and `>`.
fn escaped(text: &str) -> String {
    let escaped = text.chars().map(|c| match r"\.+*?()|[]{}^$#&-~".contains(c) {
        true => format!("\\{c}"),
        false => c.to_string(),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_folder_of_the_server_is_told() {
        let folders = ["/srv/our data/open/deep".to_string(), "/srv/our data/open".to_string()];
        for (text, told) in [
            ("'/srv/our data/open/x.csv' is damaged", "'x.csv' is damaged"),
            ("at file:///srv/our%20data/open/x.csv", "at x.csv"),
            (
                "groups: [[srv/our data/open/deep/x.csv, srv/our data/open/y.csv:0..3]]",
                "groups: [[x.csv, y.csv:0..3]]",
            ),
            ("(folder: /srv/our data/open)", "(folder: .)"),
            ("in /srv/our data/open.", "in .."),
            ("'/srv/our data/other.csv' is not among", "'../other.csv' is not among"),
            ("location=/srv/our data/other.csv", "location=../other.csv"),
            ("'/srv/x.csv' is not among", "'../../x.csv' is not among"),
            ("not found: srv/our%20data/b.csv", "not found: ../b.csv"),
            ("the folder /srv is full", "the folder ../.. is full"),
            ("file:///srv/our%20data/b.csv", "../b.csv"),
            ("'/srv/our data/opened/x.csv'", "'../opened/x.csv'"),
            ("'/srvs/x.csv' and '/etc/passwd'", "'/srvs/x.csv' and '/etc/passwd'"),
            ("a/b and 3/4", "a/b and 3/4"),
        ] {
            assert_eq!(hidden(text, &folders), told, "{text}");
        }
    }
}
