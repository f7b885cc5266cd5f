//! Values that shells complete and help lists, of arguments that parse them in their own way, with messages of their own.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

/// A parser, and what it takes.
#[derive(Clone)]
pub(super) struct Listed<P> {
    parser: P,
    values: fn() -> Vec<&'static str>,
}

/// The same parser, with values to list. It may take others, such as paths.
pub(super) fn listed<P>(parser: P, values: fn() -> Vec<&'static str>) -> Listed<P> {
    Listed { parser, values }
}

impl<P: TypedValueParser> TypedValueParser for Listed<P> {
    type Value = P::Value;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<P::Value, Error> {
        self.parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.values)().into_iter().map(PossibleValue::new)))
    }
}
