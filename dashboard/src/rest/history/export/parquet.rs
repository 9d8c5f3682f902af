//! Rows as a Parquet file that is sent while it is written: whole row groups, and their index at the end.

use std::{io, sync::Arc};

use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type,
};

use super::Row;

/// Rows of a row group, which is held until it is full: some 10 MB with three statistics and attributes. Readers skip
/// whole groups by their least and greatest time, and want tens of thousands of rows in each.
const GROUP_ROWS: usize = 50_000;

/// A file on its way. It has the columns of the CSV; `null` where nothing is known.
pub(super) struct Table {
    /// What is not yet taken stands in the `Vec`.
    to: SerializedFileWriter<Vec<u8>>,
    name: ByteArray,
    unit: ByteArray,
    group: Group,
}

/// The rows of the group that fills.
struct Group {
    timestamps_ms: Vec<i64>,
    node: Column<ByteArrayType>,
    attributes: Column<ByteArrayType>,
    statistics: Vec<Column<DoubleType>>,
    /// Seconds, seconds expected, nodes reporting, nodes expected.
    counts: [Column<Int32Type>; 4],
    missing: Column<ByteArrayType>,
}

/// A column in which a value may be absent.
struct Column<T: DataType> {
    /// The values that are there.
    values: Vec<T::T>,
    /// For each row 1 if it has a value, else 0: what Parquet calls definition levels.
    levels: Vec<i16>,
}

impl Table {
    /// A file of the series called `name` with a column for each of `statistics`.
    pub(super) fn new(name: &str, unit: &str, statistics: &[String]) -> io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_created_by(concat!("starling ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // Of a page they would be held to the end of the file.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        let to = SerializedFileWriter::new(Vec::new(), Arc::new(schema(statistics)?), Arc::new(properties))?;
        Ok(Self { to, name: name.into(), unit: unit.into(), group: Group::new(statistics.len()) })
    }

    /// Adds a row, of which `values` are in the order of the statistics.
    pub(super) fn push(&mut self, row: &Row<'_>) -> io::Result<()> {
        self.group.push(row);
        if self.group.timestamps_ms.len() >= GROUP_ROWS { Ok(self.write_group()?) } else { Ok(()) }
    }

    /// The bytes since the last call.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.to.inner_mut())
    }

    /// The last bytes. Nothing can be added after it.
    pub(super) fn end(&mut self) -> io::Result<Vec<u8>> {
        if !self.group.timestamps_ms.is_empty() {
            self.write_group()?;
        }
        self.to.finish()?;
        Ok(self.take())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let statistics = self.group.statistics.len();
        let group = std::mem::replace(&mut self.group, Group::new(statistics));
        let rows = group.timestamps_ms.len();
        let mut to = self.to.next_row_group()?;
        write::<Int64Type>(&mut to, &group.timestamps_ms, None)?;
        group.node.write(&mut to)?;
        write::<ByteArrayType>(&mut to, &vec![self.name.clone(); rows], None)?;
        group.attributes.write(&mut to)?;
        write::<ByteArrayType>(&mut to, &vec![self.unit.clone(); rows], None)?;
        group.statistics.into_iter().try_for_each(|column| column.write(&mut to))?;
        group.counts.into_iter().try_for_each(|column| column.write(&mut to))?;
        group.missing.write(&mut to)?;
        to.close()?;
        Ok(())
    }
}

impl Group {
    fn new(statistics: usize) -> Self {
        Self {
            timestamps_ms: Vec::new(),
            node: Column::default(),
            attributes: Column::default(),
            statistics: (0..statistics).map(|_| Column::default()).collect(),
            counts: Default::default(),
            missing: Column::default(),
        }
    }

    fn push(&mut self, row: &Row<'_>) {
        let (node, _) = row.key;
        let point = row.point;
        let text = |text: &str| Some(text).filter(|text| !text.is_empty()).map(ByteArray::from);
        self.timestamps_ms.push(i64::from(point.tick) * 1_000);
        self.node.push(text(node));
        self.attributes.push(text(&row.attributes()));
        for (column, (_, value)) in self.statistics.iter_mut().zip(row.values) {
            column.push(Some(*value).filter(|value| value.is_finite()));
        }
        let counts = [Some(point.seconds()), point.seconds_expected, point.nodes_reporting, point.nodes_expected];
        for (column, count) in self.counts.iter_mut().zip(counts) {
            column.push(count.map(u32::cast_signed));
        }
        self.missing.push(row.missing.and_then(text));
    }
}

impl<T: DataType> Default for Column<T> {
    fn default() -> Self {
        Self { values: Vec::new(), levels: Vec::new() }
    }
}

impl<T: DataType> Column<T> {
    fn push(&mut self, value: Option<T::T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    fn write(self, to: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), ParquetError> {
        write::<T>(to, &self.values, Some(&self.levels))
    }
}

/// Writes the next column of a group.
fn write<T: DataType>(
    to: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let past_the_last = || ParquetError::General("more columns than the schema has".to_owned());
    let mut column = to.next_column()?.ok_or_else(past_the_last)?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

/// The columns in the order in which a group writes them.
fn schema(statistics: &[String]) -> Result<Type, ParquetError> {
    let time = Some(LogicalType::timestamp(true, TimeUnit::MILLIS));
    let (text, count) = (Some(LogicalType::String), Some(LogicalType::integer(32, false)));
    let mut columns = vec![
        ("timestamp", Repetition::REQUIRED, Physical::INT64, time),
        ("node", Repetition::OPTIONAL, Physical::BYTE_ARRAY, text.clone()),
        ("name", Repetition::REQUIRED, Physical::BYTE_ARRAY, text.clone()),
        ("attributes", Repetition::OPTIONAL, Physical::BYTE_ARRAY, text.clone()),
        ("unit", Repetition::REQUIRED, Physical::BYTE_ARRAY, text.clone()),
    ];
    columns.extend(statistics.iter().map(|name| (name.as_str(), Repetition::OPTIONAL, Physical::DOUBLE, None)));
    for name in ["seconds", "seconds_expected", "nodes_reporting", "nodes_expected"] {
        columns.push((name, Repetition::OPTIONAL, Physical::INT32, count.clone()));
    }
    columns.push(("missing", Repetition::OPTIONAL, Physical::BYTE_ARRAY, text));
    let column = |(name, repetition, physical, logical)| {
        let column = Type::primitive_type_builder(name, physical).with_repetition(repetition);
        column.with_logical_type(logical).build().map(Arc::new)
    };
    let columns = columns.into_iter().map(column).collect::<Result<_, _>>()?;
    Type::group_type_builder("starling").with_fields(columns).build()
}

#[cfg(test)]
mod tests {
    use parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::Field,
    };
    use starling_proto::v1;

    use super::*;

    #[test]
    fn what_is_taken_piece_by_piece_is_a_file_of_whole_groups() {
        let keys = [("n1".to_owned(), vec![("a".to_owned(), "b".to_owned())]), (String::new(), Vec::new())];
        let mut table = Table::new("g", "By", &["mean".to_owned(), "p99.9".to_owned()]).unwrap();
        let (mut file, mut pieces, rows) = (Vec::new(), 0, GROUP_ROWS + 3);
        for place in 0..rows {
            let tick = u32::try_from(place).unwrap();
            let (value, known) = (f64::from(tick), place % 2 == 0);
            let point = v1::RangePoint {
                tick: 3_000_000_000 + tick,
                seconds: Some(1),
                nodes_expected: known.then_some(u32::MAX),
                ..Default::default()
            };
            let row = Row {
                name: "g",
                unit: "By",
                key: &keys[place % 2],
                point: &point,
                values: &[("mean", value), ("p99.9", if known { -value } else { f64::NAN })],
                missing: known.then_some("a2 stopped"),
            };
            table.push(&row).unwrap();
            if place % 500 == 499 {
                let piece = table.take();
                pieces += usize::from(!piece.is_empty());
                file.extend(piece);
            }
        }
        file.extend(table.end().unwrap());
        assert_eq!(pieces, 1, "a whole group before the end");

        let read = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
        assert_eq!(read.metadata().num_row_groups(), 2);
        let mut seen = 0;
        for (place, row) in read.get_row_iter(None).unwrap().enumerate() {
            let row: Vec<_> = row.unwrap().into_columns();
            let is = |name: &str| &row.iter().find(|(column, _)| column == name).unwrap().1;
            let tick = u32::try_from(place).unwrap();
            let known = place % 2 == 0;
            assert_eq!(*is("timestamp"), Field::TimestampMillis((3_000_000_000 + i64::from(tick)) * 1_000));
            assert_eq!((is("name"), is("unit")), (&Field::Str("g".into()), &Field::Str("By".into())));
            let or_null = |field| if known { field } else { Field::Null };
            assert_eq!(*is("node"), or_null(Field::Str("n1".into())));
            assert_eq!(*is("attributes"), or_null(Field::Str("a=b".into())));
            assert_eq!(*is("mean"), Field::Double(f64::from(tick)));
            assert_eq!(*is("p99.9"), or_null(Field::Double(-f64::from(tick))));
            assert_eq!((is("seconds"), is("seconds_expected")), (&Field::UInt(1), &Field::Null));
            assert_eq!(*is("nodes_expected"), or_null(Field::UInt(u32::MAX)));
            assert_eq!(*is("missing"), or_null(Field::Str("a2 stopped".into())));
            seen += 1;
        }
        assert_eq!(seen, rows);
    }

    #[test]
    fn a_file_without_rows_can_be_read() {
        let mut table = Table::new("g", "", &[]).unwrap();
        let file = table.end().unwrap();
        let read = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
        assert_eq!((read.metadata().num_row_groups(), read.metadata().file_metadata().num_rows()), (0, 0));
    }
}
