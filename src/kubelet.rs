//! Everything that goes to the kubelet or comes from it.
//!
//! From the inside out: [`proto`] is the wire, [`to_proto`] the way there from our types,
//! [`mailbox`] what a stream reads, [`service`] what the kubelet may call, `preparation` and `promise` what it waits for then, `allocated` what it was asked for, `methods` how that is written on the
//! wire, [`endpoint`] the socket
//! it calls on, [`core`] what all gRPC runs on, [`server`] the gRPC server behind that socket, with `callers`, [`unary`] how we make calls, `register` the call that
//! registers, [`plugin`] all this for one resource, and [`plugins`] the thread that does it for all of them. [`watch`] is the thread that
//! watches for the kubelet, with `arrivals`; [`pods`] asks it which pods hold which devices. [`inquiry`] is
//! the other side: what a kubelet asks first; [`runtime`] asks what runs the containers.

mod allocated;
mod arrivals;
mod callers;
mod calls;
pub mod core;
pub mod endpoint;
pub mod inquiry;
pub mod mailbox;
mod methods;
pub mod plugin;
pub mod plugins;
pub mod pods;
mod preparation;
mod promise;
pub mod proto;
mod register;
pub mod runtime;
pub mod server;
pub mod service;
pub mod to_proto;
pub mod unary;
pub mod watch;
