//! On how many connections something has come that nobody has read yet (`/proc/net/tcp`, Linux).

use anyhow::Context;

/// Connections to one port of this machine, over IPv4, with unread bytes at either end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    pub by_server: usize,
    pub by_clients: usize,
}

/// Looked at off the runtime's threads: a table of thousands takes milliseconds.
pub async fn unread(port: u16) -> anyhow::Result<Unread> {
    let table = tokio::fs::read_to_string("/proc/net/tcp").await.context("/proc/net/tcp cannot be read")?;
    Ok(count(&table, port))
}

/// Columns as proc(5) has them: number, local address, remote address, state, transmit and receive queue, all
/// hexadecimal.
fn count(table: &str, port: u16) -> Unread {
    let port_of = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    let mut unread = Unread::default();
    for line in table.lines().skip(1) {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote) = (columns.next().and_then(port_of), columns.next().and_then(port_of));
        let is_established = columns.next() == Some("01");
        let is_empty = columns
            .next()
            .and_then(|queues| queues.split_once(':'))
            .is_none_or(|(_, received)| received.bytes().all(|digit| digit == b'0'));
        if is_established && !is_empty {
            unread.by_server += usize::from(local == Some(port));
            unread.by_clients += usize::from(remote == Some(port));
        }
    }
    unread
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_lies_unread_at_either_end_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            client.write_all(b"request").await.unwrap();
            clients.push((client, listener.accept().await.unwrap().0));
        }
        clients[0].1.write_all(b"answer").await.unwrap();
        let expected = Unread { by_server: 3, by_clients: 1 };
        while unread(port).await.unwrap() != expected {
            tokio::task::yield_now().await;
        }
    }
}
