//! Datagrams from anywhere.

use crate::protocol::types::{NodeId, Role, Sender};
use crate::wire::Codec;

/// The name that the samples of the corpus carry.
pub const CLUSTER: &str = "fuzz";

/// Decoding never panics. A message that decodes is encoded in no more bytes, and decodes
/// to the same.
pub fn wire_decode(bytes: &[u8]) {
    let reader = Sender { node: NodeId::new(Role::Learner, 1), boot: 1 };
    let codec = Codec::new(CLUSTER, 3, reader, bytes.len());
    let Ok((sender, message)) = codec.decode(bytes) else { return };
    let Ok(header) = codec.header(bytes) else { panic!("it was decoded") };
    assert_eq!(header.kind, message.kind());
    // For traces: it must not panic either.
    assert!(!message.to_string().is_empty());
    let mut again = Vec::new();
    let codec = Codec::new(CLUSTER, 3, sender, bytes.len());
    codec.speak(header.version);
    let encoded = codec.encode(&message, &mut again);
    assert!(encoded.is_ok(), "{message} came in {} bytes: {encoded:?}", bytes.len());
    assert_eq!(codec.decode(&again), Ok((sender, message)));
}
