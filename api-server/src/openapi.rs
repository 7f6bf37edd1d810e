//! The OpenAPI document, made from the handlers.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::handlers::{channels, connect, devices, history, members, read, send_message, sync};

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
    ),
    modifiers(&BearerTokens)
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
