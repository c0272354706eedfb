//! stdout is data: a table for people, JSON for programs. stderr is talk.

use std::io::{IsTerminal, Write};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, ContentArrangement, LineStyle, Row, Table, TableStyle};
use common::domain::Micros;
use serde_json::Value;

/// How a command shows what it found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

/// A table's column: its heading, and the key of the value that it shows.
pub(crate) type Column = (&'static str, &'static str);

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read.
    pub(crate) const fn json(self) -> bool {
        self.json
    }

    /// A list: an array of objects, or a table of some of their values. `nothing` is said when it is empty.
    pub(crate) fn list(self, rows: &[Value], columns: &[Column], nothing: &str) {
        if self.json {
            data(&pretty(&Value::from(rows)));
        } else if rows.is_empty() {
            say(nothing);
        } else {
            data(&table(rows, columns).trim_fmt());
        }
    }

    /// One object, or the same in words.
    pub(crate) fn object(self, value: &Value, words: impl FnOnce() -> String) {
        data(&if self.json { pretty(value) } else { words() });
    }
}

/// A table of objects.
pub(crate) fn table(rows: &[Value], columns: &[Column]) -> Table {
    let mut table = bare_table(columns.iter().map(|(heading, _)| *heading));
    for row in rows {
        table.add_row(Row::from(columns.iter().map(|(_, key)| Cell::new(text(&row[*key])))));
    }
    table
}

/// Lines around the headings and at the end, none between rows: a screen holds twice as many.
const STYLE: TableStyle = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());

/// A table with its headings and no row yet.
pub(crate) fn bare_table<'a>(headings: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.into_iter().collect::<Vec<_>>());
    table
}

/// A value as a person reads it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A row of the store as JSON, with every moment as RFC 3339 in UTC.
pub(crate) fn row(of: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(of).unwrap_or_default();
    tell_moments(&mut value);
    value
}

fn tell_moments(value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    let is_moment = |key: &str| ["_at", "_until", "_since"].iter().any(|end| key.ends_with(end));
    for (_, moment) in object.iter_mut().filter(|(key, _)| is_moment(key)) {
        if let Some(micros) = moment.as_i64() {
            *moment = Micros(micros).to_string().into();
        }
    }
}

fn pretty(value: &Value) -> String {
    // Only maps with keys that are no strings cannot be written, and a `Value` has none.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Whether a person watches stdout.
pub(crate) fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Writes data, with a line's end.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that has gone, such as `head`, has what it wanted.
    let _reader_gone = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes to a terminal what is not to end a line.
pub(crate) fn draw(text: &str) {
    let mut out = std::io::stdout().lock();
    let _reader_gone = write!(out, "{text}").and_then(|()| out.flush());
}

/// Talks.
pub(crate) fn say(text: &str) {
    // With stderr gone there is nobody to tell.
    let _nobody = writeln!(std::io::stderr().lock(), "{text}");
}
