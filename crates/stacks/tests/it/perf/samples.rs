//! Samples of a thread of another process, by its time on a CPU.

use std::time::{Duration, Instant};

use pollscope_stacks::capture::Capturer;
use pollscope_stacks::perf::{CpuSampler, Drained, Hindrance};
use pollscope_stacks::thread::{read_schedule, read_status};

use super::child::{INTERRUPTED, Seen};
use super::{now_ns, unless_forbidden};
use crate::support::PATIENCE;

#[test]
fn every_stack_is_whole_and_has_both_functions() {
    const SAMPLES: usize = 300;
    let child = Seen::run("a_thread_burns");
    child.wait_for_rounds(1);
    let begin_ns = now_ns();
    let Some(mut sampler) = unless_forbidden(CpuSampler::open(&child.thread, Duration::from_millis(1))) else { return };
    let mut capturer = Capturer::new();
    let (mut times, mut drained) = (vec![begin_ns], Drained::default());
    let begin = Instant::now();
    while times.len() <= SAMPLES {
        assert!(begin.elapsed() < PATIENCE, "{drained:?}");
        let more = sampler.drain(|sample| {
            times.push(sample.time_ns);
            let (stack, pointers) = capturer.unwind_sample_with_pointers(&sample).unwrap();
            assert!(stack.is_complete(), "{:?}", stack.end);
            assert_eq!(stack.guessed, None);
            let functions: Vec<&str> =
                stack.frames.iter().map(|frame| child.function(frame.lookup()).unwrap_or("?")).collect();
            let at = |name: &str| functions.iter().position(|function| function.contains(name));
            let (inner, outer) = (at("burn_inner"), at("burn_outer"));
            assert!(inner.is_some() && outer == inner.map(|inner| inner + 1), "{functions:#?}");
            let pointers: Vec<u64> = (0..stack.frames.len()).map(|frame| pointers.get(frame).unwrap()).collect();
            assert!(pointers.is_sorted_by(|one, next| one < next), "{pointers:x?}");
            assert_eq!(pointers[0], sample.copied.registers.sp().unwrap());
            assert!(sample.copied.stack.len() <= sample.copied.most);
        });
        drained.samples += more.samples;
        drained.unreadable += more.unreadable;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((drained.samples as usize, drained.unreadable), (times.len() - 1, 0));
    times.push(now_ns());
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(child.count(&INTERRUPTED), 0);
}

#[test]
fn who_touches_fresh_memory_is_sampled_at_page_faults() {
    let child = Seen::run("a_thread_touches_pages");
    child.wait_for_rounds(1);
    // By its time on a CPU, it is not sampled for as long.
    let Some(mut sampler) = unless_forbidden(CpuSampler::open(&child.thread, 100 * PATIENCE)) else { return };
    let (mut capturer, mut seen, begin) = (Capturer::new(), 0, Instant::now());
    while seen < 10 {
        assert!(begin.elapsed() < PATIENCE, "{seen}");
        sampler.drain(|sample| {
            let stack = capturer.unwind_sample(&sample).unwrap();
            let mut functions = stack.frames.iter().filter_map(|frame| child.function(frame.lookup()));
            assert!(functions.any(|function| function.contains("touch_pages")), "{stack:?}");
            seen += 1;
        });
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn another_period_counts_at_once_and_so_does_a_pause() {
    let child = Seen::run("a_thread_burns");
    child.wait_for_rounds(1);
    let Some(mut sampler) = unless_forbidden(CpuSampler::open(&child.thread, 100 * PATIENCE)) else { return };
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(sampler.drain(|_| {}).samples, 0);
    let sampled = |sampler: &mut CpuSampler| {
        let (mut samples, begin) = (0, Instant::now());
        while samples < 3 {
            assert!(begin.elapsed() < PATIENCE, "{samples}");
            samples += sampler.drain(|_| {}).samples;
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let rests = |sampler: &mut CpuSampler| {
        sampler.drain(|_| {});
        std::thread::sleep(Duration::from_millis(20));
        sampler.drain(|_| {}).samples == 0
    };
    let short = Duration::from_millis(1);
    sampler.sample_every(short).unwrap();
    sampled(&mut sampler);
    sampler.sample_every(100 * PATIENCE).unwrap();
    assert!(rests(&mut sampler), "a longer one");
    sampler.sample_every(short).unwrap();
    for _ in 0..3 {
        sampler.pause();
        assert!(rests(&mut sampler), "paused");
        sampler.sample_every(short).unwrap();
        sampled(&mut sampler);
    }
}

#[test]
fn what_nobody_took_is_counted() {
    let child = Seen::run("a_thread_burns");
    child.wait_for_rounds(1);
    let Some(mut sampler) = unless_forbidden(CpuSampler::open(&child.thread, Duration::from_micros(100))) else {
        return;
    };
    let on_cpu_ns = || read_schedule(&child.thread).unwrap().on_cpu_ns;
    let (begin, before) = (Instant::now(), on_cpu_ns());
    while on_cpu_ns() < before + 20_000_000 {
        assert!(begin.elapsed() < PATIENCE, "the child gets no CPU");
        std::thread::sleep(Duration::from_millis(1));
    }
    let first = sampler.drain(|_| {});
    assert!((1..=4).contains(&first.samples), "as many as there is room for: {first:?}");
    // How many more there were is said with the next one.
    let mut lost = first.lost;
    while lost == 0 {
        assert!(begin.elapsed() < PATIENCE, "nothing is said of the lost ones");
        std::thread::sleep(Duration::from_millis(1));
        lost += sampler.drain(|_| {}).lost;
    }
    // 200 periods were over, less those that it spent in the kernel or that the kernel's timer was late for.
    assert!((1..=100_000).contains(&lost), "{lost}");
}

#[test]
fn a_thread_that_waits_has_no_samples_and_does_not_notice() {
    let child = Seen::run("a_thread_waits");
    child.wait_until_it_waits();
    let switches = || {
        let status = read_status(&child.thread).unwrap();
        (status.voluntary_switches, status.involuntary_switches, read_schedule(&child.thread).unwrap().slices)
    };
    let before = switches();
    for _ in 0..20 {
        let opened = CpuSampler::open(&child.thread, Duration::from_millis(1));
        let Some(mut sampler) = unless_forbidden(opened) else { return };
        for _ in 0..20 {
            assert_eq!(sampler.drain(|_| {}), Drained::default());
        }
    }
    assert_eq!(switches(), before);
    assert_eq!(child.count(&INTERRUPTED), 0);
}

#[test]
fn of_a_thread_that_ended_the_error_says_so() {
    let thread = {
        let child = Seen::run("a_thread_waits");
        child.thread
    };
    let error = CpuSampler::open(&thread, Duration::from_millis(1)).unwrap_err();
    // The first that is in the way.
    let forbidden = matches!(error.why, Hindrance::Paranoid(_) | Hindrance::Filtered | Hindrance::NoPerf);
    assert!(error.why == Hindrance::NoThread || forbidden, "{error:?}");
    if !forbidden {
        assert_eq!(error.to_string(), format!("cannot sample thread `{}`: the thread ended", thread.tid));
    }
}
