//! What was measured: samples with their unit, kept per scenario, and read back when the document is written.

use serde::{Deserialize, Serialize};

/// The result of one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name on the command line.
    pub scenario: String,
    /// Its heading.
    pub title: String,
    /// When, as an RFC 3339 date and time in UTC.
    pub measured: String,
    /// Measured with `--quick` or of some systems only: not for the record.
    pub provisional: bool,
    /// How, in sentences.
    pub settings: Vec<String>,
    /// What the figures leave open, in sentences.
    pub not_shown: Vec<String>,
    /// The figures.
    pub series: Vec<Series>,
    /// What could not be measured, and why.
    pub not_run: Vec<NotRun>,
}

/// One figure of one system, with a sample per repetition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// What is counted.
    pub figure: String,
    /// Of whom.
    pub system: String,
    /// In what.
    pub unit: String,
    /// In the order of measurement.
    pub samples: Vec<f64>,
}

/// A measurement that did not happen, or that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NotRun {
    /// Of whom.
    pub system: String,
    /// Why not.
    pub reason: String,
}

impl Outcome {
    /// An outcome without figures.
    pub fn new(scenario: &str, title: &str, settings: &[&str], not_shown: &[&str]) -> Self {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Self {
            scenario: scenario.into(),
            title: title.into(),
            measured: String::new(),
            provisional: false,
            settings: owned(settings),
            not_shown: owned(not_shown),
            series: Vec::new(),
            not_run: Vec::new(),
        }
    }

    /// Adds one sample.
    pub fn record(&mut self, figure: &str, system: &str, unit: &str, sample: f64) {
        match self.series.iter_mut().find(|series| series.figure == figure && series.system == system) {
            Some(series) => series.samples.push(sample),
            None => {
                self.series.push(Series {
                    figure: figure.into(),
                    system: system.into(),
                    unit: unit.into(),
                    samples: vec![sample],
                });
            }
        }
    }

    /// Notes that a system was not (wholly) measured, on the terminal too.
    pub fn failed(&mut self, system: &str, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        eprintln!("NOT RUN: {} of {system}: {reason}", self.scenario);
        self.not_run.push(NotRun { system: system.into(), reason });
    }

    /// The median of a figure of the first system whose name starts with `system`.
    pub fn median(&self, figure: &str, system: &str) -> Option<f64> {
        let series = self.series.iter().find(|series| series.figure == figure && series.system.starts_with(system))?;
        Some(series.median())
    }

    /// The highest median of a figure among the systems whose name starts with `system`.
    pub fn best(&self, figure: &str, system: &str) -> Option<f64> {
        let of_it = self.series.iter().filter(|series| series.figure == figure && series.system.starts_with(system));
        of_it.map(Series::median).max_by(f64::total_cmp)
    }
}

impl Series {
    /// The middle sample; NaN without samples.
    pub fn median(&self) -> f64 {
        quantile(&self.samples, 0.5)
    }

    /// The lowest and the highest sample.
    pub fn range(&self) -> (f64, f64) {
        (quantile(&self.samples, 0.0), quantile(&self.samples, 1.0))
    }
}

/// The sample below which this share of the samples lies, by the nearest rank; NaN without samples.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let samples: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&samples, 0.0), quantile(&samples, 0.5), quantile(&samples, 0.99)), (0.0, 50.0, 99.0));
        assert!(quantile(&[], 0.5).is_nan());
    }
}
