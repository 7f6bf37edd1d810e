//! Which slot of a Redis Cluster a key falls into, and who holds which slots.

use crc::{CRC_16_XMODEM, Crc};
use deadpool_redis::redis::{Arg, Cmd, Value, from_redis_value};

const SLOTS: u16 = 16_384;
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of the one key that a command names: its first argument, or that of a script.
pub(super) fn slot_of(command: &Cmd) -> u16 {
    let mut arguments = command.args_iter().filter_map(|argument| match argument {
        Arg::Simple(argument) => Some(argument),
        _ => None,
    });
    let key = match arguments.next() {
        // Its text, and how many keys it has.
        Some(b"EVAL") => arguments.nth(2),
        _ => arguments.next(),
    };
    slot_of_key(key.unwrap_or_default())
}

/// Of a key with braces, what the first pair of them encloses counts alone.
fn slot_of_key(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    CRC.checksum(tag.unwrap_or(key)) % SLOTS
}

/// Slots that follow each other and have the same owner.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    /// `host:port`
    pub(super) owner: String,
}

/// Reads an answer to CLUSTER SLOTS, in the slots' order. Empty where no slot has an owner. A server that does not know its own
/// name leaves it out: it is the one that was asked.
pub(super) fn parse_ranges(answer: &Value, asked: &str) -> Vec<Range> {
    let ranges: Vec<Vec<Value>> = from_redis_value(answer.clone()).unwrap_or_default();
    let mut ranges: Vec<Range> = ranges
        .iter()
        .filter_map(|range| {
            // The owner, then its replicas.
            let [Value::Int(first), Value::Int(last), Value::Array(owner), ..] = &range[..] else {
                return None;
            };
            let [host, Value::Int(port), ..] = &owner[..] else { return None };
            let host = match host {
                Value::BulkString(host) => std::str::from_utf8(host).ok()?,
                _ => "",
            };
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
            Some(Range { first, last, owner: address(host, &port.to_string(), asked) })
        })
        .collect();
    ranges.sort_unstable_by_key(|range| range.first);
    ranges
}

/// Where a server that redirects points to, from `slot host:port`; the host may be missing here too.
pub(super) fn redirected_to(detail: &str, asked: &str) -> Option<String> {
    let (host, port) = detail.split_whitespace().nth(1)?.rsplit_once(':')?;
    Some(address(host, port, asked))
}

fn address(host: &str, port: &str, asked: &str) -> String {
    let asked_host = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
    [if host.is_empty() { asked_host } else { host }, ":", port].concat()
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::cmd;

    use super::*;

    #[test]
    fn keys_fall_into_the_slots_that_redis_puts_them_into() {
        // As `CLUSTER KEYSLOT` answers.
        for (key, slot) in
            [("foo", 12_182), ("naru:user:alice", 1_546), ("{foo}:bar", 12_182), ("a{foo}{b}", 12_182)]
        {
            assert_eq!(slot_of_key(key.as_bytes()), slot, "{key}");
        }
        // Nothing between the braces is no tag.
        assert_ne!(slot_of_key(b"{}foo"), slot_of_key(b"{}bar"));
        assert_eq!(slot_of(cmd("GET").arg("foo")), 12_182);
        assert_eq!(slot_of(cmd("EVAL").arg("return 1").arg(1).arg("foo").arg("bar")), 12_182);
    }

    #[test]
    fn who_does_not_know_its_own_name_is_the_one_that_was_asked() {
        let owner =
            |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".into())]);
        let answer = Value::Array(vec![
            Value::Array(vec![
                Value::Int(8_192),
                Value::Int(16_383),
                owner(Value::BulkString(b"b".into()), 2),
            ]),
            Value::Array(vec![Value::Int(0), Value::Int(8_191), owner(Value::Nil, 1), owner(Value::Nil, 3)]),
        ]);
        let range = |first, last, owner: &str| Range { first, last, owner: owner.into() };
        assert_eq!(parse_ranges(&answer, "a:9"), [range(0, 8_191, "a:1"), range(8_192, 16_383, "b:2")]);
        assert_eq!(redirected_to("3999 c:6381", "a:9").as_deref(), Some("c:6381"));
        assert_eq!(redirected_to("3999 :6381", "a:9").as_deref(), Some("a:6381"));
    }
}
