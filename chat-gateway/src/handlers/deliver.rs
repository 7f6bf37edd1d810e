//! `POST /ws/send/message`: an api-server hands over whatever waits for this gateway.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, Json, Payload};
use bytestring::ByteString;
use serde_json::error::Category;
use shared_runtime::rejection::Rejection;
use shared_types::ProblemCode;
use shared_types::gateway_api::{DeliverRequest, DeliverResponse, MAX_DELIVER_BODY_BYTES, Recipients};
use tokio::time::{Instant, timeout};

use super::admit_internal;
use crate::state::Gateway;

/// The caller is a service beside us; a body that takes longer is not coming.
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// Recipients between two looks at what else this thread has to do: about a tenth of a millisecond.
const RECIPIENTS_PER_TURN: usize = 1024;

pub(crate) async fn deliver(
    gateway: Data<Gateway>,
    request: HttpRequest,
    payload: Payload,
) -> Result<Json<DeliverResponse>, Rejection> {
    // Before the body: a stranger's is not worth reading.
    admit_internal(&gateway, &request)?;
    let body = read(payload).await?;
    let began = Instant::now();
    let deliveries = parse(&body)?.deliveries;

    let mut response = DeliverResponse::default();
    let (mut recipients, mut this_turn) = (0, 0);
    for (index, delivery) in deliveries.into_iter().enumerate() {
        // The api-server's own bytes, shared by every mailbox that they go to.
        let frame = ByteString::from(String::from(Box::<str>::from(delivery.entry)));
        for some in delivery.recipients.chunks(RECIPIENTS_PER_TURN) {
            let delivered = gateway.hub.deliver(some, &frame);
            gateway.metrics.delivered(&delivered);
            add_absent(&mut response, index, delivered.absent);
            this_turn += some.len();
            if this_turn >= RECIPIENTS_PER_TURN {
                recipients += std::mem::take(&mut this_turn);
                tokio::task::yield_now().await;
            }
        }
    }
    gateway.metrics.deliver_batch.observe((recipients + this_turn) as f64);
    gateway.metrics.deliver_seconds.observe(began.elapsed().as_secs_f64());
    Ok(Json(response))
}

async fn read(payload: Payload) -> Result<Bytes, Rejection> {
    let too_large = || Rejection::new(ProblemCode::PayloadTooLarge, "The body is larger than 16 MiB.");
    let broken = |_| Rejection::new(ProblemCode::InvalidRequest, "The body did not arrive whole.");
    match timeout(BODY_LIMIT, payload.to_bytes_limited(MAX_DELIVER_BODY_BYTES)).await {
        Ok(Ok(body)) => body.map_err(broken),
        Ok(Err(_limit_exceeded)) => Err(too_large()),
        Err(_) => Err(Rejection::new(ProblemCode::InvalidRequest, "The body did not arrive in time.")),
    }
}

fn parse(body: &[u8]) -> Result<DeliverRequest, Rejection> {
    let request: DeliverRequest = serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => Rejection::new(ProblemCode::InvalidRequest, error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => {
            Rejection::new(ProblemCode::MalformedJson, error.to_string())
        }
    })?;
    match request.deliveries.iter().position(|delivery| !delivery.entry.get().starts_with('{')) {
        None => Ok(request),
        Some(index) => {
            Err(Rejection::invalid_field(format!("deliveries[{index}].entry"), "must be an object"))
        }
    }
}

fn add_absent(response: &mut DeliverResponse, delivery: usize, recipients: Vec<shared_types::UserId>) {
    if recipients.is_empty() {
        return;
    }
    match response.absent.last_mut() {
        Some(last) if last.delivery == delivery => last.recipients.extend(recipients),
        _ => response.absent.push(Recipients { delivery, recipients }),
    }
}
