//! The OpenAPI document, made from the handlers.

use shared_types::problem::PROBLEM_JSON;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::handlers::{channels, connect, devices, health, history, members, read, send_message, sync};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Naru",
        description = "Chat delivery: stored once, delivered in order, nothing lost. Errors are RFC 9457 problem \
                       documents; `docs/protocol.md` is the whole contract, WebSocket included.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    paths(
        send_message::send_message,
        channels::create_channel, channels::list_channels, channels::show_channel, channels::rename_channel,
        members::list_members, members::add_members, members::set_role, members::remove_member,
        history::history, read::mark_read, sync::sync,
        devices::put_device, devices::list_devices, devices::delete_device,
        connect::connect,
        health::livez, health::readyz,
    ),
    modifiers(&BearerTokens, &Problems)
)]
pub struct Document;

struct BearerTokens;

impl Modify for BearerTokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for path in document.paths.paths.values_mut() {
            let calls = [&mut path.get, &mut path.put, &mut path.post, &mut path.patch, &mut path.delete];
            for call in calls.into_iter().flatten() {
                for (status, response) in &mut call.responses.responses {
                    // The handlers' annotations would have to repeat the media type at each of them.
                    if let RefOr::T(response) = response
                        && status.starts_with(['4', '5'])
                        && let Some(content) = response.content.shift_remove("application/json")
                    {
                        response.content.insert(PROBLEM_JSON.into(), content);
                    }
                }
                // What every call with a token may answer (401, 413, 422, …) is said once.
                if call.security.is_some() {
                    let problem =
                        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
                    let other = ResponseBuilder::new().description("Any other problem");
                    let other = other.content(PROBLEM_JSON, problem).build();
                    call.responses.responses.insert("default".into(), other.into());
                }
            }
        }
    }
}
