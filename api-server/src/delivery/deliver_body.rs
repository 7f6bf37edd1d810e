//! The body of a call to a gateway, written from bytes that are JSON already.

use shared_types::UserId;

/// Takes one delivery after the other; what comes out reads as a `DeliverRequest`.
pub(super) struct DeliverBody(Vec<u8>);

impl DeliverBody {
    /// Grows beyond `bytes` when it must.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut body = Vec::with_capacity(bytes);
        body.extend_from_slice(br#"{"deliveries":["#);
        Self(body)
    }

    /// `entry` is a JSON object.
    pub(super) fn add(&mut self, recipients: &[UserId], entry: &[u8]) {
        let body = &mut self.0;
        if body.last() == Some(&b'}') {
            body.push(b',');
        }
        body.extend_from_slice(br#"{"recipients":["#);
        for (index, user) in recipients.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            // None of the characters that a user id may have needs to be escaped.
            body.push(b'"');
            body.extend_from_slice(user.as_str().as_bytes());
            body.push(b'"');
        }
        body.extend_from_slice(br#"],"entry":"#);
        body.extend_from_slice(entry);
        body.push(b'}');
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"]}");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared_types::gateway_api::{DeliverRequest, Delivery};

    #[test]
    fn a_body_reads_as_what_was_put_into_it() {
        let users = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<UserId>>();
        let deliveries = [
            (users(&["alice", "A-Z_0.9:x@y|z"]), r#"{"n":1}"#),
            (users(&["bob"]), r#"{"content":"\"]}"}"#),
            (users(&[]), "{}"),
        ];
        for count in 0..=deliveries.len() {
            let mut body = DeliverBody::with_capacity(0);
            for (recipients, entry) in &deliveries[..count] {
                body.add(recipients, entry.as_bytes());
            }
            let body = body.finish();
            let read: DeliverRequest = serde_json::from_slice(&body).unwrap();
            let owned = |part: &Delivery| part.recipients.iter().map(UserId::from).collect::<Vec<_>>();
            let read: Vec<_> = read.deliveries.iter().map(|part| (owned(part), part.entry.get())).collect();
            assert_eq!(read, deliveries[..count]);
        }
    }
}
