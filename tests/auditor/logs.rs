//! Reads the logs as they are in the end.

use std::time::Duration;

use reqwest::Method;
use tokio::time::Instant;

use crate::history::{LogEntry, Logs};
use crate::run_state::Run;

const LIMIT: Duration = Duration::from_secs(60);

/// All channels whose making was answered, read as the one who made each. Panics when they cannot be read even when
/// nothing is broken any more.
pub async fn read(run: &Run) -> Logs {
    let channels: Vec<(usize, String, String)> = {
        let history = run.history();
        let known = history.channels.iter().enumerate();
        known
            .filter_map(|(index, channel)| {
                let owner = *channel.members.first()?;
                Some((index, channel.id.clone(), history.users[owner].clone()))
            })
            .collect()
    };
    let mut logs = Logs::default();
    let mut random = run.random("logs");
    for (index, id, owner) in channels {
        let log = logs.0.entry(index).or_insert_with(Vec::new);
        loop {
            let after = log.last().map_or(0, |entry: &LogEntry| entry.seq);
            let path = format!("/channels/{id}/messages?afterSeq={after}&limit=200");
            let call = (Method::GET, path.as_str(), owner.as_str(), None);
            let outcome = run.rest.persist(&mut random, Instant::now() + LIMIT, call).await;
            let Ok((200, page)) = outcome else { panic!("the log of {id} cannot be read: {outcome:?}") };
            log.extend(page["entries"].as_array().into_iter().flatten().filter_map(LogEntry::of));
            if page["hasMore"] != true {
                break;
            }
        }
    }
    logs
}
