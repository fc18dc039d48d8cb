//! Tables: columns under headers, no lines; as wide as the terminal, or as their content where there is none.

use comfy_table::{ColumnConstraint, ContentArrangement, Table as Drawn};

use crate::output::{marked, shown, styled, styles, Output};

/// A table that is being filled.
pub(crate) struct Table(Drawn);

impl Table {
    /// With these headers, in capitals.
    pub(crate) fn new(output: Output, headers: &[&str]) -> Self {
        let mut table = Drawn::new();
        table.load_preset(comfy_table::presets::NOTHING);
        if let Some((terminal_size::Width(width), _)) = terminal_size::terminal_size().filter(|_| output.is_terminal())
        {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        if !headers.is_empty() {
            table.set_header(headers.iter().map(|header| shown(&styled(styles::HEADER, header.to_uppercase()))));
        }
        Self(table)
    }

    /// One more row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // A cell that is a line of its own stays one: what people wrote may hold anything.
        self.0.add_row(cells.into_iter().map(|cell| shown(&cell.replace("\r\n", " ").replace(['\n', '\t'], " "))));
    }

    /// The table, its first column, and these, never broken into lines.
    pub(crate) fn render(mut self, whole: &[usize]) -> String {
        let columns = self.0.column_count();
        for index in 0..columns {
            if let Some(column) = self.0.column_mut(index) {
                column.set_padding((0, if index + 1 < columns { 2 } else { 0 }));
                if index == 0 || whole.contains(&index) {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
            }
        }
        marked(&self.0.trim_fmt())
    }
}

/// What fits into a cell of a table: the beginning of a text.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
