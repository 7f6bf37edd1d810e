//! The chat page: built files that lie in the binary.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Compress;
use actix_web::{HttpRequest, HttpResponse, Resource, web};
use rust_embed::{EmbeddedFile, RustEmbed};
use shared_runtime::rejection::Rejection;
use shared_types::ProblemCode;

/// What `web/check` builds; committed, so that a build needs no Node.
#[derive(RustEmbed)]
#[folder = "../web/dist"]
struct Files;

/// Nothing from elsewhere, nothing inline; the WebSocket may be on another port or host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub fn routes(services: &mut web::ServiceConfig) {
    // Only paths that look like a file of the page, so that every other one is still answered by the API.
    services
        .service(file("/").route(web::get().to(index)).route(web::head().to(index)))
        .service(file("/assets/{file}").route(web::get().to(asset)).route(web::head().to(asset)))
        .service(
            file(r"/{file:[a-z]+\.(svg|js)}")
                .route(web::get().to(top_level))
                .route(web::head().to(top_level)),
        );
}

/// A third of the bytes for who accepts gzip.
fn file(
    path: &str,
) -> Resource<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    web::resource(path).wrap(Compress::default())
}

async fn index(request: HttpRequest) -> Result<HttpResponse, Rejection> {
    serve(&request, "index.html", "no-cache")
}

/// What must be found under a name that does not change.
async fn top_level(request: HttpRequest) -> Result<HttpResponse, Rejection> {
    serve(&request, request.match_info().query("file"), "no-cache")
}

/// The names of these hold a hash of their content.
async fn asset(request: HttpRequest) -> Result<HttpResponse, Rejection> {
    let file = format!("assets/{}", request.match_info().query("file"));
    serve(&request, &file, "public, max-age=31536000, immutable")
}

fn serve(request: &HttpRequest, file: &str, cache: &'static str) -> Result<HttpResponse, Rejection> {
    let found: EmbeddedFile = Files::get(file)
        .ok_or_else(|| Rejection::new(ProblemCode::NotFound, "The page has no such file."))?;
    let tag = format!(
        "\"{}\"",
        found.metadata.sha256_hash()[..8].iter().map(|b| format!("{b:02x}")).collect::<String>()
    );
    let is_known =
        request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, cache))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"));
    if is_known {
        return Ok(response.finish());
    }
    Ok(response.content_type(media_type(file)).body(found.data.into_owned()))
}

/// The few kinds of file that the build makes.
fn media_type(file: &str) -> &'static str {
    match file.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest" | "json") => "application/json",
        _ => "application/octet-stream",
    }
}
