//! What threads share without a lock is made of these: the standard library's, but in models loom's, which plays every order
//! of what they do that the memory model allows. docs/reliability.md says what the models show.

#[cfg(all(test, pollscope_loom))]
pub(crate) mod model;

#[cfg(all(test, pollscope_loom))]
pub(crate) use model::{OnceLock, atomic, thread};
#[cfg(not(all(test, pollscope_loom)))]
pub(crate) use std::{
    sync::{OnceLock, atomic},
    thread,
};

/// Whether this is a build of models, in which tables are small: a model looks at every place of them.
pub(crate) const MODELLED: bool = cfg!(all(test, pollscope_loom));
