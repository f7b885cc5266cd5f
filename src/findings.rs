//! Diagnoses: pure functions from a recording to findings.
