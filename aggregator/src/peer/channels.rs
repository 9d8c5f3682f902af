//! Connections to other aggregators, for questions that are not part of the stream.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use starling_proto::limits::PEER_MESSAGE_BYTES_MAX;
use starling_service::{credentials::Security, grpc::peer_client::PeerClient};
use tonic::transport::Channel;

use super::DIAL;

/// Connections kept; all go when a further one is needed, and those in use are made again.
const CHANNELS_MAX: usize = 64;

/// Made when first needed.
pub(crate) struct Channels {
    security: Security,
    made: Mutex<HashMap<String, Channel>>,
}

impl Channels {
    /// None is made yet.
    pub(crate) fn new(security: Security) -> Self {
        Self { security, made: Mutex::default() }
    }

    /// The one to "host:port".
    ///
    /// # Errors
    /// When that is not an address.
    pub(crate) fn get(&self, address: &str) -> Result<Channel, String> {
        let mut channels = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = DIAL.connect_lazy(&self.security, address)?;
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// A client of the service `Peer` there.
    ///
    /// # Errors
    /// As [`Channels::get`].
    pub(crate) fn peer(&self, address: &str) -> Result<PeerClient<Channel>, String> {
        let client = PeerClient::new(self.get(address)?);
        Ok(client.max_decoding_message_size(PEER_MESSAGE_BYTES_MAX).max_encoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }
}
