//! What a thread waits for in a futex, as the functions say that it is in.

use crate::thread::State;

/// A wait in a futex: where it is, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FutexWait {
    /// The address of the word.
    pub address: u64,
    /// The operation, without its flags.
    pub operation: u32,
    /// The value that the word had when the wait began.
    pub value: u32,
}

/// `FUTEX_WAIT`, `FUTEX_LOCK_PI`, `FUTEX_WAIT_BITSET`, `FUTEX_LOCK_PI2`.
const WAIT: u32 = 0;
const LOCK_PI: u32 = 6;
const WAIT_BITSET: u32 = 9;
const LOCK_PI2: u32 = 13;

impl FutexWait {
    /// The wait that a thread is in, if it is in one.
    pub(crate) fn of(state: &State) -> Option<FutexWait> {
        let State::InSyscall { number, args, .. } = *state else { return None };
        FutexWait::of_call(number, args)
    }

    /// The wait that a system call is, if it is one.
    pub(crate) fn of_call(number: u64, [address, operation, value, ..]: [u64; 6]) -> Option<FutexWait> {
        const FUTEX: u64 = 202;
        const FLAGS: u64 = 0x180;
        if number != FUTEX {
            return None;
        }
        let operation = (operation & !FLAGS) as u32;
        let waits = matches!(operation, WAIT | WAIT_BITSET | LOCK_PI | LOCK_PI2);
        waits.then_some(FutexWait { address, operation, value: value as u32 })
    }

    /// Whether the word has the number of the thread that has the lock.
    pub(crate) fn names_its_owner(&self) -> bool {
        matches!(self.operation, LOCK_PI | LOCK_PI2)
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A lock without an owner's number, whose word is that of the futex: `std::sync::Mutex`.
    Mutex,
    /// `std::sync::RwLock`, to read: its word is that of the futex.
    ReadLock,
    /// The same, to write: its word is the one before.
    WriteLock,
    /// `std::sync::Once`.
    Once,
    /// A `Mutex` of the crate `parking_lot`, whose address the waiting thread has beside its futex.
    ParkingLot,
    /// The same that many can have.
    ParkingLotRwLock,
    /// `pthread_mutex_t`.
    Pthread,
    /// `pthread_rwlock_t`.
    PthreadRwLock,
    /// A lock that tells nobody who has it, such as that of an allocator.
    Anonymous,
    /// Another thread's end: the word has its number.
    Join,
    /// Something that nobody has: a message, a notification, a permit.
    Nothing,
}

/// By the beginning or the whole of a function's path. The standard library's have moved from version to version.
const FUNCTIONS: [(&str, Wait); 40] = [
    ("std::sys::sync::mutex::futex::Mutex::lock_contended", Wait::Mutex),
    ("std::sys::unix::locks::futex_mutex::Mutex::lock_contended", Wait::Mutex),
    ("std::sys::pal::unix::sync::futex_mutex::Mutex::lock_contended", Wait::Mutex),
    ("std::sys::sync::rwlock::futex::RwLock::read_contended", Wait::ReadLock),
    ("std::sys::sync::rwlock::futex::RwLock::write_contended", Wait::WriteLock),
    ("std::sys::sync::once::futex::Once::call", Wait::Once),
    ("std::sys::sync::once::futex::Once::wait", Wait::Once),
    ("std::sys::sync::condvar", Wait::Nothing),
    ("std::sys::sync::thread_parking", Wait::Nothing),
    ("std::thread::park", Wait::Nothing),
    ("parking_lot::raw_mutex::RawMutex::lock_slow", Wait::ParkingLot),
    ("parking_lot::raw_rwlock::RawRwLock::lock_shared_slow", Wait::ParkingLotRwLock),
    ("parking_lot::raw_rwlock::RawRwLock::lock_exclusive_slow", Wait::ParkingLotRwLock),
    ("parking_lot::raw_rwlock::RawRwLock::lock_upgradable_slow", Wait::ParkingLotRwLock),
    ("parking_lot::raw_rwlock::RawRwLock::lock_common", Wait::ParkingLotRwLock),
    ("parking_lot::condvar", Wait::Nothing),
    ("pthread_mutex_lock", Wait::Pthread),
    ("__pthread_mutex_lock", Wait::Pthread),
    ("__pthread_mutex_lock_full", Wait::Pthread),
    ("pthread_mutex_timedlock", Wait::Pthread),
    ("pthread_mutex_clocklock", Wait::Pthread),
    ("pthread_rwlock_rdlock", Wait::PthreadRwLock),
    ("pthread_rwlock_wrlock", Wait::PthreadRwLock),
    ("pthread_rwlock_timedrdlock", Wait::PthreadRwLock),
    ("pthread_rwlock_timedwrlock", Wait::PthreadRwLock),
    ("pthread_cond_wait", Wait::Nothing),
    ("pthread_cond_timedwait", Wait::Nothing),
    ("pthread_cond_clockwait", Wait::Nothing),
    ("sem_wait", Wait::Nothing),
    ("pthread_join", Wait::Join),
    ("pthread_timedjoin_np", Wait::Join),
    ("pthread_clockjoin_np", Wait::Join),
    ("__pthread_clockjoin_ex", Wait::Join),
    ("malloc", Wait::Anonymous),
    ("free", Wait::Anonymous),
    ("cfree", Wait::Anonymous),
    ("calloc", Wait::Anonymous),
    ("realloc", Wait::Anonymous),
    ("posix_memalign", Wait::Anonymous),
    ("aligned_alloc", Wait::Anonymous),
];

impl Wait {
    /// By the functions of a stack, innermost first, up to the first that is neither the standard library's, `parking_lot`'s, nor C;
    /// `None` if none of them tells.
    pub(crate) fn of(functions: &[String]) -> Option<Wait> {
        functions.iter().take_while(|function| is_of_the_lock(function)).find_map(|function| {
            let is =
                |name: &str| function.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
            FUNCTIONS.iter().find(|(name, _)| is(name)).map(|(_, wait)| *wait)
        })
    }
}

/// Whether a function, by its path, is of a lock, or of what locks are made of.
fn is_of_the_lock(function: &str) -> bool {
    const CRATES: [&str; 7] = ["std", "core", "alloc", "libc", "parking_lot", "parking_lot_core", "lock_api"];
    let path = function.trim_start_matches(['<', '&']);
    path.split_once("::").is_none_or(|(library, _)| CRATES.contains(&library))
}

/// The function that waits for a lock, by the names of a stack, innermost first: the first that is not the lock's own. Of the C library
/// it is that of the allocator.
pub(crate) fn waits_in<'a>(mut functions: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allocates = |function: &str| Wait::of(&[function.to_owned()]) == Some(Wait::Anonymous);
    functions.find(|function| !is_of_the_lock(function) || allocates(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_say_what_is_waited_for() {
        let check = |functions: &[&str], expect: Option<Wait>| {
            let functions: Vec<String> = functions.iter().map(|&function| function.to_owned()).collect();
            assert_eq!(Wait::of(&functions), expect, "{functions:?}");
        };
        check(&["syscall", "std::sys::sync::mutex::futex::Mutex::lock_contended", "shop::stock"], Some(Wait::Mutex));
        // A condition that is waited for takes the lock again afterwards.
        let mutex = "std::sys::sync::mutex::futex::Mutex::lock_contended";
        check(&["syscall", mutex, "std::sys::sync::condvar::futex::Condvar::wait"], Some(Wait::Mutex));
        check(&["syscall", "std::sys::sync::condvar::futex::Condvar::wait_optional_timeout"], Some(Wait::Nothing));
        check(&["pthread_mutex_lock", "free"], Some(Wait::Pthread));
        check(&["", "free", "core::ptr::drop_in_place"], Some(Wait::Anonymous));
        check(&["freedom", "shop::free"], None);
        // What somebody else waits for while it is set up.
        check(&["syscall", "queue::futex_wait", "std::sys::sync::once::futex::Once::call"], None);
    }

    #[test]
    fn whose_function_waits_is_known() {
        let check = |functions: &[&'static str], expect| assert_eq!(waits_in(functions.iter().copied()), expect);
        let mutex = "std::sys::sync::mutex::futex::Mutex::lock_contended";
        let spawn = "tokio::runtime::blocking::pool::Spawner::spawn_task";
        check(&["syscall", mutex, "<std::sync::poison::mutex::Mutex<T>>::lock", spawn, "shop::serve"], Some(spawn));
        check(&["__lll_lock_wait_private", "free", "core::ptr::drop_in_place<A>", "shop::serve"], Some("free"));
        check(&["pthread_mutex_lock", "std::io::stdio::_print", "shop::serve"], Some("shop::serve"));
        check(&["pthread_mutex_lock"], None);
    }

    #[test]
    fn only_a_wait_in_a_futex_is_one() {
        let state = |number, operation| State::InSyscall { number, args: [64, operation, 2, 0, 0, 0], sp: 0, pc: 0 };
        let wait = FutexWait { address: 64, operation: WAIT_BITSET, value: 2 };
        assert_eq!(FutexWait::of(&state(202, 0x189)), Some(wait));
        assert_eq!(FutexWait::of(&state(202, 0x81)), None, "it wakes");
        assert_eq!(FutexWait::of(&state(0, 0)), None);
        assert!(FutexWait::of(&state(202, 0x8d)).unwrap().names_its_owner());
        assert_eq!(FutexWait::of(&State::Running), None);
    }
}
