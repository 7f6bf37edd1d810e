//! One keep-alive connection over HTTP/1.1: a request that is made once, an answer that is looked at.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::Address;
use super::stream::Stream;

/// An answer's head and body have to fit: ours are under 2 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 32;

/// A server ends a connection that nothing comes over for some seconds; what comes later goes over a new one.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

pub struct HttpConnection {
    address: Address,
    stream: Stream,
    used_at: Instant,
    buffer: Vec<u8>,
}

impl HttpConnection {
    pub async fn open(base_url: &str) -> anyhow::Result<Self> {
        let address = Address::of(base_url)?;
        let stream = address.connect().await?;
        Ok(Self { address, stream, used_at: Instant::now(), buffer: Vec::with_capacity(2 * 1024) })
    }

    /// Sends a whole request and waits for the whole answer: its status. The body is [`HttpConnection::body`].
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        if self.used_at.elapsed() > IDLE_LIMIT {
            self.stream = self.address.connect().await?;
        }
        let answer = self.exchange_now(request).await;
        self.used_at = Instant::now();
        answer
    }

    async fn exchange_now(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await.context("the server has hung up")?;
        // Nothing to do over TCP.
        self.stream.flush().await.context("the server has hung up")?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await.context("the server has hung up")? == 0 {
                bail!("the server has hung up");
            }
            if let Some(answer) = Answer::parse(&self.buffer)? {
                return Ok(answer);
            }
            if self.buffer.len() > MAX_ANSWER_BYTES {
                bail!("an answer of over {MAX_ANSWER_BYTES} bytes");
            }
        }
    }

    /// The body of the last answer.
    pub fn body(&self, answer: &Answer) -> &[u8] {
        &self.buffer[answer.body.clone()]
    }
}

/// Where an answer's parts lie in what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    body: std::ops::Range<usize>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(bytes).context("not an HTTP answer")? else {
            return Ok(None);
        };
        let length =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
        let body = head..head + length.unwrap_or(0);
        let status = response.code.unwrap_or(0);
        Ok((bytes.len() >= body.end).then_some(Self { status, body }))
    }
}

/// A whole `POST` of JSON with a bearer token.
pub fn post(base_url: &str, path: &str, token: &str, json: &str) -> anyhow::Result<Vec<u8>> {
    let address = Address::of(base_url)?;
    let length = json.len();
    let prefix = address.path.trim_end_matches('/');
    Ok(format!(
        "POST {prefix}{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}",
        address.authority
    )
    .into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_body() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(Answer::parse(&answer[..answer.len() - 1]).unwrap(), None);
        let parsed = Answer::parse(answer).unwrap().unwrap();
        assert_eq!((parsed.status, &answer[parsed.body]), (201, &b"{}"[..]));
    }
}
