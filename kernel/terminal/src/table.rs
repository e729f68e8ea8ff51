//! Text in columns as wide as their contents.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A heading and rows. A column whose cells are all numbers (or `-`) is
/// aligned to the right, any other to the left.
#[derive(Debug)]
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    #[must_use]
    pub fn new(heading: [&str; N]) -> Self {
        Self { rows: Vec::from([heading.map(String::from)]) }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [&dyn ToString; N]) {
        self.rows.push(cells.map(ToString::to_string));
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() - 1
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    }

    fn is_numeric(&self, column: usize) -> bool {
        let number = |cell: &String| cell == "-" || cell.bytes().all(|byte| byte.is_ascii_digit());
        self.rows[1..].iter().all(|row| number(&row[column]))
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: [(usize, bool); N] = core::array::from_fn(|n| (self.width(n), self.is_numeric(n)));
        for row in &self.rows {
            let mut line = String::new();
            for (cell, (width, numeric)) in row.iter().zip(columns) {
                use fmt::Write as _;
                if !line.is_empty() {
                    line.push_str("  ");
                }
                if numeric { write!(line, "{cell:>width$}")? } else { write!(line, "{cell:<width$}")? }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_cells() {
        let mut table = Table::new(["CPU", "task", "PIDR"]);
        table.row([&0, &"17 storm", &12]);
        table.row([&10, &"idle", &"-"]);
        assert_eq!(table.to_string(), "CPU  task      PIDR\n  0  17 storm    12\n 10  idle         -\n");
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn an_empty_table_is_its_heading() {
        let table = Table::new(["a", "b"]);
        assert!(table.is_empty());
        assert_eq!(table.to_string(), "a  b\n");
    }
}
