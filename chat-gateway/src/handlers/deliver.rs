//! `POST /ws/send/message`: an api-server hands over whatever waits for this gateway.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, Json, Payload};
use serde_json::error::Category;
use shared_runtime::rejection::Rejection;
use shared_types::gateway_api::{
    DeliverRequest, DeliverResponse, Delivery, MAX_DELIVER_BODY_BYTES, Recipients,
};
use shared_types::{ProblemCode, UserId, UserIdRef};
use tokio::time::{Instant, timeout};

use super::traced::TracedDeliveries;
use crate::session::frame::Frame;
use crate::state::Gateway;

/// The caller is a service beside us; a body that takes longer is not coming.
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// Recipients between two looks at what else this thread has to do: about a tenth of a millisecond.
const RECIPIENTS_PER_TURN: usize = 1024;

/// Recipients and what they all get.
type Shared<'a> = (Vec<UserIdRef<'a>>, Arc<Frame>);

pub(crate) async fn deliver(
    gateway: Data<Gateway>,
    request: HttpRequest,
    payload: Payload,
) -> Result<Json<DeliverResponse>, Rejection> {
    // Before the body: a stranger's is not worth reading.
    gateway.internal_secret.admit(request.headers())?;
    let mut traced = TracedDeliveries::begin(&gateway.traces, request.headers());
    let body = read(payload).await?;
    let began = Instant::now();
    let mut deliveries = parse(&body, &mut traced)?;

    let mut response = DeliverResponse::default();
    let (mut recipients, mut this_turn) = (0, 0);
    // Before all others: the same user may be a recipient of the next entry.
    if let Some((one, frame)) = take_sample(&mut deliveries) {
        let delivered = gateway.hub.deliver(&[one], &Arc::new(frame));
        gateway.metrics.delivered(&delivered);
        traced.note(0, &delivered);
        add(&mut response.absent, 0, delivered.absent);
        add(&mut response.awaiting_ack, 0, delivered.awaiting_ack);
        this_turn = 1;
    }
    for (index, (all, frame)) in deliveries.into_iter().enumerate() {
        for some in all.chunks(RECIPIENTS_PER_TURN) {
            let delivered = gateway.hub.deliver(some, &frame);
            gateway.metrics.delivered(&delivered);
            traced.note(index, &delivered);
            add(&mut response.absent, index, delivered.absent);
            add(&mut response.awaiting_ack, index, delivered.awaiting_ack);
            this_turn += some.len();
            if this_turn >= RECIPIENTS_PER_TURN {
                recipients += std::mem::take(&mut this_turn);
                tokio::task::yield_now().await;
            }
        }
    }
    traced.end();
    gateway.metrics.deliver_recipients.observe((recipients + this_turn) as f64);
    gateway.metrics.deliver_duration.observe(began.elapsed().as_secs_f64());
    Ok(Json(response))
}

/// With one recipient of what has waited the longest it is measured how long an entry takes. Which one changes with `seq`,
/// so that nobody's connection speaks for all.
fn take_sample<'a>(deliveries: &mut [Shared<'a>]) -> Option<(UserIdRef<'a>, Frame)> {
    let (recipients, frame) = deliveries.first_mut().filter(|(recipients, _)| !recipients.is_empty())?;
    let seq = usize::try_from(frame.position?.seq).unwrap_or(0);
    let measured = frame.to_measure()?;
    Some((recipients.swap_remove(seq % recipients.len()), measured))
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

/// All of it or nothing: each entry is the api-server's own bytes, shared by every mailbox that they go to.
fn parse<'a>(body: &'a [u8], traced: &mut TracedDeliveries) -> Result<Vec<Shared<'a>>, Rejection> {
    let request: DeliverRequest<'a> =
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => Rejection::new(ProblemCode::InvalidRequest, error.to_string()),
            Category::Syntax | Category::Eof | Category::Io => {
                Rejection::new(ProblemCode::MalformedJson, error.to_string())
            }
        })?;
    let delivery = |(index, delivery): (usize, Delivery<'a>)| match Frame::from_api(delivery.entry.get()) {
        Ok(frame) => Ok((delivery.recipients, Arc::new(traced.mark(index, frame)))),
        Err(rule) => Err(Rejection::invalid_field(format!("deliveries[{index}].entry"), rule)),
    };
    request.deliveries.into_iter().enumerate().map(delivery).collect()
}

fn add(to: &mut Vec<Recipients>, delivery: usize, recipients: Vec<UserId>) {
    if recipients.is_empty() {
        return;
    }
    match to.last_mut() {
        Some(last) if last.delivery == delivery => last.recipients.extend(recipients),
        _ => to.push(Recipients { delivery, recipients }),
    }
}
