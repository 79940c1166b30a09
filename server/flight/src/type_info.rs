//! The types of SQL, as ODBC and JDBC describe them.

use std::sync::OnceLock;

use almagest_engine::{Error, Result};
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

/// Bytes that a text can have.
const TEXT_MAX: i32 = i32::MAX;

/// The types, made once.
///
/// # Errors
/// `Bug`.
pub fn type_info() -> Result<&'static XdbcTypeInfoData> {
    static INFO: OnceLock<XdbcTypeInfoData> = OnceLock::new();
    match INFO.get() {
        Some(info) => Ok(info),
        None => {
            let mut builder = XdbcTypeInfoDataBuilder::new();
            all().into_iter().for_each(|info| builder.append(info));
            let made = builder.build().map_err(|cause| {
                Error::bug("the list of types contradicts itself").caused_by(cause)
            })?;
            Ok(INFO.get_or_init(|| made))
        }
    }
}

fn all() -> Vec<XdbcTypeInfo> {
    use XdbcDataType::{
        XdbcBigint, XdbcBit, XdbcDate, XdbcDecimal, XdbcDouble, XdbcInteger, XdbcReal,
        XdbcSmallint, XdbcTime, XdbcTimestamp, XdbcTinyint, XdbcVarbinary, XdbcVarchar,
    };
    vec![
        other("BOOLEAN", XdbcBit, 1),
        number("TINYINT", XdbcTinyint, 3),
        number("SMALLINT", XdbcSmallint, 5),
        number("INT", XdbcInteger, 10),
        number("BIGINT", XdbcBigint, 19),
        unsigned("TINYINT UNSIGNED", XdbcTinyint, 3),
        unsigned("SMALLINT UNSIGNED", XdbcSmallint, 5),
        unsigned("INT UNSIGNED", XdbcInteger, 10),
        unsigned("BIGINT UNSIGNED", XdbcBigint, 20),
        // bits, as they are no decimal digits
        XdbcTypeInfo { num_prec_radix: Some(2), ..number("REAL", XdbcReal, 24) },
        XdbcTypeInfo { num_prec_radix: Some(2), ..number("DOUBLE", XdbcDouble, 53) },
        XdbcTypeInfo {
            create_params: Some(vec!["precision".into(), "scale".into()]),
            minimum_scale: Some(0),
            maximum_scale: Some(38),
            ..number("DECIMAL", XdbcDecimal, 38)
        },
        quoted("VARCHAR", XdbcVarchar, TEXT_MAX, "'"),
        quoted("BYTEA", XdbcVarbinary, TEXT_MAX, "X'"),
        // ODBC has the same number for dates and for years
        moment("DATE", XdbcDate, 10, XdbcDatetimeSubcode::XdbcSubcodeYear),
        moment("TIME", XdbcTime, 18, XdbcDatetimeSubcode::XdbcSubcodeTime),
        moment("TIMESTAMP", XdbcTimestamp, 29, XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
    ]
}

fn other(name: &str, data_type: XdbcDataType, column_size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.into(),
        data_type,
        column_size: Some(column_size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        auto_increment: Some(false),
        local_type_name: Some(name.into()),
        sql_data_type: data_type,
        ..XdbcTypeInfo::default()
    }
}

fn number(name: &str, data_type: XdbcDataType, digits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(false),
        num_prec_radix: Some(10),
        ..other(name, data_type, digits)
    }
}

fn unsigned(name: &str, data_type: XdbcDataType, digits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo { unsigned_attribute: Some(true), ..number(name, data_type, digits) }
}

fn quoted(name: &str, data_type: XdbcDataType, size: i32, prefix: &str) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some(prefix.into()),
        literal_suffix: Some("'".into()),
        case_sensitive: true,
        ..other(name, data_type, size)
    }
}

fn moment(
    name: &str,
    data_type: XdbcDataType,
    size: i32,
    subcode: XdbcDatetimeSubcode,
) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some(format!("{name} '")),
        literal_suffix: Some("'".into()),
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        ..other(name, data_type, size)
    }
}
