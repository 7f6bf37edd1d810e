//! What the parts alone can do: each is measured again beside every figure that is held against it.

pub mod bare_posts;
pub mod batched_insert;
pub mod http_echo;
pub mod log;
pub mod mget;
pub mod one_row;
pub mod process;
pub mod raw_writer;
pub mod tutorial;
pub mod ws_broadcast;

use anyhow::bail;

/// What this program does as a child of itself, see [`process::FloorProcess`]: serves the floor of this name until it
/// is killed. The first of the arguments is the address to listen on.
pub async fn serve(name: &str, args: &[String]) -> anyhow::Result<()> {
    match (name, args) {
        (http_echo::NAME, [address]) => http_echo::serve(address).await,
        (tutorial::GATEWAY, [address, redis]) => tutorial::gateway::serve(address, redis).await,
        (tutorial::API, [address, database, redis]) => tutorial::api::serve(address, database, redis).await,
        (raw_writer::NAME, [address, bytes]) => raw_writer::serve(address, bytes.parse()?).await,
        (raw_writer::NAME_ON_ONE_THREAD, [address, bytes]) => {
            raw_writer::serve_on_one_thread(address.clone(), bytes.parse()?).await
        }
        (ws_broadcast::NAME, [address, bytes]) => ws_broadcast::serve(address, bytes.parse()?).await,
        _ => bail!("no floor is called {name} and takes {args:?}"),
    }
}
