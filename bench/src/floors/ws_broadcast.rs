//! A bare actix-ws server that writes a text to every socket.
