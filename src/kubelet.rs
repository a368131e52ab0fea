//! All that is spoken with the kubelet.
//!
//! From the inside out: [`proto`] is the wire, [`to_proto`] the way there from our types,
//! [`mailbox`] what a stream reads, [`service`] what the kubelet may call, [`endpoint`] the socket
//! it calls on, [`server`] the gRPC server behind that socket, [`unary`] how we call, `register` our one call,
//! and [`plugin`] the thread that does all this for one resource. [`watch`] is the thread that looks
//! for the kubelet. [`inquiry`] is the other side: what a kubelet asks first.

mod births;
pub mod endpoint;
pub mod inquiry;
pub mod mailbox;
pub mod plugin;
pub mod pods;
pub mod proto;
mod register;
pub mod server;
pub mod service;
pub mod to_proto;
pub mod unary;
pub mod watch;
