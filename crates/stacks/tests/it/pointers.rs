//! Where the frames of a stack are: compared with where their functions say that their variables are.

use std::hint::black_box;
use std::sync::mpsc::channel;

use pollscope_stacks::capture::Capturer;
use pollscope_stacks::thread::ThreadRef;

use crate::support::name;

/// Calls itself, and has the address of a variable of each call noted, the innermost last.
#[inline(never)]
fn recurse(levels: usize, variables: &mut Vec<u64>, block: &mut dyn FnMut(&[u64])) -> usize {
    let variable = black_box([levels; 20]);
    variables.push(variable.as_ptr() as u64);
    let deeper = if levels == 0 {
        block(variables);
        0
    } else {
        recurse(levels - 1, variables, block)
    };
    deeper + black_box(variable[levels % 20])
}

#[test]
fn each_call_of_one_function_has_a_place_of_its_own() {
    const LEVELS: usize = 20;
    let (tell, hear) = channel();
    let (stop, stopped) = channel::<()>();
    let blocked = std::thread::spawn(move || {
        let mut block = |variables: &[u64]| {
            tell.send((ThreadRef::current(), variables.to_vec())).unwrap();
            stopped.recv().ok();
        };
        black_box(recurse(LEVELS, &mut Vec::new(), &mut block));
    });
    let (thread, mut variables) = hear.recv().unwrap();
    variables.reverse();
    let mut capturer = Capturer::new();
    let (capture, pointers) = loop {
        match capturer.capture_with_pointers(&thread) {
            Ok((capture, pointers)) if capture.syscall.is_some() => break (capture, pointers),
            _ => std::thread::yield_now(),
        }
    };
    let is_call = |address| name(address).is_some_and(|name| name.contains("recurse") && !name.contains("closure"));
    let frames = &capture.stack.frames;
    let calls: Vec<usize> = (0..frames.len()).filter(|index| is_call(frames[*index].lookup())).collect();
    assert_eq!(calls.len(), LEVELS + 1);
    for (call, variable) in calls.iter().zip(&variables) {
        let (inner, outer) = (pointers.get(*call).unwrap(), pointers.get(call + 1).unwrap());
        assert!((inner..outer).contains(variable), "{inner:x} {variable:x} {outer:x}");
        assert_eq!(capture.stack.returns_to(*call), Some(frames[call + 1].raw()));
    }
    let again = capturer.capture_with_pointers(&thread).unwrap();
    assert_eq!(again, (capture, pointers), "it stands still");
    drop(stop);
    blocked.join().unwrap();
}
