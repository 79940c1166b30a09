//! What is written of plans over arrays, as protocol buffers.
//!
//! Arrays and tables refer to one another by their place in one list, each to earlier ones only: an
//! array that two functions read is written once, and is one array where it is read back. Fields are
//! only ever added; expressions, schemas and values are DataFusion's messages.

use std::collections::{BTreeMap, HashMap};

use datafusion_proto::protobuf;
use prost::{Message, Oneof};

use crate::write::Target;

/// A table that is scanned.
#[derive(Clone, PartialEq, Message)]
pub struct Provider {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(oneof = "provider::Kind", tags = "2, 3, 4, 5, 6, 7")]
    pub kind: Option<provider::Kind>,
}

pub mod provider {
    use super::*;

    #[allow(clippy::large_enum_variant)] // made once for each table of a plan
    #[derive(Clone, PartialEq, Oneof)]
    pub enum Kind {
        #[prost(message, tag = "2")]
        Arrays(Table),
        #[prost(message, tag = "3")]
        Records(Records),
        #[prost(message, tag = "4")]
        Reduced(Reduced),
        /// Rows in memory, as an Arrow IPC stream.
        #[prost(bytes, tag = "5")]
        Memory(Vec<u8>),
        /// The plan of what a table function of DataFusion generates.
        #[prost(message, tag = "6")]
        Generated(protobuf::PhysicalPlanNode),
        #[prost(message, tag = "7")]
        Globbed(Globbed),
    }
}

/// A table of files, some of whose paths end in a glob.
#[derive(Clone, PartialEq, Message)]
pub struct Globbed {
    /// DataFusion's message of a scan of it, which lacks the globs.
    #[prost(message, optional, tag = "1")]
    pub scan: Option<protobuf::LogicalPlanNode>,
    /// For each path its glob, empty for none.
    #[prost(string, repeated, tag = "2")]
    pub globs: Vec<String>,
}

/// A table of arrays.
#[derive(Clone, PartialEq, Message)]
pub struct Table {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub dims: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub columns: Vec<String>,
    #[prost(uint32, repeated, tag = "4")]
    pub variables: Vec<u32>,
    #[prost(uint64, tag = "5")]
    pub box_bytes: u64,
}

/// A table of records.
#[derive(Clone, PartialEq, Message)]
pub struct Records {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub source: u32,
}

/// The partial states of a table of arrays.
#[derive(Clone, PartialEq, Message)]
pub struct Reduced {
    #[prost(message, optional, tag = "1")]
    pub table: Option<Table>,
    /// Logical expressions.
    #[prost(bytes, repeated, tag = "2")]
    pub filters: Vec<Vec<u8>>,
    /// Over logical expressions.
    #[prost(message, optional, tag = "3")]
    pub reduction: Option<Reduction>,
}

/// An array, or a table whose columns are arrays.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(oneof = "node::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<node::Kind>,
}

pub mod node {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub enum Kind {
        #[prost(message, tag = "1")]
        File(File),
        #[prost(message, tag = "2")]
        Stack(Stack),
        #[prost(message, tag = "3")]
        Relation(Relation),
        #[prost(message, tag = "4")]
        Column(Column),
        #[prost(message, tag = "5")]
        Fields(Fields),
        #[prost(message, tag = "6")]
        Call(Call),
        #[prost(message, tag = "7")]
        Expression(Expression),
        #[prost(message, tag = "8")]
        Blocks(Blocks),
        #[prost(message, tag = "9")]
        Memory(Memory),
    }
}

/// A file that is opened as a table.
#[derive(Clone, PartialEq, Message)]
pub struct File {
    #[prost(string, tag = "1")]
    pub format: String,
    #[prost(string, tag = "2")]
    pub location: String,
    #[prost(map = "string, string", tag = "3")]
    pub options: HashMap<String, String>,
}

/// Tables under a new leading dimension.
#[derive(Clone, PartialEq, Message)]
pub struct Stack {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub dim: String,
    #[prost(message, repeated, tag = "3")]
    pub tables: Vec<Table>,
}

/// A call of a table function.
#[derive(Clone, PartialEq, Message)]
pub struct Relation {
    #[prost(string, tag = "1")]
    pub function: String,
    #[prost(message, repeated, tag = "2")]
    pub tables: Vec<Table>,
    #[prost(message, optional, tag = "3")]
    pub arguments: Option<Arguments>,
}

/// A variable of a table; its description where the table is a file.
#[derive(Clone, PartialEq, Message)]
pub struct Column {
    #[prost(uint32, tag = "1")]
    pub table: u32,
    #[prost(uint32, tag = "2")]
    pub variable: u32,
    #[prost(message, optional, tag = "3")]
    pub meta: Option<Meta>,
}

/// What is known about an array.
#[derive(Clone, PartialEq, Message)]
pub struct Meta {
    #[prost(string, repeated, tag = "1")]
    pub dims: Vec<String>,
    #[prost(uint64, repeated, tag = "2")]
    pub shape: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    pub chunk_shape: Vec<u64>,
    /// One field: the element's type.
    #[prost(message, optional, tag = "4")]
    pub element: Option<protobuf::Schema>,
}

/// Some fields of records.
#[derive(Clone, PartialEq, Message)]
pub struct Fields {
    #[prost(uint32, tag = "1")]
    pub of: u32,
    #[prost(uint32, repeated, tag = "2")]
    pub fields: Vec<u32>,
}

/// A call of an array function.
#[derive(Clone, PartialEq, Message)]
pub struct Call {
    #[prost(string, tag = "1")]
    pub function: String,
    #[prost(uint32, tag = "2")]
    pub value: u32,
    #[prost(message, optional, tag = "3")]
    pub arguments: Option<Arguments>,
}

/// Constant arguments.
#[derive(Clone, PartialEq, Message)]
pub struct Arguments {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<protobuf::ScalarValue>,
    #[prost(string, repeated, tag = "2")]
    pub names: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub named: Vec<protobuf::ScalarValue>,
    #[prost(message, optional, tag = "4")]
    pub lambda: Option<Lambda>,
}

/// A function of one list.
#[derive(Clone, PartialEq, Message)]
pub struct Lambda {
    #[prost(message, optional, tag = "1")]
    pub body: Option<protobuf::PhysicalExprNode>,
    #[prost(message, optional, tag = "2")]
    pub parameter: Option<protobuf::Schema>,
}

/// What expressions over arrays read.
#[derive(Clone, PartialEq, Message)]
pub struct Columns {
    #[prost(message, optional, tag = "1")]
    pub schema: Option<protobuf::Schema>,
    #[prost(message, repeated, tag = "2")]
    pub operands: Vec<Operand>,
    #[prost(uint32, tag = "3")]
    pub like: u32,
}

/// An axis, or an array.
#[derive(Clone, PartialEq, Message)]
pub struct Operand {
    #[prost(oneof = "operand::Kind", tags = "1, 2")]
    pub kind: Option<operand::Kind>,
}

pub mod operand {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Oneof)]
    pub enum Kind {
        #[prost(uint32, tag = "1")]
        Dimension(u32),
        #[prost(uint32, tag = "2")]
        Array(u32),
    }
}

/// An expression, element by element.
#[derive(Clone, PartialEq, Message)]
pub struct Expression {
    #[prost(message, optional, tag = "1")]
    pub expr: Option<protobuf::PhysicalExprNode>,
    #[prost(message, optional, tag = "2")]
    pub columns: Option<Columns>,
}

/// An aggregate of each block.
#[derive(Clone, PartialEq, Message)]
pub struct Blocks {
    #[prost(string, tag = "1")]
    pub aggregate: String,
    #[prost(message, repeated, tag = "2")]
    pub arguments: Vec<protobuf::PhysicalExprNode>,
    #[prost(bool, tag = "3")]
    pub distinct: bool,
    #[prost(string, tag = "4")]
    pub name: String,
    #[prost(message, optional, tag = "5")]
    pub mask: Option<protobuf::PhysicalExprNode>,
    #[prost(message, repeated, tag = "6")]
    pub keys: Vec<Key>,
    #[prost(message, optional, tag = "7")]
    pub columns: Option<Columns>,
}

/// An array in memory, its elements as an Arrow IPC stream.
#[derive(Clone, PartialEq, Message)]
pub struct Memory {
    #[prost(string, repeated, tag = "1")]
    pub dims: Vec<String>,
    #[prost(uint64, repeated, tag = "2")]
    pub shape: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    pub chunk_shape: Vec<u64>,
    #[prost(bytes = "vec", tag = "4")]
    pub values: Vec<u8>,
}

/// A group key.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Key {
    #[prost(uint32, tag = "1")]
    pub axis: u32,
    #[prost(uint64, tag = "2")]
    pub divisor: u64,
}

/// A reduction.
#[derive(Clone, PartialEq, Message)]
pub struct Reduction {
    #[prost(message, repeated, tag = "1")]
    pub keys: Vec<Key>,
    #[prost(message, repeated, tag = "2")]
    pub states: Vec<State>,
}

/// What is kept of an expression.
#[derive(Clone, PartialEq, Message)]
pub struct State {
    /// The place in `StateKind::ALL`.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub argument: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub filter: Option<Vec<u8>>,
}

/// An operator of ours.
#[derive(Clone, PartialEq, Message)]
pub struct Operator {
    #[prost(oneof = "operator::Kind", tags = "1, 2, 3")]
    pub kind: Option<operator::Kind>,
}

pub mod operator {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub enum Kind {
        #[prost(message, tag = "1")]
        Scan(Scan),
        #[prost(message, tag = "2")]
        Pieces(Pieces),
        #[prost(message, tag = "3")]
        Parts(Parts),
    }
}

/// Where and how the tasks of a COPY write.
#[derive(Clone, PartialEq, Message)]
pub struct Parts {
    #[prost(string, tag = "1")]
    pub folder: String,
    #[prost(string, tag = "2")]
    pub format: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub options: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "4")]
    pub partition_by: Vec<String>,
}

/// A leaf whose partitions are run one by one.
#[derive(Clone, PartialEq, Message)]
pub struct Pieces {
    /// The leaf.
    #[prost(message, optional, tag = "1")]
    pub leaf: Option<protobuf::PhysicalPlanNode>,
    /// How its files are compressed, such as GZIP, which DataFusion's message lacks; or nothing.
    #[prost(string, tag = "2")]
    pub compression: String,
}

/// What an operator reads of arrays, and gives.
#[derive(Clone, PartialEq, Message)]
pub struct Scan {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(uint64, repeated, tag = "3")]
    pub start: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    pub region_shape: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    pub array_shape: Vec<u64>,
    #[prost(uint64, repeated, tag = "6")]
    pub chunk_shape: Vec<u64>,
    #[prost(message, repeated, tag = "7")]
    pub columns: Vec<Operand>,
    #[prost(string, repeated, tag = "8")]
    pub dims: Vec<String>,
    #[prost(message, optional, tag = "9")]
    pub dimension_filter: Option<Predicate>,
    #[prost(message, optional, tag = "10")]
    pub value_filter: Option<Predicate>,
    #[prost(message, optional, tag = "11")]
    pub schema: Option<protobuf::Schema>,
    #[prost(uint64, optional, tag = "12")]
    pub fetch: Option<u64>,
    /// The columns of rows, unless there are states.
    #[prost(uint32, repeated, tag = "13")]
    pub rows: Vec<u32>,
    #[prost(message, optional, tag = "14")]
    pub states: Option<States>,
}

/// A condition over some columns of a scan.
#[derive(Clone, PartialEq, Message)]
pub struct Predicate {
    #[prost(message, optional, tag = "1")]
    pub expr: Option<protobuf::PhysicalExprNode>,
    #[prost(message, optional, tag = "2")]
    pub inputs: Option<Inputs>,
}

/// Some columns of a scan.
#[derive(Clone, PartialEq, Message)]
pub struct Inputs {
    #[prost(uint32, repeated, tag = "1")]
    pub columns: Vec<u32>,
    #[prost(message, optional, tag = "2")]
    pub schema: Option<protobuf::Schema>,
}

/// Partial states that a scan gives instead of rows.
#[derive(Clone, PartialEq, Message)]
pub struct States {
    /// Over physical expressions.
    #[prost(message, optional, tag = "1")]
    pub reduction: Option<Reduction>,
    #[prost(message, optional, tag = "2")]
    pub inputs: Option<Inputs>,
}

impl From<&Target> for Parts {
    fn from(target: &Target) -> Self {
        let Target { folder, format, options, partition_by } = target.clone();
        Self { folder, format, options, partition_by }
    }
}

impl From<Parts> for Target {
    fn from(parts: Parts) -> Self {
        let Parts { folder, format, options, partition_by } = parts;
        Self { folder, format, options, partition_by }
    }
}
