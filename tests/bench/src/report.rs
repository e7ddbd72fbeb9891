//! Samples, and the table and JSON made of them.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// What a figure is measured in, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Milliseconds: less is better.
    Milliseconds,
    /// Gigabits in a second: more is better.
    GigabitsPerSecond,
    /// Queries answered in a second: more is better.
    QueriesPerSecond,
    /// Requests answered in a second: more is better.
    RequestsPerSecond,
    /// Microseconds: less is better.
    Microseconds,
    /// Mebibytes: less is better.
    Mebibytes,
    /// A number of things: less is better.
    Count,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::GigabitsPerSecond => "Gbit/s",
            Self::QueriesPerSecond => "queries/s",
            Self::RequestsPerSecond => "requests/s",
            Self::Microseconds => "µs",
            Self::Mebibytes => "MiB",
            Self::Count => "in number",
        }
    }
}

/// Samples of one thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Times `operation` and adds the milliseconds it took; its failure is no sample.
    pub(crate) fn time<T>(&mut self, operation: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let start = Instant::now();
        let answer = operation()?;
        self.push(milliseconds(start.elapsed()));
        Ok(answer)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The middle sample; none if there is none.
    pub(crate) fn median(&self) -> Option<f64> {
        self.sorted().get(self.0.len() / 2).copied()
    }

    /// Each sample over the one of the other that was taken in the same turn.
    fn beside(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0).filter(|(_, other)| **other > 0.0);
        Self(pairs.map(|(own, other)| own / other).collect())
    }

    fn ends(&self) -> Option<(f64, f64)> {
        let sorted = self.sorted();
        Some((*sorted.first()?, *sorted.last()?))
    }

    fn json(&self) -> Value {
        match (self.median(), self.ends()) {
            (Some(median), Some((least, most))) => {
                json!({"median": round(median), "min": round(least), "max": round(most), "samples": self.0.len()})
            }
            _ => Value::Null,
        }
    }
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn round(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

/// One operation: ours, the floor, and others'.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The operation.
    pub(crate) name: String,
    /// What the floor is, in a few words.
    pub(crate) floor_is: &'static str,
    /// Unit of all figures.
    pub(crate) unit: Unit,
    /// Ours.
    pub(crate) ours: Samples,
    /// The floor.
    pub(crate) floor: Samples,
    /// Others by name.
    pub(crate) others: Vec<(String, Samples)>,
    /// Each of our samples is compared with the floor's that was taken beside it.
    pub(crate) paired: bool,
}

impl Row {
    /// An empty row.
    pub(crate) fn new(name: impl Into<String>, floor_is: &'static str, unit: Unit) -> Self {
        let (ours, floor) = (Samples::default(), Samples::default());
        Self {
            name: name.into(),
            floor_is,
            unit,
            ours,
            floor,
            others: Vec::new(),
            paired: false,
        }
    }

    /// The same, with each of our samples compared with the floor's that was taken beside it: what a machine does to
    /// both at a time is no difference between them.
    pub(crate) fn paired(self) -> Self {
        Self { paired: true, ..self }
    }

    /// Ours over the floor.
    fn ratio(&self) -> Option<f64> {
        if self.paired {
            return self.ours.beside(&self.floor).median();
        }
        Some(self.ours.median()? / self.floor.median().filter(|floor| *floor > 0.0)?)
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// As a Markdown table.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| operation | cnm (min to max) | floor by hand | ratio | others |\n|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let unit = row.unit.name();
            let ends = row
                .ours
                .ends()
                .map(|(least, most)| format!(" ({least:.1} to {most:.1})"))
                .unwrap_or_default();
            let floor = row
                .floor
                .median()
                .map_or_else(|| "-".to_owned(), |m| format!("{m:.1} {unit}, {}", row.floor_is));
            let ratio = row
                .ratio()
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let others: Vec<_> = row
                .others
                .iter()
                .filter_map(|(name, samples)| {
                    samples
                        .median()
                        .map(|median| format!("{name} {median:.1} {unit}"))
                })
                .collect();
            let others = if others.is_empty() {
                "-".to_owned()
            } else {
                others.join(", ")
            };
            let ours = row
                .ours
                .median()
                .map_or_else(|| "-".to_owned(), |median| format!("{median:.1} {unit}{ends}"));
            let _ = writeln!(text, "| {} | {ours} | {floor} | {ratio} | {others} |", row.name);
        }
        text
    }

    /// As JSON.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        let rows = self.rows.iter().map(|row| {
            let others = row
                .others
                .iter()
                .map(|(name, samples)| (name.clone(), samples.json()));
            json!({
                "operation": row.name,
                "unit": row.unit.name(),
                "cnm": row.ours.json(),
                "floor": row.floor.json(),
                "floor_is": row.floor_is,
                "ratio": row.ratio().map(round),
                "others": Value::Object(others.collect()),
            })
        });
        Ok(serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_sorted_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), None);
        for sample in [5.0, 1.0, 9.0] {
            samples.push(sample);
        }
        assert_eq!(samples.median(), Some(5.0));
        assert_eq!(samples.ends(), Some((1.0, 9.0)));
    }

    #[test]
    fn a_paired_ratio_is_that_of_samples_of_one_turn() {
        let mut row = Row::new("", "", Unit::Count);
        // The machine was slow in the second turn, and both were.
        for (ours, floor) in [(9.0, 10.0), (3.6, 4.0), (8.0, 10.0)] {
            row.ours.push(ours);
            row.floor.push(floor);
        }
        assert_eq!(row.ratio(), Some(0.8));
        assert_eq!(row.paired().ratio(), Some(0.9));
    }
}
