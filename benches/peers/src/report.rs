//! The result, with the keys of `paxos bench --json`.

use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};

/// How long the histogram reaches, in microseconds: a minute.
const LONGEST_MICROS: u64 = 60_000_000;

/// A client's measurements.
pub struct Measured {
    /// How many values were in flight.
    pub outstanding: u64,
    /// How many bytes each had.
    pub value_bytes: usize,
    /// From the beginning to the last answer.
    pub seconds: f64,
    /// In microseconds, of all values.
    pub latency: Histogram<u64>,
}

/// An empty histogram, as in `paxos bench`.
pub fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_max(LONGEST_MICROS, 3).map_err(|error| error.to_string())
}

impl Measured {
    /// One JSON object, with what else is told in the object `more`.
    pub fn report(&self, mut more: Json) -> String {
        let latency = &self.latency;
        let rate = latency.len() as f64 / self.seconds.max(1e-9);
        let [p50, p90, p99, p999] =
            [0.5, 0.9, 0.99, 0.999].map(|share| latency.value_at_quantile(share));
        let mut object = json!({
            "clients": 1, "outstanding": self.outstanding, "value_bytes": self.value_bytes,
            "seconds": self.seconds, "values": latency.len(), "values_per_second": rate,
            "megabytes_per_second": rate * self.value_bytes as f64 / 1e6,
            "p50_us": p50, "p90_us": p90, "p99_us": p99, "p999_us": p999, "max_us": latency.max(),
        });
        if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object_mut()) {
            object.append(more);
        }
        object.to_string()
    }
}
