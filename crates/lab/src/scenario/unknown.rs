//! What a run of a scenario cannot tell, as far as its settings and this build say so beforehand.

use super::{Settings, Workload};

impl Settings {
    /// Why no run with these settings can tell a gate's metric, named without its statistic; `None` if one can.
    ///
    /// ```
    /// use pollscope_lab::scenario::wire;
    /// let text = "question = '?'\nwhy = 'w'\n[block]\n[expect]\ngates = ['slow_polls >= 1']";
    /// let settings = wire::parse("mine", text, &[])?.settings;
    /// assert!(settings.why_unknown("merge.lines").is_some() && settings.why_unknown("polls").is_none());
    /// # Ok::<(), pollscope_lab::scenario::wire::ScenarioError>(())
    /// ```
    pub fn why_unknown(&self, metric: &str) -> Option<&'static str> {
        let merges = !matches!(self.workload, Workload::Block(_));
        match metric {
            "throughput" if !merges => Some("nothing is merged"),
            name if name.starts_with("merge.") && !merges => Some("nothing is merged"),
            "write_latency" if !matches!(self.workload, Workload::Merge(_)) => {
                Some("when lines appear is known only of simulated writers")
            }
            "lag" | "lag_raw" if self.witness.lag.is_none() => Some("no timer is on the loop (`witness.lag`)"),
            "response_time" if self.witness.response.is_none() => Some("no server is on the loop (`witness.response`)"),
            "schedule_latency" if !pollscope_probe::TOKIO_UNSTABLE => {
                Some("this build lacks `--cfg tokio_unstable`, and Tokio tells no wake-ups")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::wire;

    const TELLS: [&str; 9] = [
        "polls",
        "busy",
        "busy_stretches",
        "slow_polls",
        "slow_polls_dropped",
        "lag",
        "lag_raw",
        "response_time",
        "merge.verdict",
    ];

    /// Of all that a gate can speak of, what a scenario with that text cannot tell.
    fn unknown(body: &str) -> Vec<&'static str> {
        let text = format!("question = \"?\"\nwhy = \"w\"\n{body}\n[expect]\ngates = [\"slow_polls >= 0\"]\n");
        let settings = wire::parse("mine", &text, &[]).expect("a scenario").settings;
        let others = ["throughput", "write_latency", "merge.lost"];
        TELLS.into_iter().chain(others).filter(|metric| settings.why_unknown(metric).is_some()).collect()
    }

    #[test]
    fn it_depends_on_what_runs() {
        assert_eq!(unknown("[merge]\n[witness]\nlag = \"10ms\"\nresponse = \"10ms\""), [""; 0]);
        assert_eq!(unknown("[block]"), ["merge.verdict", "throughput", "write_latency", "merge.lost"]);
        assert_eq!(
            unknown("[merge]\n[witness]\nlag = \"off\"\nresponse = \"off\""),
            ["lag", "lag_raw", "response_time"]
        );
    }
}
