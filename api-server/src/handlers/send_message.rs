//! `POST /send/message`.

use std::time::Duration;

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared_runtime::rejection::Rejection;
use shared_runtime::traces::{Trace, Traced};
use shared_types::{ChannelId, ClientMessageId, Entry, EntryId, FieldError, ProblemCode, UserId};
use utoipa::ToSchema;

use super::view::EntrySchema;
use crate::auth::Caller;
use crate::body::Body;
use crate::state::State;
use crate::store::Draft;
use crate::writer::{AppendError, Appended};

const MAX_CONTENT_CHARACTERS: usize = 4_096;
const MAX_METADATA_BYTES: usize = 4 * 1024;
const MAX_KIND_CHARACTERS: usize = 32;
/// When to try again after `overloaded`: batches take milliseconds, so a second is plenty.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A message to send.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SendMessage {
    #[schema(value_type = uuid::Uuid)]
    channel_id: ChannelId,
    #[schema(min_length = 1, max_length = 4096)]
    content: String,
    /// The sender's own name for this message: sending it again makes no second one.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    client_message_id: Option<ClientMessageId>,
    /// `text`, or a word of the application's.
    #[schema(default = "text", pattern = "^[A-Za-z0-9_.:-]{1,32}$")]
    kind: Option<String>,
    /// Any JSON object of at most 4 KiB; kept byte for byte.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    /// For a service: the user that it sends for.
    #[schema(value_type = Option<String>)]
    sender_id: Option<UserId>,
}

/// The stored entry; `deduplicated` is there, and true, when it had been stored before.
#[derive(Serialize, ToSchema)]
pub struct Deduplicated<'a> {
    #[serde(flatten)]
    #[schema(value_type = EntrySchema)]
    entry: &'a Entry,
    deduplicated: bool,
}

/// Send a message.
///
/// The answer means: committed. Delivery goes on after it and can no longer fail the request.
#[utoipa::path(
    post, path = "/send/message", tag = "messages", request_body = SendMessage,
    responses(
        (status = 201, description = "Stored", body = EntrySchema),
        (status = 200, description = "Stored before under this clientMessageId", body = EntrySchema),
        (status = 404, description = "No such channel, or the sender is no participant", body = shared_types::Problem),
        (status = 409, description = "This clientMessageId was used for other content", body = shared_types::Problem),
        (status = 422, description = "A field is wrong", body = shared_types::Problem),
        (status = 429, description = "Over the sender's rate", body = shared_types::Problem),
        (status = 503, description = "Overloaded: nothing was stored, or nobody knows; send it again", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn send_message(
    caller: Caller,
    body: Body,
    state: web::Data<State>,
    Traced(trace): Traced,
) -> Result<HttpResponse, Rejection> {
    let outcome = send(&caller, &body, &state, trace.as_ref()).await;
    state.metrics.count_send(match &outcome {
        Ok(Sent::Stored(_)) => "stored",
        Ok(Sent::Before(_)) => "deduplicated",
        Err(rejection) if rejection.code == ProblemCode::Overloaded => "overloaded",
        Err(rejection) if rejection.code == ProblemCode::RateLimited => "rate_limited",
        Err(_) => "refused",
    });
    Ok(match outcome? {
        Sent::Stored(json) => HttpResponse::Created().content_type(ContentType::json()).body(json),
        Sent::Before(entry) => HttpResponse::Ok().json(Deduplicated { entry: &entry, deduplicated: true }),
    })
}

enum Sent {
    /// The entry's JSON.
    Stored(Bytes),
    Before(Entry),
}

async fn send(caller: &Caller, body: &Body, state: &State, trace: Option<&Trace>) -> Result<Sent, Rejection> {
    let draft = body.parse::<SendMessage>()?.into_draft(caller)?;
    if !caller.is_service {
        state.limits.check(&draft.sender_id)?;
    }
    match state.writer.append(draft, trace).await {
        Ok(Appended::Stored(json)) => Ok(Sent::Stored(json)),
        Ok(Appended::Deduplicated(entry)) => Ok(Sent::Before(entry)),
        Ok(Appended::Conflict) => Err(Rejection::new(
            ProblemCode::Conflict,
            "You have sent another message with this `clientMessageId` in this channel.",
        )),
        Ok(Appended::NotFound) => Err(Rejection::channel_not_found()),
        Err(error @ AppendError::Store) => Err(Rejection::unavailable(error)),
        Err(AppendError::Full | AppendError::DeliveryBehind | AppendError::Stopping) => {
            Err(Rejection::overloaded(RETRY_AFTER))
        }
    }
}

impl SendMessage {
    fn into_draft(self, caller: &Caller) -> Result<Draft, Rejection> {
        let mut errors = Vec::new();
        let mut check = |is_right: bool, field: &str, rule: &str| {
            if !is_right {
                errors.push(FieldError { field: field.into(), detail: rule.into() });
            }
        };
        let characters = self.content.chars().count();
        check((1..=MAX_CONTENT_CHARACTERS).contains(&characters), "content", "must be 1 to 4,096 characters");
        // Postgres' text cannot hold it.
        check(!self.content.contains('\0'), "content", "must not contain the character U+0000");
        let kind = self.kind.unwrap_or_else(|| "text".into());
        let is_word = |kind: &str| kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b));
        check(
            (1..=MAX_KIND_CHARACTERS).contains(&kind.len()) && is_word(&kind),
            "kind",
            "must be 1 to 32 characters of A-Z a-z 0-9 _ . : -",
        );
        let metadata = self.metadata.filter(|metadata| metadata.get() != "null");
        if let Some(metadata) = &metadata {
            check(
                metadata.get().len() <= MAX_METADATA_BYTES,
                "metadata",
                "must be at most 4,096 bytes of JSON",
            );
            let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(metadata.get());
            check(object.is_ok(), "metadata", "must be a JSON object");
        }
        if !errors.is_empty() {
            return Err(Rejection::invalid(errors));
        }
        Ok(Draft {
            entry_id: EntryId::generate(),
            channel_id: self.channel_id,
            sender_id: caller.acting_as(self.sender_id)?,
            kind,
            content: self.content,
            metadata,
            client_message_id: self.client_message_id,
            known_membership: None,
        })
    }
}
