//! A bare actix-web server that answers a POST with its body.
