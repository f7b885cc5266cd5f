//! What other users of the loop feel while it is busy or blocked.

pub(crate) mod lag;
pub(crate) mod responder;
