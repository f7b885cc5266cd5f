//! Async functions within one another, down to the one that blocks.

use std::pin::Pin;
use std::time::Duration;

use crate::clock;
use crate::kit::Kit;
use crate::plan::Plan;
use crate::record::Record;
use crate::ways::Way;
use crate::ways::by_way;

/// Blocks. What is measured is the poll, but for microseconds: there is no wait between its begin and here, nor from here to where its end
/// is noted, which is when it is about to wait again.
async fn leaf<W: Way>(kit: &mut Kit, stall: Duration) {
    W::prepare(kit);
    while !kit.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (begin_ns, before) = (clock::now_ns(), clock::switches());
    W::block(kit, stall);
    let after = clock::switches();
    kit.record(Record {
        way: W::NAME,
        functions: W::FUNCTIONS,
        chain: kit.chain,
        task: kit.task,
        id: task_id(),
        tid: clock::tid(),
        begin_ns,
        end_ns: begin_ns,
        switches: [after[0] - before[0], after[1] - before[1]],
    });
}

async fn asks<W: Way>(kit: &mut Kit, stall: Duration) {
    leaf::<W>(kit, stall).await;
}

async fn boxes<W: Way>(kit: &mut Kit, stall: Duration) {
    let inner: Pin<Box<dyn Future<Output = ()> + Send + '_>> = Box::pin(asks::<W>(kit, stall));
    inner.await;
}

async fn limits<W: Way>(kit: &mut Kit, stall: Duration) {
    tokio::time::timeout(Duration::from_secs(60), boxes::<W>(kit, stall)).await.expect("a minute is enough");
}

/// Two async functions within one another; what they have recorded.
pub async fn task_of_2(mut kit: Kit, plan: Plan) -> Vec<Record> {
    kit.chain = &["leaf", "task_of_2"];
    for turn in plan {
        kit.pause(turn.pause).await;
        by_way!(turn.way, leaf, &mut kit, turn.stall);
    }
    kit.finish().await
}

/// Three of them.
pub async fn task_of_3(mut kit: Kit, plan: Plan) -> Vec<Record> {
    kit.chain = &["leaf", "asks", "task_of_3"];
    for turn in plan {
        kit.pause(turn.pause).await;
        by_way!(turn.way, asks, &mut kit, turn.stall);
    }
    kit.finish().await
}

/// Four of them.
pub async fn task_of_4(mut kit: Kit, plan: Plan) -> Vec<Record> {
    kit.chain = &["leaf", "asks", "boxes", "task_of_4"];
    for turn in plan {
        kit.pause(turn.pause).await;
        by_way!(turn.way, boxes, &mut kit, turn.stall);
    }
    kit.finish().await
}

/// Five of them.
pub async fn task_of_5(mut kit: Kit, plan: Plan) -> Vec<Record> {
    kit.chain = &["leaf", "asks", "boxes", "limits", "task_of_5"];
    for turn in plan {
        kit.pause(turn.pause).await;
        by_way!(turn.way, limits, &mut kit, turn.stall);
    }
    kit.finish().await
}

#[cfg(feature = "task-id")]
fn task_id() -> Option<u64> {
    tokio::task::id().to_string().parse().ok()
}

#[cfg(not(feature = "task-id"))]
fn task_id() -> Option<u64> {
    None
}
