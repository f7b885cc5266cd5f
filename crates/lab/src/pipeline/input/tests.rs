//! Inputs against a model of the logs that they are.

mod model;
mod world;
