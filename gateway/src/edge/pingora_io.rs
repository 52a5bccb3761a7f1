//! What Pingora wants to know of a stream, for streams of ours.
//!
//! Times and addresses are not passed on: they are asked of the [`Connection`] itself.
//!
//! [`Connection`]: super::connection::Connection

/// Implements Pingora's stream traits for a type with a `transport` field.
macro_rules! pingora_stream {
    ($stream:ty, alpn: $alpn:expr) => {
        #[async_trait::async_trait]
        impl pingora::protocols::Shutdown for $stream {
            async fn shutdown(&mut self) {
                // A client that takes in no farewell is not waited for: the watch ends it.
                let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
            }
        }

        impl pingora::protocols::UniqueID for $stream {
            fn id(&self) -> pingora::protocols::UniqueIDType {
                0
            }
        }

        impl pingora::protocols::Ssl for $stream {
            fn selected_alpn_proto(&self) -> Option<pingora::protocols::ALPN> {
                $alpn
            }
        }

        impl pingora::protocols::GetTimingDigest for $stream {
            fn get_timing_digest(&self) -> Vec<Option<pingora::protocols::TimingDigest>> {
                Vec::new()
            }
        }

        impl pingora::protocols::GetProxyDigest for $stream {
            fn get_proxy_digest(
                &self,
            ) -> Option<std::sync::Arc<pingora::protocols::raw_connect::ProxyDigest>> {
                None
            }
        }

        impl pingora::protocols::GetSocketDigest for $stream {
            fn get_socket_digest(
                &self,
            ) -> Option<std::sync::Arc<pingora::protocols::SocketDigest>> {
                None
            }
        }

        impl pingora::protocols::Peek for $stream {}
    };
}

pub(super) use pingora_stream;
