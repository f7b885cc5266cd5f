//! What other parts of the loop feel while it is busy or blocked.

pub mod lag;
pub mod responder;
