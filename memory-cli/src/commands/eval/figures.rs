//! How good rankings are, each question having one right answer.

use std::time::Duration;

/// The ranks of the right answers, and how long finding them took.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// From 0; none where the right answer was not among the hits.
    ranks: Vec<Option<usize>>,
    times: Vec<Duration>,
}

impl Figures {
    pub(super) fn add(&mut self, rank: Option<usize>, time: Duration) {
        self.ranks.push(rank);
        self.times.push(time);
    }

    /// Recall@1, @5 and @10, the mean reciprocal rank, and nDCG, all of ten hits and in percent.
    ///
    /// With one right answer, nDCG is the mean of 1 / log2(1 + rank), ranks counted from 1.
    pub(super) fn percent(&self) -> [f64; 5] {
        let within = |k: usize| self.mean(|rank| if rank < k { 1.0 } else { 0.0 });
        [
            within(1),
            within(5),
            within(10),
            self.mean(|rank| 1.0 / (float(rank) + 1.0)),
            self.mean(|rank| 1.0 / (float(rank) + 2.0).log2()),
        ]
    }

    fn mean(&self, gain: impl Fn(usize) -> f64) -> f64 {
        let sum: f64 = self.ranks.iter().flatten().map(|rank| gain(*rank)).sum();
        if self.ranks.is_empty() { 0.0 } else { 100.0 * sum / float(self.ranks.len()) }
    }

    /// The median time.
    pub(super) fn milliseconds(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_definitions() {
        let mut figures = Figures::default();
        for (rank, ms) in [(Some(0), 3), (Some(1), 1), (Some(6), 2), (None, 9)] {
            figures.add(rank, Duration::from_millis(ms));
        }
        let [one, five, ten, mrr, ndcg] = figures.percent();
        assert!((one - 25.0).abs() + (five - 50.0).abs() + (ten - 75.0).abs() < 1e-9);
        assert!((mrr - 25.0 * (1.0 + 0.5 + 1.0 / 7.0)).abs() < 1e-9, "{mrr}");
        assert!((ndcg - 25.0 * (1.0 + 1.0 / 3_f64.log2() + 1.0 / 3.0)).abs() < 1e-9, "{ndcg}");
        assert!((figures.milliseconds() - 3.0).abs() < 1e-9);
        assert!(Figures::default().percent().iter().all(|x| x.abs() < 1e-9), "no questions");
    }
}
