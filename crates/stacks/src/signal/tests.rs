use std::sync::mpsc::channel;

use super::super::slot::LATE;
use super::*;
use crate::signal::Sampler;

/// Signals are the whole process's.
static ONE: Mutex<()> = Mutex::new(());

fn one() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every signal does.
fn all() -> Vec<Action> {
    (1..=SIGNALS.cast_signed()).map(|signal| Action::of(signal as i32).unwrap()).collect()
}

#[test]
fn a_signal_that_comes_late_does_nothing() {
    let _one = one();
    let _turn = turn();
    let before = SLOT.word.load(Ordering::Acquire);
    let late = LATE.load(Ordering::Relaxed);
    // An old request, one for another thread, and one that was never made.
    for request in [0, REQUESTED, before & !PHASE | REQUESTED, u64::MAX] {
        answer(request, ptr::null());
    }
    assert_eq!(SLOT.word.load(Ordering::Acquire), before);
    assert_eq!(LATE.load(Ordering::Relaxed) - late, 4);
}

#[test]
fn after_the_last_sampler_every_signal_does_what_it_did() {
    let _one = one();
    let before = all();
    for _ in 0..3 {
        let (first, second) = (Sampler::install().unwrap(), Sampler::install().unwrap());
        assert_eq!(first.signal(), second.signal());
        let during = all();
        assert_eq!(during.iter().zip(&before).filter(|(now, then)| now != then).count(), 1);
        drop(first);
        assert_eq!(all(), during, "the other one needs it");
        drop(second);
        assert_eq!(all(), before);
    }
}

extern "C" fn theirs(_: i32) {}

/// Has this handler for a signal, with a flag and a mask of its own.
fn install_theirs(signal: i32) -> Action {
    // SAFETY: all zeros and a handler, which does nothing, are a valid `sigaction`; the mask has one signal more.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = theirs as extern "C" fn(i32) as libc::sighandler_t;
        action.sa_flags = libc::SA_NODEFER;
        libc::sigaddset(&raw mut action.sa_mask, libc::SIGUSR2);
        assert_eq!(libc::sigaction(signal, &raw const action, ptr::null_mut()), 0);
    }
    Action::of(signal).unwrap()
}

#[test]
fn a_foreign_handler_is_put_back_as_it_was() {
    let _one = one();
    let signal = libc::SIGRTMIN() + 5;
    let default = Action::of(signal).unwrap();
    let foreign = install_theirs(signal);
    let sampler = Sampler::install_for(signal).unwrap();
    assert!(is_ours(signal));
    drop(sampler);
    assert_eq!(Action::of(signal).unwrap(), foreign);
    // SAFETY: it was there before; nobody sends the signal.
    unsafe { default.install(signal) }.unwrap();
}

/// Anyone who did so may have kept ours to call it, or to put it back.
#[test]
fn a_handler_that_replaced_ours_is_left_alone() {
    let _one = one();
    let before = all();
    let sampler = Sampler::install().unwrap();
    let signal = sampler.signal();
    let ours = Action::of(signal).unwrap();
    let foreign = install_theirs(signal);
    drop(sampler);
    assert_eq!(Action::of(signal).unwrap(), foreign);
    // SAFETY: it was there before, and the function still is.
    unsafe { ours.install(signal) }.unwrap();
    drop(Sampler::install().unwrap());
    assert_eq!(all(), before, "back in place, it is removed with the next one");
}

/// Drops the last sampler while a thread that blocks the signal has one to take, which it then does or never will.
fn drop_while_one_is_pending(is_taken: bool) {
    let _one = one();
    let before = all();
    let sampler = Sampler::install().unwrap();
    let signal = sampler.signal();
    let (tell, hear) = channel();
    let (go_on, wait) = channel();
    let thread = std::thread::spawn(move || {
        let mask = |how| {
            // SAFETY: an empty set, to which one signal is added that exists; of this thread only.
            unsafe {
                let mut set = mem::zeroed();
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, signal);
                libc::pthread_sigmask(how, &raw const set, ptr::null_mut());
            }
        };
        mask(libc::SIG_BLOCK);
        tell.send(ThreadRef::current()).unwrap();
        wait.recv().unwrap();
        if is_taken {
            mask(libc::SIG_UNBLOCK);
        }
    });
    let pending = hear.recv().unwrap();
    send(&Queued::new(signal, REQUESTED), &pending).unwrap();
    turn().note_unanswered(&pending);
    drop(sampler);
    assert!(is_ours(signal), "without a handler the signal would end the process");
    go_on.send(()).unwrap();
    thread.join().unwrap();
    drop(Sampler::install().unwrap());
    assert_eq!(all(), before);
}

#[test]
fn the_handler_stays_while_a_thread_may_need_it() {
    drop_while_one_is_pending(true);
}

#[test]
fn a_thread_that_ended_needs_no_handler() {
    drop_while_one_is_pending(false);
}

/// The handler runs on a stack that was painted before: what it left is what it took.
#[test]
fn the_handler_takes_no_more_of_a_stack_than_is_counted_on() {
    const PAINT: u8 = 0xa5;
    let _one = one();
    let sampler = Sampler::install().unwrap();
    let (tell, hear) = channel();
    let (go_on, wait) = channel::<()>();
    let thread = std::thread::spawn(move || {
        let mut memory = vec![PAINT; 64 << 10];
        let mut stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
        let mut before = stack;
        // SAFETY: the memory outlives the stack, which is put back below, and is not looked at meanwhile.
        assert_eq!(unsafe { libc::sigaltstack(&raw const stack, &raw mut before) }, 0);
        tell.send(ThreadRef::current()).unwrap();
        while wait.try_recv().is_err() {
            std::hint::spin_loop();
        }
        // SAFETY: it was there before.
        assert_eq!(unsafe { libc::sigaltstack(&raw const before, &raw mut stack) }, 0);
        let untouched = memory.iter().take_while(|byte| **byte == PAINT).count();
        memory.len() - untouched
    });
    let spinning = hear.recv().unwrap();
    for most in [MOST_DEEP, 1 << 10] {
        while sample(sampler.signal(), &spinning, Duration::from_secs(1), most).is_err() {}
    }
    go_on.send(()).unwrap();
    let taken = thread.join().unwrap();
    assert!(taken > 1_000, "it ran there: {taken}");
    assert!(taken <= super::super::room::needed(super::super::room::frame(), false), "{taken}");
}

/// Gives back memory that it wrote to, which keeps a thread in the kernel for long, until it is told to stop.
fn gives_back(stop: &std::sync::atomic::AtomicBool) {
    const SIZE: usize = 128 << 20;
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: new memory, which nothing else knows of, of the size that is given back.
        unsafe {
            let options = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
            let memory = libc::mmap(ptr::null_mut(), SIZE, libc::PROT_READ | libc::PROT_WRITE, options, -1, 0);
            assert_ne!(memory, libc::MAP_FAILED);
            libc::munmap(memory, SIZE);
        }
    }
}

#[test]
fn a_thread_that_is_long_in_the_kernel_answers_when_it_leaves_it() {
    let _one = one();
    let sampler = Sampler::install().unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (tell, told) = channel();
    let gives = {
        let stop = std::sync::Arc::clone(&stop);
        std::thread::spawn(move || {
            tell.send(ThreadRef::current()).unwrap();
            gives_back(&stop);
        })
    };
    let thread = told.recv().unwrap();
    let patience = Duration::from_secs(60);
    let begin = Instant::now();
    let ask = || {
        while !matches!(sampler.sample(&thread, Duration::from_micros(500)), Err(SampleError::TimedOut)) {
            assert!(begin.elapsed() < patience, "it answers at once each time");
        }
    };
    let late = || {
        while begin.elapsed() < patience {
            if let Some(sample) = sampler.late(&thread) {
                return Some(sample);
            }
        }
        None
    };
    let answers = std::iter::repeat_with(|| {
        ask();
        late().expect("it answers")
    });
    // It may have timed out for want of a CPU as well.
    let mut code = [0; 2];
    let leaves_the_kernel = |sample: &RegistersAndStack| {
        let pc = sample.registers.pc().unwrap_or_default().saturating_sub(2);
        crate::memory::read(&thread.process, pc, &mut code) == 2 && code == [0x0f, 0x05]
    };
    assert!(answers.take(1_000).any({
        let mut leaves = leaves_the_kernel;
        move |sample| leaves(&sample)
    }));
    ask();
    sampler.forget(&thread);
    stop.store(true, Ordering::Relaxed);
    gives.join().unwrap();
    assert!(sampler.late(&thread).is_none(), "nobody wants to know any longer");
}
