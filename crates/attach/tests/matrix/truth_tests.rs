//! What `truth.rs` of the benchmark promises.

use crate::truth::*;

const STALL: &str = r#"{"way":"sleep","runtime":"multi","functions":["sleeps","Sleep"],"lines":[7],"chain":[["leaf",3,9],["task_of_2",20,27]],"root":"attached::chain::task_of_2","task":0,"task_id":null,"tid":12,"begin_ns":100,"end_ns":180,"switches":[1,0]}"#;
const COUNTED: &str = r#"{"begin_ns":50,"end_ns":900,"interrupted":2,"stalls":1,"polls":0}"#;

#[test]
fn what_the_program_tells_is_read_and_what_is_torn_is_refused() {
    let (stalls, counted) = read([STALL, COUNTED]).unwrap();
    assert_eq!((stalls[0].duration_ns(), stalls[0].task_id, counted.interrupted), (80, None, 2));
    assert_eq!(stalls[0].chain[1], AsyncFn("task_of_2".to_owned(), 20, 27));
    assert!(read([COUNTED]).unwrap_err().contains("told 0 stalls and says it were 1"));
    assert!(read([STALL]).unwrap_err().starts_with("cannot read"));
    assert!(read([&STALL[..50], COUNTED]).unwrap_err().starts_with("cannot read"));
    assert!(read([]).is_err());
}
