//! Aligns columns as Go's tabwriter does, because that is what the tables people know were made by.
//!
//! A cell is text *ended by a tab*. A column is a run of consecutive lines that have a cell at that place; its
//! width is that of its widest cell plus padding. What follows the last tab of a line belongs to no column.

const LEAST: usize = 10;
const PADDING: usize = 3;

/// Aligns lines of tab-separated cells.
pub(crate) fn align(text: &str) -> String {
    align_with(text, LEAST, PADDING)
}

/// The same with a smallest width and a padding of one's own.
pub(crate) fn align_with(text: &str, least: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = vec![Vec::new(); lines.len()];
    measure(&lines, &mut widths, 0..lines.len(), least, padding);
    let mut output = String::with_capacity(text.len() * 2);
    for (index, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if index > 0 {
            output.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            output.push_str(cell);
            if let Some(width) = widths.get(column) {
                output.extend(std::iter::repeat_n(
                    ' ',
                    width.saturating_sub(cell.chars().count()),
                ));
            }
        }
    }
    output
}

/// Finds the blocks of lines that have one more column than known so far, and widens each as a whole.
fn measure(
    lines: &[Vec<&str>],
    widths: &mut [Vec<usize>],
    range: std::ops::Range<usize>,
    least: usize,
    padding: usize,
) {
    let mut line = range.start;
    while line < range.end {
        let column = widths[line].len();
        if column + 1 >= lines[line].len() {
            line += 1;
            continue;
        }
        let block = line..(line..range.end)
            .find(|l| column + 1 >= lines[*l].len())
            .unwrap_or(range.end);
        let widest = lines[block.clone()]
            .iter()
            .map(|cells| cells[column].chars().count())
            .max()
            .unwrap_or(0);
        let width = (widest + padding).max(least);
        for widths in &mut widths[block.clone()] {
            widths.push(width);
        }
        measure(lines, widths, block.clone(), least, padding);
        line = block.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_three() {
        let cases = [
            ("nothing stays nothing", "", ""),
            ("text without tabs is left alone", "a\nbb\n", "a\nbb\n"),
            (
                "the last cell is not padded",
                "A\tB\nlonger than ten\tx\n",
                "A                 B\nlonger than ten   x\n",
            ),
            ("a column is at least ten wide", "A\tB\n", "A         B\n"),
            ("letters are counted, not bytes", "é…\tx\n", "é…        x\n"),
            (
                "a line without the column ends its block",
                "a\tb\nno tab\nlonger than ten\tb\n",
                "a         b\nno tab\nlonger than ten   b\n",
            ),
            (
                "blocks of the second column are their own",
                "a\tlonger than ten\tx\nb\n c\td\te\n",
                "a         longer than ten   x\nb\n c        d         e\n",
            ),
            (
                "an empty cell takes its width too",
                "\t\tx\n",
                "                    x\n",
            ),
        ];
        for (name, text, expected) in cases {
            assert_eq!(align(text), expected, "{name}");
        }
    }
}
