//! What the merge costs: `cargo bench --bench merge [-- speed|scale|idle|response]`; without an argument, all of them.

mod common;
#[path = "merge/files.rs"]
mod files;
#[path = "merge/idle.rs"]
mod idle;
#[path = "merge/response.rs"]
mod response;
#[path = "merge/scale.rs"]
mod scale;
#[path = "merge/speed.rs"]
mod speed;

use common::{is_measuring, print_setting};

fn main() {
    let parts: [(&str, fn()); 4] =
        [("speed", speed::run), ("scale", scale::run), ("idle", idle::run), ("response", response::run)];
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let Some(unknown) = asked.iter().find(|asked| parts.iter().all(|(name, _)| name != asked)) {
        eprintln!("unknown part `{unknown}`; choose one of `speed`, `scale`, `idle`, `response`");
        std::process::exit(2);
    }
    print_setting();
    for (name, run) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            run();
            println!();
        }
    }
    if !is_measuring() {
        println!("it runs; `cargo bench` measures");
    }
}
