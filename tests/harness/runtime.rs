//! The runtime on which the harness's own servers run.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// A test runs on one thread: here servers go on while it blocks, and stop in good order after it has ended.
pub fn background() -> &'static Runtime {
    static BACKGROUND: OnceLock<Runtime> = OnceLock::new();
    BACKGROUND.get_or_init(|| {
        let runtime =
            Builder::new_multi_thread().worker_threads(2).thread_name("services").enable_all().build();
        runtime.expect("threads can be started")
    })
}

/// Awaits here what shall spawn there, for futures that may not be sent to another thread.
pub async fn in_background<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = background().enter();
        future.as_mut().poll(context)
    })
    .await
}
