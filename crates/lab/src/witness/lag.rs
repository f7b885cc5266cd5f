//! Loop lag: how late a periodic timer on the loop fires.
//!
//! A blocked loop fires the timer once, late, instead of many times: the raw values then have one long lag among many
//! short ones, and their percentiles flatter the loop. The corrected values have, for each missed firing, the lag that it
//! would have had (HdrHistogram's correction for coordinated omission).
//!
//! Tokio's timers have a resolution of 1 ms and round up, so an idle loop shows a lag of up to about 1 ms.

use std::time::Duration;

use pollscope_probe::internal::{Reader, Writer, pair};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What a lag witness measures.
#[derive(Debug, Clone)]
pub(crate) struct Lag {
    /// One value for every due firing of the timer.
    pub(crate) corrected: Reader,
    /// One value for every actual firing.
    pub(crate) raw: Reader,
}

/// A timer of the given period that runs until `stop` turns true, and what it measures.
pub(crate) fn witness(period: Duration, stop: watch::Receiver<bool>) -> (Lag, impl Future<Output = ()> + Send) {
    let (corrected_writer, corrected) = pair();
    let (raw_writer, raw) = pair();
    (Lag { corrected, raw }, run(period, stop, corrected_writer, raw_writer))
}

async fn run(period: Duration, mut stop: watch::Receiver<bool>, mut corrected: Writer, mut raw: Writer) {
    let mut due = Instant::now() + period;
    loop {
        tokio::select! {
            biased;
            () = sleep_until(due) => {}
            _ = stop.wait_for(|&stop| stop) => return,
        }
        let now = Instant::now();
        raw.record(nanos(now - due));
        while due <= now {
            corrected.record(nanos(now - due));
            due += period;
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_one_raw_value_and_a_corrected_one_for_each_missed_firing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (lag, timer) = witness(Duration::from_millis(10), stopped);
        runtime.block_on(async {
            let timer = tokio::spawn(timer);
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_millis(205));
            tokio::time::sleep(Duration::from_millis(20)).await;
            stop.send(true).unwrap();
            timer.await.unwrap();
        });
        let over = |reader: &Reader| reader.read().count_from(Duration::from_millis(50));
        assert_eq!(over(&lag.raw), 1, "it fired once");
        // Firings at 10, 20, … up to 150 ms were more than 50 ms late when the block ended at 205 ms or later.
        assert!(over(&lag.corrected) >= 15, "{:?}", lag.corrected.read());
    }
}
