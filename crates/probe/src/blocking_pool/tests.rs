use super::*;

const MS: u64 = 1_000_000;
const THRESHOLD_NS: u64 = 100 * MS;

fn at(threads: u64, idle: u64, queued: u64) -> BlockingPool {
    BlockingPool { threads, idle, queued }
}

/// What is told of a pool that is so at one look after another, at these milliseconds; as (ms, is over, threads, queued, lasted ms).
fn told(looks: &[(u64, BlockingPool)]) -> Vec<(u64, bool, u64, u64, u64)> {
    let (mut full, mut all) = (None, Vec::new());
    for &(ms, now) in looks {
        let (next, told) = look(full, now, ms * MS, THRESHOLD_NS, 7);
        full = next;
        assert!(told.is_none_or(|told| told.number == 7));
        all.extend(told.map(|told| {
            (ms, told.is_over, told.threads, told.queued, u64::try_from(told.lasted.as_millis()).unwrap())
        }));
    }
    all
}

#[test]
fn a_pool_that_stays_full_is_told_once_and_its_end_once() {
    let full = |ms, queued| (ms, at(4, 0, queued));
    let looks =
        [full(10, 9), full(60, 12), full(109, 12), full(110, 11), full(150, 3), (160, at(4, 0, 0)), (170, at(4, 4, 0))];
    assert_eq!(told(&looks), [(110, false, 4, 11, 100), (160, true, 4, 12, 140)]);
}

#[test]
fn a_pool_that_was_not_full_at_every_look_is_not_told() {
    let (full, busy, idle) = (at(4, 0, 1), at(4, 0, 0), at(4, 1, 1));
    assert_eq!(told(&[(0, full), (90, busy), (100, full), (190, full)]), []);
    assert_eq!(told(&[(0, full), (90, idle), (100, full), (190, full)]), [], "a thread is on its way to the closure");
    assert_eq!(told(&[(0, at(0, 0, 3)), (500, at(0, 0, 3))]), [], "no pool yet");
}

/// A burst for which Tokio starts threads: it waits for them, not for the pool.
#[test]
fn a_pool_that_gets_threads_is_not_full() {
    let looks: Vec<_> = (0..30).map(|n| (n * 10, at(n + 1, 0, 5))).collect();
    assert_eq!(told(&looks), []);
    // At its limit it is.
    let more = (30..42).map(|n| (n * 10, at(30, 0, 5)));
    let looks: Vec<_> = looks.into_iter().chain(more).collect();
    assert_eq!(told(&looks), [(390, false, 30, 5, 100)]);
}

#[test]
fn its_text_has_what_is_known() {
    let begun = Saturation { number: 1, is_over: false, threads: 4, queued: 12, lasted: Duration::from_millis(104) };
    let text = "blocking pool saturated: 4 of 4 threads busy, 12 closures queued, at every look for 0.104 s";
    assert_eq!(begun.to_string(), text);
    let over = Saturation { is_over: true, queued: 1, ..begun };
    let text = "blocking pool no longer saturated: its 4 threads were busy at every look for 0.104 s, with up to 1 closure queued";
    assert_eq!(over.to_string(), text);
}

/// A runtime's handle is lent while its loop waits, however long, and given back when nobody is in it.
#[test]
fn a_handle_that_nobody_answers_for_is_given_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pools = Pools::new();
    let number = runtime.block_on(async { pools.lend() });
    let known = || pools.now().0.is_some();
    assert_eq!(known(), TOKIO_UNSTABLE);
    let mut now_ns = 0;
    let mut ask = |is_seen: bool| {
        now_ns += ASK_EVERY_NS;
        pools.ask(now_ns, |runtime| is_seen && runtime == number);
    };
    ask(false);
    assert_eq!(known(), TOKIO_UNSTABLE, "it was lent for that question");
    (0..5).for_each(|_| ask(true));
    assert_eq!(known(), TOKIO_UNSTABLE, "its thread waits");
    ask(false);
    assert!(!known());
}
