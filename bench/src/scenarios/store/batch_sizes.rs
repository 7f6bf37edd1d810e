//! How many messages the writer's batches had, from the metric that it keeps of them.

use anyhow::Context;

use crate::outcome::Series;

const METRIC: &str = "naru_api_writer_batch_size";

/// A histogram.
#[derive(Debug, PartialEq)]
pub(super) struct BatchSizes {
    /// The largest batch of each bucket, and how many batches are in it.
    buckets: Vec<(f64, f64)>,
    messages: f64,
}

impl BatchSizes {
    /// Of an api-server's metrics.
    pub(super) fn parse(metrics: &str) -> anyhow::Result<Self> {
        let mut buckets = Vec::new();
        let (mut messages, mut below) = (0.0, 0.0);
        for line in metrics.lines().filter_map(|line| line.strip_prefix(METRIC)) {
            let (name, value) = line.rsplit_once(' ').context("a metric without a value")?;
            let value: f64 = value.parse().context("a metric that is no number")?;
            if name == "_sum" {
                messages = value;
            } else if let Some(bound) = name.strip_prefix("_bucket{le=\"") {
                let bound: f64 = bound.trim_end_matches("\"}").parse().unwrap_or(f64::INFINITY);
                buckets.push((bound, value - below));
                below = value;
            }
        }
        // No batch is larger than the last bound but infinity.
        buckets.retain(|(bound, _)| bound.is_finite());
        Ok(Self { buckets, messages })
    }

    /// Messages of a batch on average.
    pub(super) fn mean(&self) -> f64 {
        self.messages / self.batches().max(1.0)
    }

    /// The share of batches, in percent, that are as large as the bucket's bound and larger than the one's before.
    pub(super) fn series(&self, name: impl Into<String>) -> Series {
        let all = self.batches().max(1.0);
        let points = self.buckets.iter().map(|(bound, count)| (*bound, 100.0 * count / all)).collect();
        Series { name: name.into(), points }
    }

    fn batches(&self) -> f64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_sizes_are_read_from_the_writers_metric() {
        let metrics = "# TYPE naru_api_writer_batch_size histogram\n\
                       naru_api_writer_batch_size_sum 14.0\n\
                       naru_api_writer_batch_size_count 4\n\
                       naru_api_writer_batch_size_bucket{le=\"2.0\"} 1\n\
                       naru_api_writer_batch_size_bucket{le=\"4.0\"} 4\n\
                       naru_api_writer_batch_size_bucket{le=\"+Inf\"} 4\n\
                       naru_api_writer_batch_duration_seconds_sum 3.0\n";
        let sizes = BatchSizes::parse(metrics).unwrap();
        assert_eq!(sizes, BatchSizes { buckets: vec![(2.0, 1.0), (4.0, 3.0)], messages: 14.0 });
        assert_eq!(sizes.mean(), 3.5);
        assert_eq!(sizes.series("x").points, [(2.0, 25.0), (4.0, 75.0)]);
    }
}
