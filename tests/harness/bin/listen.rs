//! A WebSocket client for the terminal: shows a user's session, one frame a line.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

/// Connects to a chat-gateway, prints every frame, and acks every entry.
#[derive(Parser)]
#[command(name = "listen", version)]
struct Options {
    /// The gateway, e.g. ws://127.0.0.1:8081/ws
    url: String,
    /// A file that holds the user's token; in a file, as everybody may read a command line
    #[arg(long, value_name = "PATH")]
    token_file: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let token = std::fs::read_to_string(&options.token_file)
        .map_err(|error| format!("{}: {error}", options.token_file.display()))?;
    let mut request = options.url.as_str().into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {}", token.trim()).parse()?);
    let (mut socket, _) = match connect_async(request).await {
        Err(tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().unwrap_or_default();
            return Err(format!("refused: {} {}", answer.status(), String::from_utf8_lossy(body)).into());
        }
        other => other?,
    };
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) => {
                println!("{text}");
                if let Some(ack) = ack_of(&text) {
                    socket.send(Message::text(ack.to_string())).await?;
                }
            }
            Message::Close(Some(frame)) => println!("closed: {} {}", u16::from(frame.code), frame.reason),
            _ => {}
        }
    }
    Ok(())
}

/// An entry that is shown is delivered; without an ack the server would push it after a while.
fn ack_of(frame: &str) -> Option<Value> {
    let frame: Value = serde_json::from_str(frame).ok()?;
    Some(json!({"type": "ack", "channelId": frame.get("channelId")?, "seq": frame.get("seq")?}))
}
