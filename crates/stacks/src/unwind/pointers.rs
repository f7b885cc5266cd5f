//! Where the frames of a stack are, and where they return to.

use super::{Registers, Stack};

/// The stack pointer of each frame of a [`Stack`], by the frame's index: in the innermost one as it is, in its callers as it will be
/// when their call returns.
///
/// A frame further in is at a lower address. Two frames of one function at different ones are two calls of it; at the same one they
/// may be one call, or one after the other.
///
/// ```
/// # #[cfg(supported)] {
/// use pollscope_stacks::{capture::Capturer, thread::ThreadRef};
/// let (tell, hear) = std::sync::mpsc::channel();
/// let (stop, stopped) = std::sync::mpsc::channel::<()>();
/// let sleeper = std::thread::spawn(move || {
///     let here = 0_u8;
///     tell.send((ThreadRef::current(), &raw const here as u64)).unwrap();
///     stopped.recv().ok();
/// });
/// let (thread, here) = hear.recv().unwrap();
/// let mut capturer = Capturer::new();
/// let (capture, pointers) = loop {
///     if let Ok(captured) = capturer.capture_with_pointers(&thread) { break captured; }
/// };
/// let index = (0..capture.stack.frames.len()).rev().find(|index| pointers.get(*index).unwrap() <= here).unwrap();
/// assert!(pointers.get(index + 1).unwrap() > here, "it is in that frame");
/// assert_eq!(capture.stack.returns_to(index), Some(capture.stack.frames[index + 1].raw()));
/// # drop(stop);
/// # sleeper.join().unwrap();
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackPointers(Vec<Option<u64>>);

impl StackPointers {
    pub(crate) fn of(frames: &[Registers]) -> StackPointers {
        StackPointers(frames.iter().map(Registers::sp).collect())
    }

    /// That of the frame with this index; `None` if there is no such frame, or its stack pointer is not known.
    pub fn get(&self, frame: usize) -> Option<u64> {
        self.0.get(frame).copied().flatten()
    }
}

impl Stack {
    /// The address of the code that goes on when the call of the frame with this index ends; `None` for the outermost frame, and for
    /// one whose caller is not kept. Whoever tail-called the frame's function has no frame: what goes on is that one's caller.
    pub fn returns_to(&self, frame: usize) -> Option<u64> {
        let caller = frame.checked_add(1)?;
        let is_left_out = self.left_out.is_some_and(|left_out| left_out.after == caller);
        self.frames.get(caller).filter(|_| !is_left_out).map(|caller| caller.raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::CodeAddress;
    use crate::unwind::{End, LeftOut};

    #[test]
    fn a_frame_returns_to_its_caller_if_that_is_known() {
        let frames = [CodeAddress::Exact(1), CodeAddress::Return(2), CodeAddress::Return(3)].to_vec();
        let mut stack = Stack { frames, left_out: None, end: End::Root, guessed: None };
        assert_eq!([0, 1, 2, usize::MAX].map(|frame| stack.returns_to(frame)), [Some(2), Some(3), None, None]);
        stack.left_out = Some(LeftOut { after: 2, count: 9 });
        assert_eq!([0, 1].map(|frame| stack.returns_to(frame)), [Some(2), None], "its caller was left out");
    }
}
