use http::{HeaderValue, Request, header::ACCEPT};
use kube::{
    Client,
    core::{ObjectMeta, PartialObjectMeta},
};

const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// Sends a request whose answer has only the metadata of the object. An object may be large, and what a write stores is
/// known.
///
/// # Errors
/// When the request fails.
pub async fn request_metadata(
    client: &Client,
    mut request: Request<Vec<u8>>,
) -> kube::Result<ObjectMeta> {
    request.headers_mut().insert(ACCEPT, METADATA);
    let answer: PartialObjectMeta = client.request(request).await?;
    Ok(answer.metadata)
}
