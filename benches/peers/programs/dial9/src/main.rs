//! dial9: its runtime hooks and its buffer in memory, without task tracking, profilers or wrapped spawns: the least it does.

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dial9::core::pipeline::{ProcessError, SegmentData, SegmentProcessor};
use dial9::{Dial9HandleTokioExt, MemoryBuffer, Recorder, RecorderPipelineExt, TokioAttachOptions};
use overhead_load::{Instrument, Seen};
use tokio::runtime::{Builder, Runtime};

/// Enough for every event of a storm.
const BUFFER_BYTES: u64 = 1 << 30;

/// Counts the polls that leave the recorder, once the load is over.
#[derive(Clone, Default)]
struct Drain(Arc<AtomicU64>);

impl SegmentProcessor for Drain {
    fn name(&self) -> &'static str {
        "count"
    }

    fn process(
        &mut self,
        segment: SegmentData,
    ) -> Pin<Box<dyn Future<Output = Result<SegmentData, ProcessError>> + Send + '_>> {
        Box::pin(async move {
            let bytes: Vec<u8> = segment.payload().chunks().iter().flat_map(|chunk| chunk.iter().copied()).collect();
            let mut decoder = dial9::format::Decoder::new(&bytes).expect("a segment is a trace");
            let mut polls = 0;
            let read = decoder.for_each_event(|event| polls += u64::from(event.name.starts_with("PollStart")));
            read.expect("a segment is whole");
            self.0.fetch_add(polls, Relaxed);
            Ok(segment)
        })
    }
}

#[derive(Clone, Default)]
struct Dial9 {
    recorder: Arc<Mutex<Option<Recorder>>>,
    drain: Drain,
}

impl Instrument for Dial9 {
    fn runtime(&mut self, builder: Builder) -> Runtime {
        let buffer = MemoryBuffer::new(BUFFER_BYTES).expect("the size is valid");
        let drain = self.drain.clone();
        let recorder = dial9::recorder(buffer).with_custom_pipeline(|pipeline| pipeline.pipe(drain)).build();
        let runtime = recorder.handle().attach_tokio_runtime(builder, TokioAttachOptions::default());
        *self.recorder.lock().expect("nobody panicked") = Some(recorder);
        runtime.expect("a runtime can be built")
    }

    fn seen(self, runtime: Runtime) -> Seen {
        drop(runtime);
        let recorder = self.recorder.lock().expect("nobody panicked").take().expect("the runtime was built");
        recorder.graceful_shutdown(Duration::from_secs(60));
        Seen::Polls(self.drain.0.load(Relaxed))
    }
}

fn main() -> ExitCode {
    overhead_load::main(|name| (name == "dial9").then(|| Ok(Dial9::default())))
}
