//! What the server can do, in the codes of Flight SQL.

use std::time::Duration;

use almagest_engine::{Error, Result};
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions,
    SupportedSqlGrammar,
};
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;

/// Functions, by the groups that Flight SQL asks for.
const NUMERIC: [&str; 20] = [
    "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "degrees", "exp", "floor", "ln",
    "log10", "pi", "power", "radians", "round", "sin", "sqrt", "tan", "trunc",
];
const STRING: [&str; 12] = [
    "concat",
    "left",
    "length",
    "lower",
    "ltrim",
    "repeat",
    "replace",
    "right",
    "rtrim",
    "substring",
    "trim",
    "upper",
];
const TIME: [&str; 6] =
    ["current_date", "current_time", "date_part", "date_trunc", "now", "to_timestamp"];

/// The answers for whoever may write, or may not.
///
/// # Errors
/// `Bug`.
pub fn sql_info(writes: bool, time_max: Option<Duration>) -> Result<SqlInfoData> {
    make(writes, time_max)
        .map_err(|cause| Error::bug("what the server can do contradicts itself").caused_by(cause))
}

fn make(
    writes: bool,
    time_max: Option<Duration>,
) -> Result<SqlInfoData, arrow_flight::error::FlightError> {
    // 0 is no limit
    let time_max = time_max.map_or(0, |time| i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Almagest");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    info.append(SqlInfo::FlightSqlServerReadOnly, !writes);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, writes);
    info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    info.append(SqlInfo::FlightSqlServerStatementTimeout, time_max);
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0i32);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, true);
    info.append(SqlInfo::SqlDdlTable, writes);
    info.append(
        SqlInfo::SqlIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32,
    );
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(
        SqlInfo::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32,
    );
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.append(SqlInfo::SqlKeywords, ALL_KEYWORDS);
    info.append(SqlInfo::SqlNumericFunctions, NUMERIC.as_slice());
    info.append(SqlInfo::SqlStringFunctions, STRING.as_slice());
    info.append(SqlInfo::SqlSystemFunctions, ["version"].as_slice());
    info.append(SqlInfo::SqlDatetimeFunctions, TIME.as_slice());
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlExtraNameCharacters, "");
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    info.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    info.append(
        SqlInfo::SqlSupportedGroupBy,
        flag(SqlSupportedGroupBy::SqlGroupByUnrelated as i32),
    );
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, false);
    info.append(
        SqlInfo::SqlSupportedGrammar,
        flag(SupportedSqlGrammar::SqlMinimumGrammar as i32)
            | flag(SupportedSqlGrammar::SqlCoreGrammar as i32),
    );
    info.append(SqlInfo::SqlAnsi92SupportedLevel, 0i32);
    info.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    info.append(
        SqlInfo::SqlOuterJoinsSupportLevel,
        flag(SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32),
    );
    info.append(SqlInfo::SqlSchemaTerm, "schema");
    info.append(SqlInfo::SqlCatalogTerm, "catalog");
    info.append(SqlInfo::SqlProcedureTerm, "");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    info.append(SqlInfo::SqlSelectForUpdateSupported, false);
    info.append(SqlInfo::SqlStoredProceduresSupported, false);
    info.append(
        SqlInfo::SqlSupportedSubqueries,
        flag(SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32)
            | flag(SqlSupportedSubqueries::SqlSubqueriesInExists as i32)
            | flag(SqlSupportedSubqueries::SqlSubqueriesInIns as i32)
            | flag(SqlSupportedSubqueries::SqlSubqueriesInQuantifieds as i32),
    );
    info.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    info.append(
        SqlInfo::SqlSupportedUnions,
        flag(SqlSupportedUnions::SqlUnion as i32) | flag(SqlSupportedUnions::SqlUnionAll as i32),
    );
    info.append(SqlInfo::SqlMaxConnections, 0i64);
    info.append(SqlInfo::SqlDefaultTransactionIsolation, 0i32);
    info.append(SqlInfo::SqlTransactionsSupported, false);
    info.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    info.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    info.append(SqlInfo::SqlBatchUpdatesSupported, true);
    info.append(SqlInfo::SqlSavepointsSupported, false);
    info.append(SqlInfo::SqlNamedParametersSupported, true);
    info.append(SqlInfo::SqlLocatorsUpdateCopy, false);
    info.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
    info.build()
}

/// The bit of a value in a set of flags.
fn flag(value: i32) -> i32 {
    1 << value
}
