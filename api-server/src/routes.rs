//! Which call goes to which handler, on which listener.

use std::borrow::Cow;
use std::time::Instant;

use actix_cors::{Cors, CorsError};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, RETRY_AFTER};
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpMessage, Resource, Route, guard, web};
use shared_runtime::rejection::Rejection;
use shared_runtime::request_id::X_REQUEST_ID;
use shared_runtime::traces::{Sampling, Span, SpanKind};
use shared_types::ProblemCode;
use url::form_urlencoded;
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use crate::body::Body;
use crate::handlers::{
    channels, connect, devices, health, history, internal, members, read, send_message, sync,
};
use crate::openapi::Document;
use crate::route_series::{RouteSeries, Series};
use crate::state::State;
use crate::worker_lag::WorkerLag;

/// The public listener.
pub fn public(services: &mut web::ServiceConfig) {
    services
        .service(
            resource("/send/message")
                .route(web::post().to(send_message::send_message).wrap(from_fn(refuse_when_overloaded))),
        )
        .service(
            resource("/channels")
                .route(bare(web::post().to(channels::create_channel)))
                .route(web::get().to(channels::list_channels)),
        )
        .service(
            resource("/channels/{channelId}")
                .route(bare(web::get().to(channels::show_channel)))
                .route(bare(web::patch().to(channels::rename_channel))),
        )
        .service(
            resource("/channels/{channelId}/members")
                .route(web::get().to(members::list_members))
                .route(bare(web::post().to(members::add_members))),
        )
        .service(
            resource("/channels/{channelId}/members/{userId}")
                .route(bare(web::patch().to(members::set_role)))
                .route(bare(web::delete().to(members::remove_member))),
        )
        .service(resource("/channels/{channelId}/messages").route(web::get().to(history::history)))
        .service(resource("/channels/{channelId}/read").route(bare(web::put().to(read::mark_read))))
        .service(resource("/sync").route(bare(web::post().to(sync::sync))))
        .service(
            resource("/devices/{deviceId}")
                .route(bare(web::put().to(devices::put_device)))
                .route(bare(web::delete().to(devices::delete_device))),
        )
        .service(resource("/devices").route(bare(web::get().to(devices::list_devices))))
        .service(resource("/connect").route(bare(web::post().to(connect::connect))))
        .service(resource("/livez").route(web::get().to(health::livez)))
        .service(resource("/readyz").route(web::get().to(health::readyz)))
        .service(
            web::resource(["/openapi.json", "/docs", "/docs/{_:.*}"])
                .guard(guard::Not(guard::Get()))
                .default_service(web::to(wrong_method)),
        )
        .service(web::redirect("/docs", "/docs/"))
        .service(SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", Document::openapi()))
        .default_service(web::to(nothing_here));
}

/// The internal listener: gateways, probes and Prometheus.
pub fn internal(services: &mut web::ServiceConfig) {
    services
        .service(resource("/livez").route(web::get().to(health::livez)))
        .service(resource("/readyz").route(web::get().to(health::readyz)))
        .service(resource("/metrics").route(web::get().to(health::metrics)))
        .service(
            web::scope("/internal")
                .wrap(from_fn(admit_gateway))
                .service(resource("/acks").route(web::post().to(internal::acks)))
                .service(resource("/resume").route(web::post().to(internal::resume)))
                .service(resource("/channels/{channelId}/entries").route(web::get().to(internal::entries))),
        )
        .default_service(web::to(nothing_here));
}

/// Stands for every path that no route has.
const UNKNOWN_ROUTE: &str = "unknown";

/// A path whose other methods are refused by name.
fn resource(path: &'static str) -> Resource {
    web::resource(path).app_data(RouteSeries::new(path)).default_service(web::to(wrong_method))
}

/// A call that takes no query parameters: one that it is given is refused by name, like any unknown field.
fn bare(route: Route) -> Route {
    route.wrap(from_fn(refuse_query))
}

async fn refuse_query(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if let Some((name, _)) = form_urlencoded::parse(request.query_string().as_bytes()).next() {
        let rejection = Rejection::invalid_field(name, "is no parameter of this call");
        // A response, as an `Err` would pass by the middleware that gives it the request's id.
        return Ok(request.error_response(rejection));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// Before anything is done for a send: under overload most are refused, which should cost little. What is wrong with
/// one shows when it is sent again. Takes no query parameters either.
async fn refuse_when_overloaded(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let is_overloaded = |state: &web::Data<State>| {
        let lag = request.app_data::<WorkerLag>();
        lag.is_some_and(WorkerLag::is_behind) || !state.writer.has_room()
    };
    if let Some(state) = request.app_data::<web::Data<State>>().filter(|state| is_overloaded(state)) {
        state.metrics.count_send("overloaded");
        // A connection with an unread body could not go on.
        let _read = request.extract::<Body>().await;
        return Ok(request.error_response(Rejection::overloaded(send_message::RETRY_AFTER)));
    }
    refuse_query(request, next).await
}

/// Only those who know the secret between the services may make internal calls.
async fn admit_gateway(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let admitted = match request.app_data::<web::Data<State>>() {
        Some(state) => state.internal_secret.admit(request.headers()),
        None => Err(Rejection::internal(std::io::Error::other("the service has no state"))),
    };
    if let Err(rejection) = admitted {
        return Ok(request.error_response(rejection));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

async fn nothing_here() -> Result<&'static str, Rejection> {
    Err(Rejection::new(ProblemCode::NotFound, "There is no such path here. GET /docs lists what there is."))
}

async fn wrong_method() -> Result<&'static str, Rejection> {
    Err(Rejection::new(ProblemCode::MethodNotAllowed, "This path does not take this method."))
}

/// Browsers' origins that may call; none unless configured.
pub fn cors(allowed_origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_any_header()
        .expose_headers([X_REQUEST_ID, RETRY_AFTER])
        .max_age(3_600);
    allowed_origins.iter().fold(cors, |cors, origin| match origin.as_str() {
        "*" => cors.allow_any_origin(),
        origin => cors.allowed_origin(origin),
    })
}

/// As the `app_data` of a listener without [`cors`], which costs every request two headers and their making: no browser's
/// page may call.
#[derive(Clone, Copy)]
pub struct NoOrigins;

/// What [`cors`] would answer to a browser that asks whether a page of its may call.
fn refuse_preflight(request: &ServiceRequest) -> Option<Rejection> {
    let asks = |header| request.headers().contains_key(header);
    let is_refused = *request.method() == Method::OPTIONS
        && request.app_data::<NoOrigins>().is_some()
        && asks(ORIGIN)
        && asks(ACCESS_CONTROL_REQUEST_METHOD);
    is_refused.then(|| Rejection::forbidden(format!("{}.", CorsError::OriginNotAllowed)))
}

/// [`cors`]' refusals of a preflight are nobody's wrong field.
fn forbid_foreign_origins(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    match response.response().error().and_then(|error| error.as_error::<CorsError>()) {
        Some(error) => {
            let rejection = Rejection::forbidden(format!("{error}."));
            response.error_response(rejection)
        }
        None => response,
    }
}

/// Middleware around [`cors`]: counts requests by route and status, and their time; a traced one has its first span here.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let state = request.app_data::<web::Data<State>>().cloned();
    let span = state.as_ref().and_then(|state| begin_span(&state.sampling, &request));
    let response = match refuse_preflight(&request) {
        Some(refusal) => request.error_response(refusal),
        None => forbid_foreign_origins(next.call(request).await?.map_into_boxed_body()),
    };
    if let Some(state) = state {
        let (request, status) = (response.request(), response.status().as_u16());
        let method = known_method(request.method());
        if let Some(span) = span {
            let route = request.match_pattern().unwrap_or_else(|| UNKNOWN_ROUTE.to_owned());
            end_span(span, method, route, status);
        }
        match request.app_data::<RouteSeries>() {
            Some(series) => series.count(&state.metrics, method, status, started.elapsed()),
            // The page, the documents, what is nowhere, and what was refused before it was looked for.
            None => {
                let route = request.match_pattern().map_or(Cow::Borrowed(UNKNOWN_ROUTE), Cow::Owned);
                Series::find(&state.metrics, method, route, status).count(started.elapsed());
            }
        }
    }
    Ok(response)
}

/// Of a request that is traced. What it causes finds its place in the request's extensions.
fn begin_span(sampling: &Sampling, request: &ServiceRequest) -> Option<Span> {
    let span = sampling.of(request.headers())?.begin(known_method(request.method()), SpanKind::Server)?;
    request.extensions_mut().insert(span.inside().clone());
    Some(span)
}

fn end_span(mut span: Span, method: &'static str, route: String, status: u16) {
    span.rename(format!("{method} {route}"));
    span.set("http.request.method", method);
    span.set("http.route", route);
    span.set("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.fail("");
    }
}

/// A caller may invent methods; a series for each would be without bound.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}
