//! Figures for a person.

/// Prints rows under their heading, each column as wide as it must be; all but the first are flush right.
pub fn print<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in [&heading.map(str::to_owned)].into_iter().chain(rows) {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}

/// A value beside its aim, marked where it misses it.
pub fn against(value: f64, digits: usize, aim: f64) -> String {
    let mark = if value > aim { " !" } else { "" };
    format!("{value:.digits$}{mark}")
}
