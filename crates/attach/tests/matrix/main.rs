//! The benchmark `matrix` judges by these: they are right themselves.

#![allow(dead_code, reason = "the benchmark uses the rest")]

#[path = "../../benches/matrix/clocks.rs"]
mod clocks;
mod clocks_tests;
#[path = "../../benches/matrix/floors.rs"]
mod floors;
mod floors_tests;
#[path = "../../benches/matrix/matching.rs"]
mod matching;
mod matching_tests;
#[path = "../../benches/matrix/options.rs"]
mod options;
mod options_tests;
#[path = "../../benches/matrix/plan.rs"]
mod plan;
mod plan_tests;
#[path = "../../benches/matrix/score.rs"]
mod score;
mod score_tests;
#[path = "../../benches/matrix/seen.rs"]
mod seen;
mod seen_tests;
#[path = "../../benches/matrix/table.rs"]
mod table;
mod table_tests;
#[path = "../../benches/matrix/truth.rs"]
mod truth;
mod truth_tests;
