//! Functions within functions: a future that is awaited so deep.

use std::future::Future;

use crate::kit::{Kit, Told};

/// So deep at most.
pub const DEEPEST: usize = 8;

/// Spawns a future that is awaited within so many functions more.
pub fn spawn<F: Future<Output = ()> + Send + 'static>(kit: &Kit, told: Told, depth: usize, future: F) {
    match depth {
        0 => kit.spawn(future),
        1 => kit.spawn(first(told, future)),
        2 => kit.spawn(second(told, future)),
        3 => kit.spawn(third(told, future)),
        4 => kit.spawn(fourth(told, future)),
        5 => kit.spawn(fifth(told, future)),
        6 => kit.spawn(sixth(told, future)),
        7 => kit.spawn(seventh(told, future)),
        _ => kit.spawn(eighth(told, future)),
    };
}

async fn first<F: Future<Output = ()>>(told: Told, future: F) {
    told.at(file!(), line!() + 1);
    future.await;
}

async fn second<F: Future<Output = ()>>(told: Told, future: F) {
    let within = first(told.clone(), future);
    told.at(file!(), line!() + 1);
    within.await;
}

async fn third<F: Future<Output = ()>>(told: Told, future: F) {
    told.at(file!(), line!() + 1);
    second(told.clone(), future).await;
    told.passed();
}

async fn fourth<F: Future<Output = ()>>(told: Told, future: F) {
    // One that is over before leaves nothing.
    told.at(file!(), line!() + 1);
    std::future::ready(()).await;
    told.passed();
    told.at(file!(), line!() + 1);
    third(told.clone(), future).await;
}

async fn fifth<F: Future<Output = ()>>(told: Told, future: F) {
    told.at(file!(), line!() + 1);
    let ends = [fourth(told.clone(), future).await];
    told.at(file!(), ends.len() as u32);
}

async fn sixth<F: Future<Output = ()>>(told: Told, future: F) {
    let kept = String::from("what is kept meanwhile");
    told.at(file!(), line!() + 1);
    fifth(told.clone(), future).await;
    drop(kept);
}

async fn seventh<F: Future<Output = ()>>(told: Told, future: F) {
    let block = async {
        told.at(file!(), line!() + 1);
        sixth(told.clone(), future).await;
    };
    told.at(file!(), line!() + 1);
    block.await;
}

async fn eighth<F: Future<Output = ()>>(told: Told, future: F) {
    for turn in 0..2 {
        if turn == 1 {
            break;
        }
    }
    told.at(file!(), line!() + 1);
    seventh(told.clone(), future).await;
}
