//! The component that `wasmtime serve` runs: it answers every request with the same short text.

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

const HELLO: &[u8] = b"42";

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_: IncomingRequest, outparam: ResponseOutparam) {
        let headers = Fields::new();
        // The load generator reads answers by their length.
        headers.append("content-length", HELLO.len().to_string().as_bytes()).expect("it is valid");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("it is taken once");
        ResponseOutparam::set(outparam, Ok(response));
        let stream = body.write().expect("it is taken once");
        stream.blocking_write_and_flush(HELLO).expect("the client reads it");
        drop(stream);
        OutgoingBody::finish(body, None).expect("its length is right");
    }
}
