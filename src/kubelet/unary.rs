//! Calls with one request and one answer.
//!
//! grpcio's own panic if the other side ends the call well but without an answer, which a kubelet or
//! plugin may do, and the core itself when an answer and a deadline meet. On the wire such a call is a
//! stream of one, so it is made as one here.

use std::{
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
    thread::{self, Thread},
    time::Duration,
};

use futures_util::Stream;
use grpcio::{
    CallOption, Channel, Client, ClientSStreamReceiver, Marshaller, Method, MethodType, RpcStatus,
    RpcStatusCode, pb_de, pb_ser,
};
use protobuf::Message;

use crate::host::deadline::Deadline;

/// A call that is under way. Dropping it cancels it.
pub struct Unary<T> {
    answers: ClientSStreamReceiver<T>,
    answer: Option<T>,
    // Its channel must outlive the call.
    _client: Client,
}

impl<T: Message + Unpin> Unary<T> {
    /// Calls the method `name`, as in `/v1beta1.Registration/Register`. A deadline in `option` would need the
    /// timers of the core, which [`core`](super::core) has stopped. Dropping the call cancels it.
    pub fn start<Q: Message>(
        channel: Channel,
        name: &'static str,
        request: &Q,
        option: CallOption,
    ) -> grpcio::Result<Unary<T>> {
        let client = Client::new(channel);
        let answers = client.server_streaming(&method(name), request, option)?;
        Ok(Unary { answers, answer: None, _client: client })
    }

    /// Waits for the answer on this thread, which may not be one of gRPC's, and not longer than
    /// `patience`: the core may be late with a deadline.
    pub fn wait(self, patience: Duration) -> grpcio::Result<T> {
        let until = Deadline::after(patience);
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Unpark>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut call = pin!(self);
        loop {
            match call.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(answer) => return answer,
                Poll::Pending if until.has_passed() => {
                    let text = format!("no answer within {patience:?}");
                    let status = RpcStatus::with_message(RpcStatusCode::DEADLINE_EXCEEDED, text);
                    return Err(grpcio::Error::RpcFailure(status));
                }
                Poll::Pending => thread::park_timeout(until.remaining()),
            }
        }
    }
}

impl<T: Message + Unpin> Future for Unary<T> {
    type Output = grpcio::Result<T>;

    /// The answer counts when the call has ended well.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<grpcio::Result<T>> {
        loop {
            match ready!(Pin::new(&mut self.answers).poll_next(context)) {
                Some(Ok(answer)) => self.answer = Some(answer),
                Some(Err(err)) => return Poll::Ready(Err(err)),
                None => {
                    let text = "the call ended without an answer".to_owned();
                    let status = RpcStatus::with_message(RpcStatusCode::INTERNAL, text);
                    let none = || grpcio::Error::RpcFailure(status);
                    return Poll::Ready(self.answer.take().ok_or_else(none));
                }
            }
        }
    }
}

fn method<Q: Message, T: Message>(name: &'static str) -> Method<Q, T> {
    let (req_mar, resp_mar) =
        (Marshaller { ser: pb_ser, de: pb_de }, Marshaller { ser: pb_ser, de: pb_de });
    Method { ty: MethodType::ServerStreaming, name, req_mar, resp_mar }
}

impl<T> fmt::Debug for Unary<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unary").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::SinkExt;
    use grpcio::{
        ChannelBuilder, EnvBuilder, RpcContext, Server, ServerBuilder, ServerCredentials,
        ServerStreamingSink, ServiceBuilder, WriteFlags,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::kubelet::proto::deviceplugin::{DevicePluginOptions, Empty};

    const NAME: &str = "/a/B";

    /// A server that answers so many times, and ends well.
    fn server(n_answers: usize) -> (Server, Channel, TempDir) {
        let handler =
            move |context: RpcContext<'_>,
                  _: Empty,
                  mut sink: ServerStreamingSink<DevicePluginOptions>| {
                let answer = DevicePluginOptions { pre_start_required: true, ..Default::default() };
                let answers = std::iter::repeat_n(answer, n_answers)
                    .map(|it| Ok((it, WriteFlags::default())))
                    .collect::<Vec<_>>();
                context.spawn(async move {
                    drop(sink.send_all(&mut futures_util::stream::iter(answers)).await);
                    drop(sink.close().await);
                });
            };
        let env = Arc::new(EnvBuilder::new().cq_count(1).build());
        let method = method::<Empty, DevicePluginOptions>(NAME);
        let service = ServiceBuilder::new().add_server_streaming_handler(&method, handler).build();
        let mut server =
            ServerBuilder::new(Arc::clone(&env)).register_service(service).build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let address = format!("unix:{}/socket", dir.path().display());
        server.add_listening_port(&address, ServerCredentials::insecure()).unwrap();
        server.start();
        (server, ChannelBuilder::new(env).connect(&address), dir)
    }

    fn ask(channel: Channel) -> grpcio::Result<DevicePluginOptions> {
        Unary::start(channel, NAME, &Empty::new(), CallOption::default())?
            .wait(Duration::from_secs(20))
    }

    #[test]
    fn an_answer_is_an_answer_and_none_is_an_error() {
        let (_server, channel, _dir) = server(1);
        assert!(ask(channel).unwrap().pre_start_required);

        let (_server, channel, _dir) = server(0);
        let err = ask(channel).unwrap_err().to_string();
        assert!(err.contains("without an answer"), "{err}");
    }
}
