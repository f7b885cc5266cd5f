//! Look-ups in this very test binary and in stripped copies of it.

use super::*;
