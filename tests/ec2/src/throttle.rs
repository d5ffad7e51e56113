//! EC2's throttling: a token bucket.

use crate::Bucket;
use std::time::Instant;

/// How much of a bucket is left.
#[derive(Debug, Default)]
pub struct Level(Option<(f64, Instant)>);

impl Level {
    /// Takes a token; whether there was one.
    pub fn take(&mut self, bucket: Bucket, now: Instant) -> bool {
        let (level, since) = self.0.unwrap_or((bucket.burst, now));
        let filled = (level + now.duration_since(since).as_secs_f64() * bucket.rate).min(bucket.burst);
        let taken = filled >= 1.0;
        self.0 = Some((if taken { filled - 1.0 } else { filled }, now));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Level};
    use std::time::{Duration, Instant};

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut level, bucket, start) = (Level::default(), Bucket { rate: 10.0, burst: 5.0 }, Instant::now());
        let mut taken = |after: u64| level.take(bucket, start + Duration::from_millis(after));
        assert_eq!((0..8).filter(|_| taken(0)).count(), 5);
        assert!(!taken(90) && taken(110) && !taken(120));
        // No more than a burst is saved up.
        assert_eq!((0..20).filter(|_| taken(60_000)).count(), 5);
    }
}
