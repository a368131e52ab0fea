//! The methods of a plugin on the wire.
//!
//! They are not the generated ones, which decode a request before anybody sees it: a few megabytes
//! of empty containers or ids would become hundreds. Here what a request asks for is counted first, and
//! what nothing depends on is not decoded at all.

use std::io::Read;

use grpcio::{Marshaller, MessageReader, Method, MethodType, ServiceBuilder, pb_de, pb_ser};
use protobuf::{CodedInputStream, Message};

use crate::kubelet::{
    proto::deviceplugin::{
        AllocateResponse, DevicePluginOptions, ListAndWatchResponse, PreStartContainerRequest,
        PreStartContainerResponse, PreferredAllocationResponse,
    },
    service::Service,
};

/// For how many containers one request may ask. The kubelet asks for one at a time.
const CONTAINERS_MAX: usize = 16;

/// How many ids more than twice those of the list a request may have, so that one with a few unknown ids
/// is told which.
const IDS_SPARE: usize = 64;

/// The field of a request that holds a container's, and the field of that which holds an id.
const ONLY_FIELD: u32 = 1;

/// What the low bits of a tag say of a field with a length
/// (<https://protobuf.dev/programming-guides/encoding/>).
const WIRE_TYPE_LEN: u32 = 2;

/// A request of which nothing matters but that it was made.
pub(super) struct Any;

/// A request as it came.
pub(super) struct Undecoded(Vec<u8>);

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// It is no request.
    #[error("not a valid request")]
    Malformed,
    /// No kubelet asks for so much.
    #[error(
        "asks for {n_containers} containers and {n_ids} devices at once; {CONTAINERS_MAX} \
         containers and {n_ids_max} devices are the most"
    )]
    Excessive { n_containers: usize, n_ids: usize, n_ids_max: usize },
}

impl Undecoded {
    /// The request, if a kubelet can ask for so much of a list of `n_offers`.
    pub(super) fn decoded<Request: Message>(
        &self,
        n_offers: usize,
    ) -> Result<Request, RequestError> {
        let (n_containers, n_ids) = count(&self.0).map_err(|_| RequestError::Malformed)?;
        let n_ids_max = n_offers.saturating_mul(2).saturating_add(IDS_SPARE);
        if n_containers > CONTAINERS_MAX || n_ids > n_ids_max {
            return Err(RequestError::Excessive { n_containers, n_ids, n_ids_max });
        }
        Request::parse_from_bytes(&self.0).map_err(|_| RequestError::Malformed)
    }

    /// The ids of a request that has nothing but ids, if a kubelet can ask for so many of a list of `n_offers`.
    pub(super) fn ids(&self, n_offers: usize) -> Result<Vec<String>, RequestError> {
        let n_ids = count_fields(&self.0).map_err(|_| RequestError::Malformed)?;
        let n_ids_max = n_offers.saturating_mul(2).saturating_add(IDS_SPARE);
        if n_ids > n_ids_max {
            return Err(RequestError::Excessive { n_containers: 1, n_ids, n_ids_max });
        }
        let request = PreStartContainerRequest::parse_from_bytes(&self.0);
        request.map(|it| it.devices_ids).map_err(|_| RequestError::Malformed)
    }

    /// For how many containers it asks, or so many as a kubelet asks for at most.
    pub(super) fn n_containers(&self) -> usize {
        count(&self.0).map_or(0, |(n_containers, _)| n_containers.min(CONTAINERS_MAX))
    }
}

/// Counts the containers and ids of an encoded request, without keeping any.
fn count(request: &[u8]) -> protobuf::Result<(usize, usize)> {
    let (mut n_containers, mut n_ids) = (0, 0);
    let mut input = CodedInputStream::from_bytes(request);
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        if tag != tag_of(ONLY_FIELD) {
            skip(&mut input, tag)?;
            continue;
        }
        n_containers += 1;
        let len = input.read_raw_varint32()?;
        let outer = input.push_limit(len.into())?;
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            // Whatever else it is would be kept as an unknown field.
            n_ids += 1;
            skip(&mut input, tag)?;
        }
        input.pop_limit(outer);
    }
    Ok((n_containers, n_ids))
}

/// Counts the fields of an encoded request.
fn count_fields(request: &[u8]) -> protobuf::Result<usize> {
    let mut n_fields = 0;
    let mut input = CodedInputStream::from_bytes(request);
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        n_fields += 1;
        skip(&mut input, tag)?;
    }
    Ok(n_fields)
}

fn tag_of(field: u32) -> u32 {
    field << 3 | WIRE_TYPE_LEN
}

fn skip(input: &mut CodedInputStream<'_>, tag: u32) -> protobuf::Result<()> {
    if tag & 7 == WIRE_TYPE_LEN {
        let len = input.read_raw_varint32()?;
        return input.skip_raw_bytes(len);
    }
    // A kubelet to come may say more, in numbers or in groups of fields.
    let Some(wire_type) = protobuf::rt::WireType::new(tag & 7) else {
        return Err(std::io::Error::from(std::io::ErrorKind::InvalidData).into());
    };
    input.skip_field(wire_type)
}

/// The service of one resource.
pub(super) fn build(service: &Service) -> grpcio::Service {
    let [options, watched, preferred, allocated, started] = [(); 5].map(|()| service.clone());
    ServiceBuilder::new()
        .add_unary_handler(&OPTIONS, move |ctx, _, sink| {
            options.get_device_plugin_options(&ctx, sink);
        })
        .add_server_streaming_handler(&LIST_AND_WATCH, move |ctx, _, sink| {
            watched.list_and_watch(&ctx, sink);
        })
        .add_unary_handler(&PREFERRED, move |ctx, request, sink| {
            preferred.get_preferred_allocation(&ctx, &request, sink);
        })
        .add_unary_handler(&ALLOCATE, move |ctx, request, sink| {
            allocated.allocate(&ctx, &request, sink);
        })
        .add_unary_handler(&PRE_START, move |ctx, request, sink| {
            started.pre_start_container(&ctx, &request, sink);
        })
        .build()
}

const OPTIONS: Method<Any, DevicePluginOptions> =
    method(MethodType::Unary, "/v1beta1.DevicePlugin/GetDevicePluginOptions", ANY);

const LIST_AND_WATCH: Method<Any, ListAndWatchResponse> =
    method(MethodType::ServerStreaming, "/v1beta1.DevicePlugin/ListAndWatch", ANY);

const PREFERRED: Method<Undecoded, PreferredAllocationResponse> =
    method(MethodType::Unary, "/v1beta1.DevicePlugin/GetPreferredAllocation", UNDECODED);

const ALLOCATE: Method<Undecoded, AllocateResponse> =
    method(MethodType::Unary, "/v1beta1.DevicePlugin/Allocate", UNDECODED);

const PRE_START: Method<Undecoded, PreStartContainerResponse> =
    method(MethodType::Unary, "/v1beta1.DevicePlugin/PreStartContainer", UNDECODED);

const fn method<Request, Response: Message>(
    ty: MethodType,
    name: &'static str,
    req_mar: Marshaller<Request>,
) -> Method<Request, Response> {
    Method { ty, name, req_mar, resp_mar: Marshaller { ser: pb_ser, de: pb_de } }
}

// We only receive requests.
const ANY: Marshaller<Any> = Marshaller { ser: |_, _| Ok(()), de: |_| Ok(Any) };
const UNDECODED: Marshaller<Undecoded> = Marshaller { ser: |_, _| Ok(()), de: read };

fn read(mut reader: MessageReader) -> grpcio::Result<Undecoded> {
    let mut bytes = Vec::with_capacity(reader.len());
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(Undecoded(bytes)),
        Err(err) => Err(grpcio::Error::Codec(err.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::proto::deviceplugin::{
        AllocateRequest, ContainerAllocateRequest, PreferredAllocationRequest,
    };

    fn request(n_containers: usize, n_ids: usize) -> Vec<u8> {
        let container = ContainerAllocateRequest {
            devices_ids: vec!["a".to_owned(); n_ids],
            ..Default::default()
        };
        let container_requests = vec![container; n_containers];
        AllocateRequest { container_requests, ..Default::default() }.write_to_bytes().unwrap()
    }

    #[test]
    fn what_a_kubelet_can_ask_for_is_decoded_and_more_is_only_counted() {
        let decoded = |bytes| Undecoded(bytes).decoded::<AllocateRequest>(2);
        for (n_containers, n_ids) in [(0, 0), (1, 0), (1, 1), (1, 4), (2, 2), (1, 68), (16, 4)] {
            let request = decoded(request(n_containers, n_ids)).unwrap();
            assert_eq!(request.container_requests.len(), n_containers);
            assert!(request.container_requests.iter().all(|it| it.devices_ids.len() == n_ids));
        }
        for (n_containers, n_ids) in [(1, 69), (17, 0), (16, 5)] {
            let expected = RequestError::Excessive {
                n_containers,
                n_ids: n_containers * n_ids,
                n_ids_max: 68,
            };
            assert_eq!(decoded(request(n_containers, n_ids)), Err(expected));
        }
        // Fields that nobody knows, in a container, count too: they would be kept.
        let unknown = [&[0x0a, 200, 1][..], &[0x18, 1].repeat(100)].concat();
        assert!(matches!(decoded(unknown), Err(RequestError::Excessive { n_ids: 100, .. })));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let bytes = [&request(3, 2)[..], &[0x10, 1, 0x1a, 1, 7, 0x23, 0x24]].concat();
        for end in 0..bytes.len() {
            for byte in [0, 1, 7, 10, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes[..=end].to_vec();
                bytes[end] = byte;
                drop(Undecoded(bytes.clone()).decoded::<AllocateRequest>(1));
                assert!(Undecoded(bytes).n_containers() <= CONTAINERS_MAX);
            }
        }
    }

    #[test]
    fn a_preference_is_counted_whatever_is_in_it() {
        assert_eq!(Undecoded(request(1000, 0)).n_containers(), CONTAINERS_MAX);
        let container_requests = vec![Default::default(); 3];
        let request = PreferredAllocationRequest { container_requests, ..Default::default() };
        assert_eq!(Undecoded(request.write_to_bytes().unwrap()).n_containers(), 3);
    }
}
