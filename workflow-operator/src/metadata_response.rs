//! Requests whose response has only the metadata of the object.

use http::{HeaderValue, Request, header::ACCEPT};
use kube::{Client, core::PartialObjectMeta};

const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// Sends a write. The API server does not return the whole object.
pub async fn send(client: &Client, mut request: Request<Vec<u8>>) -> kube::Result<()> {
    request.headers_mut().insert(ACCEPT, METADATA);
    let _: PartialObjectMeta = client.request(request).await?;
    Ok(())
}
