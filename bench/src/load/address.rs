//! Where a URL leads.

use anyhow::{Context, bail};
use tokio::net::TcpStream;

/// The parts of a URL that a connection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `host:port`
    pub authority: String,
    /// With a leading slash, and the query.
    pub path: String,
}

impl Address {
    /// Of `http://` and `ws://` URLs.
    pub fn of(url: &str) -> anyhow::Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else { bail!("{url} is no URL") };
        if !matches!(scheme, "http" | "ws") {
            bail!(
                "{url}: only http:// and ws:// are spoken here; put the tool on the inside of what ends TLS"
            );
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority =
            if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, path: format!("/{path}") })
    }

    pub async fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(&self.authority).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.authority))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_host_a_port_and_a_path() {
        let address = |url| Address::of(url).unwrap();
        assert_eq!(address("ws://h:1/ws"), Address { authority: "h:1".into(), path: "/ws".into() });
        assert_eq!(address("http://h"), Address { authority: "h:80".into(), path: "/".into() });
        Address::of("https://h").unwrap_err();
    }
}
