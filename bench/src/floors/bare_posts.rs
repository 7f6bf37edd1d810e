//! POSTs over HTTP/2 as fast as they are answered.
