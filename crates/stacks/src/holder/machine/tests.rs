//! Code, by hand, and what it does to a lock.

use super::*;
use crate::process::Process;
use crate::unwind::Registers;

const RDI: u16 = 5;

/// `xor edx, edx`
const ZERO_EDX: &[u8] = &[0x31, 0xd2];
/// `xchg [rdi], edx`
const GIVE: &[u8] = &[0x87, 0x17];
/// `xor eax, eax`, `mov edx, 1`, `lock cmpxchg [rdi], edx`
const TAKE: &[u8] = &[0x31, 0xc0, 0xba, 1, 0, 0, 0, 0xf0, 0x0f, 0xb1, 0x17];
const RETURN: &[u8] = &[0xc3];
/// `inc rax`, `cmp rax, rcx`, `jne` back to the first
const LOOP: &[u8] = &[0x48, 0xff, 0xc0, 0x48, 0x39, 0xc8, 0x75, 0xf8];

/// What code does to the lock that `rdi` leads to, from its beginning: followed, and looked ahead. A call's landing pad is `pad` bytes
/// from the beginning, if there is one; functions elsewhere have that name.
fn outcomes(code: &[&[u8]], pad: Option<u64>, name: Option<&str>) -> [Outcome; 2] {
    let code = code.concat();
    let (lock, start) = (1_u32, code.as_ptr() as u64);
    let address = &raw const lock as u64;
    let mut registers = Registers::default();
    registers.set(RDI, Some(address));
    registers.set(crate::unwind::RSP, Some(&raw const registers as u64));
    let state = State::of_frame(&registers);
    [false, true].map(|looks_ahead| {
        let mut view = View::new(Process::current());
        let mut name = |_| name.map(str::to_owned);
        let lock = LockWord { address, is_once: false };
        let code = start..start + code.len() as u64;
        let mut machine = Machine::new(&mut view, code, lock, &mut name, EFFORT);
        match looks_ahead {
            false => machine.run(start, &mut state.clone(), 0),
            true => machine.ahead(start, &state, &mut |_| pad.map(|pad| start + pad)),
        }
    })
}

#[test]
fn who_is_about_to_give_it_back_has_it() {
    assert_eq!(outcomes(&[ZERO_EDX, GIVE, RETURN], None, None), [Outcome::Gives; 2]);
    assert_eq!(outcomes(&[TAKE, ZERO_EDX, GIVE], None, None), [Outcome::Takes; 2], "it does not have it yet");
    assert_eq!(outcomes(&[ZERO_EDX, RETURN], None, None), [Outcome::Returns, Outcome::Unknown]);
    // What it puts there is not known.
    assert_eq!(outcomes(&[GIVE, RETURN], None, None), [Outcome::Unknown; 2]);
    // `xchg [rsi], edx`: where that is, is not known, but it gives something back.
    assert_eq!(outcomes(&[ZERO_EDX, &[0x87, 0x16], RETURN], None, None), [Outcome::Returns, Outcome::Unknown]);
}

/// A loop whose end is not known is followed for ever, and looked ahead of.
#[test]
fn a_loop_is_left_in_the_end() {
    assert_eq!(outcomes(&[ZERO_EDX, LOOP, GIVE, RETURN], None, None), [Outcome::Unknown, Outcome::Gives]);
    assert_eq!(outcomes(&[ZERO_EDX, LOOP, RETURN], None, None), [Outcome::Unknown; 2]);
    assert_eq!(outcomes(&[LOOP, TAKE, ZERO_EDX, GIVE], None, None), [Outcome::Unknown, Outcome::Takes]);
}

/// `jne` over the exchange: the flags are not known.
#[test]
fn all_ways_must_give_it_back() {
    const OVER: &[u8] = &[0x75, 0x02];
    assert_eq!(outcomes(&[ZERO_EDX, OVER, GIVE, RETURN], None, None)[1], Outcome::Unknown);
    // `test eax, eax`, of which nothing is known
    const TEST: &[u8] = &[0x85, 0xc0];
    assert_eq!(outcomes(&[ZERO_EDX, TEST, OVER, GIVE, RETURN], None, None), [Outcome::Unknown; 2]);
    assert_eq!(outcomes(&[ZERO_EDX, TEST, OVER, GIVE, GIVE, RETURN], None, None), [Outcome::Gives; 2]);
    // Known, it never jumps: after `xor` the result is zero.
    assert_eq!(outcomes(&[ZERO_EDX, OVER, GIVE, RETURN], None, None)[0], Outcome::Gives);
}

/// `call [rip]`, of an address elsewhere.
#[test]
fn who_unwinds_on_does_not_have_it() {
    const CALL: &[u8] = &[0xff, 0x15, 0, 0, 0, 0];
    const ADDRESS: &[u8] = &64_u64.to_le_bytes();
    /// `test eax, eax`, `jne` over the exchange
    const MAY_BE_OVER: &[u8] = &[0x85, 0xc0, 0x75, 0x02];
    let elsewhere = [CALL, ADDRESS];
    let code = [ZERO_EDX, MAY_BE_OVER, GIVE, CALL, ADDRESS];
    assert_eq!(outcomes(&code, None, Some("_Unwind_Resume"))[0], Outcome::Unknown);
    assert_eq!(outcomes(&elsewhere, None, Some("_Unwind_Resume"))[0], Outcome::Leaves);
    assert_eq!(outcomes(&code, None, Some("core::panicking::panic_in_cleanup"))[0], Outcome::Gives, "that ends it all");
    // Without a name it may do anything.
    assert_eq!(outcomes(&elsewhere, None, None)[0], Outcome::Unknown);
}

/// `call` of the next instruction: what it drops if that unwinds, it has.
#[test]
fn what_is_dropped_at_the_next_call_is_held() {
    const CALL: &[u8] = &[0xe8, 0, 0, 0, 0];
    let code = [LOOP, CALL, RETURN, ZERO_EDX, GIVE, RETURN];
    let pad = (LOOP.len() + CALL.len() + RETURN.len()) as u64;
    assert_eq!(outcomes(&code, Some(pad), None)[1], Outcome::Gives);
    assert_eq!(outcomes(&code, Some(pad - 1), None)[1], Outcome::Unknown, "it drops something else");
}

#[test]
fn functions_that_end_in_a_panic_are_known_by_name() {
    assert!(never_returns("core::panicking::panic_fmt"));
    assert!(never_returns("abort"));
    assert!(never_returns("core::result::unwrap_failed"));
    assert!(!never_returns("std::thread::panicking"));
    assert!(!never_returns("std::panicking::panic_count::is_zero_slow_path"));
    assert!(!never_returns("free"));
}
